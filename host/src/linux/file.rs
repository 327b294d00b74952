//! Files that a kernel or a runtime wrote, and directories of them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

/// The largest file that is read, in bytes, unless a caller has another limit.
pub(crate) const LARGEST: u64 = 16 << 20;

/// Reads the whole of a file of up to `limit` bytes.
pub(crate) fn read(mut file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    // Enough for nearly all: growing from nothing takes a read for each power of two.
    let mut bytes = Vec::with_capacity(8 << 10);
    file.by_ref().take(limit).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == limit && file.read(&mut [0])? > 0 {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a regular file that a runtime wrote.
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    read(File::from(open_regular(CWD, path)?), LARGEST)
}

/// Reads a file below /proc.
pub(crate) fn read_proc(path: &str) -> io::Result<Vec<u8>> {
    read(File::open(path)?, LARGEST)
}

/// Opens a regular file of up to [`LARGEST`] bytes in `dir`.
///
/// Nothing else is opened, not even for a moment: opening a device can have effects, and opening a FIFO can
/// take forever. Symbolic links are not followed.
pub(crate) fn open_regular(dir: BorrowedFd<'_>, name: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let name = name.as_ref();
    let found = openat(
        dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = fstat(&found)?;
    check_regular(&stat)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(fd_path(&found), flags, Mode::empty()) {
        // Without /proc.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?
        }
        file => file?,
    };
    if identity(&fstat(&file)?) != identity(&stat) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    Ok(file)
}

/// Checks that a file is one that can be read as a whole.
fn check_regular(stat: &Stat) -> io::Result<()> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    if u64::try_from(stat.st_size).unwrap_or(0) > LARGEST {
        return Err(io::Error::other(format!(
            "it is larger than {LARGEST} bytes"
        )));
    }
    Ok(())
}

/// Returns the path that leads to an open file, whatever its name and length.
pub(crate) fn fd_path(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Returns the device and the inode of a file.
pub(crate) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Lists the names in a directory that are UTF-8, as all of a kernel are.
pub(crate) fn names(dir: impl AsFd) -> io::Result<HashSet<String>> {
    let mut names = HashSet::new();
    for entry in Dir::read_from(dir)? {
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}

/// Lists the names of the directories in a directory. Those that are not UTF-8 are left out: no container can
/// be called so.
pub(crate) fn subdirectories(dir: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            _ => false,
        };
        if is_dir && name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Returns whether there is nothing of that name.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// Writes a file in the directory of a test, and the directories on the way to it.
    pub(crate) fn write(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::fs::symlink;
        let dir = tempdir().expect("a directory");
        write(&dir, "file", "text");
        let read = |name: &str| read_regular(&dir.path().join(name));
        assert_eq!(read("file").expect("a file"), b"text");
        symlink(dir.path().join("file"), dir.path().join("link")).expect("a link");
        symlink("/dev/zero", dir.path().join("device")).expect("a link");
        fs::create_dir(dir.path().join("dir")).expect("a directory");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        for name in ["link", "device", "dir", "fifo"] {
            let error = read(name).expect_err(name);
            assert_eq!(error.to_string(), "it is not a regular file", "{name}");
        }
        let large = File::create(dir.path().join("large")).expect("a file");
        large.set_len(LARGEST).expect("a hole");
        assert_eq!(read("large").map(|b| b.len() as u64).ok(), Some(LARGEST));
        large.set_len(LARGEST + 1).expect("a hole");
        let error = read("large").expect_err("it is too large");
        assert_eq!(error.to_string(), "it is larger than 16777216 bytes");
        assert!(is_absent(&read("none").expect_err("there is none")));
    }
}
