//! `runc[:ROOT]`, `crun[:ROOT]`, `gvisor[:ROOT]`, and which of them knows a container.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::gvisor::{Sandboxes, StateFile};
use super::oci::{self, RunningContainer};
use super::open::OpenContainers;
use super::resolve::resolve;
use super::state_dir::{RuntimeKind, StateDir};
use super::{ContainerInfo, OomEvents, Source, check_file_name};
use crate::details::{Details, Status};
use crate::error::{Error, ErrorKind, Result, bail, error};
use crate::linux::file::is_absent;
use crate::linux::mountinfo::Mounts;
use crate::snapshot::Snapshot;

/// The containers in the state directories of runtimes.
pub(super) struct Runtimes {
    kinds: Vec<RuntimeKind>,
    /// The only state directory to look at. `None` for the usual ones.
    root: Option<PathBuf>,
    /// The state directories to look at, in this sample.
    dirs: Option<Arc<[StateDir]>>,
    sandboxes: Sandboxes,
    /// The containers in each of runsc's root directories at this sample, with their sandboxes.
    state_files: HashMap<PathBuf, HashMap<String, String>>,
    /// The containers of runc and crun.
    running: OpenContainers<RunningContainer>,
    mounts: Option<Mounts>,
    warnings: Vec<Error>,
}

impl Runtimes {
    pub(super) fn new(kinds: &[RuntimeKind], root: Option<PathBuf>) -> Self {
        Self {
            kinds: kinds.to_vec(),
            root,
            dirs: None,
            sandboxes: Sandboxes::default(),
            state_files: HashMap::new(),
            running: OpenContainers::default(),
            mounts: None,
            warnings: Vec::new(),
        }
    }

    /// Returns the state directories to look at.
    fn state_dirs(&mut self) -> Arc<[StateDir]> {
        let dirs = || {
            let kinds = self.kinds.iter();
            let dirs = kinds.flat_map(|&kind| match &self.root {
                Some(root) => vec![StateDir {
                    kind,
                    root: root.clone(),
                }],
                None => StateDir::all(kind),
            });
            dirs.collect()
        };
        Arc::clone(self.dirs.get_or_insert_with(dirs))
    }

    /// Finds the container of that ID in a state directory.
    fn find_in(&mut self, dir: &StateDir, id: &str) -> io::Result<Option<StateFile>> {
        let sandbox = if dir.kind == RuntimeKind::Gvisor {
            let known = match self.state_files.get(&dir.root) {
                Some(known) => known,
                None => {
                    let all = StateFile::all(&dir.root)?.into_iter();
                    let all = all.map(|file| (file.id, file.sandbox)).collect();
                    self.state_files.entry(dir.root.clone()).or_insert(all)
                }
            };
            known.get(id).cloned()
        } else {
            dir.state_file(id).metadata()?;
            Some(id.to_owned())
        };
        Ok(sandbox.map(|sandbox| StateFile {
            id: id.to_owned(),
            sandbox,
        }))
    }

    /// Finds the only state directory that has the container.
    fn find(&mut self, id: &str) -> Result<(StateDir, StateFile)> {
        let dirs = self.state_dirs();
        let mut found = Vec::new();
        let mut unreadable = None;
        for dir in dirs.iter() {
            match self.find_in(dir, id) {
                Ok(file) => found.extend(file.map(|file| (dir.clone(), file))),
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    let path = dir.state_file(id).display().to_string();
                    unreadable = Some(Error::from(e).context(path));
                }
            }
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(dir, _)| dir.name()).collect();
            bail!(
                Source,
                "more than one runtime knows it, choose one: --source {}",
                names.join(" or ")
            );
        }
        found.pop().ok_or_else(|| {
            unreadable.unwrap_or_else(|| {
                let files = dirs.iter().map(|dir| dir.state_file(id));
                let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
                error!(ContainerNotFound, "there is no {}", files.join(", no "))
            })
        })
    }

    /// Lists the containers in a state directory. `None` if there is no such directory.
    ///
    /// One of the usual directories may be for others to read: a warning is all that it costs.
    fn list(&mut self, dir: &StateDir) -> Result<Option<Vec<StateFile>>> {
        let is_running = |id: &str| self.running.contains(id);
        let error = match dir.containers(is_running) {
            Ok(containers) => return Ok(Some(containers)),
            Err(e) if self.root.is_none() && is_absent(&e) => return Ok(None),
            Err(e) => e,
        };
        let may_be_skipped = self.root.is_none() && error.kind() == io::ErrorKind::PermissionDenied;
        let error = Error::from(error).context(format!("cannot list {}", dir.name()));
        if !may_be_skipped {
            return Err(error);
        }
        self.warnings.push(error);
        Ok(None)
    }

    /// Opens a container of runc or crun.
    fn open(&mut self, dir: &StateDir, id: &str) -> Result<RunningContainer> {
        let mounts = mounts_of(&mut self.mounts)?;
        RunningContainer::open(dir.kind, dir.state_file(id), mounts)
    }

    /// Reads the sandbox of a container of gVisor.
    fn sandbox(&mut self, dir: &StateDir, file: &StateFile) -> Result<Arc<Snapshot>> {
        let ids = || {
            let all = self.state_files.get(&dir.root).into_iter().flatten();
            let all = all.filter(|(_, sandbox)| **sandbox == file.sandbox);
            let mut ids: Vec<_> = all.map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids
        };
        let mounts = mounts_of(&mut self.mounts)?;
        self.sandboxes.snapshot(&dir.root, file, ids, mounts)
    }
}

