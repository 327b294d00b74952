//! Samples for those who look at usage: `top`, and `serve` with its metrics and its page.

mod hold;
mod rates;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eventout::{ContainerInfo, Details, Error, ErrorKind, Monitor, Result};

use hold::Hold;
pub(crate) use rates::Rates;
pub(crate) use usage::{Device, Pressure, Usage};

/// The containers of a source at one moment.
pub(crate) struct View {
    /// When it was read.
    pub(crate) instant: Instant,
    /// When it was read, by the clock.
    pub(crate) time: SystemTime,
    /// How long reading took.
    pub(crate) took: Duration,
    /// The containers, in the order of the source.
    pub(crate) containers: Vec<Container>,
    /// The containers that could not be read, and what was left out.
    pub(crate) errors: Vec<Error>,
}

/// A container in a [`View`].
pub(crate) struct Container {
    /// When its sandbox was read, which may be long after the first one of the view.
    pub(crate) instant: Instant,
    pub(crate) info: ContainerInfo,
    pub(crate) details: Arc<Details>,
    pub(crate) usage: Usage,
}

impl Container {
    /// Returns the name for people: the ID, if it has no other.
    pub(crate) fn name(&self) -> &str {
        self.details.name.as_deref().unwrap_or(&self.info.id)
    }

    /// Returns whether this is the container that `other` was at another time, and no later one of its ID.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.info.id == other.info.id && self.details.started == other.details.started
    }
}

/// Reads views of a source.
pub(crate) struct Viewer {
    monitor: Monitor,
    hold: Hold,
}

impl Viewer {
    pub(crate) fn new(monitor: Monitor) -> Self {
        Self {
            monitor,
            hold: Hold::default(),
        }
    }

    /// Reads the source now. A container that cannot be read is an error of its own in the view.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    pub(crate) fn view(&mut self) -> Result<View> {
        let (instant, time) = (Instant::now(), SystemTime::now());
        let mut sample = self.monitor.sample()?;
        let mut errors = Vec::new();
        let mut containers = Vec::new();
        // A sandbox is read once, with the first of its containers.
        let mut sandboxes = HashMap::new();
        for info in sample.containers()? {
            let instant = match sandboxes.get(&info.sandbox) {
                Some(instant) => *instant,
                None => *sandboxes
                    .entry(info.sandbox.clone())
                    .or_insert_with(Instant::now),
            };
            let event = match sample.stats(&info.id) {
                Ok(event) => event,
                Err(e) => {
                    // One that has ended meanwhile is no error.
                    if e.kind() != ErrorKind::ContainerNotFound {
                        errors.push(e);
                    }
                    continue;
                }
            };
            let details = sample.details(&info.id).unwrap_or_default();
            containers.push(Container {
                instant,
                usage: Usage::from(event.data),
                details,
                info,
            });
        }
        errors.append(&mut self.monitor.warnings());
        self.hold.apply(&mut containers);
        Ok(View {
            instant,
            time,
            took: instant.elapsed(),
            containers,
            errors,
        })
    }

    /// Returns how often a counter would have gone backwards, and was held.
    pub(crate) fn held(&self) -> u64 {
        self.hold.held
    }
}
