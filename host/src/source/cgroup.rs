//! `cgroup[:ROOT]`: each child of one cgroup is a container.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::OpenContainers;
use super::{ContainerInfo, OomEvents, Source, check_file_name};
use crate::bindings::types::NetworkInterface;
use crate::details::Details;
use crate::error::{Context as _, Error, Result, bail};
use crate::linux::cgroup::{Cgroup, CgroupPaths, STATISTICS};
use crate::linux::mountinfo::Mounts;
use crate::snapshot::{Container, Format, Snapshot};
use crate::text::shorten;

/// The children of one cgroup.
pub(super) struct Cgroups {
    /// The name of the source.
    name: String,
    root: Option<PathBuf>,
    /// `None` if no cgroup filesystem is mounted.
    mounts: Option<Mounts>,
    parent: CgroupPaths,
    cgroups: OpenContainers<Child>,
    warnings: Vec<Error>,
}

/// A child of a cgroup, open for reading.
struct Child {
    cgroup: Cgroup,
    details: Arc<Details>,
}

impl AsRef<Cgroup> for Child {
    fn as_ref(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl Cgroups {
    /// Opens the children of `root`, a directory in a cgroup filesystem or one that is laid out like it; if it
    /// is `None`, those of the topmost cgroup that is mounted.
    pub(super) fn open(root: Option<&Path>) -> Result<Self> {
        let name = match root {
            Some(root) => format!("cgroup:{}", root.display()),
            None => "cgroup".to_owned(),
        };
        let open = || -> Result<Self> {
            let mut cgroups = Self {
                name: name.clone(),
                root: root.map(Path::canonicalize).transpose()?,
                mounts: match root {
                    // Without cgroup filesystems there may still be directories laid out like them.
                    Some(_) => Mounts::of_this_process().ok(),
                    None => Some(Mounts::of_this_process()?),
                },
                parent: CgroupPaths::default(),
                cgroups: OpenContainers::default(),
                warnings: Vec::new(),
            };
            cgroups.parent = cgroups.locate()?;
            Ok(cgroups)
        };
        open().with_context(|| format!("cannot open {name}"))
    }

    /// Returns where the parent is: what is mounted, or laid out, may change.
    fn locate(&self) -> Result<CgroupPaths> {
        let mounts = self.mounts.as_ref();
        let path = match &self.root {
            Some(root) => mounts.and_then(|mounts| mounts.path_of(root)),
            None => mounts.and_then(|mounts| mounts.top().map(Path::to_owned)),
        };
        match (path, mounts, &self.root) {
            (Some(path), Some(mounts), _) => {
                Ok(CgroupPaths::of(mounts, &path, STATISTICS)?.existing())
            }
            (_, _, Some(root)) => CgroupPaths::laid_out_in(root),
            (_, _, None) => bail!(Source, "no cgroup filesystem is mounted"),
        }
    }
}

impl Source for Cgroups {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        let ids = self.parent.children();
        Ok(ids
            .with_context(|| format!("cannot list {}", self.name))?
            .into_iter()
            .map(|id| ContainerInfo {
                sandbox: id.clone(),
                id,
                source: self.name.clone(),
            })
            .collect())
    }

    fn advance(&mut self) -> Result<()> {
        self.cgroups.advance();
        if let Some(mounts) = &mut self.mounts {
            mounts.refresh()?;
        }
        // What cannot be found now may come back.
        if let Ok(parent) = self.locate()
            && parent != self.parent
        {
            self.parent = parent;
            self.cgroups.close_all();
        }
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        let open = || open(&self.name, &self.parent, container);
        let read = |child: &mut Child| snapshot(&mut child.cgroup, container, Ok(Vec::new()));
        let (snapshot, left_out) = self.cgroups.read(container, open, read)?;
        self.warnings.extend(left_out);
        Ok(Arc::new(snapshot))
    }

    fn details(&mut self, container: &str) -> Result<Arc<Details>> {
        let open = || open(&self.name, &self.parent, container);
        let mounts = self.mounts.as_ref();
        self.cgroups.read(container, open, |child| {
            let Child { cgroup, details } = child;
            let limits = cgroup.cpu_limits();
            let now = Details {
                started: cgroup.made(),
                cgroup: mounts.and_then(|mounts| cgroup.path(mounts)),
                cpu_quota: limits.quota,
                cpu_period: limits.period,
                cpu_shares: limits.shares,
                ..Details::default()
            };
            if **details != now {
                *details = Arc::new(now);
            }
            Ok(Arc::clone(details))
        })
    }

    fn oom_events(&mut self) -> Option<&mut dyn OomEvents> {
        Some(self)
    }

    fn warnings(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.warnings)
    }
}

