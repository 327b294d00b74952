//! One folder of a group: its interface files, which stay open.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{Context as _, Result, error};

/// One folder of a group.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    dir: OwnedFd,
    /// The folder's device and inode: another group may get its name.
    identity: (u64, u64),
    pub(super) kind: Kind,
    /// The control files that are open, and those that are known not to be there.
    files: HashMap<String, Option<OwnedFd>>,
    /// Limits, and when they were read.
    limits: HashMap<&'static str, (Instant, Option<u64>)>,
}

/// What kind of filesystem a folder is in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A v1 hierarchy: an open control file is as good as a new one, and the files are always the same.
    V1,
    /// The v2 hierarchy: the same, but controllers come and go, and their files with them.
    V2,
    /// Some other: files may be replaced.
    Other,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
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
        })
    }

    /// Whether the group has been deleted, and maybe made anew.
    pub(super) fn is_gone(&self) -> bool {
        let there = fs::metadata(&self.path).map(|now| (now.dev(), now.ino()));
        there.ok() != Some(self.identity)
    }

    /// What `parse` makes of a control file. `None` where there is no such file: controllers differ, and
    /// so do kernels.
    ///
    /// Opening a control file takes ten times as long as reading it, so they stay open, as long as no more
    /// than half of the file descriptors that this process may have are in use.
    pub(super) fn get<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
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
            Err(Errno::SPIPE | Errno::ISDIR) => Err(error!(Source, "it is not a regular file")),
            Err(Errno::FBIG) => Err(error!(Source, "it is larger than {LARGEST} bytes")),
            Err(Errno::ILSEQ) => Err(error!(Source, "it is not UTF-8")),
            Err(e) => Err(io::Error::from(e).into()),
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
    pub(super) fn limit(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<u64>,
    ) -> Result<Option<u64>> {
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
    pub(super) fn is_fresh(&self, read: Instant) -> bool {
        const AGE: Duration = Duration::from_secs(1);
        self.kind != Kind::Other && read.elapsed() < AGE
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
