//! Exports `eventout:stats/sandbox` with facts from cgroups: those in the directory that the runtime opens as
//! `/cgroup`. A container is a child cgroup there, alone in its sandbox.
//!
//! The directory is a cgroup of v2, or is laid out like `/sys/fs/cgroup` on a machine with cgroup v1 or a hybrid one: a
//! directory for each controller, and maybe `unified` for v2. Controllers that v1 does not have are read in v2.
//!
//! Of the contract's `stats`, it reads CPU time, throttling, memory and tasks.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use eventout::stats::types::{Cpu, CpuUsage, Memory, MemoryEntry, Pids, Stats, Throttling};
use exports::eventout::stats::sandbox::{Error, Guest};

wit_bindgen::generate!({
    inline: "package example:provider; world provider { export eventout:stats/sandbox@0.1.0; }",
    path: "../../wit",
    generate_all,
    additional_derives: [Default],
    additional_derives_ignore: ["error"],
});
export!(Cgroups);

type Result<T> = std::result::Result<T, Error>;

/// The directory that the runtime opens.
const ROOT: &str = "/cgroup";

thread_local! {
    /// The sample of the container that was named last. All facts are from it.
    static SAMPLE: RefCell<Option<Sample>> = const { RefCell::new(None) };
}

/// The facts about one container at one moment.
#[derive(Clone)]
struct Sample {
    id: String,
    pids_count: u64,
    stats: Stats,
}

fn sample() -> Result<Sample> {
    let sample = SAMPLE.with_borrow(Clone::clone);
    sample.ok_or_else(|| unavailable("no container was named"))
}

struct Cgroups;

impl Guest for Cgroups {
    /// Takes the sample, since this function is called first.
    fn pids_count(container: String) -> Result<u64> {
        let sample = take_sample(&container)?;
        let pids_count = sample.pids_count;
        SAMPLE.set(Some(sample));
        Ok(pids_count)
    }

    fn memory_usage() -> Result<Option<u64>> {
        Ok(sample()?.stats.memory.usage.usage)
    }

    fn container_count() -> Result<u64> {
        Ok(1)
    }

    fn root_container() -> Result<String> {
        Ok(sample()?.id)
    }

    fn cpu_usage() -> Result<Vec<(String, u64)>> {
        let sample = sample()?;
        let total = sample.stats.cpu.usage.total;
        let total = total.filter(|_| sample.pids_count > 0);
        Ok(total.map(|total| (sample.id, total)).into_iter().collect())
    }

    fn cgroup_cpu_usage() -> Result<Option<u64>> {
        Ok(sample()?.stats.cpu.usage.total)
    }

    fn container_stats(_: String) -> Result<Option<Stats>> {
        Ok(Some(sample()?.stats))
    }
}

fn take_sample(id: &str) -> Result<Sample> {
    let cgroup = Cgroup::find(id)?;
    cgroup.sample(id).map_err(|error| {
        // A cgroup is removed from one hierarchy after the other, and its files before it.
        let mut directories = cgroup.0.iter().map(|(_, directory)| directory);
        if directories.all(|directory| directory.is_dir()) {
            error
        } else {
            Error::ContainerNotFound
        }
    })
}

/// Returns whether an ID is the name of a directory, not a path.
fn is_name(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && id.len() <= 255 && !id.contains(['/', '\0'])
}

/// The controllers of v1 that are read.
const V1: [&str; 4] = ["memory", "pids", "cpuacct", "cpu"];

/// The v2 hierarchy, named like its directory on hybrid machines.
const V2: &str = "unified";

