//! The mounted cgroup filesystems (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

use super::file::read_text;
use crate::error::{Context as _, Result, bail};

/// The mounted cgroup hierarchies.
pub(crate) struct Mounts(Vec<Mount>);

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
    pub(crate) fn of_this_process() -> Result<Self> {
        const PATH: &str = "/proc/self/mountinfo";
        let text = read_text(Path::new(PATH))
            .with_context(|| format!("cannot find cgroup filesystems in {PATH}"))?;
        let mounts = Self::parse(&text);
        if mounts.0.is_empty() {
            bail!(Source, "no cgroup filesystem is mounted, says {PATH}");
        }
        Ok(mounts)
    }

    /// The cgroup filesystems in the text of a mountinfo file (proc_pid_mountinfo(5)). Lines of another
    /// form are skipped: they are of other filesystems, or of kernels to come.
    pub(crate) fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(mount).collect())
    }

    /// The path of the group whose folder is `folder`.
    pub(crate) fn path_of(&self, folder: &Path) -> Option<PathBuf> {
        let mount = self
            .0
            .iter()
            .filter(|mount| folder.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())?;
        let below = folder.strip_prefix(&mount.point).ok()?;
        Some(mount.root.join(below))
    }

    /// The folder of the group of that path in the v1 hierarchy of `controller`, or in the v2 hierarchy
    /// where it is `None`.
    pub(crate) fn folder(&self, controller: Option<&str>, path: &Path) -> Option<PathBuf> {
        let wanted = |mount: &&Mount| match (&mount.v1, controller) {
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
            (Some(options), Some(controller)) => options.iter().any(|option| option == controller),
        };
        self.0.iter().filter(wanted).find_map(|mount| {
            let below = path.strip_prefix(&mount.root).ok()?;
            let folder = mount.point.join(below);
            folder.is_dir().then_some(folder)
        })
    }
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
    fn escapes_in_paths_are_undone_once() {
        assert_eq!(unescape(r"/a\040b\011c\012d\134e"), "/a b\tc\nd\\e");
        assert_eq!(unescape(r"/\134040"), r"/\040");
    }

    #[test]
    fn any_text_is_a_list_of_mounts() {
        let sample =
            r"33 31 0:35 /docker/1a2b /my\040cgroups/memory rw,relatime - cgroup none rw,memory";
        crate::fuzz::survives_anything(&[sample], |text| drop(Mounts::parse(text)));
    }
}
