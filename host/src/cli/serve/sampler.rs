//! The thread that reads the source on request.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use eventout::Error;
use hyper::body::Bytes;
use sd_notify::NotifyState;
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::sync::{mpsc, watch};

use super::super::diagnostics::clean;
use super::super::repeats::Repeats;
use super::super::view::{Lines, View, Viewer};

/// The source at one moment, or why it could not be read.
pub(super) struct Sample {
    /// Counts samples, from 1 on.
    pub(super) number: u64,
    pub(super) began: Instant,
    /// When the server began.
    pub(super) origin: Instant,
    pub(super) view: Result<View, String>,
    /// The lines of its events, if somebody reads them.
    pub(super) lines: Option<Bytes>,
    /// The number of samples and of containers that could not be read since the server began.
    pub(super) errors: u64,
    /// The number of counters that were kept from going backwards since the server began.
    pub(super) held: u64,
    /// The JSON document of this sample, once somebody wants it.
    pub(super) json: OnceLock<Bytes>,
}

/// When the source is read.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// The age up to which a sample does for a new request.
    pub(super) max_age: Duration,
    /// The time between samples while there are streams.
    pub(super) interval: Duration,
}

/// A handle on the sampling thread.
#[derive(Clone)]
pub(super) struct Samples {
    pace: Pace,
    demand: Arc<(Mutex<Demand>, Condvar)>,
    latest: watch::Receiver<Option<Arc<Sample>>>,
    /// The lines of OOM kills: each is in one sample alone, and a stream may miss that.
    oom_kills: broadcast::Sender<Bytes>,
}

/// The demand for samples, by all requests.
#[derive(Default)]
struct Demand {
    /// The earliest beginning of a sample that does for all requests.
    since: Option<Instant>,
    /// The number of streams, and of those among them that are of lines.
    streams: usize,
    line_streams: usize,
}

impl Samples {
    /// Starts the thread. It logs each error once, not once a sample.
    pub(super) fn start(viewer: Viewer, pace: Pace, log: mpsc::Sender<String>) -> io::Result<Self> {
        /// The number of samples with kills in them that a stream may be behind.
        const BEHIND: usize = 64;
        let (sender, latest) = watch::channel(None);
        let samples = Self {
            pace,
            demand: Arc::default(),
            latest,
            oom_kills: broadcast::Sender::new(BEHIND),
        };
        let sampler = Sampler {
            viewer,
            pace,
            demand: Arc::clone(&samples.demand),
            latest: sender,
            oom_kills: samples.oom_kills.clone(),
            log,
            repeats: Repeats::default(),
            origin: Instant::now(),
            number: 0,
            errors: 0,
        };
        thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(|| sampler.run())?;
        Ok(samples)
    }

    /// Returns a sample that is recent enough. `None` if that takes longer than `patience`.
    pub(super) async fn fresh(&self, patience: Duration) -> Option<Arc<Sample>> {
        let now = Instant::now();
        let since = now.checked_sub(self.pace.max_age).unwrap_or(now);
        let mut latest = self.latest.clone();
        let recent = latest.wait_for(|sample| match sample {
            Some(sample) if sample.began >= since => true,
            _ => {
                let mut demand = lock(&self.demand.0);
                demand.since = demand.since.max(Some(since));
                self.demand.1.notify_one();
                false
            }
        });
        let recent = tokio::time::timeout(patience, recent).await.ok()?.ok()?;
        recent.clone()
    }

    /// Begins a stream of samples, with lines or without. They go on as long as it exists. `None` if there are too
    /// many, which leaves connections to those who want no stream.
    pub(super) fn stream(&self, lines: bool) -> Option<SampleStream> {
        const STREAMS: usize = 128;
        let latest = self.latest.borrow().clone();
        let mut demand = lock(&self.demand.0);
        if demand.streams == STREAMS {
            return None;
        }
        demand.streams += 1;
        demand.line_streams += usize::from(lines);
        if lines && latest.as_ref().is_some_and(|sample| sample.lines.is_none()) {
            // It is not this stream's, which else would wait for the end of the interval.
            demand.since = Some(Instant::now());
        }
        drop(demand);
        self.demand.1.notify_one();
        let stale = latest.filter(|s| s.began.elapsed() > self.pace.max_age);
        Some(SampleStream {
            last: stale.map_or(0, |sample| sample.number),
            oom_kills: self.oom_kills.subscribe(),
            samples: self.clone(),
            lines,
        })
    }
}

/// A stream of samples, each at most once: a slow reader misses some.
pub(super) struct SampleStream {
    samples: Samples,
    oom_kills: broadcast::Receiver<Bytes>,
    lines: bool,
    /// The number of the last sample.
    last: u64,
}

