//! Where the facts come from.

mod cgroup;
mod gvisor;
mod oci;
mod open;
mod runtime;
mod scenario;
mod spec;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use serde::Serialize;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Result, bail};

use crate::snapshot::Snapshot;

pub use spec::Spec;

/// Something that can tell about sandboxes and their containers.
///
/// [`Spec::open`] opens the ones that come with this library. One of your own needs two functions; the
/// component does the accounting.
pub trait Source: Send {
    /// The containers that the source knows now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] where the source can't be read.
    fn containers(&mut self) -> Result<Vec<Listed>>;

    /// The ID of the container that `container` means: itself, unless the source's users may shorten IDs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] where `container` could mean more than one.
    fn resolve(&mut self, container: &str) -> Result<String> {
        Ok(container.to_owned())
    }

    /// Begins the next instant. What is read from now on is no older, and readings of one sandbox may
    /// be the same until the next instant begins.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] where the source can't be read.
    fn advance(&mut self) -> Result<()> {
        Ok(())
    }

    /// One reading of the sandbox that `container` belongs to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ContainerNotFound`] where there is no such container any more (a snapshot without the
    /// container is as good, and says so in gVisor's words), [`ErrorKind::InvalidRequest`] where there can be
    /// none, [`ErrorKind::Source`] where the source can't be read.
    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>>;

    /// Watches a container, of which there was a snapshot, for tasks that the kernel kills for want of
    /// memory. To do so again is nothing; it ends with the container. A source that knows nothing of such
    /// kills has nothing to do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] where that is not allowed, or too many containers are watched.
    fn watch_oom(&mut self, _container: &str) -> Result<()> {
        Ok(())
    }

    /// What is readable when [`Source::oom_kills`] may have something to tell.
    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The watched containers in which tasks were killed since the last call, each as often as that
    /// happened.
    fn oom_kills(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A container that a source knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The ID of the container.
    pub id: String,
    /// The ID of the root container of its sandbox: its own where it is alone.
    pub sandbox: String,
    /// The source, as `--source` takes it.
    pub source: String,
}

/// Checks that `id` can name a folder and leads nowhere else: it comes from outside.
fn check_folder_name(id: &str) -> Result<()> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > 255 {
        "it is longer than 255 bytes"
    } else if id == "." || id == ".." {
        "it names a folder of its own accord"
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
