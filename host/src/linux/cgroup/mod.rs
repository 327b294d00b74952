//! Control groups, v1 and v2.
//!
//! What is read is what runc reads (opencontainers/cgroups, `fs` and `fs2`). Parsers take text, and
//! units are converted there.

mod blkio;
mod cpu;
mod cpuset;
mod dir;
mod group;
mod hugetlb;
mod memory;
mod oom;
mod parse;
mod paths;
mod pids;
mod process;
mod psi;

pub(crate) use group::Group;
pub(crate) use oom::Watch;
pub(crate) use paths::Paths;
pub(crate) use process::OfProcess;