impl SampleStream {
    /// Waits for the next sample: at first the latest, if that is recent enough. `None` once there are no more.
    pub(super) async fn next(&mut self) -> Option<Arc<Sample>> {
        let Self {
            samples,
            lines,
            last,
            ..
        } = self;
        let is_next = |sample: &Option<Arc<Sample>>| {
            let next = sample.as_ref().filter(|sample| sample.number > *last);
            next.is_some_and(|next| !*lines || next.lines.is_some())
        };
        let sample = samples.latest.wait_for(is_next).await.ok()?.clone()?;
        *last = sample.number;
        Some(sample)
    }

    /// Returns the lines of the OOM kills up to the last sample, of those that it missed, too.
    pub(super) fn oom_kills(&mut self) -> Vec<Bytes> {
        let mut kills = Vec::new();
        loop {
            match self.oom_kills.try_recv() {
                Ok(lines) => kills.push(lines),
                // The oldest of them are gone.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return kills,
            }
        }
    }
}

impl Drop for SampleStream {
    fn drop(&mut self) {
        let mut demand = lock(&self.samples.demand.0);
        demand.streams -= 1;
        demand.line_streams -= usize::from(self.lines);
    }
}

/// The state of the thread.
struct Sampler {
    viewer: Viewer,
    pace: Pace,
    demand: Arc<(Mutex<Demand>, Condvar)>,
    latest: watch::Sender<Option<Arc<Sample>>>,
    oom_kills: broadcast::Sender<Bytes>,
    log: mpsc::Sender<String>,
    repeats: Repeats,
    origin: Instant,
    number: u64,
    errors: u64,
}

impl Sampler {
    fn run(mut self) {
        // The service manager expects a sign of life in each such time, and gets two.
        let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
        let mut last = None;
        while !self.latest.is_closed() {
            let lines = self.wait(last, watchdog);
            if last.is_some_and(|last| last.elapsed() > self.pace.max_age) {
                // Nobody may have it any more, and two of them are twice the memory.
                self.latest.send_replace(None);
            }
            let sample = self.sample(lines);
            last = Some(sample.began);
            self.latest.send_replace(Some(Arc::new(sample)));
        }
    }

    /// Waits until a sample is wanted. Returns whether lines are, too.
    fn wait(&self, last: Option<Instant>, watchdog: Option<Duration>) -> bool {
        let (demand, changed) = &*self.demand;
        let mut demand = lock(demand);
        loop {
            if watchdog.is_some() {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            let is_wanted = demand
                .since
                .is_some_and(|since| last.is_none_or(|last| last < since));
            let rest = match last {
                _ if is_wanted => Some(Duration::ZERO),
                Some(last) if demand.streams > 0 => {
                    Some(self.pace.interval.saturating_sub(last.elapsed()))
                }
                None if demand.streams > 0 => Some(Duration::ZERO),
                _ => None,
            };
            if rest == Some(Duration::ZERO) {
                return demand.line_streams > 0;
            }
            demand = match rest.into_iter().chain(watchdog).min() {
                Some(time) => {
                    let waited = changed.wait_timeout(demand, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(demand).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn sample(&mut self, lines: bool) -> Sample {
        let began = Instant::now();
        let mut text = Lines::default();
        let view = match lines {
            true => self.viewer.view_with_lines(&mut text),
            false => self.viewer.view(),
        };
        if !text.oom_kills.is_empty() {
            // There may be no stream any more.
            let _ = self.oom_kills.send(text.oom_kills.into());
        }
        self.number += 1;
        self.errors += view.as_ref().map_or(1, |view| view.errors.len() as u64);
        self.log(&view);
        Sample {
            number: self.number,
            began,
            origin: self.origin,
            lines: (lines && view.is_ok()).then(|| text.stats.into()),
            view: view.map_err(|e| clean(format_args!("{e:#}"))),
            errors: self.errors,
            held: self.viewer.held(),
            json: OnceLock::new(),
        }
    }

    /// Logs errors that are not those of the last sample.
    fn log(&mut self, view: &Result<View, Error>) {
        let log = &self.log;
        // There may be more messages than anybody reads.
        let print = &mut |text: &str| drop(log.try_send(text.to_owned()));
        match view {
            // No container has an empty ID.
            Err(e) => self.repeats.failed("", e, print),
            Ok(view) => {
                self.repeats.recovered("", print);
                for e in view.errors.iter().chain(&view.warnings) {
                    self.repeats.failed(&format!("{e:#}"), e, print);
                }
                self.repeats.end_sample(print);
            }
        }
    }
}

fn lock(demand: &Mutex<Demand>) -> MutexGuard<'_, Demand> {
    demand.lock().unwrap_or_else(PoisonError::into_inner)
}
