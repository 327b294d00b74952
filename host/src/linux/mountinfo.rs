//! The mounted cgroup filesystems (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::file::{LARGEST, read};
use crate::error::{Context as _, Result, bail};

const PATH: &str = "/proc/self/mountinfo";

/// The mounted cgroup hierarchies.
#[derive(Default)]
pub(crate) struct Mounts {
    mounts: Vec<Mount>,
    /// The list itself, which can be polled for changes.
    file: Option<File>,
}

#[derive(Debug, PartialEq)]
struct Mount {
    /// The cgroup that is mounted, as a path in its hierarchy. It begins with `/..` if it is not below the
    /// root of this process's cgroup namespace.
    root: PathBuf,
    /// The directory that it is mounted on.
    point: PathBuf,
    /// The options of a v1 hierarchy, controllers among them. `None` for the v2 hierarchy.
    v1: Option<Vec<String>>,
}

impl Mounts {
    /// Reads the mounts of this process.
    pub(crate) fn of_this_process() -> Result<Self> {
        let read = || -> Result<Self> {
            let mut file = File::open(PATH)?;
            let mut mounts = Self::parse(&read(file.by_ref(), LARGEST)?);
            mounts.file = Some(file);
            Ok(mounts)
        };
        let mounts = read().with_context(|| format!("cannot read {PATH}"))?;
        if mounts.mounts.is_empty() {
            bail!(Source, "no cgroup filesystem is mounted");
        }
        Ok(mounts)
    }

    /// Reads the mounts again if there were changes.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let mut changes = [PollFd::new(file, PollFlags::PRI)];
        let changed = poll(&mut changes, Some(&Timespec::default())).is_ok_and(|n| n > 0);
        if changed {
            let text = file.rewind().and_then(|()| read(file, LARGEST));
            let text = text.with_context(|| format!("cannot read {PATH}"))?;
            self.mounts = Self::parse(&text).mounts;
        }
        Ok(changed)
    }

    /// Finds the cgroup filesystems in the text of a mountinfo file. Lines of another form are skipped: they
    /// are of other filesystems, or of kernels to come.
    pub(crate) fn parse(mountinfo: &[u8]) -> Self {
        let lines = mountinfo.split(|byte| *byte == b'\n');
        Self {
            mounts: lines.filter_map(mount).collect(),
            file: None,
        }
    }

    /// Returns the path of the cgroup whose directory is `dir`.
    pub(crate) fn path_of(&self, dir: &Path) -> Option<PathBuf> {
        if dir.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let mounts = self.mounts.iter();
        let mount = mounts
            .filter(|mount| dir.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())?;
        let below = dir.strip_prefix(&mount.point).ok()?;
        Some(mount.root.join(below))
    }

    /// Returns where the cgroup of that path may be in the v1 hierarchy of `controller`, or in the v2 hierarchy
    /// if that is `None`. A hierarchy may be mounted in several places, and in parts.
    pub(crate) fn dirs(
        &self,
        controller: Option<&str>,
        path: &Path,
    ) -> impl Iterator<Item = PathBuf> {
        self.hierarchy(controller).filter_map(move |mount| {
            let below = path.strip_prefix(&mount.root).ok()?;
            mount.dir(below)
        })
    }

    /// As [`dirs`](Self::dirs), for a path that another process wrote down, which may have had another cgroup
    /// namespace. Then the mounts of what is above ours are taken for the whole hierarchy.
    pub(crate) fn dirs_of_others(
        &self,
        controller: Option<&str>,
        path: &Path,
    ) -> impl Iterator<Item = PathBuf> {
        let below = path.strip_prefix("/").unwrap_or(path).to_owned();
        let is_above = |mount: &&Mount| {
            let mut parts = mount.root.components().skip(1);
            mount.root != Path::new("/") && parts.all(|part| part == Component::ParentDir)
        };
        let above = self.hierarchy(controller).filter(is_above);
        self.dirs(controller, path)
            .chain(above.filter_map(move |mount| mount.dir(&below)))
    }

    /// Returns the path of the topmost cgroup that is mounted: `/` if anything but a part of the hierarchies
    /// is.
    pub(crate) fn top(&self) -> Option<&Path> {
        let roots = self.mounts.iter().map(|mount| mount.root.as_path());
        // The first of those that are as short.
        roots.min_by_key(|root| root.components().count())
    }

    fn hierarchy(&self, controller: Option<&str>) -> impl Iterator<Item = &Mount> {
        self.mounts
            .iter()
            .filter(move |mount| match (&mount.v1, controller) {
                (None, None) => true,
                (None, Some(_)) | (Some(_), None) => false,
                (Some(options), Some(controller)) => {
                    options.iter().any(|option| option == controller)
                }
            })
    }
}

impl Mount {
    /// Returns the directory of the cgroup at `below`, a path that leads down from the mounted one.
    fn dir(&self, below: &Path) -> Option<PathBuf> {
        let leads_down = below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        leads_down.then(|| self.point.join(below))
    }
}

