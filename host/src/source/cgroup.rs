//! `cgroup[:ROOT]`, and the reading of control groups, v1 and v2, for every source that has them.
//!
//! What is read is what runc reads (opencontainers/cgroups, `fs` and `fs2`). Parsers take text, and
//! units are converted there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use wasmtime::error::Context as _;
use wasmtime::{bail, format_err};

use super::oom::Kept;
use super::{Listed, Source, check_folder_name, read_text};
use crate::bindings::events::Dialect;
use crate::bindings::types::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, NetworkInterface, Pids,
    Psi, PsiData, Stats, Throttling,
};
use crate::error::{NotFound, Result};
use crate::linux::cgroup::blkio::{Account, Column, join};
use crate::snapshot::{Container, Snapshot};
use crate::text::shorten;

/// The child groups of one group.
pub(super) struct Cgroups {
    /// What `--source` calls it.
    name: String,
    parent: Paths,
    groups: Kept<Group>,
}

impl Cgroups {
    /// The children of `root`, a folder in a cgroup filesystem or one that is laid out like it; the
    /// children of the machine's root group where it is `None`.
    pub(super) fn open(root: Option<&Path>) -> Result<Self> {
        let (name, parent) = match root {
            None => (
                "cgroup".to_owned(),
                Mounts::of_this_process()?.group(Path::new("/"))?,
            ),
            Some(root) => {
                let name = format!("cgroup:{}", root.display());
                let parent = Self::locate(root).with_context(|| format!("cannot open {name}"))?;
                (name, parent)
            }
        };
        Ok(Self {
            name,
            parent,
            groups: Kept::default(),
        })
    }

    fn locate(root: &Path) -> Result<Paths> {
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
        Paths::laid_out_in(&root)
    }

    fn open_group(&self, container: &str) -> Result<Group> {
        check_folder_name(container)?;
        let paths = self.parent.child(container);
        if paths.is_empty() {
            let name = &self.name;
            return Err(NotFound(format!("{name} has no such child group")).into());
        }
        paths.open()
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

    fn advance(&mut self) -> Result<()> {
        self.groups.advance();
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        if !self.groups.contains(container) {
            let group = self.open_group(container)?;
            self.groups.insert(container, group);
        }
        self.groups
            .read(container, |group| group.snapshot(container, Vec::new()))
            .map(Arc::new)
    }

    fn watch_oom(&mut self, container: &str) -> Result<()> {
        self.groups.watch(container)
    }

    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        self.groups.fd()
    }

    fn oom_kills(&mut self) -> Vec<String> {
        self.groups.kills()
    }
}

/// The mounted cgroup hierarchies.
pub(super) struct Mounts(Vec<Mount>);

