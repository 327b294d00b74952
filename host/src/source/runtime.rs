//! `runc[:ROOT]`, `crun[:ROOT]`, `gvisor[:ROOT]`, and which of them knows a container.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gvisor::{self, Known};
use super::oci::{self, Running};
use super::open::Kept;
use super::{Listed, Source, check_folder_name};
use crate::error::{Context as _, Error, Result, bail, error};
use crate::linux::file::{is_absent, read_text};
use crate::linux::process::Process;
use crate::snapshot::Snapshot;

/// A runtime with a format of state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Runc,
    Crun,
    Gvisor,
}

impl Kind {
    /// What `--source` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Gvisor => "gvisor",
        }
    }
}

/// A state folder of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    kind: Kind,
    root: PathBuf,
}

impl Place {
    /// What `--source` calls it.
    fn name(&self) -> String {
        format!("{}:{}", self.kind.name(), self.root.display())
    }

    /// The state file of a container, as a pattern in the case of gVisor: the sandbox's ID is part of it.
    fn state_file(&self, id: &str) -> PathBuf {
        match self.kind {
            Kind::Runc => self.root.join(id).join("state.json"),
            Kind::Crun => self.root.join(id).join("status"),
            Kind::Gvisor => self.root.join(format!("{id}_sandbox:*.state")),
        }
    }

    /// The containers in it, in order. Of those that `is_one` says so of, it is known.
    fn containers(&self, is_one: impl Fn(&str) -> bool) -> io::Result<Vec<Known>> {
        if self.kind == Kind::Gvisor {
            return Known::all(&self.root);
        }
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            ids.extend(entry?.file_name().into_string());
        }
        ids.retain(|id| is_one(id) || self.state_file(id).exists());
        ids.sort();
        let alone = |id: String| Known {
            sandbox: id.clone(),
            id,
        };
        Ok(ids.into_iter().map(alone).collect())
    }
}

/// The containers in the state folders of runtimes.
pub(super) struct Runtimes {
    kinds: Vec<Kind>,
    /// The only state folder to look at; the usual ones where it is `None`.
    root: Option<PathBuf>,
    /// The sandboxes of gVisor that were read at this instant.
    sandboxes: HashMap<PathBuf, Arc<Snapshot>>,
    /// The containers of each of runsc's root folders at this instant, with their sandboxes.
    known: HashMap<PathBuf, HashMap<String, String>>,
    /// The containers of runc and crun.
    running: Kept<Running>,
}

impl Runtimes {
    pub(super) fn new(kinds: &[Kind], root: Option<PathBuf>) -> Self {
        Self {
            kinds: kinds.to_vec(),
            root,
            sandboxes: HashMap::new(),
            known: HashMap::new(),
            running: Kept::default(),
        }
    }

    /// The state folders to look at, whether they exist or not.
    fn places(&self) -> Vec<Place> {
        let roots = |kind: Kind| match &self.root {
            Some(root) => vec![root.clone()],
            None => usual_roots(kind),
        };
        self.kinds
            .iter()
            .flat_map(|&kind| {
                roots(kind)
                    .into_iter()
                    .map(move |root| Place { kind, root })
            })
            .collect()
    }

    /// The container of that ID, if that place knows it.
    fn find_in(&mut self, place: &Place, id: &str) -> io::Result<Option<Known>> {
        let sandbox = if place.kind == Kind::Gvisor {
            let known = match self.known.get(&place.root) {
                Some(known) => known,
                None => {
                    let all = Known::all(&place.root)?.into_iter();
                    let all = all.map(|known| (known.id, known.sandbox)).collect();
                    self.known.entry(place.root.clone()).or_insert(all)
                }
            };
            known.get(id).cloned()
        } else {
            place.state_file(id).metadata()?;
            Some(id.to_owned())
        };
        Ok(sandbox.map(|sandbox| Known {
            id: id.to_owned(),
            sandbox,
        }))
    }

    /// The only place that knows the container.
    fn find(&mut self, id: &str) -> Result<(Place, Known)> {
        let places = self.places();
        let mut found = Vec::new();
        let mut unreadable = None;
        for place in &places {
            match self.find_in(place, id) {
                Ok(known) => found.extend(known.map(|known| (place.clone(), known))),
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    let path = place.state_file(id);
                    unreadable = Some(error!(Source, "{e}").context(path.display().to_string()));
                }
            }
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(place, _)| place.name()).collect();
            bail!(
                Source,
                "more than one runtime knows it, choose one: --source {}",
                names.join(" or ")
            );
        }
        found.pop().ok_or_else(|| {
            unreadable.unwrap_or_else(|| {
                let files: Vec<_> = places
                    .iter()
                    .map(|place| place.state_file(id).display().to_string())
                    .collect();
                error!(ContainerNotFound, "there is no {}", files.join(", no "))
            })
        })
    }
}

