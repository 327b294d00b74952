//! Sources of facts about containers.

mod cgroup;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gvisor;
mod oci;
mod open;
mod resolve;
mod runtime;
mod scenario;
mod spec;
mod state_dir;
mod state_json;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use serde::Serialize;

use crate::details::Details;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result, bail};
use crate::snapshot::Snapshot;

pub use spec::SourceSpec;

/// Reports facts about sandboxes and their containers.
///
/// [`SourceSpec::open`] opens the sources that come with this library. One of your own needs two functions; the
/// component does the accounting.
pub trait Source: Send {
    /// Returns the containers that the source knows now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    fn containers(&mut self) -> Result<Vec<ContainerInfo>>;

    /// Returns the ID of the container that `container` means: the one that has it as its ID, or else as its name (of
    /// the container, or of pod and container with a slash between them), or else an ID that begins so. If there is
    /// none, that is for [`Source::snapshot`] to say, and `container` is returned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if `container` could mean more than one.
    fn resolve(&mut self, container: &str) -> Result<String> {
        resolve::resolve(self, container)
    }

    /// Begins the next sample. What is read from now on is no older, and all reads of one sandbox may return the
    /// same until the next sample begins.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    fn advance(&mut self) -> Result<()> {
        Ok(())
    }

    /// Reads the sandbox that `container` belongs to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ContainerNotFound`] if there is no such container any more (a snapshot without the
    /// container is as good, and says so in gVisor's words), [`ErrorKind::InvalidRequest`] if there can be
    /// none, [`ErrorKind::Source`] if the source cannot be read.
    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>>;

    /// Returns what is known of a container besides its usage, as of this sample. It is requested at each sample, after
    /// the snapshot, so that a source keeps what does not change.
    ///
    /// # Errors
    ///
    /// As of [`Source::snapshot`].
    fn details(&mut self, container: &str) -> Result<Arc<Details>> {
        let _ = container;
        Ok(Arc::default())
    }

    /// Returns the OOM kills in the containers of this source. `None` if it does not know of any.
    fn oom_events(&mut self) -> Option<&mut dyn OomEvents> {
        None
    }

    /// Returns what was left out since the last call, and why: say, a directory that others may read, or an
    /// interface file of a container. All else was read.
    fn warnings(&mut self) -> Vec<Error> {
        Vec::new()
    }
}

/// The OOM kills in the containers of a source: tasks that the kernel kills because memory runs out.
pub trait OomEvents {
    /// Returns what is readable when [`OomEvents::drain`] may return something. `None` if nothing is watched.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Watches a container, of which there was a snapshot, from now on and until it ends or is not read any
    /// more. Watching it again does nothing. Returns whether it is watched: not, if nobody reports its OOM kills, or if
    /// it has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if that is not allowed, or once if too many containers are watched: then it is
    /// tried again at each sample.
    fn watch(&mut self, container: &str) -> Result<bool>;

    /// Returns the watched containers with OOM kills since the last call, each as often as there were some, but
    /// at most 1000 times. It does not wait.
    fn drain(&mut self) -> Vec<String>;
}

/// A container that a source knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerInfo {
    /// The ID of the container.
    pub id: String,
    /// The ID of the root container of its sandbox: its own where it is alone.
    pub sandbox: String,
    /// The source, as `--source` takes it.
    pub source: String,
}

/// Checks that `id` can be the name of a file and leads nowhere else: it comes from outside.
fn check_file_name(id: &str) -> Result<()> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > 255 {
        "it is longer than 255 bytes"
    } else if id == "." || id == ".." {
        "it names a directory of its own accord"
    } else if id.contains(['/', '\0']) {
        "it has a slash or a NUL in it"
    } else {
        return Ok(());
    };
    bail!(
        InvalidRequest,
        "no container of this source can have such an ID: {why}"
    );
}
