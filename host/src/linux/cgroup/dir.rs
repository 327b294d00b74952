//! The directory of a cgroup in one hierarchy, and its interface files.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2, statat,
};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::hugetlb::HugetlbFiles;
use crate::error::{Context as _, Error, Result};
use crate::linux::file::{self, LARGEST, identity};

/// The directory of a cgroup in one hierarchy.
pub(super) struct CgroupDir {
    pub(super) path: PathBuf,
    fd: OwnedFd,
    /// The device and the inode: another cgroup may get the same name.
    pub(super) identity: (u64, u64),
    /// When it was made at the latest, in nanoseconds since 1970: the modification time of its inode, which kernfs sets
    /// when it makes the inode, and when a cgroup is made or removed in it.
    pub(super) made: Option<u64>,
    pub(super) kind: FsKind,
    /// The interface files that are open, and those that are known not to exist.
    ///
    /// Opening and closing one takes 6 µs, reading it 1 µs, and a line of a v1 cgroup needs 45 of them.
    files: HashMap<String, Option<OwnedFd>>,
    /// The files of huge pages, once there are some.
    pub(super) hugetlb: Option<Arc<[HugetlbFiles]>>,
    /// Set if a file that was open has gone.
    has_lost_files: bool,
    /// The first failure of this sample.
    pub(super) failure: Option<Error>,
}

/// The kind of filesystem that a directory is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FsKind {
    /// A v1 hierarchy. The interface files of a cgroup are always the same, but for those of modules.
    V1,
    /// The v2 hierarchy. Controllers come and go, and their files with them.
    V2,
    /// Any other: copies of interface files, which anybody may have made. Only regular files are read there,
    /// nothing is watched, and nothing is written.
    Ordinary,
}

/// The failure to read an interface file of a cgroup that has gone, or whose controller has.
const GONE: Errno = Errno::NODEV;

impl CgroupDir {
    /// Opens a directory. `None` if there is none, or only a symbolic link to one.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    /// Opens a directory, which a symbolic link may lead to, as from `cpu` to `cpu,cpuacct`.
    pub(super) fn open_linked(path: &Path) -> io::Result<Option<Self>> {
        Self::open_with(path, OFlags::empty())
    }

