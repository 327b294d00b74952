//! `cgroup[:ROOT]`, and the reading of control groups, v1 and v2, for every source that has them.
//!
//! What is read is what runc reads (opencontainers/cgroups, `fs` and `fs2`). Parsers take text, and
//! units are converted there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use wasmtime::error::Context as _;
use wasmtime::{bail, format_err};

use super::{Container, Listed, NotFound, Snapshot, Source, check_folder_name, read_text};
use crate::types::{Cpu, CpuUsage, Memory, MemoryEntry, Pids};
use crate::{Result, Stats};

/// The child groups of one group.
pub(super) struct Cgroups {
    /// What `--source` calls it.
    name: String,
    parent: Group,
}

impl Cgroups {
    /// The children of `root`, a folder in a cgroup filesystem or one that is laid out like it; the
    /// children of the machine's root group where it is `None`.
    pub(super) fn open(root: Option<&Path>) -> Result<Self> {
        let Some(root) = root else {
            return Ok(Self {
                name: "cgroup".to_owned(),
                parent: Mounts::of_this_process()?.group(Path::new("/"))?,
            });
        };
        let name = format!("cgroup:{}", root.display());
        let parent = Self::locate(root).with_context(|| format!("cannot open {name}"))?;
        Ok(Self { name, parent })
    }

    fn locate(root: &Path) -> Result<Group> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            bail!("it is not a folder");
        }
        // Without cgroup filesystems there may still be folders laid out like them.
        if let Ok(mounts) = Mounts::of_this_process()
            && let Some(path) = mounts.path_of(&root)
        {
            return mounts.group(&path);
        }
        Group::laid_out_in(&root)
    }
}

impl Source for Cgroups {
    fn containers(&mut self) -> Result<Vec<Listed>> {
        let ids = self.parent.children();
        Ok(ids
            .with_context(|| format!("cannot list {}", self.name))?
            .into_iter()
            .map(|id| Listed {
                sandbox: id.clone(),
                id,
                source: self.name.clone(),
            })
            .collect())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        check_folder_name(container)?;
        let group = self.parent.child(container);
        if !group.exists() {
            let name = &self.name;
            return Err(NotFound(format!("{name} has no such child group")).into());
        }
        group.snapshot(container)
    }
}

/// The mounted cgroup hierarchies.
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug, PartialEq)]
struct Mount {
    /// The group that is mounted, as a path in its hierarchy.
    root: PathBuf,
    /// The folder that it is mounted on.
    point: PathBuf,
    /// The options of a v1 hierarchy, controllers among them. `None` for the v2 hierarchy.
    v1: Option<Vec<String>>,
}

impl Mounts {
    pub(super) fn of_this_process() -> Result<Self> {
        const PATH: &str = "/proc/self/mountinfo";
        let text = read_text(Path::new(PATH))
            .with_context(|| format!("cannot find cgroup filesystems in {PATH}"))?;
        let mounts = Self::parse(&text);
        if mounts.0.is_empty() {
            bail!("no cgroup filesystem is mounted, says {PATH}");
        }
        Ok(mounts)
    }

