//! Files that a kernel or a runtime wrote.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// The whole of a file of up to `limit` bytes.
pub(crate) fn read(mut file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.by_ref().take(limit).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == limit && file.read(&mut [0])? > 0 {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// The whole of a small text file that a kernel or a runtime wrote.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    const LIMIT: u64 = 16 << 20;
    // In a folder of the user's making it could be a pipe that nobody writes to.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    String::from_utf8(read(file, LIMIT)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The names of the folders in a folder. One with a name that is not UTF-8 can't be a container's.
pub(crate) fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether there is nothing of that name.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
