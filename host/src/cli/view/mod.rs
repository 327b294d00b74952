//! Samples for those who look at usage: `top`, and `serve` with its metrics and its page.

mod hold;
mod rates;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eventout::{ContainerInfo, Details, Error, ErrorKind, Monitor, OomEvents, Result};

use super::too_large::TooLarge;
use hold::Hold;
pub(crate) use rates::Rates;
pub(crate) use usage::{Device, Hugetlb, Pressure, Usage};

/// The containers of a source at one moment.
pub(crate) struct View {
    /// When it was read.
    pub(crate) instant: Instant,
    /// When it was read, by the clock.
    pub(crate) time: SystemTime,
    /// The time that reading took.
    pub(crate) took: Duration,
    /// The containers, in the order of the source.
    pub(crate) containers: Vec<Container>,
    /// Why containers could not be read.
    pub(crate) errors: Vec<Error>,
    /// Why something else is missing: say, values of a container, or a directory that this user may not read.
    pub(crate) warnings: Vec<Error>,
    /// The number of containers beyond the limit, which were not read.
    pub(crate) dropped: usize,
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

/// The lines of a sample, as `eventout events --all` prints them.
#[derive(Default)]
pub(crate) struct Lines {
    /// The OOM kills since the last view.
    pub(crate) oom_kills: String,
    /// The events of the containers.
    pub(crate) stats: String,
}

/// Reads views of a source.
pub(crate) struct Viewer {
    monitor: Monitor,
    hold: Hold,
    max_containers: usize,
    /// The OOM kills of each container since it is watched. `None` if they are not counted.
    oom_kills: Option<HashMap<String, u64>>,
}

impl Viewer {
    pub(crate) fn new(monitor: Monitor) -> Self {
        Self {
            monitor,
            hold: Hold::default(),
            max_containers: usize::MAX,
            oom_kills: None,
        }
    }

    /// Reads no more than the first `max` containers of the source.
    pub(crate) fn limit(self, max: usize) -> Self {
        Self {
            max_containers: max,
            ..self
        }
    }

    /// Counts OOM kills, from the first view of each container on.
    pub(crate) fn count_oom_kills(self) -> Self {
        Self {
            oom_kills: Some(HashMap::new()),
            ..self
        }
    }

    /// Reads the source now. A container that cannot be read is an error of its own in the view.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    pub(crate) fn view(&mut self) -> Result<View> {
        self.read(None)
    }

    /// Reads the source now, and appends the lines of the same sample.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] if the source cannot be read.
    pub(crate) fn view_with_lines(&mut self, lines: &mut Lines) -> Result<View> {
        self.read(Some(lines))
    }

    fn read(&mut self, mut lines: Option<&mut Lines>) -> Result<View> {
        let (instant, time) = (Instant::now(), SystemTime::now());
        let mut errors = Vec::new();
        let mut warnings = self.drain_oom_kills(lines.as_deref_mut());
        let mut sample = self.monitor.sample()?;
        let mut listed = sample.containers()?;
        let dropped = listed.len().saturating_sub(self.max_containers);
        listed.truncate(self.max_containers);
        let mut containers = Vec::with_capacity(listed.len());
        // Those that exist, but cannot be read now. What is remembered of them stays.
        let mut unread = Vec::new();
        // A sandbox is read once, with the first of its containers.
        let mut sandboxes = HashMap::new();
        let mut too_large = TooLarge::default();
        for info in listed {
            if too_large.skips(&info.id, Some(&info.sandbox)) {
                unread.push(info.id);
                continue;
            }
            let instant = match sandboxes.get(&info.sandbox) {
                Some(instant) => *instant,
                None => *sandboxes
                    .entry(info.sandbox.clone())
                    .or_insert_with(Instant::now),
            };
            let event = sample.stats(&info.id);
            too_large.add(Some(&info.sandbox), event.as_ref().err());
            let event = match event {
                Ok(event) => event,
                // It has ended meanwhile.
                Err(e) if e.kind() == ErrorKind::ContainerNotFound => continue,
                Err(e) => {
                    errors.push(e);
                    unread.push(info.id);
                    continue;
                }
            };
            if let Some(lines) = &mut lines {
                match sample.stats_json(&info.id, None) {
                    Ok(line) => {
                        lines.stats += &line;
                        lines.stats.push('\n');
                    }
                    Err(e) => warnings.push(e),
                }
            }
            let details = sample.details(&info.id).unwrap_or_default();
            containers.push(Container {
                instant,
                usage: Usage::from(event.data),
                details,
                info,
            });
        }
        errors.extend(too_large.errors().map(|(_, e)| e));
        warnings.extend(self.watch_oom_kills(&mut containers, &unread));
        warnings.append(&mut self.monitor.warnings());
        self.hold.apply(&mut containers, &unread);
        Ok(View {
            instant,
            time,
            took: instant.elapsed(),
            containers,
            errors,
            warnings,
            dropped,
        })
    }

