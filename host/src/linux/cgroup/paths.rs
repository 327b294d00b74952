//! Where a group is in each hierarchy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use crate::error::{Context as _, Result, bail};
use crate::linux::file::folders;
use crate::linux::mountinfo::Mounts;

/// The controllers of v1 that tell anything here, and the v2 hierarchy.
const CONTROLLERS: [&str; 8] = [
    "memory", "pids", "cpuacct", "cpu", "cpuset", "blkio", "hugetlb", UNIFIED,
];

/// The v2 hierarchy, alone or beside v1, under the name that runc has for it.
pub(super) const UNIFIED: &str = "";

/// Where one control group is: its folder in each hierarchy of [`CONTROLLERS`] that has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(BTreeMap<&'static str, PathBuf>);

impl Paths {
    /// The group of that path, as /proc/PID/cgroup and the state of runtimes have it.
    pub(crate) fn of(mounts: &Mounts, path: &Path) -> Result<Self> {
        if !path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        {
            bail!(Source, "{} is not the path of a cgroup", path.display());
        }
        let folders = CONTROLLERS.iter().filter_map(|&controller| {
            let v1 = (controller != UNIFIED).then_some(controller);
            Some((controller, mounts.folder(v1, path)?))
        });
        Ok(Self(folders.collect()))
    }

    /// Those of `folders`, by their controllers, that are there.
    pub(crate) fn new(folders: &HashMap<String, PathBuf>) -> Self {
        let folders = CONTROLLERS
            .iter()
            .filter_map(|&controller| Some((controller, folders.get(controller)?.clone())))
            .filter(|(_, folder)| folder.is_dir());
        Self(folders.collect())
    }

    /// The group whose control files are in an ordinary folder, say copied there from another machine.
    /// `root` has a `cgroup.controllers`, as every v2 group has, or is laid out like /sys/fs/cgroup of a
    /// v1 machine: a folder for each controller, and maybe `unified`.
    pub(crate) fn laid_out_in(root: &Path) -> Result<Self> {
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
            bail!(
                Source,
                "it is neither in a cgroup filesystem nor laid out like one"
            );
        }
        Ok(paths)
    }

    /// The names of the groups in this one, in any hierarchy, in order.
    pub(crate) fn children(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for folder in self.0.values() {
            names.extend(folders(folder).with_context(|| folder.display().to_string())?);
        }
        Ok(names)
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        let children = self
            .0
            .iter()
            .map(|(controller, folder)| (*controller, folder.join(name)))
            .filter(|(_, folder)| folder.is_dir());
        Self(children.collect())
    }

    /// Whether there is no such group in any hierarchy.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each hierarchy's controller, or [`UNIFIED`], and the group's folder there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let folders = self.0.iter();
        folders.map(|(controller, folder)| (*controller, folder.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_upwards_is_no_group() {
        let mounts = Mounts::parse("35 31 0:38 / /tmp rw - cgroup2 cgroup2 rw");
        for path in ["/..", "/a/../../etc", "relative/.."] {
            assert!(Paths::of(&mounts, Path::new(path)).is_err(), "{path}");
        }
    }
}