/// The directories of one cgroup, by controller.
struct Cgroup(Vec<(&'static str, PathBuf)>);

impl Cgroup {
    fn find(id: &str) -> Result<Self> {
        if !is_name(id) {
            return Err(Error::ContainerNotFound);
        }
        let mut directories = Vec::new();
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            directories.push((V2, Path::new(ROOT).join(id)));
        } else {
            let cannot_list = |e| unavailable(format!("cannot list {ROOT}: {e}"));
            for entry in fs::read_dir(ROOT).map_err(cannot_list)? {
                let entry = entry.map_err(cannot_list)?;
                let name = entry.file_name().into_string().unwrap_or_default();
                for controller in V1.into_iter().chain([V2]) {
                    if name.split(',').any(|part| part == controller) {
                        directories.push((controller, entry.path().join(id)));
                    }
                }
            }
            if directories.is_empty() {
                return Err(unavailable(format!(
                    "{ROOT} is neither a cgroup of v2 nor laid out like /sys/fs/cgroup"
                )));
            }
        }
        directories.retain(|(_, directory)| directory.is_dir());
        if directories.is_empty() {
            Err(Error::ContainerNotFound)
        } else {
            Ok(Self(directories))
        }
    }

    fn directory(&self, controller: &str) -> Option<&Path> {
        let mut directories = self.0.iter();
        let (_, directory) = directories.find(|(name, _)| *name == controller)?;
        Some(directory)
    }

    fn sample(&self, id: &str) -> Result<Sample> {
        let stats = Stats {
            cpu: self.cpu()?,
            memory: self.memory()?,
            pids: self.pids()?,
            ..Stats::default()
        };
        let pids_count = stats.pids.current;
        Ok(Sample {
            id: id.to_owned(),
            pids_count: pids_count.ok_or_else(|| unavailable("no controller counts tasks"))?,
            stats,
        })
    }

    fn cpu(&self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        if let Some(directory) = self.directory("cpuacct") {
            // In ticks of 1/100 s, on every machine that Linux containers run on.
            let stat = Table::read(directory, "cpuacct.stat")?;
            let (percpu_user, percpu_kernel) = by_mode(&directory.join("cpuacct.usage_all"))?;
            cpu.usage = CpuUsage {
                total: value(directory, "cpuacct.usage")?,
                user: stat.get("user", 10_000_000)?,
                kernel: stat.get("system", 10_000_000)?,
                percpu: values(&directory.join("cpuacct.usage_percpu"))?,
                percpu_kernel,
                percpu_user,
            };
        } else if let Some(directory) = self.directory(V2) {
            let stat = Table::read(directory, "cpu.stat")?;
            cpu.usage = CpuUsage {
                total: stat.get("usage_usec", 1000)?,
                user: stat.get("user_usec", 1000)?,
                kernel: stat.get("system_usec", 1000)?,
                ..CpuUsage::default()
            };
        }
        if let Some(directory) = self.directory("cpu").or(self.directory(V2)) {
            let stat = Table::read(directory, "cpu.stat")?;
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

    fn memory(&self) -> Result<Memory> {
        if let Some(directory) = self.directory("memory") {
            let entry = |kind: &str| {
                Ok(MemoryEntry {
                    limit: value(directory, &format!("{kind}.limit_in_bytes"))?,
                    usage: value(directory, &format!("{kind}.usage_in_bytes"))?,
                    max: value(directory, &format!("{kind}.max_usage_in_bytes"))?,
                    failcnt: value(directory, &format!("{kind}.failcnt"))?,
                })
            };
            let stat = Table::read(directory, "memory.stat")?;
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
        let Some(directory) = self.directory(V2) else {
            return Ok(Memory::default());
        };
        let stat = Table::read(directory, "memory.stat")?;
        let usage = MemoryEntry {
            limit: value(directory, "memory.max")?,
            usage: value(directory, "memory.current")?,
            max: value(directory, "memory.peak")?,
            failcnt: None,
        };
        // Memory and swap together, as in the contract and v1. If one has no limit, the sum has none.
        let sum = |swap: Option<u64>, memory: Option<u64>| Some(swap?.saturating_add(memory?));
        Ok(Memory {
            cache: stat.get("file", 1)?,
            swap: MemoryEntry {
                limit: sum(value(directory, "memory.swap.max")?, usage.limit),
                usage: sum(value(directory, "memory.swap.current")?, usage.usage),
                ..MemoryEntry::default()
            },
            usage,
            raw: stat.rows,
            ..Memory::default()
        })
    }

    fn pids(&self) -> Result<Pids> {
        let Some(directory) = self.directory("pids").or(self.directory(V2)) else {
            return Ok(Pids::default());
        };
        Ok(Pids {
            current: value(directory, "pids.current")?,
            limit: value(directory, "pids.max")?.filter(|limit| *limit < u64::MAX),
        })
    }
}

/// The lines of an interface file: names and values.
struct Table {
    path: PathBuf,
    rows: Vec<(String, u64)>,
}

impl Table {
    /// Reads a table. It is empty if there is no such file: controllers differ, and so do kernels.
    fn read(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let text = text(&path)?.unwrap_or_default();
        let row = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), number(value)?))
        };
        let rows = text
            .lines()
            .map(|line| row(line).ok_or_else(|| invalid(&path, line)));
        let rows = rows.collect::<Result<_>>()?;
        Ok(Self { path, rows })
    }

    /// Returns a value in the contract's unit, of which a unit of the file is `factor`.
    fn get(&self, name: &str, factor: u64) -> Result<Option<u64>> {
        let Some((_, value)) = self.rows.iter().find(|(key, _)| key == name) else {
            return Ok(None);
        };
        let value = value.checked_mul(factor).map(Some);
        value.ok_or_else(|| invalid(&self.path, name))
    }
}