/// What the host's cgroups say of one process and those that share its group.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OfProcess {
    /// Their CPU time, in nanoseconds. `None` where it isn't accounted.
    pub(super) cpu_ns: Option<u64>,
    /// The most memory that they may use together, in bytes, by the limits of the group and of those above
    /// it. Where there is no limit, it is the figure that the contract has for that; `None` where memory
    /// isn't accounted.
    pub(super) memory_limit: Option<u64>,
}

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

    /// What the cgroups that a process is in say of it, by the text of its /proc/PID/cgroup. Nothing where
    /// that is the machine's root group.
    pub(super) fn of_process(&self, cgroups: &str) -> Result<OfProcess> {
        let group = |controller| match path_of_process(cgroups, controller) {
            None | Some("/") => Ok(None),
            Some(path) => self.group(Path::new(path))?.open().map(Some),
        };
        let mut of_process = OfProcess::default();
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
                let limit = match self.group(path)?.open()?.folder(UNIFIED) {
                    Some(folder) => folder.get("memory.max", maximum)?,
                    None => None,
                };
                let lowest = of_process.memory_limit;
                of_process.memory_limit = limit.map(|l| l.min(lowest.unwrap_or(l))).or(lowest);
            }
        }
        Ok(of_process)
    }

    /// The group of that path, as /proc/PID/cgroup and the state of runtimes have it.
    pub(super) fn group(&self, path: &Path) -> Result<Paths> {
        if !path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        {
            bail!("{} is not the path of a cgroup", path.display());
        }
        let folder = |controller: &str| {
            let wanted = |mount: &&Mount| match (&mount.v1, controller) {
                (None, UNIFIED) => true,
                (None, _) | (Some(_), UNIFIED) => false,
                (Some(options), _) => options.iter().any(|option| option == controller),
            };
            self.0.iter().filter(wanted).find_map(|mount| {
                let below = path.strip_prefix(&mount.root).ok()?;
                let folder = mount.point.join(below);
                folder.is_dir().then_some(folder)
            })
        };
        let folders = CONTROLLERS
            .iter()
            .filter_map(|&controller| Some((controller, folder(controller)?)));
        Ok(Paths(folders.collect()))
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

/// The controllers of v1 that tell anything here, and the v2 hierarchy.
const CONTROLLERS: [&str; 8] = [
    "memory", "pids", "cpuacct", "cpu", "cpuset", "blkio", "hugetlb", UNIFIED,
];

/// The v2 hierarchy, alone or beside v1, under the name that runc has for it.
const UNIFIED: &str = "";

/// Where one control group is: its folder in each hierarchy of [`CONTROLLERS`] that has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths(BTreeMap<&'static str, PathBuf>);

impl Paths {
    /// Those of `folders`, by their controllers, that are there.
    pub(super) fn new(folders: &HashMap<String, PathBuf>) -> Self {
        let folders = CONTROLLERS
            .iter()
            .filter_map(|&controller| Some((controller, folders.get(controller)?.clone())))
            .filter(|(_, folder)| folder.is_dir());
        Self(folders.collect())
    }

    /// The group whose control files are in an ordinary folder, say copied there from another machine.
    /// `root` has a `cgroup.controllers`, as every v2 group has, or is laid out like /sys/fs/cgroup of a
    /// v1 machine: a folder for each controller, and maybe `unified`.
    fn laid_out_in(root: &Path) -> Result<Self> {
        if root.join("cgroup.controllers").exists() {
            return Ok(Self([(UNIFIED, root.to_owned())].into()));
        }
        let mut paths = Self::default();
        for name in folders(root)? {
            for controller in name.split(',') {
                let controller = match controller {
                    "unified" => UNIFIED,
                    other => other,
                };
                if let Some(known) = CONTROLLERS.iter().find(|known| **known == controller) {
                    paths.0.insert(known, root.join(&name));
                }
            }
        }
        if paths.0.is_empty() {
            bail!("it is neither in a cgroup filesystem nor laid out like one");
        }
        Ok(paths)
    }

    /// The names of the groups in this one, in any hierarchy, in order.
    fn children(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for folder in self.0.values() {
            names.extend(folders(folder).with_context(|| folder.display().to_string())?);
        }
        Ok(names)
    }

    fn child(&self, name: &str) -> Self {
        let children = self
            .0
            .iter()
            .map(|(controller, folder)| (*controller, folder.join(name)))
            .filter(|(_, folder)| folder.is_dir());
        Self(children.collect())
    }

    /// Whether there is no such group in any hierarchy.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens the group for reading.
    pub(super) fn open(&self) -> Result<Group> {
        let mut folders = BTreeMap::new();
        for (controller, path) in &self.0 {
            let folder = Folder::open(path).with_context(|| path.display().to_string())?;
            folders.insert(*controller, folder);
        }
        Ok(Group { folders })
    }
}

/// One control group, open for reading.
pub(super) struct Group {
    folders: BTreeMap<&'static str, Folder>,
}

impl AsRef<Group> for Group {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Group {
    /// The folder of that controller in v1, or the v2 one.
    fn folder(&mut self, controller: &str) -> Option<&mut Folder> {
        self.folders.get_mut(controller)
    }

    /// The folder that accounts for memory, and whether it is one of v1.
    pub(super) fn memory_folder(&self) -> Option<(&Path, bool)> {
        let folder = |controller| self.folders.get(controller);
        let v1 = folder("memory").map(|folder| (folder.path.as_path(), true));
        v1.or_else(|| Some((folder(UNIFIED)?.path.as_path(), false)))
    }

    /// A container that has this group to itself, and so a sandbox of its own.
    pub(super) fn snapshot(
        &mut self,
        id: &str,
        network_interfaces: Vec<NetworkInterface>,
    ) -> Result<Snapshot> {
        let snapshot = self.read(id, network_interfaces);
        // A group goes away in one hierarchy after the other. Then figures are missing, one of those
        // that must be there among them.
        let holes = snapshot
            .as_ref()
            .map_or(true, |snapshot| snapshot.cgroup_cpu_ns.is_none());
        let mut folders = self.folders.values();
        if folders.any(|folder| (holes || folder.kind == Kind::Other) && folder.is_gone()) {
            return Err(NotFound("its cgroup has gone".to_owned()).into());
        }
        snapshot
    }

    fn read(&mut self, id: &str, network_interfaces: Vec<NetworkInterface>) -> Result<Snapshot> {
        let stats = Stats {
            cpu: self.cpu().context("cannot read CPU usage")?,
            cpuset: self.cpuset().context("cannot read the cpuset")?,
            blkio: self.blkio().context("cannot read block I/O")?,
            hugetlb: self.hugetlb().context("cannot read huge pages")?,
            pids: self.pids().context("cannot read pids")?,
            memory: self.memory().context("cannot read memory")?,
            network_interfaces,
            ..Stats::default()
        };
        let (Some(memory_bytes), Some(pids)) = (stats.memory.usage.usage, stats.pids.current)
        else {
            bail!("cannot read memory and pids: no mounted hierarchy accounts for both");
        };
        let total = stats.cpu.usage.total;
        Ok(Snapshot {
            dialect: Dialect::Runc,
            root: id.to_owned(),
            memory_bytes,
            cgroup_cpu_ns: total,
            containers: vec![Container {
                id: id.to_owned(),
                pids,
                cpu_ns: total.filter(|_| pids > 0),
                stats: Some(Box::new(stats)),
                error: None,
            }],
            update_memory_error: None,
        })
    }

    fn cpu(&mut self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        if let Some(folder) = self.folder("cpuacct") {
            let usage = &mut cpu.usage;
            let stat = folder.get("cpuacct.stat", cpuacct_stat)?;
            (usage.user, usage.kernel) = stat.unwrap_or_default();
            usage.total = match folder.get("cpuacct.usage_percpu", numbers)? {
                Some(percpu) => {
                    usage.percpu = percpu;
                    // What the kernel has in `cpuacct.usage`, and one file less to read.
                    Some(usage.percpu.iter().fold(0, |all, ns| ns.wrapping_add(all)))
                }
                None => folder.get("cpuacct.usage", number)?,
            };
            let all = folder.get("cpuacct.usage_all", usage_all)?;
            (usage.percpu_user, usage.percpu_kernel) = all.unwrap_or_default();
        } else if let Some(folder) = self.folder(UNIFIED) {
            let stat = folder.get("cpu.stat", cpu_stat)?;
            (cpu.usage, cpu.throttling) = stat.unwrap_or_default();
        }
        if let Some(folder) = self.folder("cpu") {
            let stat = folder.get("cpu.stat", cpu_stat)?;
            (_, cpu.throttling) = stat.unwrap_or_default();
        }
        let v1 = ["cpu", "cpuacct"].map(|controller| self.folders.contains_key(controller));
        if v1 == [false, false]
            && let Some(folder) = self.folder(UNIFIED)
        {
            cpu.psi = folder.pressure("cpu.pressure")?;
        }
        Ok(cpu)
    }

    fn cpuset(&mut self) -> Result<Cpuset> {
        // On v2, runc reads none of it.
        let Some(folder) = self.folder("cpuset") else {
            return Ok(Cpuset::default());
        };
        let known = folder.cpuset.take();
        let (read, cpuset) = match known.filter(|(read, _)| folder.is_fresh(*read)) {
            Some(known) => known,
            None => (Instant::now(), cpuset_v1(folder)?),
        };
        folder.cpuset = Some((read, cpuset.clone()));
        Ok(cpuset)
    }

    fn memory(&mut self) -> Result<Memory> {
        if let Some(folder) = self.folder("memory") {
            return memory_v1(folder);
        }
        match self.folder(UNIFIED) {
            Some(folder) => memory_v2(folder),
            None => Ok(Memory::default()),
        }
    }

    /// The count of the pids controller, or, where that is not at work, of the lists of tasks.
    fn pids(&mut self) -> Result<Pids> {
        for controller in ["pids", UNIFIED] {
            if let Some(folder) = self.folder(controller)
                && let Some(current) = folder.get("pids.current", number)?
            {
                let limit = folder.limit("pids.max", maximum)?;
                return Ok(Pids {
                    current: Some(current),
                    limit: limit.filter(|max| *max < u64::MAX),
                });
            }
        }
        // The folder of a v2 group beside v1 may be there without any task in it.
        let mut folders = self.folders.iter();
        let v1 = folders.find(|(controller, _)| **controller != UNIFIED);
        let current = match (v1, self.folders.get(UNIFIED)) {
            (Some((_, folder)), _) => tasks(&folder.path, "tasks")?,
            (None, Some(folder)) => tasks(&folder.path, "cgroup.threads")?,
            (None, None) => None,
        };
        Ok(Pids {
            current,
            limit: None,
        })
    }

    fn blkio(&mut self) -> Result<Blkio> {
        if let Some(folder) = self.folder("blkio") {
            let entries = blkio_v1(folder)?;
            return Ok(Blkio { entries, psi: None });
        }
        match self.folder(UNIFIED) {
            Some(folder) => Ok(Blkio {
                entries: folder.get("io.stat", io_stat)?.unwrap_or_default(),
                psi: folder.pressure("io.pressure")?,
            }),
            None => Ok(Blkio::default()),
        }
    }

    fn hugetlb(&mut self) -> Result<Vec<(String, Hugetlb)>> {
        let v2 = !self.folders.contains_key("hugetlb");
        let controller = if v2 { UNIFIED } else { "hugetlb" };
        let Some(folder) = self.folder(controller) else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for files in folder.hugetlb()?.iter() {
            let [usage, max, failcnt] = &files.names;
            let usage = folder.get(usage, number)?;
            if usage.is_none() {
                continue;
            }
            let hugetlb = match v2 {
                true => Hugetlb {
                    usage,
                    max: None,
                    failcnt: folder.get(failcnt, |text| value_of(text, "max"))?,
                },
                false => Hugetlb {
                    usage,
                    max: folder.get(max, number)?,
                    failcnt: folder.get(failcnt, number)?,
                },
            };
            all.push((files.size.clone(), hugetlb));
        }
        Ok(all)
    }
}

/// The control files of one size of huge pages.
struct HugetlbFiles {
    /// As the kernel names it: `2MB`.
    size: String,
    /// Usage, highest usage, and the count of failures.
    names: [String; 3],
}

impl HugetlbFiles {
    /// The sizes of which a group with these files has an account. Like runc, this prefers the account of
    /// reservations, where the kernel has one.
    fn find(names: &[String]) -> Vec<Self> {
        let sizes: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("hugetlb.")?.split('.').next())
            .collect();
        let files = sizes.into_iter().filter_map(|size| {
            let there = |name: String| names.contains(&name).then_some(name);
            let of = |rest: &str| there(format!("hugetlb.{size}{rest}"));
            let [v2_usage, v1_usage] = [
                of(".rsvd.current").or_else(|| of(".current")),
                of(".rsvd.usage_in_bytes").or_else(|| of(".usage_in_bytes")),
            ];
            let names = match (v2_usage, v1_usage) {
                (Some(usage), _) => [usage, String::new(), format!("hugetlb.{size}.events")],
                (None, Some(usage)) => {
                    let stem = usage.strip_suffix("usage_in_bytes")?.to_owned();
                    let max = format!("{stem}max_usage_in_bytes");
                    [usage, max, format!("{stem}failcnt")]
                }
                (None, None) => return None,
            };
            Some(Self {
                size: size.to_owned(),
                names,
            })
        });
        files.collect()
    }
}

/// One folder of a group.
struct Folder {
    path: PathBuf,
    dir: OwnedFd,
    /// The folder's device and inode: another group may get its name.
    identity: (u64, u64),
    kind: Kind,
    /// The control files that are open, and those that are known not to be there.
    files: HashMap<String, Option<OwnedFd>>,
    /// Limits, and when they were read.
    limits: HashMap<&'static str, (Instant, Option<u64>)>,
    /// The cpuset, and when it was read.
    cpuset: Option<(Instant, Cpuset)>,
    /// The files of the hugetlb controller, and when they were looked for.
    hugetlb: Option<(Instant, Arc<[HugetlbFiles]>)>,
}

/// What kind of filesystem a folder is in.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A v1 hierarchy: an open control file is as good as a new one, and the files are always the same.
    V1,
    /// The v2 hierarchy: the same, but controllers come and go, and their files with them.
    V2,
    /// Some other: files may be replaced.
    Other,
}

