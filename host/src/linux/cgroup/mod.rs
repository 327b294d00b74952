//! Cgroups, v1 and v2.
//!
//! The values are those that runc reads (opencontainers/cgroups, `fs` and `fs2`). Parsers take text, and
//! units are converted there. Of a file that cannot be read or understood, only its own values are missing.

mod blkio;
mod cpu;
mod cpuset;
mod dir;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod group;
mod hugetlb;
mod memory;
mod oom;
mod parse;
mod paths;
mod pids;
mod process;
mod psi;

pub(crate) use group::Cgroup;
pub(crate) use oom::OomNotifier;
pub(crate) use paths::{CgroupPaths, FREEZER, STATISTICS};
pub(crate) use process::SandboxCgroup;
