//! Linux: files that the kernel keeps up to date.

pub(crate) mod cgroup;