impl Folder {
    fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&dir)?;
        // As in the kernel's magic.h.
        let kind = match rustix::fs::fstatfs(&dir)?.f_type {
            0x27_e0eb => Kind::V1,
            0x6367_7270 => Kind::V2,
            _ => Kind::Other,
        };
        Ok(Self {
            path: path.to_owned(),
            dir,
            identity: (stat.st_dev, stat.st_ino),
            kind,
            files: HashMap::new(),
            limits: HashMap::new(),
            cpuset: None,
            hugetlb: None,
        })
    }

    /// Whether the group has been deleted, and maybe made anew.
    fn is_gone(&self) -> bool {
        let there = fs::metadata(&self.path).map(|now| (now.dev(), now.ino()));
        there.ok() != Some(self.identity)
    }

    /// What `parse` makes of a control file. `None` where there is no such file: controllers differ, and
    /// so do kernels.
    ///
    /// Opening a control file takes ten times as long as reading it, so they stay open, as long as no more
    /// than half of the file descriptors that this process may have are in use.
    fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
        let kept = match self.files.get(name) {
            Some(None) => return Ok(None),
            Some(Some(file)) => Some(with_text(file, &parse)),
            None => None,
        };
        let result = match kept {
            // The first time, or the controller was taken away from the group, and may have been given back.
            None | Some(Err(Errno::NODEV)) => self.get_anew(name, &parse),
            Some(result) => result,
        };
        match result {
            Ok(parsed) => parsed.map(Some),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(Errno::SPIPE | Errno::ISDIR) => Err(format_err!("it is not a regular file")),
            Err(Errno::FBIG) => Err(format_err!("it is larger than {LARGEST} bytes")),
            Err(Errno::ILSEQ) => Err(format_err!("it is not UTF-8")),
            Err(e) => Err(e.into()),
        }
        .with_context(|| self.path.join(name).display().to_string())
    }

    /// The same of a file that is not open, which is kept open where that will do.
    fn get_anew<T>(&mut self, name: &str, parse: impl Fn(&str) -> T) -> Result<T, Errno> {
        self.files.remove(name);
        // In a folder of the user's making it could be a pipe that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => {
                let result = with_text(&file, parse);
                if self.kind != Kind::Other && file.as_raw_fd() < descriptors_to_keep() {
                    self.files.insert(name.to_owned(), Some(file));
                }
                result
            }
            Err(e) => {
                if e == Errno::NOENT && self.kind == Kind::V1 && !self.is_gone() {
                    self.files.insert(name.to_owned(), None);
                }
                Err(e)
            }
        }
    }

    /// The same for a limit, which is read again after a second: limits and the cpuset are settings, seldom
    /// changed, and half of all control files.
    fn limit(&mut self, name: &'static str, parse: fn(&str) -> Result<u64>) -> Result<Option<u64>> {
        if let Some((read, limit)) = self.limits.get(name)
            && self.is_fresh(*read)
        {
            return Ok(*limit);
        }
        let limit = self.get(name, parse)?;
        self.limits.insert(name, (Instant::now(), limit));
        Ok(limit)
    }

    /// Whether a setting need not be read again.
    fn is_fresh(&self, read: Instant) -> bool {
        const AGE: Duration = Duration::from_secs(1);
        self.kind != Kind::Other && read.elapsed() < AGE
    }

    /// Pressure. `None` where the kernel doesn't measure it, or not for this group.
    fn pressure(&mut self, name: &str) -> Result<Option<Psi>> {
        match self.get(name, pressure) {
            Err(e) if e.downcast_ref() == Some(&Errno::OPNOTSUPP) => Ok(None),
            pressure => pressure,
        }
    }

    /// The files of the hugetlb controller. Sizes of huge pages don't come and go. The controller may come: where
    /// there were none, they are looked for again after a second.
    fn hugetlb(&mut self) -> Result<Arc<[HugetlbFiles]>> {
        if let Some((read, files)) = &self.hugetlb
            && (!files.is_empty() || self.is_fresh(*read))
        {
            return Ok(Arc::clone(files));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        let files: Arc<[HugetlbFiles]> = HugetlbFiles::find(&names).into();
        self.hugetlb = Some((Instant::now(), Arc::clone(&files)));
        Ok(files)
    }
}

