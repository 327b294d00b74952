//! Answers what eventout asks, `eventout:stats/sandbox`, of a pod that is not there: the one in `pod.jsonl`, a scenario
//! of one instant, without `stats`.

use std::sync::LazyLock;

use eventout::stats::types::{ContainerCpu, Stats};
use exports::eventout::stats::sandbox::{Error, Guest, SandboxUsage};
use serde::Deserialize;

wit_bindgen::generate!({
    inline: "package example:provider; world provider { export eventout:stats/sandbox@0.1.0; }",
    path: "../../wit",
    generate_all,
});
export!(Mock);

type Answer<T> = Result<T, Error>;

static POD: LazyLock<Result<Pod, serde_json::Error>> =
    LazyLock::new(|| serde_json::from_str(include_str!("pod.jsonl")));

/// A sandbox with all its containers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    /// The ID of the root container.
    root: String,
    memory_bytes: u64,
    cgroup_cpu_ns: Option<u64>,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    id: String,
    /// Live tasks.
    pids: u64,
    /// `None` where there is no live thread group.
    cpu_ns: Option<u64>,
}

fn pod() -> Answer<&'static Pod> {
    let pod = POD.as_ref();
    pod.map_err(|e| Error::Unavailable(format!("cannot read pod.jsonl: {e}")))
}

fn container(id: &str) -> Answer<&'static Container> {
    let mut containers = pod()?.containers.iter();
    containers
        .find(|c| c.id == id)
        .ok_or(Error::ContainerNotFound)
}

struct Mock;

impl Guest for Mock {
    fn pids_count(id: String) -> Answer<u64> {
        Ok(container(&id)?.pids)
    }

    fn update_memory_usage() -> Answer<()> {
        Ok(())
    }

    fn usage() -> Answer<SandboxUsage> {
        let pod = pod()?;
        let listed = pod.containers.iter();
        let listed = listed.filter_map(|c| Some((c.id.as_str(), c.cpu_ns?)));
        let (ids, usage): (Vec<_>, _) = listed.unzip();
        Ok(SandboxUsage {
            memory: pod.memory_bytes,
            container_count: pod.containers.len() as u64,
            root_container: Some(pod.root.clone()),
            cpu: ContainerCpu {
                containers: ids.join("\0"),
                usage,
            },
        })
    }

    fn cgroup_cpu_usage() -> Answer<Option<u64>> {
        Ok(pod()?.cgroup_cpu_ns)
    }

    fn container_stats(id: String) -> Answer<Option<Stats>> {
        container(&id)?;
        Ok(None)
    }
}
