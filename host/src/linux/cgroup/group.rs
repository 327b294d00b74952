//! One cgroup, open for reading.

use std::path::PathBuf;

use super::cpu::CpuLimits;
use super::dir::{CgroupDir, FsKind};
use super::parse::parse_flag;
use super::paths::{CgroupPaths, UNIFIED};
use super::{blkio, cpu, cpuset, hugetlb, memory, pids, psi};
use crate::bindings::types::{Blkio, Cpu, Hugetlb, Memory, Pids, Psi, Stats};
use crate::error::{Error, Result, error};
use crate::linux::mountinfo::Mounts;

/// One cgroup, open for reading.
pub(crate) struct Cgroup {
    paths: CgroupPaths,
    hierarchies: Vec<Hierarchy>,
}

/// The cgroup in one hierarchy.
struct Hierarchy {
    path: PathBuf,
    controllers: Vec<&'static str>,
    /// Its directory, as long as there is one.
    dir: Option<CgroupDir>,
}

impl AsRef<Cgroup> for Cgroup {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Cgroup {
    /// Opens the cgroup for reading. It need not exist in all hierarchies, or in any.
    pub(crate) fn open(paths: &CgroupPaths) -> Result<Self> {
        let hierarchies = paths.iter().map(|(path, controllers)| Hierarchy {
            path: path.to_owned(),
            controllers: controllers.to_vec(),
            dir: None,
        });
        let mut cgroup = Self {
            hierarchies: hierarchies.collect(),
            paths: paths.clone(),
        };
        cgroup.refresh()?;
        Ok(cgroup)
    }

    /// Opens the directories that have come, or were made anew, and closes those that have gone. Returns
    /// whether there are some of the latter.
    fn refresh(&mut self) -> Result<bool> {
        // Looking a directory up takes 4 µs. The files of a kernel's own one fail once it has gone; if it was
        // renamed, they do not, but it was in all hierarchies. So the first one stands for all.
        let is_current = self.dirs().next().is_some_and(CgroupDir::is_current)
            && self.dirs().all(|dir| !dir.may_have_gone());
        let mut lost = false;
        for hierarchy in &mut self.hierarchies {
            let dir = &mut hierarchy.dir;
            let is_current = match dir {
                Some(dir) => is_current || dir.confirm(),
                None => false,
            };
            if !is_current {
                let was_open = dir.take().is_some();
                *dir = self.paths.open(&hierarchy.path)?;
                lost |= was_open && dir.is_none();
            }
        }
        Ok(lost)
    }

    /// Returns whether it exists in no hierarchy.
    pub(crate) fn is_absent(&self) -> bool {
        self.dirs().next().is_none()
    }

    /// Returns whether there are so few open files that this cgroup may stay open until the next sample.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.dirs().all(CgroupDir::may_stay_open)
    }

    fn dirs(&self) -> impl Iterator<Item = &CgroupDir> {
        self.hierarchies
            .iter()
            .filter_map(|hierarchy| hierarchy.dir.as_ref())
    }

    /// Returns the directory of that controller in v1, or the v2 one.
    pub(super) fn dir(&mut self, controller: &str) -> Option<&mut CgroupDir> {
        let hierarchies = self.hierarchies.iter_mut();
        hierarchies
            .filter(|hierarchy| hierarchy.controllers.contains(&controller))
            .find_map(|hierarchy| hierarchy.dir.as_mut())
    }

    /// Returns the directory that accounts for memory.
    pub(super) fn memory_dir(&self) -> Option<&CgroupDir> {
        ["memory", UNIFIED].into_iter().find_map(|controller| {
            let mut hierarchies = self.hierarchies.iter();
            hierarchies.find_map(|hierarchy| {
                let dir = hierarchy.dir.as_ref()?;
                hierarchy.controllers.contains(&controller).then_some(dir)
            })
        })
    }

    /// Reads all that is accounted for the cgroup, as far as it can be read: [`Cgroup::take_failure`] says why
    /// something is missing. The network is not part of it.
    pub(crate) fn stats(&mut self) -> Result<Stats> {
        let gone = || error!(ContainerNotFound, "its cgroup has gone");
        let mut lost = self.refresh()?;
        if self.is_absent() {
            return Err(gone());
        }
        let stats = Stats {
            cpu: self.cpu(),
            cpuset: self.dir("cpuset").map(cpuset::read).unwrap_or_default(),
            blkio: self.blkio(),
            hugetlb: self.hugetlb(),
            pids: self.pids(),
            memory: self.memory(),
            ..Stats::default()
        };
        // A cgroup goes away in one hierarchy after the other, without tasks. Values are missing then, some of
        // those that are always there among them.
        let (memory, cpu) = (stats.memory.usage.usage, stats.cpu.usage.total);
        let holes = memory.and(cpu).and(stats.pids.current).is_none();
        lost |= holes && self.dirs().any(|dir| !dir.is_current());
        if lost && stats.pids.current.unwrap_or(0) == 0 {
            return Err(gone());
        }
        if stats == Stats::default() {
            let unaccounted = || error!(Source, "no mounted hierarchy accounts for it");
            return Err(self.take_failure().unwrap_or_else(unaccounted));
        }
        Ok(stats)
    }

