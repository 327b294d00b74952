//! The sandboxes of one sample, and which of them cannot be read for now.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::StateFile;
use super::state::{self, Sandbox};
use crate::details::{Details, Status};
use crate::error::{Context as _, Error, ErrorKind, Result, error};
use crate::linux::file::is_absent;
use crate::linux::mountinfo::Mounts;
use crate::linux::process::is_running;
use crate::snapshot::Snapshot;

/// The sandboxes that were read, or could not be.
#[derive(Default)]
pub(in crate::source) struct Sandboxes {
    /// The results of this sample, by the root directory and the ID of the sandbox.
    sample: HashMap<PathBuf, Result<Arc<Snapshot>, Failure>>,
    /// The sandboxes whose sentries were too slow.
    stalled: HashMap<PathBuf, Stalled>,
    /// The time that slow sentries have taken in this sample.
    waited: Duration,
    /// The details of containers, by their state files.
    known: HashMap<PathBuf, Known>,
    /// Why the cgroups of sandboxes could not be read.
    warnings: Vec<Error>,
}

/// The details of a container.
struct Known {
    details: Arc<Details>,
    /// The process of the sandbox.
    pid: u32,
    /// The inode of the state file, and when it was written: another one is of another container, or of another state.
    version: (u64, Option<SystemTime>),
    /// Set if it was requested at this sample.
    is_fresh: bool,
}

/// An error that all containers of a sandbox share.
#[derive(Clone)]
struct Failure {
    kind: ErrorKind,
    message: String,
}

/// A sentry that was too slow.
struct Stalled {
    failure: Failure,
    /// When it is called again.
    until: Instant,
    backoff: Duration,
}

/// The time limit of the calls to a sentry, and of those to all slow ones in one sample.
const TIME: Duration = Duration::from_secs(2);

/// The time limit of the calls to a sentry that was too slow the last time.
const SHORT_TIME: Duration = Duration::from_millis(250);

/// The time for which a sentry that was too slow is left alone, so that others are read in time, whatever it does. The time
/// doubles each time. After the longest one, it may take its time again.
const MIN_BACKOFF: Duration = Duration::from_secs(4);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl Failure {
    fn new(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: format!("{error:#}"),
        }
    }

    fn error(&self) -> Error {
        Error::new(self.kind, self.message.clone())
    }
}

impl Sandboxes {
    /// Begins the next sample.
    pub(in crate::source) fn advance(&mut self) {
        // Those that were not requested at the last one may have ended.
        let sample = std::mem::take(&mut self.sample);
        self.stalled.retain(|key, _| sample.contains_key(key));
        self.waited = Duration::ZERO;
        self.known
            .retain(|_, known| std::mem::take(&mut known.is_fresh));
    }

    /// Returns what is known of a container besides its usage.
    pub(in crate::source) fn details(
        &mut self,
        root: &Path,
        file: &StateFile,
    ) -> Result<Arc<Details>> {
        let path = file.path(root);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(e) if is_absent(&e) => {
                return Err(error!(ContainerNotFound, "there is no {}", path.display()));
            }
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        let version = (metadata.ino(), metadata.modified().ok());
        if self
            .known
            .get(&path)
            .is_some_and(|known| known.version != version)
        {
            self.known.remove(&path);
        }
        let known = self.known.entry(path).or_insert_with_key(|path| {
            let (details, pid) = state::details(path);
            Known {
                details: Arc::new(details),
                pid,
                version,
                is_fresh: true,
            }
        });
        known.is_fresh = true;
        // runsc writes that a container has stopped when it finds out, which it does when it is called.
        let is_read = matches!(self.sample.get(&root.join(&file.sandbox)), Some(Ok(_)));
        if !is_read && !is_running(known.pid, None)? {
            Arc::make_mut(&mut known.details).status = Some(Status::Stopped);
        }
        Ok(Arc::clone(&known.details))
    }

    /// Reads the sandbox of a container, which has the containers `ids`, unless it was read at this sample.
    pub(in crate::source) fn snapshot(
        &mut self,
        root: &Path,
        file: &StateFile,
        ids: impl FnOnce() -> Vec<String>,
        mounts: &Mounts,
    ) -> Result<Arc<Snapshot>> {
        let key = root.join(&file.sandbox);
        if let Some(result) = self.sample.get(&key) {
            return result.clone().map_err(|failure| failure.error());
        }
        // What is wrong with it is no failure of the others in the sandbox.
        let sandbox = Sandbox::read(&file.path(root))?;
        let result = self.read(&key, |time| {
            super::snapshot(root, file, &sandbox, &ids(), mounts, time)
        });
        self.sample.insert(key, result.clone());
        result.map_err(|failure| failure.error())
    }