/// Parses a line of a mountinfo file.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    // Any number of optional fields end in a dash.
    fields.find(|field| *field == b"-")?;
    let v1 = match fields.next()? {
        b"cgroup" => {
            let options = str::from_utf8(fields.nth(1)?).ok()?;
            Some(options.split(',').map(str::to_owned).collect())
        }
        b"cgroup2" => None,
        _ => return None,
    };
    let path = |field| Some(PathBuf::from(unescape(field))).filter(|path| path.is_absolute());
    Some(Mount {
        root: path(root)?,
        point: path(point)?,
        v1,
    })
}

/// Undoes the kernel's escapes: a backslash and three octal digits stand for a byte.
fn unescape(mut path: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(path.len());
    while let [first, rest @ ..] = path {
        let octal = || {
            let digits = str::from_utf8(rest.get(..3)?).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match octal().filter(|_| *first == b'\\' && !rest.starts_with(b"+")) {
            Some(byte) => {
                bytes.push(byte);
                path = rest.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                path = rest;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn dirs(mounts: &Mounts, controller: Option<&str>, path: &str) -> Vec<String> {
        let dirs = mounts.dirs(controller, Path::new(path));
        dirs.map(|dir| dir.display().to_string()).collect()
    }

    #[test]
    fn hierarchies_are_found_wherever_they_are_mounted() {
        let mounts = Mounts::parse(
            br"22 1 0:20 / /proc rw - proc proc rw
31 23 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 master:2 propagate_from:1 - cgroup cgroup rw,cpu,cpuacct
33 31 0:35 /docker/1a2b /my\040cgroups/memory rw,relatime - cgroup none rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2  rw,nsdelegate
a line of some other form
36 31 0:39 / - cgroup2
37 31 0:39 / relative rw - cgroup2 cgroup2 rw",
        );
        let v1 = |options: &[&str]| Some(options.iter().map(|&o| o.to_owned()).collect());
        let mount = |root: &str, point: &str, v1| Mount {
            root: root.into(),
            point: point.into(),
            v1,
        };
        assert_eq!(
            mounts.mounts,
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
        let path = |dir: &str| mounts.path_of(Path::new(dir));
        assert_eq!(
            path("/my cgroups/memory/web"),
            Some("/docker/1a2b/web".into())
        );
        assert_eq!(path("/sys/fs/cgroup/unified"), Some("/".into()));
        assert_eq!(path("/sys/fs/cgroup"), None);
        // Not the directory that merely begins with the same letters.
        assert_eq!(path("/sys/fs/cgroup/unified2/web"), None);
        assert_eq!(path("/sys/fs/cgroup/unified/../../../../etc"), None);
        assert_eq!(
            dirs(&mounts, Some("memory"), "/docker/1a2b/web"),
            ["/my cgroups/memory/web"]
        );
        assert!(dirs(&mounts, Some("memory"), "/docker").is_empty());
        assert!(dirs(&mounts, Some("systemd"), "/").is_empty());
        assert_eq!(mounts.top(), Some(Path::new("/")));
    }

    #[test]
    fn a_mount_may_be_above_this_cgroup_namespace() {
        let mounts = Mounts::parse(
            b"31 23 0:28 / /own rw - cgroup2 cgroup2 rw\n\
              32 23 0:28 /.. /host rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(
            mounts.path_of(Path::new("/host/bugs")),
            Some("/../bugs".into())
        );
        assert_eq!(dirs(&mounts, None, "/../bugs/c1"), ["/host/bugs/c1"]);
        assert_eq!(dirs(&mounts, None, "/web"), ["/own/web"]);
        for path in [
            "/../../bugs",
            "/web/../../bugs",
            "/../bugs/../../etc",
            "web",
        ] {
            assert!(dirs(&mounts, None, path).is_empty(), "{path}");
        }
        let others = mounts.dirs_of_others(None, Path::new("/web"));
        assert_eq!(
            others.collect::<Vec<_>>(),
            [Path::new("/own/web"), Path::new("/host/web")]
        );
        let part = Mounts::parse(b"32 23 0:28 /docker/x /host rw - cgroup2 cgroup2 rw\n");
        assert_eq!(part.top(), Some(Path::new("/docker/x")));
        assert_eq!(Mounts::default().top(), None);
    }

    #[test]
    fn escapes_in_paths_are_undone_once() {
        let unescape = |path: &str| unescape(path.as_bytes());
        assert_eq!(unescape(r"/a\040b\011c\012d\134e\043"), "/a b\tc\nd\\e#");
        assert_eq!(unescape(r"/\134040"), r"/\040");
        assert_eq!(unescape(r"/\303\251"), "/é");
        for unescaped in [r"/\", r"/\04", r"/\048", r"/\+40", r"/\777"] {
            assert_eq!(unescape(unescaped), unescaped);
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_costs_nothing_else() {
        let mounts = Mounts::parse(
            b"30 1 0:20 / /caf\xe9 rw - tmpfs tmpfs rw\n\
              31 1 0:20 / /caf\xe9/cg rw - cgroup2 caf\xe9 rw\n",
        );
        let dir = Path::new(std::ffi::OsStr::from_bytes(b"/caf\xe9/cg/web"));
        assert_eq!(mounts.path_of(dir), Some("/web".into()));
    }
}