/// Where a runtime keeps its state when it is called by hand, by Docker, or by containerd.
fn usual_roots(kind: Kind) -> Vec<PathBuf> {
    if kind == Kind::Gvisor {
        // /var/run is a link to /run almost everywhere.
        let roots = ["/run/runsc", "/var/run/runsc"].map(PathBuf::from);
        let mut roots: Vec<_> = roots
            .into_iter()
            .filter_map(|root| root.canonicalize().ok())
            .collect();
        roots.dedup();
        return if roots.is_empty() {
            vec!["/run/runsc".into()]
        } else {
            roots
        };
    }
    let mut roots = vec![Path::new("/run").join(kind.name())];
    if let Some(run) = env::var_os("XDG_RUNTIME_DIR") {
        roots.push(Path::new(&run).join(kind.name()));
    }
    // Managers put whatever runtime they use there: the kind of the state tells which.
    roots.push("/run/docker/runtime-runc/moby".into());
    // A folder for each of containerd's namespaces, such as k8s.io. Where it can't be read, there is
    // no containerd, or it is not for us.
    let mut namespaces: Vec<_> = fs::read_dir("/run/containerd/runc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    namespaces.sort();
    roots.extend(namespaces);
    roots
}

impl Source for Runtimes {
    fn containers(&mut self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for place in self.places() {
            let is_running = |id: &str| self.running.contains(id);
            let containers = match place.containers(is_running) {
                Err(e) if self.root.is_none() && is_absent(&e) => continue,
                containers => {
                    containers.with_context(|| format!("cannot list {}", place.name()))?
                }
            };
            listed.extend(containers.into_iter().map(|known| Listed {
                id: known.id,
                sandbox: known.sandbox,
                source: place.name(),
            }));
        }
        Ok(listed)
    }

    /// As in runsc, the beginning of an ID is enough where no other begins like it.
    fn resolve(&mut self, container: &str) -> Result<String> {
        let places = self.places().into_iter();
        let gvisor: Vec<_> = places.filter(|place| place.kind == Kind::Gvisor).collect();
        // What is wrong with an ID comes to light when it is read.
        if gvisor.is_empty()
            || check_folder_name(container).is_err()
            || self.find(container).is_ok()
        {
            return Ok(container.to_owned());
        }
        let mut ids: Vec<_> = gvisor
            .iter()
            .flat_map(|place| place.containers(|_| false).unwrap_or_default())
            .map(|known| known.id)
            .filter(|id| id.starts_with(container))
            .collect();
        match ids.len() {
            0 => Ok(container.to_owned()),
            1 => Ok(ids.remove(0)),
            n => {
                let more = if n > 5 { ", ..." } else { "" };
                ids.truncate(5);
                let ids = ids.join(", ");
                Err(error!(
                    InvalidRequest,
                    "it could be any of {n}: {ids}{more}"
                ))
            }
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.sandboxes.clear();
        self.known.clear();
        self.running.advance();
        // One question for all.
        let mut running: Vec<_> = self.running.iter_mut().collect();
        let processes: Vec<_> = running.iter().map(|running| &running.process).collect();
        let alive = Process::are_running(&processes);
        for (running, alive) in running.iter_mut().zip(alive) {
            running.alive = alive;
        }
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        if self.running.contains(container) {
            let snapshot = |running: &mut Running| running.snapshot(container);
            return self.running.read(container, snapshot).map(Arc::new);
        }
        check_folder_name(container)?;
        let (place, known) = self.find(container)?;
        let state = match place.kind {
            Kind::Runc => oci::runc_state,
            Kind::Crun => oci::crun_state,
            Kind::Gvisor => {
                let sandbox = place.root.join(&known.sandbox);
                if let Some(snapshot) = self.sandboxes.get(&sandbox) {
                    return Ok(Arc::clone(snapshot));
                }
                let snapshot = Arc::new(gvisor::snapshot(&place.root, &known)?);
                self.sandboxes.insert(sandbox, Arc::clone(&snapshot));
                return Ok(snapshot);
            }
        };
        let path = place.state_file(container);
        let state = read_text(&path)
            .map_err(Error::from)
            .and_then(|text| state(&text))
            .with_context(|| path.display().to_string())?;
        let mut running = state.open()?;
        let snapshot = running.snapshot(container)?;
        self.running.insert(container, running);
        Ok(Arc::new(snapshot))
    }

    fn watch_oom(&mut self, container: &str) -> Result<()> {
        self.running.watch(container)
    }

    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.fd()
    }

    fn oom_kills(&mut self) -> Vec<String> {
        self.running.kills()
    }
}
