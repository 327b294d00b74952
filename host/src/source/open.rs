//! Containers that stay open from one sample to the next.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use crate::error::{Context as _, Result};
use crate::linux::cgroup::{Group, Watch};
use crate::text::shorten;

/// Containers that stay open from one instant to the next, and may be watched for kills.
pub(super) struct Kept<T> {
    open: HashMap<String, Open<T>>,
    watch: Watch,
}

struct Open<T> {
    container: T,
    /// Whether it was read at this instant.
    fresh: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            watch: Watch::default(),
        }
    }
}

impl<T: AsRef<Group>> Kept<T> {
    /// Begins the next instant. What was not read at the last one is closed.
    pub(super) fn advance(&mut self) {
        self.open.retain(|id, open| {
            let read = std::mem::take(&mut open.fresh);
            if !read {
                self.watch.end(id);
            }
            read
        });
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: &str, container: T) {
        let fresh = true;
        self.open.insert(id.to_owned(), Open { container, fresh });
    }

    /// All of them, in the order that they have until one is added or closed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.open.values_mut().map(|open| &mut open.container)
    }

    /// Reads an open container. One that can't be read is closed: whatever it was, the next reading begins
    /// afresh.
    pub(super) fn read<R>(
        &mut self,
        id: &str,
        read: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        let open = self.open.get_mut(id).context("it is not open")?;
        open.fresh = true;
        let result = read(&mut open.container);
        if result.is_err() {
            self.open.remove(id);
            self.watch.end(id);
        }
        result
    }

    /// See [`Source::watch_oom`](super::Source::watch_oom).
    pub(super) fn watch(&mut self, id: &str) -> Result<()> {
        match self.open.get(id) {
            Some(open) => self
                .watch
                .begin(id, open.container.as_ref())
                .with_context(|| {
                    format!(
                        "cannot watch container {} for kills for want of memory",
                        shorten(id)
                    )
                }),
            None => Ok(()),
        }
    }

    /// See [`Source::oom_fd`](super::Source::oom_fd).
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.fd()
    }

    /// See [`Source::oom_kills`](super::Source::oom_kills).
    pub(super) fn kills(&mut self) -> Vec<String> {
        self.watch.kills()
    }
}
