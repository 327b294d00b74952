//! The place of a cgroup in each hierarchy.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use super::dir::{CgroupDir, FsKind, at};
use crate::error::{Result, bail};
use crate::linux::file::subdirectories;
use crate::linux::mountinfo::Mounts;
use crate::text::shorten;

/// The controllers of v1 that have statistics, and the v2 hierarchy.
pub(crate) const STATISTICS: &[&str] = &[
    "memory", "pids", "cpuacct", "cpu", "cpuset", "blkio", "hugetlb", UNIFIED,
];

/// The controller of v1 that has none, but stops tasks.
pub(crate) const FREEZER: &[&str] = &["freezer"];

/// The v2 hierarchy, alone or beside v1, under the name that runc has for it.
pub(super) const UNIFIED: &str = "";

/// The places where a cgroup may be: in each hierarchy of some controllers, its directory, which need not exist, or not
/// yet. If a controller has several, the first that exists counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CgroupPaths {
    dirs: Vec<(PathBuf, Vec<&'static str>)>,
    /// Set if they may be ordinary directories, with copies of interface files.
    may_be_ordinary: bool,
    /// Set if symbolic links may lead to them: those of hierarchies, but not of cgroups.
    may_be_links: bool,
}

impl CgroupPaths {
    /// Returns where the cgroup of that path is, as this process sees paths in /proc/PID/cgroup and mountinfo.
    pub(crate) fn of(mounts: &Mounts, path: &Path, controllers: &[&'static str]) -> Result<Self> {
        check_path(path)?;
        Ok(Self::by_controller(controllers, |controller| {
            mounts.dirs(controller, path).collect()
        }))
    }

    /// Returns where the cgroup of that path is, as the state of a runtime has it.
    pub(crate) fn of_state(
        mounts: &Mounts,
        path: &Path,
        controllers: &[&'static str],
    ) -> Result<Self> {
        check_path(path)?;
        Ok(Self::by_controller(controllers, |controller| {
            mounts.dirs_of_others(controller, path).collect()
        }))
    }

    /// Takes directories, by their controllers, from the state of a runtime. Those outside of the cgroup
    /// filesystems are left out; it is an error if no other is left.
    pub(crate) fn in_state(
        mounts: &Mounts,
        dirs: &HashMap<String, PathBuf>,
        controllers: &[&'static str],
    ) -> Result<Self> {
        let paths = Self::by_controller(controllers, |controller| {
            let dir = dirs.get(controller.unwrap_or(UNIFIED));
            let dir = dir.filter(|dir| mounts.path_of(dir).is_some());
            dir.cloned().into_iter().collect()
        });
        if paths.dirs.is_empty()
            && let Some(dir) = dirs.values().min()
        {
            bail!(
                Source,
                "its state has the cgroup {}, which is not in a cgroup filesystem",
                shorten(&dir.to_string_lossy())
            );
        }
        Ok(paths)
    }

    fn by_controller(
        controllers: &[&'static str],
        dirs: impl Fn(Option<&str>) -> Vec<PathBuf>,
    ) -> Self {
        let mut paths = Self::default();
        for &controller in controllers {
            for dir in dirs((controller != UNIFIED).then_some(controller)) {
                paths.add(dir, controller);
            }
        }
        paths
    }

    fn add(&mut self, dir: PathBuf, controller: &'static str) {
        match self.dirs.iter_mut().find(|(other, _)| *other == dir) {
            Some((_, controllers)) => controllers.push(controller),
            None => self.dirs.push((dir, vec![controller])),
        }
    }

    /// Returns the children of `root`, an ordinary directory with copies of interface files, say from another
    /// machine. It has a `cgroup.controllers`, as every v2 cgroup has, or is laid out like /sys/fs/cgroup of a
    /// v1 machine: a directory for each controller, and maybe `unified`.
    pub(crate) fn laid_out_in(root: &Path) -> Result<Self> {
        let Some(dir) = CgroupDir::open(root)? else {
            bail!(Source, "it is not a directory");
        };
        let mut paths = Self {
            may_be_ordinary: true,
            may_be_links: true,
            ..Self::default()
        };
        if dir.has("cgroup.controllers") {
            paths.add(root.to_owned(), UNIFIED);
            return Ok(paths);
        }
        let mut names = subdirectories(dir.fd())?;
        names.sort();
        for name in names {
            for controller in name.split(',') {
                let controller = match controller {
                    "unified" => UNIFIED,
                    other => other,
                };
                if let Some(known) = STATISTICS.iter().find(|known| **known == controller) {
                    paths.add(root.join(&name), known);
                }
            }
        }
        if paths.dirs.is_empty() {
            bail!(
                Source,
                "it is neither in a cgroup filesystem nor laid out like one"
            );
        }
        Ok(paths)
    }

    /// Lists the names of the cgroups in this one, in any hierarchy, in order. A hierarchy without this cgroup
    /// has none.
    pub(crate) fn children(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let mut found = false;
        for (path, _) in &self.dirs {
            if let Some(dir) = self.open(path)? {
                found = true;
                names.extend(at(path, dir.children())?);
            }
        }
        if !found {
            bail!(Source, "there is no such cgroup in any hierarchy");
        }
        Ok(names)
    }

    /// Leaves out the hierarchies without this cgroup: in them, no cgroup is in it, which takes a system call for each
    /// to find out.
    pub(crate) fn existing(mut self) -> Self {
        self.dirs.retain(|(dir, _)| dir.is_dir());
        self
    }

    /// Returns where the cgroup of that name in this one is.
    pub(crate) fn child(&self, name: &str) -> Self {
        let dirs = self.dirs.iter();
        Self {
            dirs: dirs
                .map(|(dir, controllers)| (dir.join(name), controllers.clone()))
                .collect(),
            may_be_ordinary: self.may_be_ordinary,
            may_be_links: false,
        }
    }

    /// Returns whether there is no hierarchy that this cgroup could be in.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// Opens one of the directories. `None` if it does not exist, or is something else.
    pub(super) fn open(&self, path: &Path) -> Result<Option<CgroupDir>> {
        let dir = match self.may_be_links {
            true => CgroupDir::open_linked(path),
            false => CgroupDir::open(path),
        };
        let dir = at(path, dir)?;
        Ok(dir.filter(|dir| self.may_be_ordinary || dir.kind != FsKind::Ordinary))
    }

    /// Returns the directories and their controllers, or [`UNIFIED`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &[&'static str])> {
        let dirs = self.dirs.iter();
        dirs.map(|(dir, controllers)| (dir.as_path(), controllers.as_slice()))
    }
}

/// Checks that a path is one of a cgroup: it comes from outside. It may lead upwards at its beginning, out of
/// this process's cgroup namespace.
fn check_path(path: &Path) -> Result<()> {
    let mut parts = path.components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let mut parts = parts.skip_while(|part| *part == Component::ParentDir);
    if !is_absolute || !parts.all(|part| matches!(part, Component::Normal(_))) {
        bail!(
            Source,
            "{} is not the path of a cgroup",
            shorten(&path.to_string_lossy())
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn a_path_that_leads_upwards_is_no_cgroup() {
        let mounts = Mounts::parse(b"35 31 0:38 / /tmp rw - cgroup2 cgroup2 rw");
        for path in ["/a/../../etc", "relative/..", "relative", ""] {
            assert!(
                CgroupPaths::of(&mounts, Path::new(path), STATISTICS).is_err(),
                "{path}"
            );
        }
        let above = CgroupPaths::of(&mounts, Path::new("/../etc"), STATISTICS);
        assert!(above.expect("it is one").is_empty());
    }

    #[test]
    fn a_state_names_directories_in_cgroup_filesystems() {
        let mounts = Mounts::parse(
            b"35 31 0:38 / /cg/memory rw - cgroup none rw,memory\n\
              36 31 0:38 / /cg/cpu,cpuacct rw - cgroup none rw,cpu,cpuacct\n",
        );
        let in_state = |dirs: &[(&str, &str)]| {
            let dirs = dirs.iter();
            let dirs = dirs.map(|&(name, dir)| (name.to_owned(), dir.into()));
            CgroupPaths::in_state(&mounts, &dirs.collect(), STATISTICS)
        };
        let paths = in_state(&[
            ("memory", "/cg/memory/web"),
            ("cpu", "/cg/cpu,cpuacct/web"),
            ("cpuacct", "/cg/cpu,cpuacct/web"),
            ("pids", "/etc/web"),
            ("name=systemd", "/cg/memory/web"),
        ]);
        let paths = paths.expect("there are some");
        assert_eq!(
            paths.dirs,
            [
                ("/cg/memory/web".into(), vec!["memory"]),
                ("/cg/cpu,cpuacct/web".into(), vec!["cpuacct", "cpu"]),
            ]
        );
        for dir in ["/etc/web", "/cg/memory/../../etc", "cg/memory/web", ""] {
            let error = in_state(&[("memory", dir)]).expect_err(dir);
            assert!(error.to_string().ends_with("not in a cgroup filesystem"));
        }
        assert!(in_state(&[]).expect("there are none").is_empty());
    }

    #[test]
    fn a_hierarchy_without_the_cgroup_has_no_children_of_it() {
        let test = tempdir().expect("a directory");
        write(&test, "memory/root/a/tasks", "");
        write(&test, "pids/root/b/tasks", "");
        write(&test, "cpu,cpuacct/other", "");
        let paths = CgroupPaths::laid_out_in(test.path()).expect("it is laid out like v1");
        let root = paths.child("root");
        let children: Vec<_> = root
            .children()
            .expect("there are some")
            .into_iter()
            .collect();
        assert_eq!(children, ["a", "b"]);
        assert!(paths.child("none").children().is_err());
    }
}