/// The largest control file, in bytes.
const LARGEST: usize = 16 << 20;

/// Calls `take` with the text of a control file. The kernel gives all of it at once where there is room,
/// so one system call is enough.
fn with_text<T>(file: &OwnedFd, take: impl FnOnce(&str) -> T) -> Result<T, Errno> {
    const SMALL: usize = 4096;
    let utf8 = |bytes| str::from_utf8(bytes).map_err(|_| Errno::ILSEQ);
    let mut small = [MaybeUninit::uninit(); SMALL];
    let (text, rest) = rustix::io::pread(file, &mut small, 0)?;
    if !rest.is_empty() {
        return Ok(take(utf8(&*text)?));
    }
    let mut large = vec![0; 16 * SMALL];
    loop {
        let len = rustix::io::pread(file, &mut large, 0)?;
        if len < large.len() {
            return Ok(take(utf8(&large[..len])?));
        }
        if len > LARGEST {
            return Err(Errno::FBIG);
        }
        large.resize(4 * len, 0);
    }
}

/// File descriptors below this one may be kept for the next reading.
fn descriptors_to_keep() -> i32 {
    static LIMIT: OnceLock<i32> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        i32::try_from(limit / 2).unwrap_or(i32::MAX)
    })
}

/// The settings of a cpuset.
fn cpuset_v1(folder: &mut Folder) -> Result<Cpuset> {
    Ok(Cpuset {
        cpus: folder.get("cpuset.cpus", ranges)?.unwrap_or_default(),
        cpu_exclusive: folder.get("cpuset.cpu_exclusive", number)?,
        mems: folder.get("cpuset.mems", ranges)?.unwrap_or_default(),
        mem_hardwall: folder.get("cpuset.mem_hardwall", number)?,
        mem_exclusive: folder.get("cpuset.mem_exclusive", number)?,
        memory_migrate: folder.get("cpuset.memory_migrate", number)?,
        memory_spread_page: folder.get("cpuset.memory_spread_page", number)?,
        memory_spread_slab: folder.get("cpuset.memory_spread_slab", number)?,
        memory_pressure: folder.get("cpuset.memory_pressure", number)?,
        sched_load_balance: folder.get("cpuset.sched_load_balance", number)?,
        sched_relax_domain_level: folder.get("cpuset.sched_relax_domain_level", signed)?,
    })
}

