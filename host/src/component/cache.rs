//! Machine code of components from files, kept from one start of the program to the next.
//!
//! To compile a component with an interpreter in it takes many seconds. But machine code is trusted: whoever
//! could write it for us could do all that we may. So it is kept only where nobody but the user can write, in
//! files that nobody else has made, and wherever that can't be said, the component is compiled again.

use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::{env, fs};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, renameat, unlinkat};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// The component that is `wasm`, ready to run.
pub(crate) fn component(engine: &Engine, wasm: &[u8]) -> Result<Component> {
    let name = name(engine, wasm);
    let folder = folder();
    if let Ok(folder) = &folder
        && let Ok(component) = kept(engine, folder, &name)
    {
        return Ok(component);
    }
    let component = Component::from_binary(engine, wasm)?;
    if let Ok(folder) = &folder {
        // Next time, it is compiled again.
        let _ = keep(folder, &name, &component);
    }
    Ok(component)
}

/// What a component's machine code is called: it depends on the component, and on how it was compiled.
fn name(engine: &Engine, wasm: &[u8]) -> String {
    let mut how = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut how);
    let mut name = String::new();
    for byte in Sha256::digest(wasm) {
        name += &format!("{byte:02x}");
    }
    format!("{name}-{:016x}", how.finish())
}

/// The user's folder for it, which is made where there is none.
fn folder() -> io::Result<OwnedFd> {
    let absolute = |name| Some(PathBuf::from(env::var_os(name)?)).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let cache = cache.ok_or(io::ErrorKind::NotFound)?;
    let path = cache.join("eventout");
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&path, flags, Mode::empty());
    let folder = match open() {
        Err(rustix::io::Errno::NOENT) => {
            // Nothing is made in the folders of others, as with sudo, which leaves HOME as it is.
            let there = path.ancestors().find(|folder| folder.exists());
            let owner = fs::metadata(there.ok_or(io::ErrorKind::NotFound)?)?.uid();
            if owner != geteuid().as_raw() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)?;
            open()?
        }
        folder => folder?,
    };
    match is_ours(&fstat(&folder)?, FileType::Directory) {
        true => Ok(folder),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Whether nobody but this user, and root, can have had a hand in a file.
fn is_ours(file: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(file.st_mode) == kind
        && file.st_uid == geteuid().as_raw()
        && Mode::from_raw_mode(file.st_mode)
            .intersection(Mode::RWXG | Mode::RWXO)
            .is_empty()
}

fn kept(engine: &Engine, folder: &OwnedFd, name: &str) -> Result<Component> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(folder, name, flags, Mode::empty()).map_err(io::Error::from)?;
    if !is_ours(
        &fstat(&file).map_err(io::Error::from)?,
        FileType::RegularFile,
    ) {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    // The very file that was looked at, by whatever name.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: only this user can have written the file, and the name says that it did so as below. Its
    // code is not changed once it has that name.
    unsafe { Component::deserialize_file(engine, path) }
}

fn keep(folder: &OwnedFd, name: &str, component: &Component) -> Result<()> {
    let code = component.serialize()?;
    // Whole, or not at all. Nobody else writes to a file of that name.
    let part = format!("{name}.{:016x}", RandomState::new().hash_one(name));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, &part, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    let mut file = File::from(file);
    let written = file.write_all(&code).and_then(|()| file.sync_all());
    let named = written.and_then(|()| Ok(renameat(folder, &part, folder, name)?));
    if named.is_err() {
        let _ = unlinkat(folder, &part, AtFlags::empty());
    }
    Ok(named?)
}