    /// The cgroup filesystems in the text of a mountinfo file (proc_pid_mountinfo(5)). Lines of another
    /// form are skipped: they are of other filesystems, or of kernels to come.
    fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(mount).collect())
    }

    /// The path of the group whose folder is `folder`.
    fn path_of(&self, folder: &Path) -> Option<PathBuf> {
        let mount = self
            .0
            .iter()
            .filter(|mount| folder.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())?;
        let below = folder.strip_prefix(&mount.point).ok()?;
        Some(mount.root.join(below))
    }

    /// The CPU time of the cgroup that a process is in, in nanoseconds, by the text of its
    /// /proc/PID/cgroup. `None` where that is the machine's root group, or isn't accounted.
    pub(super) fn cpu_of_process(&self, cgroups: &str) -> Result<Option<u64>> {
        match path_of_process(cgroups) {
            None | Some("/") => Ok(None),
            Some(path) => Ok(self.group(Path::new(path))?.cpu()?.usage.total),
        }
    }

    /// The group of that path, as /proc/PID/cgroup and the state of runtimes have it.
    pub(super) fn group(&self, path: &Path) -> Result<Group> {
        if !path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        {
            bail!("{} is not the path of a cgroup", path.display());
        }
        let folder = |wanted: &dyn Fn(&Mount) -> bool| {
            self.0
                .iter()
                .filter(|mount| wanted(mount))
                .find_map(|mount| {
                    let below = path.strip_prefix(&mount.root).ok()?;
                    let folder = mount.point.join(below);
                    folder.is_dir().then_some(folder)
                })
        };
        let v1 = |controller: &str| {
            folder(&|mount| {
                let options = mount.v1.as_deref().unwrap_or_default();
                options.iter().any(|option| option == controller)
            })
        };
        Ok(Group {
            pids: v1("pids"),
            memory: v1("memory"),
            cpuacct: v1("cpuacct"),
            unified: folder(&|mount| mount.v1.is_none()),
        })
    }
}

/// The path of a process's cgroup, in the v1 hierarchy that accounts for CPU time or in the v2 hierarchy, from
/// the text of its /proc/PID/cgroup.
fn path_of_process(cgroups: &str) -> Option<&str> {
    let mut unified = None;
    for line in cgroups.lines() {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        if controllers
            .split(',')
            .any(|controller| controller == "cpuacct")
        {
            return Some(path);
        }
        if controllers.is_empty() {
            unified = Some(path);
        }
    }
    unified
}

/// One line of a mountinfo file.
fn mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let v1 = match filesystem.next()? {
        "cgroup" => Some(filesystem.nth(1)?.split(',').map(str::to_owned).collect()),
        "cgroup2" => None,
        _ => return None,
    };
    Some(Mount {
        root: unescape(root).into(),
        point: unescape(point).into(),
        v1,
    })
}

/// The kernel writes space, tab, newline and backslash in paths as a backslash and three octal digits.
fn unescape(path: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

/// One control group: its folder in each hierarchy that has one, of those that are of use here.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// v1.
    pub(super) pids: Option<PathBuf>,
    /// v1.
    pub(super) memory: Option<PathBuf>,
    /// v1.
    pub(super) cpuacct: Option<PathBuf>,
    /// v2, alone or beside v1.
    pub(super) unified: Option<PathBuf>,
}

