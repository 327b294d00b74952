//! Live sandboxes of gVisor, as their sentries report them.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod sandboxes;
mod state;
mod urpc;

use std::path::Path;
use std::time::Duration;

use crate::bindings::types::Stats;
use crate::error::{Context as _, Error, Result, bail};
use crate::linux::cgroup::SandboxCgroup;
use crate::linux::mountinfo::Mounts;
use crate::snapshot::{Container, Format, Snapshot};
use crate::text::shorten;

pub(super) use sandboxes::Sandboxes;
pub(super) use state::StateFile;

use state::Sandbox;
use urpc::Sentry;

/// Reads the sandbox of a container, by its parsed state file. The sandbox has the containers `ids`, and its sentry may
/// take that much time. Returns also why what the host accounts for it could not be read.
fn snapshot(
    root: &Path,
    file: &StateFile,
    sandbox: &Sandbox,
    ids: &[String],
    mounts: &Mounts,
    time: Duration,
) -> Result<(Snapshot, Option<Error>)> {
    let mut sentry = match Sentry::connect(root, &file.sandbox, sandbox, time) {
        Ok(sentry) => sentry,
        Err(e) if sandbox.may_run(&file.sandbox, &e)? => return Err(e),
        Err(_) => bail!(ContainerNotFound, "its sandbox is not running"),
    };
    let mut snapshot = read(&mut sentry, &file.sandbox, ids).with_context(|| {
        let sandbox = shorten(&file.sandbox);
        format!("cannot read sandbox {sandbox} from its sentry")
    })?;
    // Without it, the sentry's own values are all that is known.
    let host = sandbox.on_the_host(mounts).with_context(|| {
        let sandbox = shorten(&file.sandbox);
        format!("cannot read the cgroup of sandbox {sandbox}")
    });
    let (host, failure) = match host {
        Ok(host) => (host, None),
        Err(e) => (SandboxCgroup::default(), Some(e)),
    };
    snapshot.cgroup_cpu_usage = host.cpu_ns;
    // The sentry knows of no limit, but there may be one for all of it.
    if host.memory_limit.is_some() {
        for container in &mut snapshot.containers {
            let stats = container.stats.get_or_insert_default();
            stats.memory.usage.limit = host.memory_limit;
        }
    }
    Ok((snapshot, failure))
}

/// Reads all containers of a sandbox. Those that the sentry does not know any more are left out, and an error
/// about one container fails that container's calls only.
fn read(sentry: &mut Sentry, root: &str, ids: &[String]) -> Result<Snapshot> {
    let mut usage = None;
    let mut containers = Vec::new();
    let mut failure = None;
    for id in ids {
        match sentry.event(id)? {
            Ok(Some((pids, used))) => {
                usage = used.or(usage);
                containers.push(Container {
                    id: id.clone(),
                    pids_count: pids,
                    ..Container::default()
                });
            }
            Ok(None) => {}
            Err(e) => {
                containers.push(Container {
                    id: id.clone(),
                    error: Some(format!("{e:#}")),
                    ..Container::default()
                });
                failure.get_or_insert(e);
            }
        }
    }
    if let Some(e) = failure
        && containers.iter().all(|container| container.error.is_some())
    {
        return Err(e);
    }
    // The others cannot be accounted for without it, or be recorded.
    if containers.iter().all(|container| container.id != root) {
        let root = shorten(root);
        bail!(
            Source,
            "its root container {root} is not among the containers"
        );
    }
    let memory_usage = sentry.memory()?;
    let inner = sentry.cgroups(&containers)?;
    for (at, container) in containers.iter_mut().enumerate() {
        container.cpu_usage = match (&usage, inner.get(at)) {
            (Some(usage), _) => usage.get(&container.id).copied(),
            (None, Some(inner)) => inner.cpu,
            (None, None) => None,
        };
    }
    // The memory of the inner cgroups replaces the equal split if all of them have it. They leave
    // out what the sentry needs for itself: every container carries its part of that. It is done here and
    // not in the component, since nobody else sees all parts.
    let measured: Option<Vec<u64>> = inner.iter().map(|inner| inner.memory).collect();
    if let Some(measured) = measured.filter(|measured| !measured.is_empty()) {
        let sum: u128 = measured.iter().copied().map(u128::from).sum();
        for (container, part) in containers.iter_mut().zip(measured) {
            let share = u128::from(memory_usage) * u128::from(part) / sum.max(1);
            let mut stats = Box::<Stats>::default();
            stats.memory.usage.usage = u64::try_from(share).ok();
            container.stats = Some(stats);
        }
    }
    Ok(Snapshot {
        format: Format::Gvisor,
        root_container: root.to_owned(),
        memory_usage: Some(memory_usage),
        cgroup_cpu_usage: None,
        containers,
    })
}
