//! `cgroup[:ROOT]`: each child group of one group is a container.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use super::open::Kept;
use super::{Listed, Source, check_folder_name};
use crate::bindings::types::{NetworkInterface, Stats};
use crate::error::{Context as _, Result, bail};
use crate::linux::cgroup::{Group, Paths};
use crate::linux::mountinfo::Mounts;
use crate::snapshot::{Container, Format, Snapshot};

/// The child groups of one group.
pub(super) struct Cgroups {
    /// What `--source` calls it.
    name: String,
    parent: Paths,
    groups: Kept<Group>,
}

impl Cgroups {
    /// The children of `root`, a folder in a cgroup filesystem or one that is laid out like it; the
    /// children of the machine's root group where it is `None`.
    pub(super) fn open(root: Option<&Path>) -> Result<Self> {
        let (name, parent) = match root {
            None => (
                "cgroup".to_owned(),
                Paths::of(&Mounts::of_this_process()?, Path::new("/"))?,
            ),
            Some(root) => {
                let name = format!("cgroup:{}", root.display());
                let parent = Self::locate(root).with_context(|| format!("cannot open {name}"))?;
                (name, parent)
            }
        };
        Ok(Self {
            name,
            parent,
            groups: Kept::default(),
        })
    }

    fn locate(root: &Path) -> Result<Paths> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            bail!(Source, "it is not a folder");
        }
        // Without cgroup filesystems there may still be folders laid out like them.
        if let Ok(mounts) = Mounts::of_this_process()
            && let Some(path) = mounts.path_of(&root)
        {
            return Paths::of(&mounts, &path);
        }
        Paths::laid_out_in(&root)
    }

    fn open_group(&self, container: &str) -> Result<Group> {
        check_folder_name(container)?;
        let paths = self.parent.child(container);
        if paths.is_empty() {
            let name = &self.name;
            bail!(ContainerNotFound, "{name} has no such child group");
        }
        Group::open(&paths)
    }
}

impl Source for Cgroups {
    fn containers(&mut self) -> Result<Vec<Listed>> {
        let ids = self.parent.children();
        Ok(ids
            .with_context(|| format!("cannot list {}", self.name))?
            .into_iter()
            .map(|id| Listed {
                sandbox: id.clone(),
                id,
                source: self.name.clone(),
            })
            .collect())
    }

    fn advance(&mut self) -> Result<()> {
        self.groups.advance();
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        if !self.groups.contains(container) {
            let group = self.open_group(container)?;
            self.groups.insert(container, group);
        }
        self.groups
            .read(container, |group| snapshot(group, container, Vec::new()))
            .map(Arc::new)
    }

    fn watch_oom(&mut self, container: &str) -> Result<()> {
        self.groups.watch(container)
    }

    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        self.groups.fd()
    }

    fn oom_kills(&mut self) -> Vec<String> {
        self.groups.kills()
    }
}

/// A container that has a group to itself, and so a sandbox of its own.
pub(super) fn snapshot(
    group: &mut Group,
    id: &str,
    network_interfaces: Vec<NetworkInterface>,
) -> Result<Snapshot> {
    let stats = Stats {
        network_interfaces,
        ..group.stats()?
    };
    let Some(pids_count) = stats.pids.current else {
        bail!(
            Source,
            "cannot read pids: no mounted hierarchy accounts for them"
        );
    };
    let total = stats.cpu.usage.total;
    Ok(Snapshot {
        format: Format::Runc,
        root_container: id.to_owned(),
        memory_usage: stats.memory.usage.usage,
        cgroup_cpu_usage: total,
        containers: vec![Container {
            id: id.to_owned(),
            pids_count,
            cpu_usage: total.filter(|_| pids_count > 0),
            stats: Some(Box::new(stats)),
            error: None,
        }],
    })
}