impl Group {
    /// The group whose control files are in an ordinary folder, say copied there from another machine.
    /// `root` has a `cgroup.controllers`, as every v2 group has, or is laid out like /sys/fs/cgroup of a
    /// v1 machine: a folder for each controller, and maybe `unified`.
    fn laid_out_in(root: &Path) -> Result<Self> {
        if root.join("cgroup.controllers").exists() {
            return Ok(Self {
                unified: Some(root.to_owned()),
                ..Self::default()
            });
        }
        let mut group = Self::default();
        for name in folders(root)? {
            let folder = || Some(root.join(&name));
            for controller in name.split(',') {
                match controller {
                    "pids" => group.pids = folder(),
                    "memory" => group.memory = folder(),
                    "cpuacct" => group.cpuacct = folder(),
                    "unified" => group.unified = folder(),
                    _ => {}
                }
            }
        }
        if group.folders().next().is_none() {
            bail!("it is neither in a cgroup filesystem nor laid out like one");
        }
        Ok(group)
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.pids, &self.memory, &self.cpuacct, &self.unified]
            .into_iter()
            .flatten()
    }

    /// The names of the groups in this one, in any hierarchy, in order.
    fn children(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for folder in self.folders() {
            names.extend(folders(folder).with_context(|| folder.display().to_string())?);
        }
        Ok(names)
    }

    fn child(&self, name: &str) -> Self {
        let child = |folder: &Option<PathBuf>| {
            let child = folder.as_ref()?.join(name);
            child.is_dir().then_some(child)
        };
        Self {
            pids: child(&self.pids),
            memory: child(&self.memory),
            cpuacct: child(&self.cpuacct),
            unified: child(&self.unified),
        }
    }

    /// Whether any hierarchy has the group.
    pub(super) fn exists(&self) -> bool {
        self.folders().any(|folder| folder.is_dir())
    }

    /// A container that has this group to itself, and so a sandbox of its own.
    pub(super) fn snapshot(&self, id: &str) -> Result<Arc<Snapshot>> {
        let read = || -> Result<Snapshot> {
            let stats = Stats {
                cpu: self.cpu().context("cannot read CPU usage")?,
                memory: self.memory().context("cannot read memory")?,
                pids: self.pids().context("cannot read pids")?,
            };
            let (Some(memory_bytes), Some(pids)) = (stats.memory.usage.usage, stats.pids.current)
            else {
                bail!("cannot read memory and pids: no mounted hierarchy accounts for both");
            };
            let total = stats.cpu.usage.total;
            Ok(Snapshot {
                root: id.to_owned(),
                memory_bytes,
                cgroup_cpu_ns: total,
                containers: vec![Container {
                    id: id.to_owned(),
                    pids,
                    cpu_ns: total.filter(|_| pids > 0),
                    stats: Some(stats),
                    error: None,
                }],
                update_memory_error: None,
            })
        };
        let snapshot = read();
        // A group goes away in one hierarchy after the other. Then figures are missing, one of those
        // that must be there among them.
        let holes = snapshot
            .as_ref()
            .map_or(true, |snapshot| snapshot.cgroup_cpu_ns.is_none());
        if holes && !self.folders().all(|folder| folder.is_dir()) {
            return Err(NotFound("its cgroup has gone".to_owned()).into());
        }
        snapshot.map(Arc::new)
    }

    fn cpu(&self) -> Result<Cpu> {
        let mut usage = CpuUsage::default();
        if let Some(folder) = &self.cpuacct {
            usage.total = control(folder, "cpuacct.usage", number)?;
            let stat = control(folder, "cpuacct.stat", cpuacct_stat)?;
            (usage.user, usage.kernel) = stat.unwrap_or_default();
            usage.percpu = control(folder, "cpuacct.usage_percpu", numbers)?.unwrap_or_default();
        } else if let Some(folder) = &self.unified {
            let stat = control(folder, "cpu.stat", cpu_stat)?;
            (usage.total, usage.user, usage.kernel) = stat.unwrap_or_default();
        }
        Ok(Cpu { usage })
    }

    fn memory(&self) -> Result<Memory> {
        match (&self.memory, &self.unified) {
            (Some(folder), _) => memory_v1(folder),
            (None, Some(folder)) => memory_v2(folder),
            (None, None) => Ok(Memory::default()),
        }
    }

    /// The count of the pids controller, or, where that is not at work, of the lists of tasks.
    fn pids(&self) -> Result<Pids> {
        for folder in [&self.pids, &self.unified].into_iter().flatten() {
            if let Some(current) = control(folder, "pids.current", number)? {
                return Ok(Pids {
                    current: Some(current),
                    limit: control(folder, "pids.max", maximum)?.filter(|max| *max < u64::MAX),
                });
            }
        }
        let current = match (&self.unified, self.folders().next()) {
            // The folder of a v2 group beside v1 may be there without any task in it.
            (Some(folder), Some(first)) if folder == first => tasks(folder, "cgroup.threads")?,
            (_, Some(folder)) => tasks(folder, "tasks")?,
            (_, None) => None,
        };
        Ok(Pids {
            current,
            limit: None,
        })
    }
}