    /// Returns its path in the first hierarchy that has it, from the root of that.
    pub(crate) fn path(&self, mounts: &Mounts) -> Option<PathBuf> {
        let path = mounts.path_of(&self.dirs().next()?.path)?;
        path.to_str().is_some().then_some(path)
    }

    /// Returns when it was made, in nanoseconds since 1970: a later one of its name was made later. `None` if it is no
    /// cgroup, but has copies of interface files.
    pub(crate) fn made(&self) -> Option<u64> {
        self.dirs().filter_map(|dir| dir.made).min()
    }

    /// Reads the limits of CPU time.
    pub(crate) fn cpu_limits(&mut self) -> CpuLimits {
        let limits = match self.dir("cpu") {
            Some(dir) => cpu::limits_v1(dir),
            None => self.dir(UNIFIED).map(cpu::limits_v2).unwrap_or_default(),
        };
        // What cannot be read is not known.
        self.take_failure();
        limits
    }

    /// Returns whether its tasks are stopped. `None` if no hierarchy of these can stop them.
    pub(crate) fn is_frozen(&mut self) -> Option<bool> {
        let is_frozen = match self.dir("freezer") {
            Some(dir) => dir.read("freezer.state", |text| Ok(text.trim_ascii() == "FROZEN")),
            None => self.dir(UNIFIED)?.read("cgroup.freeze", parse_flag),
        };
        self.take_failure();
        is_frozen
    }

