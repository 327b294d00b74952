//! Names and settings of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Names and settings of a container, for those who show it to people.
///
/// It is no part of the contract with the component. `None` means that a value is not known, or not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Details {
    /// The runtime: `runc`, `crun` or `gvisor`. `None` for a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The name that people gave the container, where it differs from the ID: that of the Kubernetes container, or of the
    /// container of Podman or nerdctl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The namespace of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The annotations of the OCI configuration, but for those that are too long to be of use to people: of more than
    /// 4 KiB, or behind the first 1000.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// When the container was created, in nanoseconds since 1970, according to its runtime. With the ID, it tells a
    /// container from a later one of that ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// The CPU time that the container may use in each period, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<u64>,
    /// The period of the quota, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// The weight in the distribution of CPU time, as cgroup v1 counts it: 1024 is the default. On cgroup v2, it is the
    /// one that the runtime was given, as releases of runtimes convert it in different ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// The directory of the cgroup, from the root of its hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The inode number of the network namespace. Containers that share it report the same interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<u64>,
}

/// The state of a container, as `runc state` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Set up, but not started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Stopped,
}

impl Status {
    /// Returns the name, as `runc state` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}