/// Returns the mounts, which are read once they are needed.
fn mounts_of(mounts: &mut Option<Mounts>) -> Result<&Mounts> {
    Ok(match mounts {
        Some(mounts) => mounts,
        None => mounts.insert(Mounts::of_this_process()?),
    })
}

impl Source for Runtimes {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        let mut all = Vec::new();
        let mut is_readable = false;
        let before = self.warnings.len();
        for dir in self.state_dirs().iter() {
            let Some(containers) = self.list(dir)? else {
                continue;
            };
            is_readable = true;
            all.extend(containers.into_iter().map(|file| ContainerInfo {
                id: file.id,
                sandbox: file.sandbox,
                source: dir.name(),
            }));
        }
        // An open container would stand for both. Once it is closed, reading either fails, as several runtimes know it.
        let mut ids = HashSet::new();
        for info in all.iter().filter(|info| !ids.insert(&info.id)) {
            self.running.close(&info.id);
        }
        if is_readable || self.warnings.len() == before {
            return Ok(all);
        }
        let error = self.warnings.swap_remove(before);
        self.warnings.truncate(before);
        Err(error)
    }

    fn resolve(&mut self, container: &str) -> Result<String> {
        // Finding an ID is faster than listing all.
        if check_file_name(container).is_ok() && self.find(container).is_ok() {
            return Ok(container.to_owned());
        }
        resolve(self, container)
    }

    fn advance(&mut self) -> Result<()> {
        self.sandboxes.advance();
        self.state_files.clear();
        self.dirs = None;
        self.running.advance();
        if let Some(mounts) = &mut self.mounts {
            mounts.refresh()?;
        }
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        let running = if self.running.contains(container) {
            Err(error!(Source, "it is not open"))
        } else {
            check_file_name(container)?;
            match self.find(container) {
                Ok((dir, file)) if dir.kind == RuntimeKind::Gvisor => {
                    return self.sandbox(&dir, &file);
                }
                Ok((dir, _)) => self.open(&dir, container),
                Err(e) => Err(e),
            }
        };
        let read = |running: &mut RunningContainer| running.snapshot(container);
        let (snapshot, left_out) = self.running.read(container, || running, read)?;
        self.warnings.extend(left_out);
        Ok(Arc::new(snapshot))
    }

    fn details(&mut self, container: &str) -> Result<Arc<Details>> {
        let mut opened = Err(error!(Source, "it is not open"));
        if !self.running.contains(container) {
            check_file_name(container)?;
            let (dir, file) = self.find(container)?;
            if dir.kind == RuntimeKind::Gvisor {
                return self.sandboxes.details(&dir.root, &file);
            }
            opened = self.open(&dir, container);
            if let Err(e) = &opened {
                let mut details = oci::details(dir.kind, &dir.state_file(container));
                let has_ended = e.kind() == ErrorKind::ContainerNotFound;
                details.status = has_ended.then_some(Status::Stopped);
                return Ok(Arc::new(details));
            }
        }
        let Some(mounts) = &self.mounts else {
            return Ok(Arc::default());
        };
        let details = |running: &mut RunningContainer| running.details(mounts);
        self.running.read(container, || opened, details)
    }

    fn oom_events(&mut self) -> Option<&mut dyn OomEvents> {
        Some(self)
    }

    fn warnings(&mut self) -> Vec<Error> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.append(&mut self.sandboxes.warnings());
        warnings
    }
}

impl OomEvents for Runtimes {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.fd()
    }

    fn watch(&mut self, container: &str) -> Result<bool> {
        if self.running.is_watched(container) {
            return Ok(true);
        }
        if self.running.contains(container) {
            let open = || Err(error!(Source, "it is not open"));
            return self.running.watch(container, open);
        }
        let running = match self.find(container) {
            Ok((dir, _)) if dir.kind == RuntimeKind::Gvisor => return Ok(false),
            Ok((dir, _)) => self.open(&dir, container),
            Err(e) => Err(e),
        };
        self.running.watch(container, || running)
    }

    fn drain(&mut self) -> Vec<String> {
        self.running.drain()
    }
}
