//! A source and a component, sample by sample.

use std::sync::Arc;

use crate::bindings::types::{EventOut, StatsEvent};
use crate::component::{Component, Instance};
use crate::details::Details;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Context as _, Error, Result, bail};
use crate::snapshot::{Format, Snapshot};
use crate::source::{ContainerInfo, OomEvents, Source};
use crate::text::shorten;

/// Computes the events of the containers of one source with one component.
///
/// A call that fails does not affect later calls.
pub struct Monitor {
    source: Box<dyn Source>,
    instance: Instance,
}

impl Monitor {
    /// Creates a monitor of the containers of `source`.
    pub fn new(component: &Component, source: Box<dyn Source>) -> Self {
        Self {
            source,
            instance: Instance::new(component),
        }
    }

    /// Returns the ID of the container that `container` means: an ID, a name, or the beginning of an ID. See
    /// [`Source::resolve`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if `container` could mean several.
    pub fn resolve(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| self.source.resolve(container))
            .with_context(|| format!("cannot find container {}", shorten(container)))
    }

    /// Begins the next sample: all that is read in it is no older than this call, and a sandbox may be read once for
    /// all its containers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    pub fn sample(&mut self) -> Result<Sample<'_>> {
        self.source.advance()?;
        Ok(Sample(self))
    }

    /// Returns the OOM kills in the containers of the source: cgroups and containers of runc and crun can be
    /// watched. `None` if the source does not know of any.
    pub fn oom_events(&mut self) -> Option<&mut dyn OomEvents> {
        self.source.oom_events()
    }

    /// Returns what the source has left out since the last call, and why.
    pub fn warnings(&mut self) -> Vec<Error> {
        self.source.warnings()
    }

    /// Returns an OOM kill as a line of JSON, without the newline, as `runc events` prints it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Component`] if the component traps, [`ErrorKind::Limit`] if it exceeds its limits,
    /// [`ErrorKind::InvalidRequest`] if no container can have such an ID.
    pub fn oom_json(&mut self, container: &str) -> Result<String> {
        check_length(container)
            .and_then(|()| self.instance.oom_json(container))
            .with_context(|| {
                format!(
                    "cannot format OOM event of container {}",
                    shorten(container)
                )
            })
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

/// Returns the outermost message of an error: the request that failed.
fn cannot_get(what: &str, container: &str) -> String {
    format!("cannot get {what} of container {}", shorten(container))
}

/// A sample of a source: the events of its containers at one moment.
///
/// # Errors
///
/// All calls for an event fail with [`ErrorKind::ContainerNotFound`] if there is no such container (any more),
/// [`ErrorKind::InvalidRequest`] if there can be none, or the component does not support the call,
/// [`ErrorKind::Source`] if the source cannot be read, [`ErrorKind::Component`] if the component traps or returns
/// something invalid, and [`ErrorKind::Limit`] if it exceeds its limits.
pub struct Sample<'a>(&'a mut Monitor);

impl Sample<'_> {
    /// Returns the containers that the source knows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    pub fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        self.0.source.containers()
    }

    /// Returns what is known of a container besides its usage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ContainerNotFound`] if there is no such container, [`ErrorKind::Source`] if the source cannot be read.
    pub fn details(&mut self, container: &str) -> Result<Arc<Details>> {
        check_length(container)
            .and_then(|()| self.0.source.details(container))
            .with_context(|| cannot_get("details", container))
    }

    /// Returns the event as gVisor's sentry computes it (`containerManager.Event`): without a CPU total, but with
    /// the CPU time of all containers of the sandbox.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn event(&mut self, container: &str) -> Result<EventOut> {
        self.0.call("event", container, |instance, snapshot| {
            instance.event(snapshot, container)
        })
    }

    /// Returns [`Sample::event`] as one line of JSON, without the newline, as Go encodes gVisor's `EventOut`.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn event_json(&mut self, container: &str) -> Result<String> {
        self.0.call("event", container, |instance, snapshot| {
            instance.event_json(snapshot, container)
        })
    }

    /// Returns the event that `runsc events` and `runc events` print.
    ///
    /// # Errors
    ///
    /// See [`Sample`].
    pub fn stats(&mut self, container: &str) -> Result<StatsEvent> {
        self.0.call("stats", container, |instance, snapshot| {
            instance.stats(snapshot, container)
        })
    }

    /// Returns [`Sample::stats`] as one line of JSON, without the newline, in `format`, by default that of the
    /// container's runtime ([`Snapshot::format`]).
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
