//! Snapshots: one reading of one sandbox. In JSON, a snapshot is a line of a scenario.

mod json;

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::bindings::events::Dialect;
use crate::bindings::types::Stats;
use crate::text::shorten;

/// One reading of one sandbox. In JSON, it is a line of a scenario file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Whose format the users of this sandbox's runtime expect.
    #[serde(
        default,
        skip_serializing_if = "Dialect::is_runsc",
        with = "DialectJson"
    )]
    pub dialect: Dialect,
    /// The ID of the root container.
    pub root: String,
    /// The memory in use by the whole sandbox, in bytes.
    pub memory_bytes: u64,
    /// The CPU time of the whole sandbox by the account of the host's cgroup, in nanoseconds. `None`
    /// where there is no cgroup, or CPU time is not accounted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_cpu_ns: Option<u64>,
    /// The containers of the sandbox, the root container included, each once.
    #[serde(deserialize_with = "distinct")]
    pub containers: Vec<Container>,
    /// Why the sandbox's memory could not be brought up to date, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_memory_error: Option<String>,
}

/// One container in a [`Snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The ID of the container.
    pub id: String,
    /// Its live tasks (threads).
    pub pids: u64,
    /// Its CPU time, user and system, in nanoseconds. `None` where it has no live thread group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// What the host measures for this container alone. `None` where it can't. It is large, and elsewhere, so that
    /// one container among thousands is found fast.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "json::option"
    )]
    pub stats: Option<Box<Stats>>,
    /// Why the container could not be read, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Dialect", rename_all = "lowercase")]
enum DialectJson {
    Runsc,
    Runc,
}

impl Dialect {
    fn is_runsc(&self) -> bool {
        matches!(self, Self::Runsc)
    }
}

/// Containers, none of which has the ID of another.
fn distinct<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Container>, D::Error> {
    struct Containers;

    impl<'de> Visitor<'de> for Containers {
        type Value = Vec<Container>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of containers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut containers: Vec<Container> = Vec::new();
            let mut ids = HashSet::new();
            while let Some(container) = list.next_element::<Container>()? {
                if container.id.contains('\0') {
                    let id = shorten(&container.id);
                    return Err(A::Error::custom(format_args!(
                        "container ID {id} has a NUL in it"
                    )));
                }
                if !ids.insert(container.id.clone()) {
                    let id = shorten(&container.id);
                    return Err(A::Error::custom(format_args!(
                        "duplicate container ID {id}"
                    )));
                }
                containers.push(container);
            }
            Ok(containers)
        }
    }

    from.deserialize_seq(Containers)
}