    /// Counts the OOM kills since the last view.
    fn drain_oom_kills(&mut self, mut lines: Option<&mut Lines>) -> Vec<Error> {
        let mut errors = Vec::new();
        let Some(counts) = &mut self.oom_kills else {
            return errors;
        };
        let kills = self.monitor.oom_events().map(OomEvents::drain);
        for id in kills.into_iter().flatten() {
            if let Some(lines) = &mut lines {
                match self.monitor.oom_json(&id) {
                    Ok(line) => {
                        lines.oom_kills += &line;
                        lines.oom_kills.push('\n');
                    }
                    Err(e) => errors.push(e),
                }
            }
            *counts.entry(id).or_default() += 1;
        }
        errors
    }

    /// Watches the containers of a view for OOM kills, and says how many there were.
    fn watch_oom_kills(&mut self, containers: &mut [Container], unread: &[String]) -> Vec<Error> {
        let mut errors = Vec::new();
        let (Some(counts), Some(oom)) = (&mut self.oom_kills, self.monitor.oom_events()) else {
            return errors;
        };
        let mut before = std::mem::take(counts);
        for container in containers {
            let id = &container.info.id;
            match oom.watch(id) {
                // There may be kills that nobody reports, or it has ended, so their number is not known.
                Ok(false) => {}
                Ok(true) => {
                    let (id, count) = before.remove_entry(id).unwrap_or_else(|| (id.clone(), 0));
                    container.usage.memory.oom_kills = Some(count);
                    counts.insert(id, count);
                }
                Err(e) => errors.push(e),
            }
        }
        counts.extend(unread.iter().filter_map(|id| before.remove_entry(id)));
        errors
    }

    /// Returns how often a counter would have gone backwards, and was held.
    pub(crate) fn held(&self) -> u64 {
        self.hold.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::{Component, Container as Facts, Limits, Snapshot, Source};
    use std::os::fd::BorrowedFd;

    /// A container of gVisor that cannot be read in the second sample, in which it has an OOM kill, and whose CPU time is
    /// lower afterwards.
    #[derive(Default)]
    struct Stalling {
        sample: usize,
    }

    impl Source for Stalling {
        fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
            Ok(vec![ContainerInfo {
                id: "web".to_owned(),
                sandbox: "web".to_owned(),
                source: String::new(),
            }])
        }

        fn advance(&mut self) -> Result<()> {
            self.sample += 1;
            Ok(())
        }

        fn snapshot(&mut self, _: &str) -> Result<Arc<Snapshot>> {
            let cpu = match self.sample {
                1 => 120,
                2 => return Err(Error::new(ErrorKind::Source, "it stalls")),
                _ => 105,
            };
            let web = Facts {
                id: "web".to_owned(),
                pids_count: 1,
                cpu_usage: Some(cpu),
                ..Facts::default()
            };
            Ok(Arc::new(Snapshot {
                root_container: "web".to_owned(),
                containers: vec![web],
                ..Snapshot::default()
            }))
        }

        fn details(&mut self, _: &str) -> Result<Arc<Details>> {
            let mut details = Details::default();
            details.runtime = Some("gvisor".to_owned());
            Ok(Arc::new(details))
        }

        fn oom_events(&mut self) -> Option<&mut dyn OomEvents> {
            Some(self)
        }
    }

    impl OomEvents for Stalling {
        fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn watch(&mut self, _: &str) -> Result<bool> {
            Ok(true)
        }

        fn drain(&mut self) -> Vec<String> {
            // It is called before the sample begins.
            let kills = usize::from(self.sample == 1);
            vec!["web".to_owned(); kills]
        }
    }

    #[test]
    fn counters_outlive_a_sample_in_which_their_container_cannot_be_read() {
        let component = Component::builtin(Limits::default()).expect("it was precompiled");
        let monitor = Monitor::new(&component, Box::new(Stalling::default()));
        let mut viewer = Viewer::new(monitor).count_oom_kills();
        let mut counters = || {
            let view = viewer.view().expect("the source can be read");
            let usage = view.containers.first().map(|c| &c.usage);
            let counters = usage.map(|usage| (usage.cpu.total, usage.memory.oom_kills));
            (counters, view.errors.len())
        };
        assert_eq!(counters(), (Some((Some(120), Some(0))), 0));
        assert_eq!(counters(), (None, 1));
        assert_eq!(counters(), (Some((Some(120), Some(1))), 0));
        assert_eq!(viewer.held(), 1);
    }
}
