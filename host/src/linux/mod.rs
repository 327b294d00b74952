//! Linux: files that the kernel keeps up to date, and processes.

pub(crate) mod cgroup;
pub(crate) mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod mountinfo;
pub(crate) mod network;
pub(crate) mod process;