    fn open_with(path: &Path, flags: OFlags) -> io::Result<Option<Self>> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOCTTY;
        Self::from_result(path, openat(CWD, path, flags, Mode::empty()))
    }

    /// Opens a directory in this one. `None` if there is none, or if another filesystem is mounted on it.
    pub(super) fn open_child(&self, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Self::from_result(&self.path.join(name), open_beneath(&self.fd, name, flags))
    }

    fn from_result(path: &Path, fd: Result<OwnedFd, Errno>) -> io::Result<Option<Self>> {
        let fd = match fd {
            // What is there is a file, or something that is mounted in the place of the cgroup.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | GONE) => {
                return Ok(None);
            }
            fd => fd?,
        };
        // As in the kernel's magic.h.
        let kind = match fstatfs(&fd)?.f_type {
            0x27_e0eb => FsKind::V1,
            0x6367_7270 => FsKind::V2,
            _ => FsKind::Ordinary,
        };
        let stat = fstat(&fd)?;
        let made = u64::try_from(stat.st_mtime).ok();
        let made = made.and_then(|seconds| seconds.checked_mul(1_000_000_000));
        let made = made.and_then(|ns| ns.checked_add(stat.st_mtime_nsec));
        Ok(Some(Self {
            path: path.to_owned(),
            identity: identity(&stat),
            made: made.filter(|_| kind != FsKind::Ordinary),
            fd,
            kind,
            files: HashMap::new(),
            hugetlb: None,
            has_lost_files: false,
            failure: None,
        }))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns whether its path still leads to it.
    pub(super) fn is_current(&self) -> bool {
        let now = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        now.is_ok_and(|now| identity(&now) == self.identity)
    }

    /// As [`is_current`](Self::is_current), and forgives lost files: a controller was taken away from the cgroup.
    pub(super) fn confirm(&mut self) -> bool {
        self.has_lost_files = false;
        self.is_current()
    }

    /// Returns whether [`is_current`](Self::is_current) must be checked.
    pub(super) fn may_have_gone(&self) -> bool {
        self.has_lost_files || self.kind == FsKind::Ordinary
    }

    /// Returns whether there are so few open files that this one may stay open until the next sample: at most
    /// half of those that this process may have. The kernel numbers them from below.
    pub(super) fn may_stay_open(&self) -> bool {
        is_within_limit(self.fd(), 2)
    }

    /// Lists the names of the cgroups in this one. What is mounted there from elsewhere is none of them.
    pub(super) fn children(&self) -> io::Result<Vec<String>> {
        let mut names = file::subdirectories(&self.fd)?;
        match self.kind {
            FsKind::V1 => {}
            FsKind::V2 => names.retain(|name| {
                let child = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
                child.is_ok_and(|child| child.st_dev == self.identity.0)
            }),
            // In a copy, v1's own files tell a v1 cgroup below one of v2.
            FsKind::Ordinary if self.has("cgroup.controllers") => {
                names.retain(|name| !self.has(&format!("{name}/notify_on_release")));
            }
            FsKind::Ordinary => {}
        }
        Ok(names)
    }

    /// Returns whether there is a file of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Returns whether there are cgroups in this one, or there may be.
    pub(super) fn has_children(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| stat.st_nlink != 2)
    }

    /// Reads an interface file, and returns what `parse` makes of it. `None` if there is no such file, or if
    /// it cannot be read or understood, which is kept as the reason of a [`failure`](Self::failure).
    pub(super) fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T>) -> Option<T> {
        self.try_read(name, parse).unwrap_or_default()
    }

    /// As [`read`](Self::read), but returns an error if there is a file that cannot be read or understood.
    pub(super) fn try_read<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>, Unreadable> {
        let result = match self.files.get(name) {
            Some(None) => return Ok(None),
            Some(Some(file)) => match with_text(file, &parse) {
                // The controller was taken away from the cgroup, and may have been given back.
                Err(e) if is_gone(&e) => {
                    self.has_lost_files = true;
                    self.read_anew(name, &parse)
                }
                result => result,
            },
            None => self.read_anew(name, &parse),
        };
        let error = match result {
            Ok(Ok(value)) => return Ok(Some(value)),
            Err(e) if has_no_value(&e) => return Ok(None),
            Ok(Err(e)) => e,
            Err(e) => e.into(),
        };
        let path = || self.path.join(name).display().to_string();
        self.failure.get_or_insert_with(|| error.context(path()));
        Err(Unreadable)
    }

    /// Reads a file that is not open, and keeps it open if that is safe and allowed.
    fn read_anew<T>(&mut self, name: &str, parse: impl Fn(&str) -> T) -> io::Result<T> {
        self.files.remove(name);
        let file = match self.open_file(name) {
            Err(e) if self.kind == FsKind::V1 && file::is_absent(&e) => {
                match self.is_current() {
                    true => drop(self.files.insert(name.to_owned(), None)),
                    false => self.has_lost_files = true,
                }
                return Err(e);
            }
            file => file?,
        };
        if self.kind == FsKind::Ordinary {
            let bytes = file::read(File::from(file), LARGEST)?;
            return Ok(parse(&String::from_utf8_lossy(&bytes)));
        }
        let result = with_text(&file, parse);
        if is_within_limit(file.as_fd(), 2) {
            self.files.insert(name.to_owned(), Some(file));
        }
        result
    }

    /// Opens an interface file for reading.
    pub(super) fn open_file(&self, name: &str) -> io::Result<OwnedFd> {
        match self.kind {
            FsKind::Ordinary => file::open_regular(self.fd.as_fd(), name),
            FsKind::V1 | FsKind::V2 => Ok(open_beneath(&self.fd, name, OFlags::RDONLY)?),
        }
    }

    /// Opens an interface file for writing. Only a kernel's own files are written to.
    pub(super) fn open_to_write(&self, name: &str) -> io::Result<OwnedFd> {
        if self.kind == FsKind::Ordinary {
            return Err(io::Error::other("it is not in a cgroup filesystem"));
        }
        Ok(open_beneath(&self.fd, name, OFlags::WRONLY)?)
    }
}

/// A file that cannot be read or understood.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable;

/// Returns whether there is such an error because the cgroup, or its controller, has gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(GONE)
}

/// Returns whether there is such an error because there is no file, or no value: of pressure, where nobody measures it.
pub(super) fn has_no_value(error: &io::Error) -> bool {
    let is_unsupported = Errno::from_io_error(error) == Some(Errno::OPNOTSUPP);
    is_unsupported || is_gone(error) || file::is_absent(error)
}