/// Reads the value in an interface file. `None` if there is no such file.
fn value(directory: &Path, name: &str) -> Result<Option<u64>> {
    let path = directory.join(name);
    let value = text(&path)?.map(|text| number(&text).ok_or_else(|| invalid(&path, &text)));
    value.transpose()
}

/// Reads all values in an interface file. There are none if there is no such file.
fn values(path: &Path) -> Result<Vec<u64>> {
    let text = text(path)?.unwrap_or_default();
    text.split_ascii_whitespace()
        .map(|word| number(word).ok_or_else(|| invalid(path, word)))
        .collect()
}

/// Reads user and system time by CPU: below a heading, lines of a CPU and both times.
fn by_mode(path: &Path) -> Result<(Vec<u64>, Vec<u64>)> {
    let text = text(path)?.unwrap_or_default();
    let row = |line: &str| {
        let mut columns = line.split(' ').skip(1);
        Some((number(columns.next()?)?, number(columns.next()?)?))
    };
    text.lines()
        .skip(1)
        .map(|line| row(line).ok_or_else(|| invalid(path, line)))
        .collect()
}

/// Parses a number. `max`, which stands for no limit, is the largest one. The kernel may print counters as negative for
/// a moment: they count as 0.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    if text == "max" {
        return Some(u64::MAX);
    }
    match text.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Some(0),
        _ => text.parse().ok(),
    }
}

/// Reads an interface file. `None` if there is no such file.
fn text(path: &Path) -> Result<Option<String>> {
    /// In bytes.
    const LARGEST: u64 = 1 << 20;
    let read = || {
        // In a directory that is not of a cgroup file system, it could be a pipe that nobody writes to.
        if !fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > LARGEST {
            let why = format!("larger than {LARGEST} bytes");
            return Err(std::io::Error::other(why));
        }
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unavailable(format!("cannot read {}: {e}", path.display()))),
    }
}

/// Returns the error for a text in an interface file that is not a number of 64 bits.
fn invalid(path: &Path, text: &str) -> Error {
    let (path, text) = (path.display(), text.trim_ascii());
    unavailable(format!("cannot read {path}: {text:.64?} is not a number"))
}

fn unavailable(why: impl Into<String>) -> Error {
    Error::Unavailable(why.into())
}