fn memory_v1(folder: &mut Folder) -> Result<Memory> {
    let raw = folder.get("memory.stat", table)?.unwrap_or_default();
    // The one that must be there is read last: see `Group::snapshot`.
    let mut entry = |[usage, max, failcnt, limit]: [&'static str; 4]| -> Result<MemoryEntry> {
        let Some(usage) = folder.get(usage, number)? else {
            return Ok(MemoryEntry::default());
        };
        Ok(MemoryEntry {
            usage: Some(usage),
            max: folder.get(max, number)?,
            failcnt: folder.get(failcnt, number)?,
            limit: folder.limit(limit, number)?,
        })
    };
    let swap = entry([
        "memory.memsw.usage_in_bytes",
        "memory.memsw.max_usage_in_bytes",
        "memory.memsw.failcnt",
        "memory.memsw.limit_in_bytes",
    ])?;
    let kernel = entry([
        "memory.kmem.usage_in_bytes",
        "memory.kmem.max_usage_in_bytes",
        "memory.kmem.failcnt",
        "memory.kmem.limit_in_bytes",
    ])?;
    let kernel_tcp = entry([
        "memory.kmem.tcp.usage_in_bytes",
        "memory.kmem.tcp.max_usage_in_bytes",
        "memory.kmem.tcp.failcnt",
        "memory.kmem.tcp.limit_in_bytes",
    ])?;
    let usage = entry([
        "memory.usage_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.failcnt",
        "memory.limit_in_bytes",
    ])?;
    Ok(Memory {
        cache: figure(&raw, "cache"),
        usage,
        swap,
        kernel,
        kernel_tcp,
        raw,
        psi: None,
    })
}

fn memory_v2(folder: &mut Folder) -> Result<Memory> {
    let limit = folder.limit("memory.max", maximum)?;
    let raw = folder.get("memory.stat", table)?.unwrap_or_default();
    // runc counts memory and swap together on v2 too, as v1 does.
    let swap = folder.get("memory.swap.current", number)?;
    let swap_limit = folder.limit("memory.swap.max", maximum)?;
    let max = folder.get("memory.peak", number)?;
    let psi = folder.pressure("memory.pressure")?;
    // The one that must be there is read last: see `Group::snapshot`.
    let usage = folder.get("memory.current", number)?;
    // Where memory has no limit, both together have none. runc lets the sum wrap.
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
        psi: psi.filter(|_| usage.is_some()),
    })
}

/// Block I/O by the first group of files that has anything in it: which do, depends on the I/O scheduler. The
/// order is runc's.
fn blkio_v1(folder: &mut Folder) -> Result<Vec<BlkioEntry>> {
    const BYTES: Column = |row| &mut row.io_service_bytes;
    const SERVICED: Column = |row| &mut row.io_serviced;
    const QUEUED: Column = |row| &mut row.io_queued;
    const SERVICE_TIME: Column = |row| &mut row.io_service_time;
    const WAIT_TIME: Column = |row| &mut row.io_wait_time;
    const MERGED: Column = |row| &mut row.io_merged;
    const TIME: Column = |row| &mut row.io_time;
    const SECTORS: Column = |row| &mut row.sectors;
    const GROUPS: [&[(&str, Column)]; 5] = [
        &[
            ("blkio.bfq.sectors_recursive", SECTORS),
            ("blkio.bfq.io_service_time_recursive", SERVICE_TIME),
            ("blkio.bfq.io_wait_time_recursive", WAIT_TIME),
            ("blkio.bfq.io_merged_recursive", MERGED),
            ("blkio.bfq.io_queued_recursive", QUEUED),
            ("blkio.bfq.time_recursive", TIME),
            ("blkio.bfq.io_serviced_recursive", SERVICED),
            ("blkio.bfq.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.bfq.io_serviced_recursive", SERVICED),
            ("blkio.bfq.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.sectors_recursive", SECTORS),
            ("blkio.io_service_time_recursive", SERVICE_TIME),
            ("blkio.io_wait_time_recursive", WAIT_TIME),
            ("blkio.io_merged_recursive", MERGED),
            ("blkio.io_queued_recursive", QUEUED),
            ("blkio.time_recursive", TIME),
            ("blkio.io_serviced_recursive", SERVICED),
            ("blkio.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.throttle.io_serviced_recursive", SERVICED),
            ("blkio.throttle.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.throttle.io_serviced", SERVICED),
            ("blkio.throttle.io_service_bytes", BYTES),
        ],
    ];
    let mut rows = Vec::new();
    for group in GROUPS {
        for (file, column) in group {
            match folder.get(file, accounts)? {
                Some(accounts) if !accounts.is_empty() => join(&mut rows, *column, accounts),
                // Where nothing is told of a group and those below it, nothing is told of it alone.
                Some(_) if file.starts_with("blkio.throttle.") => return Ok(rows),
                _ => break,
            }
        }
        if !rows.is_empty() {
            break;
        }
    }
    Ok(rows)
}

