//! Containers that stay open from one sample to the next.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use crate::error::{Context as _, ErrorKind, Result};
use crate::linux::cgroup::{Cgroup, OomNotifier};
use crate::text::shorten;

/// Containers that stay open from one sample to the next, as long as not too many files are open, and may be
/// watched for OOM kills.
pub(super) struct OpenContainers<T> {
    open: HashMap<String, Entry<T>>,
    notifier: OomNotifier,
}

struct Entry<T> {
    container: T,
    /// Set if it was read at this sample.
    is_fresh: bool,
}

impl<T> Default for OpenContainers<T> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            notifier: OomNotifier::default(),
        }
    }
}

impl<T: AsRef<Cgroup>> OpenContainers<T> {
    /// Begins the next sample. What was not read at the last one is closed.
    pub(super) fn advance(&mut self) {
        self.open
            .retain(|_, entry| std::mem::take(&mut entry.is_fresh));
        self.notifier.advance();
    }

    /// Closes all containers: they have to be found anew.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// Closes a container, if it is open: it has to be found anew.
    pub(super) fn close(&mut self, id: &str) {
        self.open.remove(id);
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// Reads a container, which is opened if it is not open. One that cannot be read is closed: whatever the
    /// reason is, the next reading begins afresh.
    pub(super) fn read<R>(
        &mut self,
        id: &str,
        open: impl FnOnce() -> Result<T>,
        read: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        self.notifier.request(id);
        let (mut container, was_open) = match self.open.remove(id) {
            Some(entry) => (entry.container, true),
            None => (open()?, false),
        };
        let result = read(&mut container)?;
        let cgroup = container.as_ref();
        // One that cannot be watched is reported when that is requested.
        let _ = self.notifier.observe(id, cgroup);
        if was_open || cgroup.may_stay_open() {
            let entry = Entry {
                container,
                is_fresh: true,
            };
            self.open.insert(id.to_owned(), entry);
        }
        Ok(result)
    }

    /// Returns whether a container is watched that was requested at this sample.
    pub(super) fn is_watched(&self, id: &str) -> bool {
        self.notifier.is_watched(id)
    }

    /// Watches a container for OOM kills. See [`OomEvents::watch`](super::OomEvents::watch).
    pub(super) fn watch(&mut self, id: &str, open: impl FnOnce() -> Result<T>) -> Result<bool> {
        if self.is_watched(id) {
            return Ok(true);
        }
        self.notifier.watch(id);
        let opened;
        let container = match self.open.get(id) {
            Some(entry) => &entry.container,
            None => match open() {
                Ok(container) => {
                    opened = container;
                    &opened
                }
                Err(e) if e.kind() == ErrorKind::ContainerNotFound => return Ok(false),
                Err(e) => return Err(e),
            },
        };
        self.notifier
            .observe(id, container.as_ref())
            .with_context(|| format!("cannot watch container {} for OOM kills", shorten(id)))
    }

    /// See [`OomEvents::fd`](super::OomEvents::fd).
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.fd()
    }

    /// See [`OomEvents::drain`](super::OomEvents::drain).
    pub(super) fn drain(&mut self) -> Vec<String> {
        self.notifier.drain()
    }
}
