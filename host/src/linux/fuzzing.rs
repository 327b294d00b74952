//! The entry points of the fuzzer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use super::cgroup::{self, CgroupPaths, STATISTICS};
use super::mountinfo::Mounts;
use super::network::interfaces;
use super::process::process as stat;

/// Parses an interface file of a cgroup.
pub fn interface_file(input: &[u8]) {
    cgroup::fuzzing::interface_file(&String::from_utf8_lossy(input));
}

/// Parses a mountinfo file, whose last line is the path of a cgroup.
pub fn mountinfo(input: &[u8]) {
    let mounts = Mounts::parse(input);
    let path = input.rsplit(|byte| *byte == b'\n').next();
    let path = Path::new(OsStr::from_bytes(path.unwrap_or_default()));
    let _ = (mounts.top(), mounts.path_of(path));
    for controller in [None, Some("memory")] {
        let dirs = mounts.dirs(controller, path);
        for dir in dirs.chain(mounts.dirs_of_others(controller, path)) {
            // It is below a directory that a hierarchy is mounted on.
            assert!(dir.is_absolute());
            let mut parts = dir.components();
            let upwards = parts.any(|part| part == Component::ParentDir);
            assert!(!upwards || mounts.path_of(&dir).is_none());
        }
    }
    let _ = (
        CgroupPaths::of(&mounts, path, STATISTICS),
        CgroupPaths::of_state(&mounts, path, &["memory"]),
    );
}

/// Parses a file of a process in /proc: its `stat`, `cgroup` or `net/dev`.
pub fn process(input: &[u8]) {
    let _ = stat(input);
    cgroup::fuzzing::process_cgroups(input);
    let lines = input.split(|byte| *byte == b'\n').count();
    assert!(interfaces(input).len() <= lines);
}
