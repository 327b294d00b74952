//! One control group, open for reading.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::dir::{Folder, Kind};
use super::hugetlb::HugetlbFiles;
use super::parse::{maximum, number};
use super::paths::{Paths, UNIFIED};
use super::{blkio, cpu, cpuset, hugetlb, memory, pids, psi};
use crate::bindings::types::{Blkio, Cpu, Cpuset, Hugetlb, Memory, Pids, Stats};
use crate::error::{Context as _, Result, bail};

/// One control group, open for reading.
pub(crate) struct Group {
    folders: BTreeMap<&'static str, Folder>,
    /// The cpuset, and when it was read.
    cpuset: Option<(Instant, Cpuset)>,
    /// The files of the hugetlb controller, and when they were looked for.
    hugetlb: Option<(Instant, Vec<HugetlbFiles>)>,
}

impl AsRef<Group> for Group {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Group {
    /// Opens the group for reading.
    pub(crate) fn open(paths: &Paths) -> Result<Self> {
        let mut folders = BTreeMap::new();
        for (controller, path) in paths.iter() {
            let folder = Folder::open(path).with_context(|| path.display().to_string())?;
            folders.insert(controller, folder);
        }
        Ok(Self {
            folders,
            cpuset: None,
            hugetlb: None,
        })
    }

    /// The folder of that controller in v1, or the v2 one.
    pub(super) fn folder(&mut self, controller: &str) -> Option<&mut Folder> {
        self.folders.get_mut(controller)
    }

    /// The folder that accounts for memory, and whether it is one of v1.
    pub(crate) fn memory_folder(&self) -> Option<(&Path, bool)> {
        let folder = |controller| self.folders.get(controller);
        let v1 = folder("memory").map(|folder| (folder.path.as_path(), true));
        v1.or_else(|| Some((folder(UNIFIED)?.path.as_path(), false)))
    }

    /// Reads all that the group accounts for. The network is not part of it.
    pub(crate) fn stats(&mut self) -> Result<Stats> {
        let stats = self.read();
        // A group goes away in one hierarchy after the other. Then figures are missing, one of those
        // that must be there among them.
        let holes = stats.as_ref().map_or(true, |stats| {
            let (memory, cpu) = (stats.memory.usage.usage, stats.cpu.usage.total);
            memory.and(stats.pids.current).and(cpu).is_none()
        });
        let mut folders = self.folders.values();
        if folders.any(|folder| (holes || folder.kind == Kind::Other) && folder.is_gone()) {
            bail!(ContainerNotFound, "its cgroup has gone");
        }
        stats
    }

    fn read(&mut self) -> Result<Stats> {
        Ok(Stats {
            cpu: self.cpu().context("cannot read CPU usage")?,
            cpuset: self.cpuset().context("cannot read the cpuset")?,
            blkio: self.blkio().context("cannot read block I/O")?,
            hugetlb: self.hugetlb().context("cannot read huge pages")?,
            pids: self.pids().context("cannot read pids")?,
            memory: self.memory().context("cannot read memory")?,
            ..Stats::default()
        })
    }

    pub(super) fn cpu(&mut self) -> Result<Cpu> {
        let mut cpu = Cpu::default();
        if let Some(folder) = self.folder("cpuacct") {
            cpu.usage = cpu::usage_v1(folder)?;
        } else if let Some(folder) = self.folder(UNIFIED) {
            (cpu.usage, cpu.throttling) = cpu::stat(folder)?;
        }
        if let Some(folder) = self.folder("cpu") {
            (_, cpu.throttling) = cpu::stat(folder)?;
        }
        let v1 = ["cpu", "cpuacct"].map(|controller| self.folders.contains_key(controller));
        if v1 == [false, false]
            && let Some(folder) = self.folder(UNIFIED)
        {
            cpu.psi = psi::read(folder, "cpu.pressure")?;
        }
        Ok(cpu)
    }

    fn cpuset(&mut self) -> Result<Cpuset> {
        // On v2, runc reads none of it.
        let Some(folder) = self.folders.get_mut("cpuset") else {
            return Ok(Cpuset::default());
        };
        let known = self.cpuset.take();
        let (read, cpuset) = match known.filter(|(read, _)| folder.is_fresh(*read)) {
            Some(known) => known,
            None => (Instant::now(), cpuset::read(folder)?),
        };
        self.cpuset = Some((read, cpuset.clone()));
        Ok(cpuset)
    }

    fn memory(&mut self) -> Result<Memory> {
        if let Some(folder) = self.folder("memory") {
            return memory::read_v1(folder);
        }
        match self.folder(UNIFIED) {
            Some(folder) => memory::read_v2(folder),
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
            (Some((_, folder)), _) => pids::tasks(&folder.path, "tasks")?,
            (None, Some(folder)) => pids::tasks(&folder.path, "cgroup.threads")?,
            (None, None) => None,
        };
        Ok(Pids {
            current,
            limit: None,
        })
    }

    fn blkio(&mut self) -> Result<Blkio> {
        if let Some(folder) = self.folder("blkio") {
            let entries = blkio::read_v1(folder)?;
            return Ok(Blkio { entries, psi: None });
        }
        match self.folder(UNIFIED) {
            Some(folder) => Ok(Blkio {
                entries: folder.get("io.stat", blkio::io_stat)?.unwrap_or_default(),
                psi: psi::read(folder, "io.pressure")?,
            }),
            None => Ok(Blkio::default()),
        }
    }

    fn hugetlb(&mut self) -> Result<Vec<(String, Hugetlb)>> {
        let v2 = !self.folders.contains_key("hugetlb");
        let controller = if v2 { UNIFIED } else { "hugetlb" };
        let Some(folder) = self.folders.get_mut(controller) else {
            return Ok(Vec::new());
        };
        // Sizes of huge pages don't come and go. The controller may come: where there were none, they are
        // looked for again after a second.
        let known = self.hugetlb.take();
        let known = known.filter(|(read, files)| !files.is_empty() || folder.is_fresh(*read));
        let (read, files) = match known {
            Some(known) => known,
            None => (Instant::now(), HugetlbFiles::list(&folder.path)?),
        };
        let all = hugetlb::read(folder, &files, v2);
        self.hugetlb = Some((read, files));
        all
    }
}
