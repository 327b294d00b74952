//! The cgroups that a process is in.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::cpu;
use super::group::Cgroup;
use super::parse::{parse_flat_keyed, parse_max, parse_u64, value_in};
use super::paths::{CgroupPaths, UNIFIED};
use crate::error::Result;
use crate::linux::mountinfo::Mounts;

/// The accounts of the host's cgroups for the process of a sandbox, and those that share its cgroup.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SandboxCgroup {
    /// The CPU time, in nanoseconds. `None` if it is not accounted.
    pub(crate) cpu_ns: Option<u64>,
    /// The most memory that may be used, in bytes, by the limits of the cgroup and of those above it. If there
    /// is no limit, it is the value that the contract has for that; `None` if memory is not accounted.
    pub(crate) memory_limit: Option<u64>,
}

impl SandboxCgroup {
    /// Reads the cgroups that a process is in, by the text of its /proc/PID/cgroup. The machine's root cgroup
    /// accounts for nothing, and neither does one that no mount leads to.
    pub(crate) fn read(mounts: &Mounts, cgroups: &[u8]) -> Result<Self> {
        Self::read_at(cgroups, |path, controllers| {
            CgroupPaths::of(mounts, path, controllers)
        })
    }

    /// Returns the path of the cgroup that accounts for memory, by the text of a /proc/PID/cgroup.
    pub(crate) fn path(cgroups: &[u8]) -> Option<PathBuf> {
        let path = path_of_process(cgroups, "memory")?;
        path.to_str().map(PathBuf::from)
    }

    fn read_at(
        cgroups: &[u8],
        locate: impl Fn(&Path, &[&'static str]) -> Result<CgroupPaths>,
    ) -> Result<Self> {
        let cgroup = |controller| match path_of_process(cgroups, controller) {
            None => Ok(None),
            Some(path) if path == Path::new("/") => Ok(None),
            Some(path) => Cgroup::open(&locate(path, &[controller, UNIFIED])?).map(Some),
        };
        let mut sandbox = Self::default();
        if let Some(mut cgroup) = cgroup("cpuacct")? {
            sandbox.cpu_ns = match cgroup.dir("cpuacct") {
                Some(dir) => dir.read("cpuacct.usage", parse_u64),
                None => cgroup.dir(UNIFIED).and_then(|dir| cpu::stat(dir).0.total),
            };
        }
        if let Some(mut cgroup) = cgroup("memory")?
            && let Some(dir) = cgroup.dir("memory")
        {
            // On v1, the kernel takes the cgroups above into account.
            let stat = dir.read("memory.stat", parse_flat_keyed);
            sandbox.memory_limit =
                stat.and_then(|stat| value_in(&stat, "hierarchical_memory_limit"));
        } else if let Some(path) = path_of_process(cgroups, UNIFIED) {
            for path in path.ancestors() {
                let mut cgroup = Cgroup::open(&locate(path, &[UNIFIED])?)?;
                let limit = cgroup.dir(UNIFIED);
                let limit = limit.and_then(|dir| dir.read("memory.max", parse_max));
                let lowest = sandbox.memory_limit;
                sandbox.memory_limit = limit.map(|l| l.min(lowest.unwrap_or(l))).or(lowest);
            }
        }
        Ok(sandbox)
    }
}

/// Finds the path of a process's cgroup in the v1 hierarchy of that controller, or else in the v2 hierarchy, in
/// the text of its /proc/PID/cgroup. The names of cgroups can be any bytes.
pub(super) fn path_of_process<'a>(cgroups: &'a [u8], controller: &str) -> Option<&'a Path> {
    let mut unified = None;
    for line in cgroups.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let path = Path::new(OsStr::from_bytes(path));
        let mut controllers = controllers.split(|byte| *byte == b',');
        if controllers.clone().eq([b""]) {
            unified = Some(path);
        } else if controllers.any(|other| other == controller.as_bytes()) {
            return Some(path);
        }
    }
    unified
}

#[cfg(test)]
mod tests {

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn a_process_has_a_cgroup_in_each_hierarchy() {
        for (cgroups, cpuacct, memory) in [
            (
                "2:memory:/a\n1:cpu,cpuacct:/b:c\n0::/d\n",
                Some("/b:c"),
                Some("/a"),
            ),
            ("1:name=systemd:/a\n0::/d\n", Some("/d"), Some("/d")),
            ("0::/\n", Some("/"), Some("/")),
            ("1:memory:/a\n", None, Some("/a")),
            ("", None, None),
            ("0\n", None, None),
            ("future\n3:memory:/a\n", None, Some("/a")),
        ] {
            let path = |controller| {
                let path = path_of_process(cgroups.as_bytes(), controller)?;
                path.to_str()
            };
            assert_eq!(path("cpuacct"), cpuacct, "{cgroups:?}");
            assert_eq!(path("memory"), memory, "{cgroups:?}");
        }
    }

    /// Releases of gVisor report microseconds here, or the group above, and no limit.
    #[test]
    fn a_process_on_v2_has_the_time_of_its_cgroup_and_the_lowest_limit_above_it() {
        let test = tempdir().expect("a directory");
        write(&test, "cgroup.controllers", "cpu memory");
        for (name, usec, limit) in [
            ("", 90, None),
            ("pod/", 70, Some("4096")),
            ("pod/sandbox/", 50, Some("max")),
        ] {
            write(
                &test,
                &format!("{name}cpu.stat"),
                format!("usage_usec {usec}\n"),
            );
            if let Some(limit) = limit {
                write(&test, &format!("{name}memory.max"), limit);
            }
        }
        let locate = |path: &Path, _: &[&'static str]| {
            let below = path.strip_prefix("/").expect("it is absolute");
            let all = CgroupPaths::laid_out_in(test.path())?;
            let parts = below.iter().map(|name| name.to_str().expect("it is UTF-8"));
            Ok(parts.fold(all, |paths, name| paths.child(name)))
        };
        let of_process = |cgroups: &str| {
            SandboxCgroup::read_at(cgroups.as_bytes(), locate).expect("it can be read")
        };
        assert_eq!(
            of_process("0::/pod/sandbox\n"),
            SandboxCgroup {
                cpu_ns: Some(50_000),
                memory_limit: Some(4096)
            }
        );
        // The machine's root cgroup says nothing of one process.
        assert_eq!(of_process("0::/\n"), SandboxCgroup::default());
    }
}
