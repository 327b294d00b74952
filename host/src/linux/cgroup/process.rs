//! The cgroups that a process is in.

use std::path::Path;

use super::group::Group;
use super::parse::{figure, maximum, table};
use super::paths::{Paths, UNIFIED};
use crate::error::Result;
use crate::linux::mountinfo::Mounts;

/// What the host's cgroups say of one process and those that share its group.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct OfProcess {
    /// Their CPU time, in nanoseconds. `None` where it isn't accounted.
    pub(crate) cpu_ns: Option<u64>,
    /// The most memory that they may use together, in bytes, by the limits of the group and of those above
    /// it. Where there is no limit, it is the figure that the contract has for that; `None` where memory
    /// isn't accounted.
    pub(crate) memory_limit: Option<u64>,
}

impl OfProcess {
    /// What the cgroups that a process is in say of it, by the text of its /proc/PID/cgroup. Nothing where
    /// that is the machine's root group.
    pub(crate) fn read(mounts: &Mounts, cgroups: &str) -> Result<Self> {
        let group = |controller| match path_of_process(cgroups, controller) {
            None | Some("/") => Ok(None),
            Some(path) => Group::open(&Paths::of(mounts, Path::new(path))?).map(Some),
        };
        let mut of_process = Self::default();
        if let Some(mut group) = group("cpuacct")? {
            of_process.cpu_ns = group.cpu()?.usage.total;
        }
        if let Some(mut group) = group("memory")?
            && let Some(folder) = group.folder("memory")
        {
            // On v1, the kernel takes the groups above into account.
            let stat = folder.get("memory.stat", table)?.unwrap_or_default();
            of_process.memory_limit = figure(&stat, "hierarchical_memory_limit");
        } else if let Some(path) = path_of_process(cgroups, UNIFIED) {
            for path in Path::new(path).ancestors() {
                let limit = match Group::open(&Paths::of(mounts, path)?)?.folder(UNIFIED) {
                    Some(folder) => folder.get("memory.max", maximum)?,
                    None => None,
                };
                let lowest = of_process.memory_limit;
                of_process.memory_limit = limit.map(|l| l.min(lowest.unwrap_or(l))).or(lowest);
            }
        }
        Ok(of_process)
    }
}

/// The path of a process's cgroup in the v1 hierarchy of that controller, or else in the v2 hierarchy, from
/// the text of its /proc/PID/cgroup.
fn path_of_process<'a>(cgroups: &'a str, controller: &str) -> Option<&'a str> {
    let mut unified = None;
    for line in cgroups.lines() {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        if controllers.is_empty() {
            unified = Some(path);
        } else if controllers.split(',').any(|other| other == controller) {
            return Some(path);
        }
    }
    unified
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_process_has_a_group_in_each_hierarchy() {
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
        ] {
            assert_eq!(path_of_process(cgroups, "cpuacct"), cpuacct, "{cgroups:?}");
            assert_eq!(path_of_process(cgroups, "memory"), memory, "{cgroups:?}");
        }
    }

    /// Where releases of gVisor report microseconds, or the group above, and no limit.
    #[test]
    fn a_process_on_v2_has_its_own_groups_nanoseconds_and_the_lowest_limit_above_it() {
        let root = std::env::temp_dir().join(format!("eventout-v2-{}", std::process::id()));
        let group = root.join("pod/sandbox");
        fs::create_dir_all(&group).expect("a folder");
        for (folder, usec, limit) in [
            (&root, 90, None),
            (&root.join("pod"), 70, Some("4096")),
            (&group, 50, Some("max")),
        ] {
            fs::write(folder.join("cpu.stat"), format!("usage_usec {usec}\n")).expect("a file");
            if let Some(limit) = limit {
                fs::write(folder.join("memory.max"), limit).expect("a file");
            }
        }
        let point = root.display();
        let mounts = Mounts::parse(&format!("35 31 0:38 / {point} rw - cgroup2 cgroup2 rw"));
        let of_process = |cgroups| OfProcess::read(&mounts, cgroups).expect("it can be read");
        assert_eq!(
            of_process("0::/pod/sandbox\n"),
            OfProcess {
                cpu_ns: Some(50_000),
                memory_limit: Some(4096)
            }
        );
        // The machine's root group says nothing of one process.
        assert_eq!(of_process("0::/\n"), OfProcess::default());
        fs::remove_dir_all(&root).expect("it goes");
    }

    #[test]
    fn any_text_has_a_path_or_not() {
        let sample = "2:memory:/a\n1:cpu,cpuacct:/b:c\n0::/d\n";
        crate::fuzz::survives_anything(&[sample], |text| {
            let _ = path_of_process(text, "memory");
        });
    }
}
