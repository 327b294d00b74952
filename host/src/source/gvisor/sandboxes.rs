//! The sandboxes of one sample, and which of them cannot be read for now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StateFile;
use crate::error::{Error, ErrorKind, Result};
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
    }

    /// Reads the sandbox of a container, unless it was read at this sample.
    pub(in crate::source) fn snapshot(
        &mut self,
        root: &Path,
        file: &StateFile,
    ) -> Result<Arc<Snapshot>> {
        let key = root.join(&file.sandbox);
        if let Some(result) = self.sample.get(&key) {
            return result.clone().map_err(|failure| failure.error());
        }
        let result = self.read(root, file, &key);
        self.sample.insert(key, result.clone());
        result.map_err(|failure| failure.error())
    }

    fn read(
        &mut self,
        root: &Path,
        file: &StateFile,
        key: &Path,
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
        let result = super::snapshot(root, file, time);
        let took = start.elapsed();
        if took > SHORT_TIME {
            self.waited += took;
        }
        match result {
            Err(e) if took >= time => {
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
            Ok(snapshot) => {
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
        let mut sandboxes = Sandboxes::default();
        let mut read = |id| {
            let start = Instant::now();
            let error = sandboxes.snapshot(&root, &file(id)).expect_err("it stalls");
            let error = error.to_string();
            assert!(error.ends_with("it took longer than 2s"), "{error}");
            let took = start.elapsed();
            sandboxes.advance();
            // Of the next sample.
            let start = Instant::now();
            assert!(sandboxes.snapshot(&root, &file("other")).is_err());
            (took, start.elapsed())
        };
        let (first, next) = read("pod");
        assert!(first >= TIME && next < SHORT_TIME, "{first:?} {next:?}");
        drop(listener);
    }
}
