//! Answers what eventout asks, `eventout:stats/sandbox`, from control groups: those in the folder that the runtime
//! opens as `/cgroup`. A container is a child group there, alone in its sandbox.
//!
//! The folder is a group of cgroup v2, or is laid out like `/sys/fs/cgroup` of a v1 or hybrid machine: a folder for
//! each controller, and maybe `unified` for v2. What v1 has no controller for is read in v2.
//!
//! Of the contract's `stats` this tells CPU time, throttling, memory and tasks. All else is not known.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use eventout::stats::types::{
    ContainerCpu, Cpu, CpuUsage, Memory, MemoryEntry, Pids, Stats, Throttling,
};
use exports::eventout::stats::sandbox::{Error, Guest, SandboxUsage};

wit_bindgen::generate!({
    inline: "package example:provider; world provider { export eventout:stats/sandbox@0.1.0; }",
    path: "../../wit",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["error"],
});
export!(Cgroups);

type Answer<T> = Result<T, Error>;

/// The folder that the runtime opens.
const ROOT: &str = "/cgroup";

thread_local! {
    /// The container that was found last. All answers are about this reading of it.
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

/// One reading of one container.
#[derive(Clone)]
struct Reading {
    id: String,
    /// Live tasks.
    pids: u64,
    /// In bytes.
    memory: u64,
    /// In nanoseconds. `None` where it is not accounted.
    cpu: Option<u64>,
    stats: Stats,
}

struct Cgroups;

impl Guest for Cgroups {
    /// The first question of all: this is when the group is read.
    fn pids_count(container: String) -> Answer<u64> {
        let reading = read(&container)?;
        let pids = reading.pids;
        READING.set(Some(reading));
        Ok(pids)
    }

    fn update_memory_usage() -> Answer<()> {
        Ok(())
    }

    fn usage() -> Answer<SandboxUsage> {
        let reading = reading()?;
        Ok(SandboxUsage {
            memory: reading.memory,
            container_count: 1,
            root_container: None,
            cpu: match reading.cpu.filter(|_| reading.pids > 0) {
                Some(ns) => ContainerCpu {
                    containers: reading.id,
                    usage: vec![ns],
                },
                None => ContainerCpu::default(),
            },
        })
    }

    fn cgroup_cpu_usage() -> Answer<Option<u64>> {
        Ok(reading()?.cpu)
    }

    /// Groups share nothing, so only the one that was read is in the sandbox in question.
    fn container_stats(container: String) -> Answer<Option<Stats>> {
        let reading = reading()?;
        if reading.id != container {
            return Err(Error::ContainerNotFound);
        }
        Ok(Some(reading.stats))
    }
}

fn reading() -> Answer<Reading> {
    READING
        .with_borrow(Clone::clone)
        .ok_or_else(|| Error::Unavailable("no container has been read".to_owned()))
}

/// Reads a container.
fn read(id: &str) -> Answer<Reading> {
    let group = Group::find(id)?;
    group.read(id).map_err(|error| {
        // A group goes away in one hierarchy after the other, and its files before it.
        let mut folders = group.0.iter().map(|(_, folder)| folder);
        match folders.all(|folder| folder.is_dir()) {
            true => error,
            false => Error::ContainerNotFound,
        }
    })
}

/// Whether an ID is the name of a folder, and leads nowhere else.
fn is_name(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && id.len() <= 255 && !id.contains(['/', '\0'])
}

/// The controllers of v1 that are read.
const V1: [&str; 4] = ["memory", "pids", "cpuacct", "cpu"];

/// The v2 hierarchy, by the name of its folder on hybrid machines.
const V2: &str = "unified";

/// The folders of one group, by controller.
struct Group(Vec<(&'static str, PathBuf)>);

impl Group {
    fn find(id: &str) -> Answer<Self> {
        if !is_name(id) {
            return Err(Error::ContainerNotFound);
        }
        let mut folders = Vec::new();
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            folders.push((V2, Path::new(ROOT).join(id)));
        } else {
            let because = |e| unavailable(format!("cannot list cgroups in {ROOT}: {e}"));
            for entry in fs::read_dir(ROOT).map_err(because)? {
                let entry = entry.map_err(because)?;
                let name = entry.file_name().into_string().unwrap_or_default();
                for controller in V1.into_iter().chain([V2]) {
                    if name.split(',').any(|part| part == controller) {
                        folders.push((controller, entry.path().join(id)));
                    }
                }
            }
            if folders.is_empty() {
                let why = "it is neither of cgroup v2 nor laid out like /sys/fs/cgroup";
                return Err(unavailable(format!("cannot find cgroups in {ROOT}: {why}")));
            }
        }
        folders.retain(|(_, folder)| folder.is_dir());
        match folders.is_empty() {
            true => Err(Error::ContainerNotFound),
            false => Ok(Self(folders)),
        }
    }

    fn folder(&self, controller: &str) -> Option<&Path> {
        let mut folders = self.0.iter();
        let (_, folder) = folders.find(|(name, _)| *name == controller)?;
        Some(folder)
    }

    fn read(&self, id: &str) -> Answer<Reading> {
        let stats = Stats {
            cpu: self.cpu()?,
            memory: self.memory()?,
            pids: self.pids()?,
            ..Stats::default()
        };
        let (Some(memory), Some(pids)) = (stats.memory.usage.usage, stats.pids.current) else {
            let why = "no controller accounts for both memory and pids";
            return Err(unavailable(format!("cannot read cgroup {id:?}: {why}")));
        };
        Ok(Reading {
            id: id.to_owned(),
            pids,
            memory,
            cpu: stats.cpu.usage.total,
            stats,
        })
    }

    fn cpu(&self) -> Answer<Cpu> {
        let mut cpu = Cpu::default();
        if let Some(folder) = self.folder("cpuacct") {
            // In ticks of 1/100 s, on every machine that Linux containers run on.
            let stat = Table::read(folder, "cpuacct.stat")?;
            let (percpu_user, percpu_kernel) = by_mode(&folder.join("cpuacct.usage_all"))?;
            cpu.usage = CpuUsage {
                total: figure(folder, "cpuacct.usage")?,
                user: stat.get("user", 10_000_000)?,
                kernel: stat.get("system", 10_000_000)?,
                percpu: figures(&folder.join("cpuacct.usage_percpu"))?,
                percpu_kernel,
                percpu_user,
            };
        } else if let Some(folder) = self.folder(V2) {
            let stat = Table::read(folder, "cpu.stat")?;
            cpu.usage = CpuUsage {
                total: stat.get("usage_usec", 1000)?,
                user: stat.get("user_usec", 1000)?,
                kernel: stat.get("system_usec", 1000)?,
                ..CpuUsage::default()
            };
        }
        if let Some(folder) = self.folder("cpu").or(self.folder(V2)) {
            let stat = Table::read(folder, "cpu.stat")?;
            cpu.throttling = Throttling {
                periods: stat.get("nr_periods", 1)?,
                throttled_periods: stat.get("nr_throttled", 1)?,
                throttled_time: match stat.get("throttled_time", 1)? {
                    None => stat.get("throttled_usec", 1000)?,
                    v1 => v1,
                },
            };
        }
        Ok(cpu)
    }

    fn memory(&self) -> Answer<Memory> {
        if let Some(folder) = self.folder("memory") {
            let entry = |kind: &str| {
                Ok(MemoryEntry {
                    limit: figure(folder, &format!("{kind}.limit_in_bytes"))?,
                    usage: figure(folder, &format!("{kind}.usage_in_bytes"))?,
                    max: figure(folder, &format!("{kind}.max_usage_in_bytes"))?,
                    failcnt: figure(folder, &format!("{kind}.failcnt"))?,
                })
            };
            let stat = Table::read(folder, "memory.stat")?;
            return Ok(Memory {
                cache: stat.get("cache", 1)?,
                usage: entry("memory")?,
                swap: entry("memory.memsw")?,
                kernel: entry("memory.kmem")?,
                kernel_tcp: entry("memory.kmem.tcp")?,
                raw: stat.rows,
                psi: None,
            });
        }
        let Some(folder) = self.folder(V2) else {
            return Ok(Memory::default());
        };
        let stat = Table::read(folder, "memory.stat")?;
        let usage = MemoryEntry {
            limit: figure(folder, "memory.max")?,
            usage: figure(folder, "memory.current")?,
            max: figure(folder, "memory.peak")?,
            failcnt: None,
        };
        // Memory and swap together, as the contract and v1 have it. Without a limit on one there is none on both.
        let both = |swap: Option<u64>, memory: Option<u64>| Some(swap?.saturating_add(memory?));
        Ok(Memory {
            cache: stat.get("file", 1)?,
            swap: MemoryEntry {
                limit: both(figure(folder, "memory.swap.max")?, usage.limit),
                usage: both(figure(folder, "memory.swap.current")?, usage.usage),
                ..MemoryEntry::default()
            },
            usage,
            raw: stat.rows,
            ..Memory::default()
        })
    }

    fn pids(&self) -> Answer<Pids> {
        let Some(folder) = self.folder("pids").or(self.folder(V2)) else {
            return Ok(Pids::default());
        };
        Ok(Pids {
            current: figure(folder, "pids.current")?,
            limit: figure(folder, "pids.max")?.filter(|limit| *limit < u64::MAX),
        })
    }
}

/// The lines of a control file: names and figures.
struct Table {
    /// Where they stand, for errors.
    path: PathBuf,
    rows: Vec<(String, u64)>,
}

impl Table {
    /// Empty where there is no such file: controllers differ, and so do kernels.
    fn read(folder: &Path, name: &str) -> Answer<Self> {
        let path = folder.join(name);
        let text = text(&path)?.unwrap_or_default();
        let row = |line: &str| {
            let (name, figure) = line.split_once(' ')?;
            Some((name.to_owned(), number(figure)?))
        };
        let rows = text
            .lines()
            .map(|line| row(line).ok_or_else(|| odd(&path, line)));
        let rows = rows.collect::<Answer<_>>()?;
        Ok(Self { path, rows })
    }

    /// The figure of that name, in the contract's unit: `factor` is how many of those one of the file's is.
    fn get(&self, name: &str, factor: u64) -> Answer<Option<u64>> {
        let Some((_, figure)) = self.rows.iter().find(|(key, _)| key == name) else {
            return Ok(None);
        };
        let figure = figure.checked_mul(factor).map(Some);
        figure.ok_or_else(|| odd(&self.path, name))
    }
}

/// The figure in a control file, or none where there is no such file.
fn figure(folder: &Path, name: &str) -> Answer<Option<u64>> {
    let path = folder.join(name);
    let figure = text(&path)?.map(|text| number(&text).ok_or_else(|| odd(&path, &text)));
    figure.transpose()
}

/// All figures in a control file, or none where there is no such file.
fn figures(path: &Path) -> Answer<Vec<u64>> {
    let text = text(path)?.unwrap_or_default();
    text.split_ascii_whitespace()
        .map(|word| number(word).ok_or_else(|| odd(path, word)))
        .collect()
}

/// User and system time by CPU: lines of a CPU and both, below a heading. Nothing where there is no such file.
fn by_mode(path: &Path) -> Answer<(Vec<u64>, Vec<u64>)> {
    let text = text(path)?.unwrap_or_default();
    let row = |line: &str| {
        let mut columns = line.split(' ').skip(1);
        Some((number(columns.next()?)?, number(columns.next()?)?))
    };
    text.lines()
        .skip(1)
        .map(|line| row(line).ok_or_else(|| odd(path, line)))
        .collect()
}

/// A figure. `max`, which stands for no limit, is the largest one. The kernel may print counters as negative for a
/// moment: they count as 0.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix('-') {
        _ if text == "max" => Some(u64::MAX),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Some(0),
        _ => text.parse().ok(),
    }
}

/// The text of a control file, or none where there is no such file.
fn text(path: &Path) -> Answer<Option<String>> {
    /// In bytes.
    const LARGEST: u64 = 1 << 20;
    let read = || {
        // In a folder of the user's making it could be a pipe that nobody writes to.
        if !fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)?;
        match text.len() as u64 > LARGEST {
            true => Err(std::io::Error::other(format!(
                "it is larger than {LARGEST} bytes"
            ))),
            false => Ok(text),
        }
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unavailable(format!("cannot read {}: {e}", path.display()))),
    }
}

/// What stands in a control file and is no figure of 64 bits.
fn odd(path: &Path, text: &str) -> Error {
    let (path, text) = (path.display(), text.trim_ascii());
    unavailable(format!("cannot read {path}: {text:.64?} is not a figure"))
}

fn unavailable(why: String) -> Error {
    Error::Unavailable(why)
}