/// The number of tasks in a group and the groups in it. `None` where the group has no such list.
fn tasks(folder: &Path, list: &str) -> Result<Option<u64>> {
    let path = folder.join(list);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    let mut count = text.lines().count() as u64;
    for name in folders(folder).with_context(|| folder.display().to_string())? {
        // A group that has gone since has no tasks.
        count += tasks(&folder.join(name), list)?.unwrap_or(0);
    }
    Ok(Some(count))
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
            .map_err(|e| format_err!("{} is not a figure: {e}", shorten(text))),
    }
}

/// A number that may be negative.
fn signed(text: &str) -> Result<i64> {
    let text = text.trim_ascii();
    text.parse()
        .map_err(|e| format_err!("{} is not a figure: {e}", shorten(text)))
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

/// A list of numbers and ranges: `0-3,8`.
fn ranges(text: &str) -> Result<Vec<u16>> {
    let text = text.trim_ascii();
    let mut all = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = match (from.parse::<u16>(), to.parse::<u16>()) {
            (Ok(from), Ok(to)) if from <= to => (from, to),
            _ => bail!("{} is not a range of numbers", shorten(part)),
        };
        all.extend(from..=to);
        if all.len() > 1 << 16 {
            bail!("it lists more numbers than there are");
        }
    }
    Ok(all)
}

/// The lines of a text, of which `parse` makes something; an error says in which one it is.
fn lines<'a, T>(
    text: &'a str,
    mut parse: impl FnMut(&'a str) -> Result<T>,
) -> impl Iterator<Item = Result<T>> {
    (1..)
        .zip(text.lines())
        .map(move |(at, line)| parse(line).with_context(|| format!("line {at}")))
}

/// A line of a name, a space and a number.
fn entry(line: &str) -> Result<(&str, u64)> {
    let (name, figure) = line
        .split_once(' ')
        .ok_or_else(|| format_err!("{} is not a name and a figure", shorten(line)))?;
    Ok((name, number(figure)?))
}

/// Lines of a name, a space and a number, by their names: the component need not sort them then.
fn table(text: &str) -> Result<Vec<(String, u64)>> {
    let rows: Result<Vec<_>> = lines(text, entry).collect();
    let mut rows = rows?;
    rows.sort_by_key(|(name, _)| *name);
    let rows = rows.into_iter();
    Ok(rows
        .map(|(name, figure)| (name.to_owned(), figure))
        .collect())
}

/// The figure of that name in a table.
fn figure(table: &[(String, u64)], name: &str) -> Option<u64> {
    table
        .iter()
        .find(|(key, _)| key == name)
        .map(|&(_, figure)| figure)
}

/// The figure of that name in the text of a table. 0 where it is missing, as in runc
/// (`fscommon.GetValueByKey`).
pub(super) fn value_of(text: &str, name: &str) -> Result<u64> {
    let all: Result<Vec<_>> = lines(text, entry).collect();
    let found = all?.into_iter().find(|(key, _)| *key == name);
    Ok(found.map_or(0, |(_, figure)| figure))
}

/// A time in another unit, in nanoseconds.
fn nanoseconds(name: &str, figure: u64, factor: u64) -> Result<u64> {
    figure
        .checked_mul(factor)
        .ok_or_else(|| format_err!("{name} {figure} is out of range"))
}

/// User and system time in a v1 `cpuacct.stat`, in nanoseconds. The kernel counts in ticks of 1/100 s,
/// on every machine that runc runs on.
fn cpuacct_stat(text: &str) -> Result<(Option<u64>, Option<u64>)> {
    let (mut user, mut system) = (None, None);
    for line in lines(text, |line| {
        let (name, figure) = entry(line)?;
        Ok((name, nanoseconds(name, figure, 10_000_000)?))
    }) {
        match line? {
            ("user", ns) => user = Some(ns),
            ("system", ns) => system = Some(ns),
            _ => {}
        }
    }
    Ok((user, system))
}

/// User and system time by CPU in a v1 `cpuacct.usage_all`, in nanoseconds.
fn usage_all(text: &str) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut rows = lines(text, |line| {
        let mut columns = line.split(' ').skip(1);
        Ok(match (columns.next(), columns.next()) {
            // The heading.
            (Some("user"), Some("system")) => None,
            (Some(user), Some(system)) => Some((number(user)?, number(system)?)),
            _ => None,
        })
    });
    match rows.next() {
        None => return Ok(Default::default()),
        Some(heading) => {
            if heading?.is_some() {
                bail!("it has no heading of cpu, user and system");
            }
        }
    }
    let rows: Result<Vec<_>> = rows.collect();
    Ok(rows?.into_iter().flatten().unzip())
}

/// A v2 `cpu.stat`, which counts in microseconds, or a v1 one, which has throttling alone and counts in
/// nanoseconds.
fn cpu_stat(text: &str) -> Result<(CpuUsage, Throttling)> {
    let (mut usage, mut throttling) = (CpuUsage::default(), Throttling::default());
    for line in lines(text, |line| {
        let (name, figure) = entry(line)?;
        let factor = if name.ends_with("_usec") { 1000 } else { 1 };
        Ok((name, nanoseconds(name, figure, factor)?))
    }) {
        let (name, figure) = line?;
        let field = match name {
            "usage_usec" => &mut usage.total,
            "user_usec" => &mut usage.user,
            "system_usec" => &mut usage.kernel,
            "nr_periods" => &mut throttling.periods,
            "nr_throttled" => &mut throttling.throttled_periods,
            "throttled_usec" | "throttled_time" => &mut throttling.throttled_time,
            _ => continue,
        };
        *field = Some(figure);
    }
    Ok((usage, throttling))
}