fn memory_v1(folder: &Path) -> Result<Memory> {
    let entry = |kind: &str| -> Result<MemoryEntry> {
        let figure = |what: &str| control(folder, &format!("memory.{kind}{what}"), number);
        Ok(MemoryEntry {
            limit: figure("limit_in_bytes")?,
            usage: figure("usage_in_bytes")?,
            max: figure("max_usage_in_bytes")?,
            failcnt: figure("failcnt")?,
        })
    };
    let raw = control(folder, "memory.stat", table)?.unwrap_or_default();
    Ok(Memory {
        cache: figure(&raw, "cache"),
        swap: entry("memsw.")?,
        kernel: entry("kmem.")?,
        kernel_tcp: entry("kmem.tcp.")?,
        // The one that must be there is read last: see `Group::snapshot`.
        usage: entry("")?,
        raw,
    })
}

fn memory_v2(folder: &Path) -> Result<Memory> {
    let limit = control(folder, "memory.max", maximum)?;
    let raw = control(folder, "memory.stat", table)?.unwrap_or_default();
    // runc counts memory and swap together on v2 too, as v1 does.
    let swap = control(folder, "memory.swap.current", number)?;
    let swap_limit = control(folder, "memory.swap.max", maximum)?;
    let max = control(folder, "memory.peak", number)?;
    // The one that must be there is read last: see `Group::snapshot`.
    let usage = control(folder, "memory.current", number)?;
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    Ok(Memory {
        cache: figure(&raw, "file"),
        usage: MemoryEntry {
            limit,
            usage,
            max,
            failcnt: None,
        },
        swap: MemoryEntry {
            limit: sum(swap_limit, limit),
            usage: sum(swap, usage),
            max: None,
            failcnt: None,
        },
        kernel: MemoryEntry::default(),
        kernel_tcp: MemoryEntry::default(),
        raw,
    })
}

/// The number of tasks in a group and the groups in it. `None` where the group has no such list.
fn tasks(folder: &Path, list: &str) -> Result<Option<u64>> {
    let Some(mut count) = control(folder, list, |text| Ok(text.lines().count() as u64))? else {
        return Ok(None);
    };
    for name in folders(folder).with_context(|| folder.display().to_string())? {
        // A group that has gone since has no tasks.
        count += tasks(&folder.join(name), list)?.unwrap_or(0);
    }
    Ok(Some(count))
}

/// What `parse` makes of a control file. `None` where there is no such file: controllers differ, and
/// so do kernels.
fn control<T>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<Option<T>> {
    let path = folder.join(name);
    let read = || match read_text(&path) {
        Ok(text) => parse(&text).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    };
    read().with_context(|| path.display().to_string())
}

/// The names of the folders in a folder. One with a name that is not UTF-8 can't be a container's.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// A number. The kernel may print counters that should be above zero as negative for a moment: they
/// count as 0, as they do in runc (`fscommon.ParseUint`).
fn number(text: &str) -> Result<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(0),
        _ => text
            .parse()
            .map_err(|e| format_err!("{} is not a figure: {e}", crate::shorten(text))),
    }
}

/// A limit of v2, or of pids: a number, or `max`, which counts as the largest one.
fn maximum(text: &str) -> Result<u64> {
    match text.trim_ascii() {
        "max" => Ok(u64::MAX),
        text => number(text),
    }
}

/// Numbers with white space between them.
fn numbers(text: &str) -> Result<Vec<u64>> {
    text.split_ascii_whitespace().map(number).collect()
}

/// Lines of a name, a space and a number.
fn table(text: &str) -> Result<Vec<(String, u64)>> {
    (1..)
        .zip(text.lines())
        .map(|(at, line)| {
            line.split_once(' ')
                .ok_or_else(|| format_err!("{} is not a name and a figure", crate::shorten(line)))
                .and_then(|(name, figure)| Ok((name.to_owned(), number(figure)?)))
                .with_context(|| format!("line {at}"))
        })
        .collect()
}