    /// Takes the first failure of this sample.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        let hierarchies = self.hierarchies.iter_mut();
        let failures = hierarchies.filter_map(|hierarchy| hierarchy.dir.as_mut()?.failure.take());
        failures.reduce(|first, _| first)
    }

    fn cpu(&mut self) -> Cpu {
        let mut cpu = Cpu::default();
        if let Some(dir) = self.dir("cpuacct") {
            cpu.usage = cpu::usage_v1(dir);
        } else if let Some(dir) = self.dir(UNIFIED) {
            (cpu.usage, cpu.throttling) = cpu::stat(dir);
        }
        if let Some(dir) = self.dir("cpu") {
            (_, cpu.throttling) = cpu::stat(dir);
        }
        cpu.psi = self.pressure("cpu.pressure");
        cpu
    }

    fn memory(&mut self) -> Memory {
        let mut memory = match self.dir("memory") {
            Some(dir) => memory::read_v1(dir),
            None => self.dir(UNIFIED).map(memory::read_v2).unwrap_or_default(),
        };
        memory.psi = self.pressure("memory.pressure");
        memory
    }

    /// Reads a file of pressure, which the kernel has without the controller, too. Beside v1, the v2 cgroup may be there
    /// without any task in it, and runc does not read it.
    fn pressure(&mut self, file: &str) -> Option<Psi> {
        match self.v1_dir() {
            Some(_) => None,
            None => psi::read(self.dir(UNIFIED)?, file),
        }
    }

    /// Returns the directory in the first v1 hierarchy that has one.
    fn v1_dir(&mut self) -> Option<&mut CgroupDir> {
        let hierarchies = self.hierarchies.iter_mut();
        hierarchies
            .filter(|hierarchy| !hierarchy.controllers.contains(&UNIFIED))
            .find_map(|hierarchy| hierarchy.dir.as_mut())
    }

    /// Reads the count of the pids controller, or, if that is not at work, the lists of tasks.
    fn pids(&mut self) -> Pids {
        for controller in ["pids", UNIFIED] {
            if let Some(pids) = self.dir(controller).and_then(pids::read) {
                return pids;
            }
        }
        // The directory of a v2 cgroup beside v1 may be there without any task in it.
        let current = match self.v1_dir() {
            Some(dir) => pids::count_tasks(dir, "tasks"),
            None => {
                let dir = self.dir(UNIFIED);
                dir.and_then(|dir| pids::count_tasks(dir, "cgroup.threads"))
            }
        };
        Pids {
            current,
            limit: None,
        }
    }

    fn blkio(&mut self) -> Blkio {
        let entries = match self.dir("blkio") {
            Some(dir) => Some(blkio::read_v1(dir)),
            None => self
                .dir(UNIFIED)
                .and_then(|dir| dir.read("io.stat", blkio::io_stat)),
        };
        Blkio {
            entries: entries.unwrap_or_default(),
            psi: self.pressure("io.pressure"),
        }
    }

    fn hugetlb(&mut self) -> Vec<(String, Hugetlb)> {
        if let Some(dir) = self.dir("hugetlb") {
            return hugetlb::read(dir);
        }
        let Some(dir) = self.dir(UNIFIED) else {
            return Vec::new();
        };
        // Listing a directory takes longer than to read which controllers it has.
        let has_hugetlb =
            |text: &str| Ok(text.split_ascii_whitespace().any(|name| name == "hugetlb"));
        let may_have_some = dir.hugetlb.is_some() || dir.kind == FsKind::Ordinary;
        match may_have_some || dir.read("cgroup.controllers", has_hugetlb) != Some(false) {
            true => hugetlb::read(dir),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::error::ErrorKind;
    use crate::linux::file::tests::write;

    fn open(test: &TempDir) -> Cgroup {
        let paths = CgroupPaths::laid_out_in(test.path()).expect("it is laid out like one");
        Cgroup::open(&paths.child("web")).expect("it can be opened")
    }

    #[test]
    fn what_cannot_be_read_costs_itself() {
        let test = tempdir().expect("a directory");
        write(&test, "cgroup.controllers", "cpu pids");
        write(&test, "web/pids.current", "2\n");
        write(&test, "web/cpu.stat", "usage_usec 5\n");
        let mut cgroup = open(&test);
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(stats.pids.current, Some(2));
        assert_eq!(stats.cpu.usage.total, Some(5000));
        assert_eq!(stats.memory, Memory::default());

        for (name, text) in [
            ("memory.current", &b"\xff\n"[..]),
            ("memory.stat", b"x\nfile 1\n"),
            ("memory.max", b""),
            ("io.stat", b"\xff\n8:0 rbytes=1\n"),
            ("cpu.pressure", b"x"),
            ("pids.current", b"many"),
            ("cgroup.threads", b"1\n2\n3\n"),
        ] {
            write(&test, &format!("web/{name}"), text);
        }
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(stats.pids.current, Some(3));
        assert_eq!(stats.cpu.usage.total, Some(5000));
        assert_eq!(stats.memory.cache, Some(1));
        assert_eq!(stats.memory.usage, Default::default());
        assert_eq!(stats.blkio.entries.len(), 1);
        assert_eq!(stats.cpu.psi, None);
    }

    #[test]
    fn only_a_cgroup_of_which_nothing_can_be_read_is_an_error() {
        let test = tempdir().expect("a directory");
        write(&test, "cgroup.controllers", "");
        write(&test, "web/memory.current", "x");
        let error = open(&test).stats().expect_err("there is nothing");
        assert_eq!(error.kind(), ErrorKind::Source);
        let error = format!("{error:#}");
        assert!(
            error.ends_with(
                "web/memory.current: \"x\" is not a number: invalid digit found in string"
            ),
            "{error}"
        );
        fs::remove_file(test.path().join("web/memory.current")).expect("it can be removed");
        let error = open(&test).stats().expect_err("there is nothing");
        assert_eq!(error.to_string(), "no mounted hierarchy accounts for it");
    }

    #[test]
    fn pressure_is_read_without_controllers_but_not_beside_v1() {
        let pressure = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n";
        let v2 = tempdir().expect("a directory");
        let hybrid = tempdir().expect("a directory");
        write(&v2, "cgroup.controllers", "cpu");
        fs::create_dir_all(hybrid.path().join("pids/web")).expect("a directory");
        write(&hybrid, "pids/web/pids.current", "1\n");
        for (test, below) in [(&v2, "web"), (&hybrid, "unified/web")] {
            for name in ["cpu", "memory", "io"] {
                write(test, &format!("{below}/{name}.pressure"), pressure);
            }
        }
        for (test, is_there) in [(v2, true), (hybrid, false)] {
            let stats = open(&test).stats().expect("there are some");
            for psi in [stats.cpu.psi, stats.memory.psi, stats.blkio.psi] {
                assert_eq!(psi.is_some(), is_there);
            }
        }
    }

    #[test]
    fn hierarchies_come_and_go_and_are_made_anew() {
        let test = tempdir().expect("a directory");
        fs::create_dir_all(test.path().join("pids")).expect("a directory");
        write(&test, "memory/web/memory.usage_in_bytes", "4096\n");
        let mut cgroup = open(&test);
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(
            (stats.memory.usage.usage, stats.pids.current),
            (Some(4096), None)
        );
        write(&test, "pids/web/pids.current", "2\n");
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(stats.pids.current, Some(2));

        // Another one of the same name.
        fs::rename(test.path().join("pids/web"), test.path().join("pids/old"))
            .expect("it can be renamed");
        write(&test, "pids/web/pids.current", "3\n");
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(stats.pids.current, Some(3));

        // One hierarchy goes while there are tasks, and comes back.
        fs::rename(
            test.path().join("memory/web"),
            test.path().join("memory/old"),
        )
        .expect("it can be renamed");
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(
            (stats.memory.usage.usage, stats.pids.current),
            (None, Some(3))
        );
        write(&test, "memory/web/memory.usage_in_bytes", "1\n");
        let stats = cgroup.stats().expect("there are some");
        assert_eq!(stats.memory.usage.usage, Some(1));

        // It goes without tasks.
        write(&test, "pids/web/pids.current", "0\n");
        fs::remove_dir_all(test.path().join("memory/web")).expect("it can be removed");
        let error = cgroup.stats().expect_err("it goes");
        assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
    }
}
