//! Snapshots: the facts about one sandbox at one moment. In JSON, a snapshot is a line of a scenario.

mod sparse;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::bindings::events;
use crate::bindings::types::Stats;
use crate::details::Details;

/// The facts about one sandbox at one moment, named as the functions of the contract that return them.
///
/// In JSON, it is the form of a line of a scenario: see `docs/scenarios.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The format that users of this sandbox's runtime expect.
    #[serde(default, skip_serializing_if = "Format::is_default")]
    pub format: Format,
    /// The ID of the root container.
    pub root_container: String,
    /// The memory in use by the whole sandbox, in bytes. `None` if memory is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_usage: Option<u64>,
    /// The CPU time of the whole sandbox as the host's cgroup accounts it, in nanoseconds. `None` if there
    /// is no cgroup, or CPU time is not accounted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_cpu_usage: Option<u64>,
    /// The containers of the sandbox, the root container among them, each once.
    pub containers: Vec<Container>,
}

/// The facts about one container in a [`Snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The ID of the container.
    pub id: String,
    /// The number of live tasks (threads).
    pub pids_count: u64,
    /// The CPU time, user and system, in nanoseconds. `None` if the container has no live thread group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usage: Option<u64>,
    /// The statistics that the host measures for this container alone. `None` if it cannot. They are boxed so
    /// that one container among thousands is found fast.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "sparse")]
    pub stats: Option<Box<Stats>>,
    /// The reason why the container could not be read. All calls about it fail with this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Names and settings of the container, in a recording. [`Source::details`](crate::Source::details)
    /// returns it, so that snapshots in memory need not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// The format of a line of JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The format of `runsc events`: gVisor's `boot.Event`.
    #[default]
    Gvisor,
    /// The format of `runc events`: runc's `types.Event`.
    Runc,
}

impl Format {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Format> for events::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Gvisor => Self::Gvisor,
            Format::Runc => Self::Runc,
        }
    }
}

impl Snapshot {
    /// Returns the first ID that is in `snapshots` more than once.
    pub(crate) fn duplicate_id(snapshots: &[Self]) -> Option<&str> {
        let mut ids = HashSet::new();
        let containers = snapshots.iter().flat_map(|snapshot| &snapshot.containers);
        let mut all = containers.map(|container| container.id.as_str());
        all.find(|id| !ids.insert(*id))
    }

    /// Returns whether the root container is among the containers, which it need not be if there is none.
    pub(crate) fn has_root_container(&self) -> bool {
        let mut containers = self.containers.iter();
        self.containers.is_empty()
            || containers.any(|container| container.id == self.root_container)
    }
}