/// The figure of that name in a table.
fn figure(table: &[(String, u64)], name: &str) -> Option<u64> {
    table
        .iter()
        .find(|(key, _)| key == name)
        .map(|&(_, figure)| figure)
}

/// The figure of that name in a table, times `factor`.
fn scaled(table: &[(String, u64)], name: &str, factor: u64) -> Result<Option<u64>> {
    figure(table, name)
        .map(|figure| {
            figure
                .checked_mul(factor)
                .ok_or_else(|| format_err!("{name} {figure} is out of range"))
        })
        .transpose()
}

/// User and system time in a v1 `cpuacct.stat`, in nanoseconds. The kernel counts in ticks of 1/100 s,
/// on every machine that runc runs on.
fn cpuacct_stat(text: &str) -> Result<(Option<u64>, Option<u64>)> {
    let table = table(text)?;
    let figure = |name| scaled(&table, name, 10_000_000);
    Ok((figure("user")?, figure("system")?))
}

/// All, user and system time in a v2 `cpu.stat`, in nanoseconds. The kernel counts in microseconds.
fn cpu_stat(text: &str) -> Result<(Option<u64>, Option<u64>, Option<u64>)> {
    let table = table(text)?;
    let figure = |name| scaled(&table, name, 1000);
    Ok((
        figure("usage_usec")?,
        figure("user_usec")?,
        figure("system_usec")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_wherever_they_are_mounted() {
        let mounts = Mounts::parse(
            r"22 1 0:20 / /proc rw - proc proc rw
31 23 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
33 31 0:35 /docker/1a2b /my\040cgroups/memory rw,relatime - cgroup none rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
a line of some other form
36 31 0:39 / - cgroup2",
        );
        let v1 = |options: &[&str]| Some(options.iter().map(|&o| o.to_owned()).collect());
        let mount = |root: &str, point: &str, v1| Mount {
            root: root.into(),
            point: point.into(),
            v1,
        };
        assert_eq!(
            mounts.0,
            [
                mount(
                    "/",
                    "/sys/fs/cgroup/cpu,cpuacct",
                    v1(&["rw", "cpu", "cpuacct"])
                ),
                mount("/docker/1a2b", "/my cgroups/memory", v1(&["rw", "memory"])),
                mount(
                    "/",
                    "/sys/fs/cgroup/systemd",
                    v1(&["rw", "xattr", "name=systemd"])
                ),
                mount("/", "/sys/fs/cgroup/unified", None),
            ]
        );
        let path = |folder: &str| mounts.path_of(Path::new(folder));
        assert_eq!(
            path("/my cgroups/memory/web"),
            Some("/docker/1a2b/web".into())
        );
        assert_eq!(path("/sys/fs/cgroup/unified"), Some("/".into()));
        assert_eq!(path("/sys/fs/cgroup"), None);
        // Not the folder that merely begins with the same letters.
        assert_eq!(path("/sys/fs/cgroup/unified2/web"), None);
    }

    #[test]
    fn a_path_that_leads_upwards_is_no_group() {
        let mounts = Mounts::parse("35 31 0:38 / /tmp rw - cgroup2 cgroup2 rw");
        for path in ["/..", "/a/../../etc", "relative/.."] {
            assert!(mounts.group(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn the_group_of_a_process_is_the_one_that_accounts_for_its_cpu_time() {
        for (cgroups, path) in [
            ("2:memory:/a\n1:cpu,cpuacct:/b:c\n0::/d\n", Some("/b:c")),
            ("1:name=systemd:/a\n0::/d\n", Some("/d")),
            ("0::/\n", Some("/")),
            ("1:memory:/a\n", None),
            ("", None),
            ("0\n", None),
        ] {
            assert_eq!(path_of_process(cgroups), path, "{cgroups:?}");
        }
    }

    /// Where releases of gVisor report microseconds, or the group above.
    #[test]
    fn cpu_time_of_a_process_on_v2_is_its_own_groups_in_nanoseconds() {
        let root = std::env::temp_dir().join(format!("eventout-v2-{}", std::process::id()));
        let group = root.join("pod/sandbox");
        fs::create_dir_all(&group).expect("a folder");
        for (folder, usec) in [(&root, 90), (&root.join("pod"), 70), (&group, 50)] {
            fs::write(folder.join("cpu.stat"), format!("usage_usec {usec}\n")).expect("a file");
        }
        let mounts = Mounts(vec![Mount {
            root: "/".into(),
            point: root.clone(),
            v1: None,
        }]);
        let cpu = |cgroups| mounts.cpu_of_process(cgroups).expect("it can be read");
        assert_eq!(cpu("0::/pod/sandbox\n"), Some(50_000));
        // The machine's root group says nothing of one process.
        assert_eq!(cpu("0::/\n"), None);
        fs::remove_dir_all(&root).expect("it goes");
    }

    #[test]
    fn escapes_in_paths_are_undone_once() {
        assert_eq!(unescape(r"/a\040b\011c\012d\134e"), "/a b\tc\nd\\e");
        assert_eq!(unescape(r"/\134040"), r"/\040");
    }

    #[test]
    fn a_figure_is_a_u64_and_negative_ones_count_as_zero() {
        for (text, figure) in [
            ("0\n", Some(0)),
            ("18446744073709551615\n", Some(u64::MAX)),
            ("-4096\n", Some(0)),
            ("-99999999999999999999999\n", Some(0)),
            (" 1 \n", Some(1)),
            ("18446744073709551616\n", None),
            ("", None),
            ("\n", None),
            ("-", None),
            ("--1", None),
            ("-x", None),
            ("1 2", None),
            ("1.5", None),
            ("max", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(text).ok(), figure, "{text:?}");
        }
        assert_eq!(maximum("max\n").ok(), Some(u64::MAX));
        assert_eq!(maximum("7\n").ok(), Some(7));
        assert!(maximum("maximum\n").is_err());
    }

    #[test]
    fn tables_keep_unknown_lines_and_refuse_broken_ones() {
        let entries = table("cache 1\nnew_in_linux_9 2\nnegative -3\n").expect("it is one");
        let entry = |name: &str, figure| (name.to_owned(), figure);
        assert_eq!(
            entries,
            [
                entry("cache", 1),
                entry("new_in_linux_9", 2),
                entry("negative", 0)
            ]
        );
        assert_eq!(table("").expect("it is empty"), []);
        for broken in [
            "cache",
            "cache 1\n\ncache 2",
            "cache  x",
            "cache 1 2",
            "cache\t1",
        ] {
            assert!(table(broken).is_err(), "{broken:?}");
        }
        let error = table("cache 1\nrss ?\n").expect_err("? is no figure");
        assert!(format!("{error:#}").starts_with("line 2: "), "{error:#}");
    }

    #[test]
    fn cpu_time_is_nanoseconds_whatever_the_kernel_counts_in() {
        let v1 = cpuacct_stat("user 122\nsystem 358\n").expect("it is one");
        assert_eq!(v1, (Some(1_220_000_000), Some(3_580_000_000)));
        let v2 = "usage_usec 4806821\nuser_usec 1224751\nsystem_usec 3582069\nnr_periods 66\n";
        assert_eq!(
            cpu_stat(v2).expect("it is one"),
            (
                Some(4_806_821_000),
                Some(1_224_751_000),
                Some(3_582_069_000)
            )
        );
        assert_eq!(cpu_stat("").expect("it is empty"), (None, None, None));
        assert!(cpu_stat("usage_usec 18446744073709552\n").is_err());
        assert!(cpuacct_stat("user 1844674407371\n").is_err());
        assert_eq!(numbers("1 2\n").expect("they are"), [1, 2]);
        assert!(numbers("1 x").is_err());
    }
}