    /// Takes what was left out since the last call, and why.
    pub(in crate::source) fn warnings(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.warnings)
    }

    /// Calls `read` with the time that it has, unless the sentry is left alone.
    fn read(
        &mut self,
        key: &Path,
        read: impl FnOnce(Duration) -> Result<(Snapshot, Option<Error>)>,
    ) -> Result<Arc<Snapshot>, Failure> {
        let start = Instant::now();
        let stalled = self.stalled.get(key);
        if let Some(stalled) = stalled.filter(|stalled| stalled.until > start) {
            return Err(stalled.failure.clone());
        }
        let backoff = stalled.map(|stalled| stalled.backoff);
        let time = match backoff {
            Some(backoff) if backoff < MAX_BACKOFF => SHORT_TIME,
            _ => TIME,
        };
        let remaining = TIME.saturating_sub(self.waited);
        if remaining.is_zero() {
            return Err(Failure {
                kind: ErrorKind::Source,
                message: "other sentries took all the time of this sample".to_owned(),
            });
        }
        let time = time.min(remaining);
        let result = read(time);
        let took = start.elapsed();
        if took > SHORT_TIME {
            self.waited += took;
        }
        match result {
            // With less time, it is not known to be slow.
            Err(e) if took >= time && time >= SHORT_TIME => {
                let failure = Failure::new(&e);
                let backoff = backoff.map_or(MIN_BACKOFF, |backoff| backoff * 2);
                let backoff = backoff.min(MAX_BACKOFF);
                let stalled = Stalled {
                    failure: failure.clone(),
                    until: Instant::now() + backoff,
                    backoff,
                };
                self.stalled.insert(key.to_owned(), stalled);
                Err(failure)
            }
            Err(e) => Err(Failure::new(&e)),
            Ok((snapshot, failure)) => {
                self.warnings.extend(failure);
                self.stalled.remove(key);
                Ok(Arc::new(snapshot))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn details_are_those_of_the_state_file_that_is_there() {
        let test = tempdir().expect("a directory");
        let file = StateFile {
            id: "web".to_owned(),
            sandbox: "pod".to_owned(),
        };
        let write = |name: &str, pid: u32| {
            // Shortened from what runsc 20240729 wrote.
            let state = format!(
                r#"{{"id":"web","spec":{{"annotations":{{"io.kubernetes.cri.container-name":"{name}"}},
                "linux":{{"resources":{{"cpu":{{"shares":512,"quota":50000,"period":100000}}}}}}}},
                "createdAt":"2026-11-23T11:25:23.495761464+01:00","status":"paused",
                "sandbox":{{"id":"pod","pid":{pid},"cgroup":{{"cgroupv1":null}}}}}}"#
            );
            write(&test, "new", state);
            fs::rename(test.path().join("new"), file.path(test.path())).expect("it can be renamed");
        };
        let mut sandboxes = Sandboxes::default();
        let error = sandboxes
            .details(test.path(), &file)
            .expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::ContainerNotFound);

        write("web", std::process::id());
        let details = sandboxes.details(test.path(), &file).expect("there is one");
        assert_eq!(details.name.as_deref(), Some("web"));
        assert_eq!(details.status, Some(Status::Paused));
        assert_eq!(details.started, Some(1_795_429_523_495_761_464));
        let cpu = (details.cpu_quota, details.cpu_period, details.cpu_shares);
        assert_eq!(cpu, (Some(50_000), Some(100_000), Some(512)));
        assert_eq!(details.cgroup, None);
        assert!(details.network_namespace.is_some());
        sandboxes.advance();
        let again = sandboxes.details(test.path(), &file).expect("there is one");
        assert!(Arc::ptr_eq(&details, &again));

        // Another container of that ID, whose sandbox has ended already.
        write("db", 0);
        let other = sandboxes.details(test.path(), &file).expect("there is one");
        assert_eq!(other.name.as_deref(), Some("db"));
        assert_eq!(other.status, Some(Status::Stopped));
        for _ in 0..2 {
            sandboxes.advance();
        }
        assert!(sandboxes.known.is_empty());
    }

    #[test]
    fn a_container_that_has_gone_does_not_take_its_sandbox_with_it() {
        let test = tempdir().expect("a directory");
        let file = |id: &str| StateFile {
            id: id.to_owned(),
            sandbox: "pod".to_owned(),
        };
        let state = format!(r#"{{"sandbox":{{"pid":{}}}}}"#, std::process::id());
        write(&test, "web_sandbox:pod.state", state);
        let mounts = Mounts::of_this_process().expect("it can be read");
        let mut sandboxes = Sandboxes::default();
        let mut error = |id| {
            let result = sandboxes.snapshot(test.path(), &file(id), Vec::new, &mounts);
            format!("{:#}", result.expect_err("nobody listens"))
        };
        assert!(error("gone").starts_with("there is no "));
        assert_eq!(error("web"), "its sandbox is not running");
    }

    #[test]
    fn a_sentry_that_stalls_is_left_alone_and_its_path_may_be_long() {
        let test = tempdir().expect("a directory");
        let root = test.path().join("d".repeat(120));
        std::fs::create_dir(&root).expect("a directory");
        let state = format!(r#"{{"sandbox":{{"pid":{}}}}}"#, std::process::id());
        for id in ["pod", "other"] {
            let name = format!("{}/{id}_sandbox:pod.state", "d".repeat(120));
            write(&test, &name, &state);
        }
        // It accepts, and is silent. Its address has no room for the path.
        let listener = UnixListener::bind(test.path().join("s")).expect("a socket");
        std::fs::rename(test.path().join("s"), root.join("runsc-pod.sock")).expect("a socket");
        let file = |id: &str| StateFile {
            id: id.to_owned(),
            sandbox: "pod".to_owned(),
        };
        let mounts = Mounts::of_this_process().expect("it can be read");
        let mut sandboxes = Sandboxes::default();
        let mut read = |id| {
            let start = Instant::now();
            let ids = || vec!["pod".to_owned(), "other".to_owned()];
            let error = sandboxes.snapshot(&root, &file(id), ids, &mounts);
            let error = error.expect_err("it stalls");
            let error = error.to_string();
            assert!(error.ends_with("it took longer than 2s"), "{error}");
            let took = start.elapsed();
            sandboxes.advance();
            // Of the next sample.
            let start = Instant::now();
            let other = sandboxes.snapshot(&root, &file("other"), ids, &mounts);
            assert!(other.is_err());
            (took, start.elapsed())
        };
        let (first, next) = read("pod");
        assert!(first >= TIME && next < SHORT_TIME, "{first:?} {next:?}");
        drop(listener);
    }
}
