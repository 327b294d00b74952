//! The cache of precompiled code, kept from one start of the program to the next.
//!
//! To compile a component with an interpreter in it takes many seconds. But precompiled code is trusted: whoever
//! could write it could do all that the user may. So it is kept in a directory and in files that nobody but the user
//! can write, and loaded only if it is what was stored, by the SHA-256 in the name of its file.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, linkat, openat, renameat, statat,
    unlinkat,
};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::{Error, ErrorKind, Result};

/// The size of all code in the cache, in bytes. What was not used for the longest time is removed first.
const CAPACITY: u64 = 512 << 20;
/// Begins the name of a file that is not complete, where the filesystem has no files without a name.
const PARTIAL: &str = "partial-";
/// The age at which nobody writes to such a file any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Loads the precompiled code of a component or has it compiled, and returns what `link` makes of the component.
///
/// Code is only stored once it could be linked. Without a cache, or where something in it cannot be used, the component
/// is compiled.
pub(super) fn load_or_compile<T>(
    cache: Option<&Cache>,
    engine: &Engine,
    wasm: &[u8],
    compile: impl FnOnce() -> Result<Vec<u8>>,
    link: impl FnOnce(&Component) -> Result<T>,
) -> Result<T> {
    let key = &cache_key(engine, wasm);
    if let Some(component) = cache.and_then(|cache| cache.load(engine, key)) {
        return link(&component);
    }
    let code = compile()?;
    // SAFETY: the code was precompiled by this very program: in this process, or in a child process.
    let component = unsafe { Component::deserialize(engine, &code) };
    let linked = link(&component.map_err(|e| Error::from_cause(ErrorKind::Component, e))?)?;
    if let Some(cache) = cache {
        // Next time, it is compiled again.
        let _ = cache.store(key, &code);
    }
    Ok(linked)
}

/// Returns the name of a component's precompiled code, which depends on the component and on how it is compiled.
fn cache_key(engine: &Engine, wasm: &[u8]) -> String {
    let mut configuration = DefaultHasher::new();
    engine
        .precompile_compatibility_hash()
        .hash(&mut configuration);
    let wasm = Sha256::new_with_prefix(wasm);
    format!("{}-{:016x}-", hex(wasm), configuration.finish())
}

fn hex(digest: Sha256) -> String {
    let mut text = String::new();
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the path of the user's cache directory.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name| Some(PathBuf::from(env::var_os(name)?)).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(cache?.join("eventout"))
}

/// A directory of precompiled code, which is private to the user. An entry is named by its key, and by the SHA-256
/// of its code.
pub(super) struct Cache(OwnedFd);

