//! Exports `eventout:stats/sandbox` for a pod that does not exist: the one in `pod.jsonl`, a scenario of one sample
//! without `stats`.

use std::sync::LazyLock;

use eventout::stats::types::Stats;
use exports::eventout::stats::sandbox::{Error, Guest};
use serde::Deserialize;

wit_bindgen::generate!({
    inline: "package example:provider; world provider { export eventout:stats/sandbox@0.1.0; }",
    path: "../../wit",
    generate_all,
});
export!(Mock);

type Result<T> = std::result::Result<T, Error>;

static POD: LazyLock<Pod> =
    LazyLock::new(|| serde_json::from_str(include_str!("pod.jsonl")).expect("it is valid"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    root_container: String,
    memory_usage: Option<u64>,
    cgroup_cpu_usage: Option<u64>,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    id: String,
    pids_count: u64,
    cpu_usage: Option<u64>,
}

struct Mock;

impl Guest for Mock {
    fn pids_count(id: String) -> Result<u64> {
        let container = POD.containers.iter().find(|c| c.id == id);
        Ok(container.ok_or(Error::ContainerNotFound)?.pids_count)
    }

    fn memory_usage() -> Result<Option<u64>> {
        Ok(POD.memory_usage)
    }

    fn container_count() -> Result<u64> {
        Ok(POD.containers.len() as u64)
    }

    fn root_container() -> Result<String> {
        Ok(POD.root_container.clone())
    }

    fn cpu_usage() -> Result<Vec<(String, u64)>> {
        let containers = POD.containers.iter();
        Ok(containers
            .filter_map(|c| Some((c.id.clone(), c.cpu_usage?)))
            .collect())
    }

    fn cgroup_cpu_usage() -> Result<Option<u64>> {
        Ok(POD.cgroup_cpu_usage)
    }

    fn container_stats(_: String) -> Result<Option<Stats>> {
        Ok(None)
    }
}
