//! A source and a component, sample by sample.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::bindings::types::{EventOut, StatsEvent};
use crate::component::{Component, Instance};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Context as _, Error, Result, bail};
use crate::snapshot::{Format, Snapshot};
use crate::source::{ContainerInfo, OomEvents, Source};
use crate::text::shorten;

/// The events of the containers of one source, as one component computes them.
///
/// A call that fails leaves nothing behind that the next one could trip over.
pub struct Monitor {
    source: Box<dyn Source>,
    instance: Instance,
}

impl Monitor {
    /// Joins a component to a source.
    pub fn new(component: &Component, source: Box<dyn Source>) -> Self {
        Self {
            source,
            instance: Instance::new(component),
        }
    }

    /// The whole ID of the container that `container` means: with a source of gVisor, the beginning of one
    /// is enough.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] where `container` could mean more than one.
    pub fn resolve(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| self.source.resolve(container))
            .with_context(|| format!("cannot find container {}", shorten(container)))
    }

    /// Begins the source's next instant: what is asked of it is no older than this call, and a sandbox
    /// may be read once for all its containers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] where the source can't be read.
    pub fn sample(&mut self) -> Result<Sample<'_>> {
        self.source.advance()?;
        Ok(Sample(self))
    }

    /// Watches a container for OOM kills, from now on and until it ends. To be called after an event of it;
    /// calling it again does nothing.
    ///
    /// Cgroups and containers of runc and crun can be watched. Others report nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the kernel refuses.
    pub fn watch_oom(&mut self, container: &str) -> Result<()> {
        match self.source.oom_events() {
            Some(oom) => oom.watch(container),
            None => Ok(()),
        }
    }

    /// Returns what is readable when [`Monitor::oom_kills`] may return something. `None` if nothing is watched.
    pub fn oom_fd(&mut self) -> Option<BorrowedFd<'_>> {
        let oom: &dyn OomEvents = self.source.oom_events()?;
        oom.fd()
    }

    /// Returns the watched containers with OOM kills since the last call, each as often as there were some. It
    /// does not wait.
    pub fn oom_kills(&mut self) -> Vec<String> {
        let oom = self.source.oom_events();
        oom.map_or_else(Vec::new, OomEvents::drain)
    }

    /// Returns what the source has left out since the last call, and why.
    pub fn warnings(&mut self) -> Vec<Error> {
        self.source.warnings()
    }

    /// One kill as a line of JSON, as `runc events` prints it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Component`] where the component traps, [`ErrorKind::Limit`] where it exceeds its limits,
    /// [`ErrorKind::InvalidRequest`] where no container can have such an ID.
    pub fn oom_json(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| self.instance.oom_json(container))
            .with_context(|| format!("cannot tell of a kill in container {}", shorten(container)))
    }

    /// Calls the component about a container with the snapshot of its sandbox.
    fn call<T>(
        &mut self,
        what: &str,
        container: &str,
        call: impl FnOnce(&mut Instance, Arc<Snapshot>) -> Result<T>,
    ) -> Result<T> {
        check_length(container)
            .and_then(|()| self.source.snapshot(container))
            .and_then(|snapshot| call(&mut self.instance, snapshot))
            .with_context(|| cannot_get(what, container))
    }
}

/// What was attempted, as errors say it.
fn cannot_get(what: &str, container: &str) -> String {
    format!("cannot get {what} of container {}", shorten(container))
}

/// A source at one instant.
///
/// # Errors
///
/// All calls for an event fail with [`ErrorKind::ContainerNotFound`] where there is no such container (any more),
/// [`ErrorKind::InvalidRequest`] where there never can be, or the component does not support the call,
/// [`ErrorKind::Source`] where the source could not be read, [`ErrorKind::Component`] where the component trapped
/// or returned what it must not, and [`ErrorKind::Limit`] where it exceeded its limits.
pub struct Sample<'a>(&'a mut Monitor);

impl Sample<'_> {
    /// The containers that the source knows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] where the source can't be read.
    pub fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        self.0.source.containers()
    }

    /// The event as gVisor's sentry computes it: no CPU total, but the CPU time of all containers.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn event(&mut self, container: &str) -> Result<EventOut> {
        self.0.call("event", container, |instance, snapshot| {
            instance.event(snapshot, container)
        })
    }

    /// The same as one line of JSON, as Go encodes gVisor's `EventOut`.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn event_json(&mut self, container: &str) -> Result<String> {
        self.0.call("event", container, |instance, snapshot| {
            instance.event_json(snapshot, container)
        })
    }

    /// The event that `runsc events` prints.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn stats(&mut self, container: &str) -> Result<StatsEvent> {
        self.0.call("stats", container, |instance, snapshot| {
            instance.stats(snapshot, container)
        })
    }

    /// The same as one line of JSON, in `format`, or else in [`Snapshot::format`].
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn stats_json(
        &mut self,
        container: &str,
        format: impl Into<Option<Format>>,
    ) -> Result<String> {
        let format = format.into();
        self.0.call("stats", container, |instance, snapshot| {
            let format = format.unwrap_or(snapshot.format);
            instance.stats_json(snapshot, container, format)
        })
    }
}

/// Refuses IDs that no runtime gives, before they are copied about.
fn check_length(id: &str) -> Result<()> {
    const LIMIT: usize = 4096;
    if id.len() > LIMIT {
        let len = id.len();
        bail!(
            InvalidRequest,
            "its ID has {len} bytes, and {LIMIT} are allowed"
        );
    }
    Ok(())
}