impl Cache {
    /// Opens the user's cache, which is made where there is none.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_at(&cache_dir().ok_or(io::ErrorKind::NotFound)?)
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::open(path, flags, Mode::empty());
        let dir = match open() {
            Err(rustix::io::Errno::NOENT) => {
                // Nothing is made in the directories of others, as with sudo, which leaves HOME as it is.
                let parent = path.ancestors().find(|dir| dir.exists());
                let owner = fs::metadata(parent.ok_or(io::ErrorKind::NotFound)?)?.uid();
                if owner != geteuid().as_raw() {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                open()?
            }
            dir => dir?,
        };
        match is_private(&fstat(&dir)?, FileType::Directory) {
            true => Ok(Self(dir)),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Loads precompiled code.
    fn load(&self, engine: &Engine, key: &str) -> Option<Component> {
        let name = self.names().ok()?.find(|name| name.starts_with(key))?;
        let Ok(file) = self.open_verified(&name, &name[key.len()..]) else {
            // Damaged, or not ours: it is made again.
            let _ = self.remove(&name);
            return None;
        };
        // It was used just now.
        let _ = file.set_modified(SystemTime::now());
        // The very file that was verified, by whatever name.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: only this user can have written the file, and its name says that it is precompiled code, which the
        // digest proves to be complete and not damaged.
        unsafe { Component::deserialize_file(engine, path) }.ok()
    }

    /// Opens a private file that has that SHA-256.
    fn open_verified(&self, name: &str, digest: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if !is_private(&fstat(&file)?, FileType::RegularFile) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut found = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => found.update(&buffer[..length]),
            }
        }
        match hex(found) == digest {
            true => Ok(file),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Stores precompiled code, as a whole or not at all, and makes room for it.
    fn store(&self, key: &str, code: &[u8]) -> io::Result<()> {
        let size = code.len() as u64;
        if size > CAPACITY {
            return Ok(());
        }
        self.clean(CAPACITY - size)?;
        let name = format!("{key}{}", hex(Sha256::new_with_prefix(code)));
        match self.store_unnamed(&name, code) {
            // Such an entry is complete, whoever stored it.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Not every filesystem has files without a name, and not every process a `/proc`.
            Err(_) => self.store_partial(&name, code),
            Ok(()) => Ok(()),
        }
    }

    /// Writes a file that has no name before it is complete: nothing is left of it if the process ends.
    fn store_unnamed(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, ".", flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(code)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(linkat(CWD, path, &self.0, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Writes a file of another name first. It is removed by [`Cache::clean`] if the process ends before it is
    /// complete.
    fn store_partial(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let partial = format!("{PARTIAL}{:016x}", RandomState::new().hash_one(name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.0, &partial, flags, Mode::RUSR | Mode::WUSR)?;
        let written = File::from(file).write_all(code);
        let stored = written.and_then(|()| Ok(renameat(&self.0, &partial, &self.0, name)?));
        if stored.is_err() {
            let _ = self.remove(&partial);
        }
        stored
    }

    /// Removes what nobody completes any more, and the entries that were not used for the longest time until the
    /// others have no more than `capacity` bytes.
    fn clean(&self, capacity: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for name in self.names()? {
            let Ok(stat) = statat(&self.0, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            if !name.starts_with(PARTIAL) {
                entries.push((used, u64::try_from(stat.st_size).unwrap_or(0), name));
            } else if used.elapsed().is_ok_and(|age| age > ABANDONED) {
                self.remove(&name)?;
            }
        }
        entries.sort_unstable();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, name) in entries {
            if total <= capacity {
                break;
            }
            self.remove(&name)?;
            total -= size;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Returns the names of the files in the directory, but for those that nobody here gave.
    fn names(&self) -> io::Result<impl Iterator<Item = String>> {
        let entries = Dir::read_from(&self.0)?.filter_map(Result::ok);
        let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        // Two digests and a number with hyphens between.
        let is_ours =
            |name: &String| name.starts_with(PARTIAL) || name.len() == 64 + 1 + 16 + 1 + 64;
        Ok(names.filter(is_ours))
    }
}

/// Tests if nobody but this user, and root, can have written a file or to a directory.
fn is_private(file: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(file.st_mode) == kind
        && file.st_uid == geteuid().as_raw()
        && Mode::from_raw_mode(file.st_mode)
            .intersection(Mode::RWXG | Mode::RWXO)
            .is_empty()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::component::engine::{self, Origin};

    /// A cache of its own for a test.
    struct Fixture {
        /// Removes the directory.
        _parent: TempDir,
        path: PathBuf,
        cache: Cache,
        engine: Engine,
        wasm: Vec<u8>,
        code: Vec<u8>,
        key: String,
    }

    impl Fixture {
        fn new() -> Self {
            let parent = tempdir().expect("a directory");
            let path = parent.path().join("cache");
            let engine = Engine::new(&engine::config(Origin::Plugin)).expect("an engine");
            let wasm = wat::parse_str("(component (core module (func)))").expect("a component");
            let code = engine.precompile_component(&wasm).expect("code");
            Self {
                cache: Cache::open_at(&path).expect("a cache"),
                key: cache_key(&engine, &wasm),
                _parent: parent,
                path,
                engine,
                wasm,
                code,
            }
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.path).expect("a directory");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            names
                .map(|name| name.into_string().expect("a name"))
                .collect()
        }

        /// Stores the code, and returns the path of its file.
        fn store(&self) -> PathBuf {
            self.cache.store(&self.key, &self.code).expect("stored");
            let names = self.names();
            let name = names.iter().find(|name| name.starts_with(&self.key));
            self.path.join(name.expect("an entry"))
        }

        fn is_loaded(&self) -> bool {
            self.cache.load(&self.engine, &self.key).is_some()
        }
    }

    #[test]
    fn stored_code_is_loaded_and_nothing_else_is_left() {
        let fixture = Fixture::new();
        assert!(!fixture.is_loaded());
        let file = fixture.store();
        assert!(fixture.is_loaded());
        assert_eq!(fixture.names().len(), 1);
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Once more, and on a filesystem that has no unnamed files.
        assert_eq!(fixture.store(), file);
        fs::remove_file(&file).expect("removed");
        let name = file.file_name().expect("a name").to_str().expect("a name");
        let stored = fixture.cache.store_partial(name, &fixture.code);
        stored.expect("stored");
        assert!(fixture.is_loaded());
        assert_eq!(fixture.names().len(), 1);
    }

    #[test]
    fn each_damaged_bit_is_found_and_the_file_removed() {
        let fixture = Fixture::new();
        let lengths = [0, 1, fixture.code.len() / 2, fixture.code.len() - 1];
        let truncated = lengths.map(|length| fixture.code[..length].to_vec());
        let flipped = (0..fixture.code.len()).step_by(97).map(|at| {
            let mut code = fixture.code.clone();
            code[at] ^= 1 << (at % 8);
            code
        });
        for damaged in truncated.into_iter().chain(flipped) {
            let file = fixture.store();
            fs::write(&file, damaged).expect("written");
            assert!(!fixture.is_loaded());
            assert!(!file.exists());
        }
        fixture.store();
        assert!(fixture.is_loaded());
    }

    #[test]
    fn files_that_others_could_have_written_are_not_loaded() {
        let fixture = Fixture::new();
        let file = fixture.store();
        for mode in [0o620, 0o602, 0o660, 0o700 | 0o070] {
            let file = fixture.store();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            assert!(!fixture.is_loaded(), "{mode:o}");
        }
        let elsewhere = fixture.path.join("elsewhere");
        fs::rename(fixture.store(), &elsewhere).expect("renamed");
        symlink(&elsewhere, &file).expect("a link");
        assert!(!fixture.is_loaded());
        // Would block for ever if it were opened like a file.
        let made = Command::new("mkfifo").arg("-m600").arg(&file).status();
        assert!(made.expect("mkfifo").success());
        assert!(!fixture.is_loaded());
        fs::create_dir(&file).expect("a directory");
        assert!(!fixture.is_loaded());
        assert!(fixture.cache.store(&fixture.key, &fixture.code).is_ok());
    }

    #[test]
    fn directories_that_others_could_write_to_are_not_used() {
        let fixture = Fixture::new();
        for mode in [0o720, 0o702, 0o755, 0o777] {
            fs::set_permissions(&fixture.path, fs::Permissions::from_mode(mode)).expect("a mode");
            assert!(Cache::open_at(&fixture.path).is_err(), "{mode:o}");
        }
        fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o700)).expect("a mode");
        assert!(Cache::open_at(&fixture.path).is_ok());
        let link = fixture.path.join("link");
        symlink(&fixture.path, &link).expect("a link");
        assert!(Cache::open_at(&link).is_err());
    }

    #[test]
    fn abandoned_files_and_the_least_recently_used_entries_are_removed() {
        let fixture = Fixture::new();
        let used = |name: &str, hours: u64, size: u64| {
            let file = File::create(fixture.path.join(name)).expect("a file");
            file.set_len(size).expect("a size");
            let time = SystemTime::now() - Duration::from_secs(3600 * hours + 60);
            file.set_modified(time).expect("a time");
        };
        let entry = |digit: &str| {
            let key = digit.repeat(64);
            format!("{key}-{}-{key}", digit.repeat(16))
        };
        used("partial-0", 1, 10);
        used("partial-1", 0, 10);
        used("of the user", 9, CAPACITY);
        used(&entry("a"), 2, CAPACITY / 2);
        used(&entry("b"), 3, CAPACITY / 2);
        used(&entry("c"), 1, 1);
        let mut expected = vec![
            fixture.store(),
            fixture.path.join("partial-1"),
            fixture.path.join("of the user"),
            fixture.path.join(entry("a")),
            fixture.path.join(entry("c")),
        ];
        let names = fixture.names();
        let mut found: Vec<_> = names.iter().map(|name| fixture.path.join(name)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        // The entry that was used now stays, and the file that is too large does not push it out.
        assert!(fixture.is_loaded());
        used(&entry("d"), 0, CAPACITY);
        fixture.cache.clean(CAPACITY).expect("cleaned");
        assert!(fixture.is_loaded());
    }

    #[test]
    fn only_what_can_be_linked_is_stored() {
        // Not the user's cache.
        let fixture = Fixture::new();
        let compile = || Ok(fixture.code.clone());
        let unlinked = || Error::new(ErrorKind::Component, "it cannot be linked");
        let failed = load_or_compile(
            Some(&fixture.cache),
            &fixture.engine,
            &fixture.wasm,
            compile,
            |_| Err::<(), _>(unlinked()),
        );
        assert_eq!(failed.map_err(|e| e.kind()), Err(ErrorKind::Component));
        assert!(fixture.names().is_empty());
        for expected in [true, false] {
            let mut compiled = false;
            let compile = || {
                compiled = true;
                compile()
            };
            let linked = load_or_compile(
                Some(&fixture.cache),
                &fixture.engine,
                &fixture.wasm,
                compile,
                |_| Ok(()),
            );
            linked.expect("linked");
            assert_eq!(compiled, expected);
        }
    }
}