/// A v2 `*.pressure`.
fn pressure(text: &str) -> Result<Psi> {
    let mut psi = Psi::default();
    for line in lines(text, |line| {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut data = PsiData::default();
        if !matches!(kind, "some" | "full") {
            return Ok((kind, data));
        }
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format_err!("{} is not a name and a figure", shorten(word)))?;
            match key {
                "avg10" => data.avg10 = basis_points(value)?,
                "avg60" => data.avg60 = basis_points(value)?,
                "avg300" => data.avg300 = basis_points(value)?,
                "total" => data.total = number(value)?,
                _ => {}
            }
        }
        Ok((kind, data))
    }) {
        match line? {
            ("some", data) => psi.some = data,
            ("full", data) => psi.full = data,
            _ => {}
        }
    }
    Ok(psi)
}

/// A per cent with up to two decimal places, as the kernel prints it, in hundredths.
fn basis_points(text: &str) -> Result<u32> {
    let points = || {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
        whole
            .parse::<u32>()
            .ok()?
            .checked_mul(100)?
            .checked_add(part)
    };
    points().ok_or_else(|| format_err!("{} is not a per cent", shorten(text)))
}

/// The two numbers of a device.
fn device(text: &str) -> Result<(u64, u64)> {
    let numbers = text
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.ok_or_else(|| format_err!("{} is not the number of a device", shorten(text)))
}

/// A v2 `io.stat`. Discarded data is left out, as runc leaves it out.
fn io_stat(text: &str) -> Result<Vec<BlkioEntry>> {
    let rows = lines(text, |line| {
        let mut words = line.split_ascii_whitespace();
        let Some((name, first)) = words.next().zip(words.next()) else {
            return Ok(Vec::new());
        };
        // Some lines of some kernels begin with something else.
        if name.split(':').count() != 2 {
            return Ok(Vec::new());
        }
        let (major, minor) = device(name)?;
        let row = |op: &str| BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            ..BlkioEntry::default()
        };
        let (mut read, mut write) = (row("Read"), row("Write"));
        for word in [first].into_iter().chain(words) {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let field = match key {
                "rbytes" => &mut read.io_service_bytes,
                "wbytes" => &mut write.io_service_bytes,
                "rios" => &mut read.io_serviced,
                "wios" => &mut write.io_serviced,
                _ => continue,
            };
            *field = Some(number(value)?);
        }
        let told = |row: &BlkioEntry| row.io_service_bytes.or(row.io_serviced).is_some();
        Ok([read, write].into_iter().filter(told).collect())
    });
    let rows: Result<Vec<Vec<_>>> = rows.collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// A v1 `blkio.*`: lines of a device, often a kind of operation, and a figure.
