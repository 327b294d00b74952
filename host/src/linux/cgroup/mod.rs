//! Control groups, v1 and v2.

pub(crate) mod blkio;