impl OomEvents for Cgroups {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.cgroups.fd()
    }

    fn watch(&mut self, container: &str) -> Result<bool> {
        let open = || open(&self.name, &self.parent, container);
        self.cgroups.watch(container, open)
    }

    fn drain(&mut self) -> Vec<String> {
        self.cgroups.drain()
    }
}

/// Opens a child of a cgroup.
fn open(source: &str, parent: &CgroupPaths, id: &str) -> Result<Child> {
    check_file_name(id)?;
    let cgroup = Cgroup::open(&parent.child(id))?;
    if cgroup.is_absent() {
        bail!(ContainerNotFound, "{source} has no such cgroup");
    }
    let details = Arc::default();
    Ok(Child { cgroup, details })
}

/// Reads a container that has a cgroup to itself, and so a sandbox of its own. What cannot be read costs
/// itself, and the errors say why.
pub(super) fn snapshot(
    cgroup: &mut Cgroup,
    id: &str,
    interfaces: io::Result<Vec<NetworkInterface>>,
) -> Result<(Snapshot, Vec<Error>)> {
    let mut stats = cgroup.stats()?;
    let mut left_out = Vec::from_iter(cgroup.take_failure());
    match interfaces {
        Ok(interfaces) => stats.network_interfaces = interfaces,
        Err(e) => left_out.push(Error::from(e).context("cannot read its network interfaces")),
    }
    let left_out = left_out.into_iter().map(|e| {
        let id = shorten(id);
        e.context(format!("some values of container {id} are missing"))
    });
    let total = stats.cpu.usage.total;
    // Of a cgroup whose tasks are not counted, all that is known is still of use.
    let pids_count = stats.pids.current.unwrap_or(0);
    let snapshot = Snapshot {
        format: Format::Runc,
        root_container: id.to_owned(),
        memory_usage: stats.memory.usage.usage,
        cgroup_cpu_usage: total,
        containers: vec![Container {
            id: id.to_owned(),
            pids_count,
            cpu_usage: total.filter(|_| pids_count > 0),
            stats: Some(Box::new(stats)),
            ..Container::default()
        }],
    };
    Ok((snapshot, left_out.collect()))
}

#[cfg(test)]
mod tests {

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn nothing_in_an_ordinary_directory_is_watched_or_written_to() {
        let test = tempdir().expect("a directory");
        write(&test, "memory/web/memory.usage_in_bytes", "1\n");
        write(&test, "memory/web/memory.oom_control", "oom_kill 0\n");
        write(&test, "memory/web/cgroup.event_control", "untouched");
        write(&test, "memory/victim", "untouched");
        let mut source = Cgroups::open(Some(test.path())).expect("it is laid out like one");
        let oom = |source: &mut Cgroups| {
            let oom = source.oom_events().expect("it has some");
            let is_watched = oom.watch("web").expect("it need not be watched");
            assert!(!is_watched);
            oom.drain()
        };
        for kills in [0, u64::MAX] {
            let text = format!("oom_kill {kills}\n");
            write(&test, "memory/web/memory.oom_control", text);
            source.advance().expect("it can be read");
            source.snapshot("web").expect("it can be read");
            assert!(oom(&mut source).is_empty());
        }
        let control = test.path().join("memory/web/cgroup.event_control");
        let control = std::fs::read_to_string(control).expect("a file");
        assert_eq!(control, "untouched");
    }
}