/// Opens a file or directory that a cgroup filesystem has in the directory `dir`, and nothing else: no
/// symbolic link is followed, and nothing is opened that is mounted there.
fn open_beneath(dir: &OwnedFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_XDEV;
    let file = match openat2(dir, name, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or forbidden by a filter of system calls that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => openat(dir, name, flags, Mode::empty())?,
        file => return file,
    };
    let stat = fstat(&file)?;
    if stat.st_dev != fstat(dir)?.st_dev {
        return Err(Errno::XDEV);
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => Ok(file),
        _ => Err(Errno::INVAL),
    }
}

/// Calls `take` with the text of an interface file of a kernel. One system call is enough if there is room: all but lists
/// of tasks are a single record of the kernel's seq_file, which a read returns whole.
fn with_text<T>(file: &OwnedFd, take: impl FnOnce(&str) -> T) -> io::Result<T> {
    const SMALL: usize = 4096;
    let mut small = [MaybeUninit::uninit(); SMALL];
    let (text, rest) = rustix::io::pread(file, &mut small, 0)?;
    if !rest.is_empty() {
        return Ok(take(&String::from_utf8_lossy(text)));
    }
    let mut large = vec![0; 16 * SMALL];
    loop {
        let len = rustix::io::pread(file, &mut large, 0)?;
        if len < large.len() {
            return Ok(take(&String::from_utf8_lossy(&large[..len])));
        }
        if len as u64 >= LARGEST {
            return Err(io::Error::other(format!(
                "it is larger than {LARGEST} bytes"
            )));
        }
        large.resize(4 * len, 0);
    }
}

/// Returns whether the number of an open file is in the lower so many quarters of those that this process may
/// have.
pub(super) fn is_within_limit(file: BorrowedFd<'_>, quarters: u64) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(file.as_raw_fd()).is_ok_and(|number| number < limit / 4 * quarters)
}

/// Adds the path of a directory to an error.
pub(super) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T> {
    result.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::tempdir;

    use super::super::parse::parse_u64;
    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn copies_of_interface_files_are_read_and_nothing_else() {
        let test = tempdir().expect("a directory");
        write(&test, "good", "7\n");
        write(&test, "bad", "seven");
        symlink(test.path().join("good"), test.path().join("link")).expect("a link");
        symlink("/dev/null", test.path().join("device")).expect("a link");
        let fifo = test.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        let dir = CgroupDir::open(test.path());
        let mut dir = dir.expect("it can be read").expect("a directory");
        assert_eq!(dir.kind, FsKind::Ordinary);
        assert_eq!(dir.read("none", parse_u64), None);
        assert_eq!(dir.read("good", parse_u64), Some(7));
        assert!(dir.failure.is_none());
        for name in ["bad", "link", "device", "fifo"] {
            assert_eq!(dir.try_read(name, parse_u64), Err(Unreadable), "{name}");
            assert!(dir.failure.take().is_some(), "{name}");
        }
        for name in ["good", "link", "fifo"] {
            assert!(dir.open_to_write(name).is_err(), "{name}");
        }
    }

    #[test]
    fn another_directory_of_the_same_name_is_another_one() {
        let test = tempdir().expect("a directory");
        let path = test.path().join("web");
        assert!(CgroupDir::open(&path).expect("it can be tried").is_none());
        fs::create_dir(&path).expect("a directory");
        let dir = CgroupDir::open(&path);
        let dir = dir.expect("it can be read").expect("a directory");
        assert!(dir.is_current());
        let link = test.path().join("link");
        symlink(&path, &link).expect("a link");
        assert!(CgroupDir::open(&link).expect("it can be tried").is_none());
        let linked = CgroupDir::open_linked(&link).expect("it can be read");
        assert_eq!(linked.map(|linked| linked.identity), Some(dir.identity));
        fs::rename(&path, test.path().join("old")).expect("it can be renamed");
        assert!(!dir.is_current());
        fs::create_dir(&path).expect("a directory");
        assert!(!dir.is_current());
    }

    #[test]
    fn a_v1_cgroup_below_one_of_v2_is_not_its_child() {
        let test = tempdir().expect("a directory");
        write(&test, "cgroup.controllers", "memory");
        write(&test, "c1/cgroup.type", "domain");
        write(&test, "net_cls/notify_on_release", "0");
        let dir = CgroupDir::open(test.path());
        let dir = dir.expect("it can be read").expect("a directory");
        assert_eq!(dir.children().expect("it can be listed"), ["c1"]);
    }
}