fn accounts(text: &str) -> Result<Vec<Account>> {
    let rows = lines(text, |line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (name, op, value) = match words[..] {
            ["Total", _] => return Ok(None),
            [name, value] => (name, "", value),
            [name, op, value] => (name, op, value),
            _ => bail!("{} is not a device and a figure", shorten(line)),
        };
        let (major, minor) = device(name)?;
        Ok(Some(Account {
            major,
            minor,
            op: op.to_owned(),
            value: number(value)?,
        }))
    });
    let rows: Result<Vec<Option<_>>> = rows.collect();
    Ok(rows?.into_iter().flatten().collect())
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
        let mounts = Mounts(vec![Mount {
            root: "/".into(),
            point: root.clone(),
            v1: None,
        }]);
        let of_process = |cgroups| mounts.of_process(cgroups).expect("it can be read");
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
                entry("negative", 0),
                entry("new_in_linux_9", 2)
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
        let v2 = "usage_usec 4806821\nuser_usec 1224751\nsystem_usec 3582069\nnice_usec 0\n\
            nr_periods 66\nnr_throttled 39\nthrottled_usec 3252804\n";
        let (usage, throttling) = cpu_stat(v2).expect("it is one");
        assert_eq!(usage.total, Some(4_806_821_000));
        assert_eq!(usage.user, Some(1_224_751_000));
        assert_eq!(usage.kernel, Some(3_582_069_000));
        assert_eq!(throttling.periods, Some(66));
        assert_eq!(throttling.throttled_periods, Some(39));
        assert_eq!(throttling.throttled_time, Some(3_252_804_000));
        let v1 = cpu_stat("nr_periods 2\nnr_throttled 1\nthrottled_time 5\n");
        assert_eq!(v1.expect("it is one").1.throttled_time, Some(5));
        assert_eq!(cpu_stat("").expect("it is empty"), Default::default());
        assert!(cpu_stat("usage_usec 18446744073709552\n").is_err());
        assert!(cpuacct_stat("user 1844674407371\n").is_err());
        assert_eq!(numbers("1 2\n").expect("they are"), [1, 2]);
        assert!(numbers("1 x").is_err());
    }

    #[test]
    fn ranges_are_spelled_out() {
        for (text, numbers) in [
            ("0-3,8\n", Some(vec![0, 1, 2, 3, 8])),
            ("65535", Some(vec![65535])),
            // As in a v1 group that nobody has set up.
            ("\n", Some(vec![])),
            ("", Some(vec![])),
            ("3-1", None),
            ("0-65536", None),
            ("1,,2", None),
            ("1-", None),
            ("-1", None),
            ("a", None),
            // Short, and yet long.
            ("0-65535,0-65535", None),
        ] {
            assert_eq!(ranges(text).ok(), numbers, "{text:?}");
        }
        assert_eq!(signed("-1\n").ok(), Some(-1));
        assert!(signed("9223372036854775808").is_err());
    }

    #[test]
    fn time_on_each_cpu_is_told_by_mode() {
        // The kernel of a v1 machine, and one that tells more.
        for text in [
            "cpu user system\n0 1 2\n1 3 4\n",
            "cpu user system guest\n0 1 2 9\n1 3 4 9\n",
            "cpu user system\n0 1 2\n\n1 3 4\nx\n",
        ] {
            let usage = usage_all(text).expect("it is one");
            assert_eq!(usage, (vec![1, 3], vec![2, 4]), "{text:?}");
        }
        assert_eq!(usage_all("").expect("it is empty"), Default::default());
        for broken in ["0 1 2\n", "cpu user system\n0 x 1\n"] {
            assert!(usage_all(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn pressure_is_hundredths_of_a_per_cent_and_microseconds() {
        let text = "some avg10=29.35 avg60=6.83 avg300=0.00 total=4503692\n\
            full avg10=100.00 avg60=0.07 avg300=1 total=18446744073709551615\n";
        let psi = pressure(text).expect("it is one");
        let data = |data: PsiData| (data.avg10, data.avg60, data.avg300, data.total);
        assert_eq!(data(psi.some), (2935, 683, 0, 4_503_692));
        assert_eq!(data(psi.full), (10_000, 7, 100, u64::MAX));
        // Kernels before 5.13 tell nothing more of CPUs, and those to come may tell more.
        let psi = pressure("some avg10=1.50 new=x total=1\nnew 1\n\n").expect("it is one");
        assert_eq!(data(psi.some), (150, 0, 0, 1));
        assert_eq!(data(psi.full), (0, 0, 0, 0));
        for broken in [
            "some avg10\n",
            "some avg10=x\n",
            "some avg10=-1\n",
            "some avg10=1.\n",
            "some avg10=1.234\n",
            "some avg10=42949672.96\n",
            "some total=\n",
        ] {
            let error = pressure(broken).expect_err(broken);
            assert!(format!("{error:#}").starts_with("line 1: "), "{error:#}");
        }
    }

    #[test]
    fn block_io_is_told_by_device_and_kind() {
        let row = |major, minor, op: &str, bytes, requests| BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            io_service_bytes: bytes,
            io_serviced: requests,
            ..BlkioEntry::default()
        };
        let text = "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=7 dios=1\n\
            8:16\n8:0 \n(unknown) rbytes=1\n7:0 cost.usage=5 wbytes=9\n";
        assert_eq!(
            io_stat(text).expect("it is one"),
            [
                row(254, 0, "Read", Some(4096), Some(1)),
                row(254, 0, "Write", Some(0), Some(0)),
                row(7, 0, "Write", Some(9), None),
            ]
        );
        for broken in ["8:x rbytes=1\n", "8:0 rbytes=x\n", ":0 wios=1\n"] {
            assert!(io_stat(broken).is_err(), "{broken:?}");
        }

        let account = |op: &str, value| Account {
            major: 8,
            minor: 0,
            op: op.to_owned(),
            value,
        };
        assert_eq!(
            accounts("8:0 Read 5\n8:0 Total 5\nTotal 5\n").expect("it is one"),
            [account("Read", 5), account("Total", 5)]
        );
        assert_eq!(accounts("8:0 7\n").expect("it is one"), [account("", 7)]);
        assert_eq!(accounts("Total 0\n").expect("it is empty"), []);
        for broken in [
            "8:0\n",
            "8 Read 5\n",
            "8:0 Read x\n",
            "8:0 Read 5 6\n",
            "\n",
        ] {
            assert!(accounts(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn sizes_of_huge_pages_are_found_by_their_files() {
        let find = |names: &[&str]| -> Vec<(String, [String; 3])> {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let found = HugetlbFiles::find(&names).into_iter();
            found.map(|files| (files.size, files.names)).collect()
        };
        let size = |size: &str, names: [&str; 3]| (size.to_owned(), names.map(str::to_owned));
        assert_eq!(
            find(&[
                "hugetlb.2MB.current",
                "hugetlb.2MB.rsvd.current",
                "hugetlb.1GB.current"
            ]),
            [
                size("1GB", ["hugetlb.1GB.current", "", "hugetlb.1GB.events"]),
                size(
                    "2MB",
                    ["hugetlb.2MB.rsvd.current", "", "hugetlb.2MB.events"]
                ),
            ]
        );
        assert_eq!(
            find(&[
                "hugetlb.2MB.usage_in_bytes",
                "tasks",
                "hugetlb.",
                "hugetlb.x"
            ]),
            [size(
                "2MB",
                [
                    "hugetlb.2MB.usage_in_bytes",
                    "hugetlb.2MB.max_usage_in_bytes",
                    "hugetlb.2MB.failcnt"
                ]
            )]
        );
    }

    #[test]
    fn any_text_is_a_value_or_an_error() {
        let samples = [
            "usage_usec 4806821\nuser_usec 1224751\nnr_periods 66\nthrottled_time 5\n",
            "user 122\nsystem 358\n",
            "cpu user system\n0 263942344 4000000\n1 256000000 40000000\n",
            "some avg10=29.35 avg60=6.83 avg300=1.49 total=4503692\nfull avg10=0.00 total=0\n",
            "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
            "8:0 Read 5\n8:0 Total 5\nTotal 5\n",
            "0-3,8\n",
            "-4096\n",
            "max 7\n",
            "2:memory:/a\n1:cpu,cpuacct:/b:c\n0::/d\n",
            r"33 31 0:35 /docker/1a2b /my\040cgroups/memory rw,relatime - cgroup none rw,memory",
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (number(text), signed(text), maximum(text), numbers(text));
            let _ = (ranges(text), table(text), value_of(text, "max"));
            let _ = (cpuacct_stat(text), usage_all(text), cpu_stat(text));
            let _ = (pressure(text), io_stat(text), accounts(text));
            let _ = (Mounts::parse(text), path_of_process(text, "memory"));
            let names: Vec<_> = text.lines().map(str::to_owned).collect();
            let _ = HugetlbFiles::find(&names);
        });
    }
}
