//! Live sandboxes of gVisor, as their sentries tell of them: what a snapshot of one is made of.

mod state;
mod urpc;

use std::path::Path;

use crate::bindings::types::Stats;
use crate::error::{Context as _, Result, bail};
use crate::linux::process::is_running;
use crate::snapshot::{Container, Format, Snapshot};
use crate::text::shorten;

pub(super) use state::Known;

use state::Sandbox;
use urpc::Sentry;

/// One reading of the sandbox that `known` belongs to.
pub(super) fn snapshot(root: &Path, known: &Known) -> Result<Snapshot> {
    let sandbox = Sandbox::read(&known.state_file(root))?;
    let ids = Known::all(root).with_context(|| root.display().to_string())?;
    let ids = ids
        .into_iter()
        .filter(|other| other.sandbox == known.sandbox);
    let ids: Vec<_> = ids.map(|known| known.id).collect();

    let mut sentry =
        match Sentry::connect(root, &known.sandbox, sandbox.control_socket_path.as_deref()) {
            Ok(sentry) => sentry,
            Err(e) if is_running(sandbox.pid, None)? => return Err(e),
            Err(_) => bail!(ContainerNotFound, "its sandbox is not running"),
        };
    let mut snapshot = read(&mut sentry, &known.sandbox, &ids).with_context(|| {
        format!(
            "cannot ask the sentry of sandbox {}",
            shorten(&known.sandbox)
        )
    })?;
    let host = sandbox.on_the_host();
    let host = host.context("cannot read the sandbox's cgroup")?;
    snapshot.cgroup_cpu_usage = host.cpu_ns;
    // The sentry knows of no limit, but there may be one for all of it.
    if host.memory_limit.is_some() {
        for container in &mut snapshot.containers {
            let stats = container.stats.get_or_insert_default();
            stats.memory.usage.limit = host.memory_limit;
        }
    }
    Ok(snapshot)
}

/// Asks about all containers in the sandbox. Those that the sentry doesn't know any more are left out.
fn read(sentry: &mut Sentry, root: &str, ids: &[String]) -> Result<Snapshot> {
    let mut usage = None;
    let mut containers = Vec::new();
    for id in ids {
        let Some((pids, used)) = sentry.event(id)? else {
            continue;
        };
        usage = used.or(usage);
        containers.push(Container {
            id: id.clone(),
            pids_count: pids,
            ..Container::default()
        });
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
    // What the inner cgroups say of memory replaces the equal split where they say it of all. They leave
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
