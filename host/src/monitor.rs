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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::limits::Limits;
    use crate::snapshot::Container;

    /// A source with the container `web`, and one that cannot be read, `broken`.
    #[derive(Default)]
    struct Fixture {
        samples: u64,
    }

    impl Source for Fixture {
        fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
            Ok(Vec::new())
        }

        fn resolve(&mut self, container: &str) -> Result<String> {
            match container {
                "" => bail!(InvalidRequest, "it is empty"),
                _ => Ok("web".to_owned()),
            }
        }

        fn advance(&mut self) -> Result<()> {
            self.samples += 1;
            Ok(())
        }

        fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
            if container == "broken" {
                bail!(Source, "it is on fire");
            }
            let web = Container {
                id: "web".to_owned(),
                pids_count: self.samples,
                ..Container::default()
            };
            Ok(Arc::new(Snapshot {
                format: Format::Runc,
                root_container: "web".to_owned(),
                containers: vec![web],
                ..Snapshot::default()
            }))
        }

        fn warnings(&mut self) -> Vec<Error> {
            vec![Error::new(ErrorKind::Source, "a directory was left out")]
        }
    }

    fn monitor() -> Monitor {
        let component = Component::builtin(Limits::default()).expect("it was precompiled");
        Monitor::new(&component, Box::new(Fixture::default()))
    }

    #[test]
    fn each_sample_is_a_new_reading_and_its_calls_share_it() {
        let mut monitor = monitor();
        for number in 1..4 {
            let mut sample = monitor.sample().expect("a sample");
            for _ in 0..2 {
                assert_eq!(sample.event("web").expect("an event").pids, number);
                let stats = sample.stats("web").expect("an event");
                assert_eq!(stats.data.pids.current, Some(number));
            }
        }
    }

    #[test]
    fn the_format_is_that_of_the_runtime_unless_it_is_given() {
        let mut monitor = monitor();
        let mut sample = monitor.sample().expect("a sample");
        let mut line = |format: Option<Format>| sample.stats_json("web", format).expect("a line");
        assert_eq!(line(None), line(Some(Format::Runc)));
        assert_ne!(line(None), line(Some(Format::Gvisor)));
    }

    #[test]
    fn an_error_says_what_was_attempted_and_affects_no_other_call() {
        let mut monitor = monitor();
        let mut sample = monitor.sample().expect("a sample");
        for (result, says) in [
            (
                sample.stats("broken").map(drop),
                "cannot get stats of container \"broken\": it is on fire",
            ),
            (
                sample.event_json("broken").map(drop),
                "cannot get event of container \"broken\": it is on fire",
            ),
            (
                sample.stats("no").map(drop),
                "cannot get stats of container \"no\": container \"no\" not found",
            ),
        ] {
            assert_eq!(format!("{:#}", result.expect_err("it fails")), says);
            sample.stats("web").expect("it goes on");
        }
        let ambiguous = monitor.resolve("").expect_err("it fails");
        let says = "cannot find container \"\": it is empty";
        assert_eq!(format!("{ambiguous:#}"), says);
        assert_eq!(monitor.resolve("w").expect("a prefix"), "web");
        assert_eq!(monitor.warnings().len(), 1);
    }

    #[test]
    fn an_id_that_is_too_long_reaches_neither_the_source_nor_the_component() {
        let mut monitor = monitor();
        let longest = "x".repeat(4096);
        let line = monitor.oom_json(&longest).expect("it is not too long");
        assert!(line.contains(&longest));
        let long = longest + "x";
        let mut errors = vec![
            monitor.resolve(&long).map(drop),
            monitor.oom_json(&long).map(drop),
        ];
        let mut sample = monitor.sample().expect("a sample");
        errors.push(sample.stats(&long).map(drop));
        errors.push(sample.details(&long).map(drop));
        for error in errors {
            let error = error.expect_err("it is too long");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            let error = format!("{error:#}");
            assert!(error.ends_with("its ID has 4097 bytes, and 4096 are allowed"));
            assert!(error.len() < 300, "{error}");
        }
    }
}
