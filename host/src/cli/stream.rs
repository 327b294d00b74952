//! Streams: lines at once, and then at each interval.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use eventout::{Error, ErrorKind, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::args::PollArgs;
use super::output::{Output, WakeReason};
use super::repeats::{Print, Repeats};

/// Takes the line of a container, or why there is none.
pub(crate) type Emit<'a> = dyn FnMut(&str, Result<String>) + 'a;

/// A producer of lines about containers.
pub(crate) trait LineSource {
    /// Emits a line of each of these containers, or of all there are, as of now.
    fn sample(&mut self, ids: Option<&[String]>, emit: &mut Emit<'_>) -> Result<()>;

    /// Returns what the last sample left out, and why.
    fn warnings(&mut self) -> Vec<Error> {
        Vec::new()
    }

    /// Returns what is readable when there may be lines between two samples.
    fn event_fd(&mut self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns the lines about what has happened since the last call.
    fn pending(&mut self) -> Vec<Result<String>> {
        Vec::new()
    }
}

/// Prints lines of containers, at once and then at each interval, until all of them have ended, and in between
/// what happens then. A container that could not be read is read again at the next interval. Without `ids`, it
/// is all there are at that time, and there is no end.
pub(crate) fn run_stream(
    mut ids: Option<Vec<String>>,
    once: bool,
    poll: PollArgs,
    out: &mut Output,
    lines: &mut impl LineSource,
) -> Result<()> {
    if !once {
        raise_open_files();
    }
    let start = Instant::now();
    let mut seen = HashSet::new();
    let mut repeats = Repeats::default();
    loop {
        let mut sample = Sample {
            named: ids.is_some(),
            once,
            out,
            seen: &mut seen,
            repeats: &mut repeats,
            ended: HashSet::new(),
            lines: 0,
            refused: 0,
        };
        let result = lines.sample(ids.as_deref(), &mut |id, line| sample.take(id, line));
        let Sample {
            ended,
            lines: count,
            refused,
            ..
        } = sample;
        match result {
            Err(e) if once => return Err(e),
            // No container has an empty ID.
            Err(e) => repeats.failed("", &e, &mut |text| out.diagnose(text)),
            Ok(()) => {
                let print: &mut Print<'_> = &mut |text| out.diagnose(text);
                repeats.recovered("", print);
                for warning in lines.warnings() {
                    // It is printed again once it has been away.
                    repeats.failed(&format!("{warning:#}"), &warning, print);
                }
                repeats.end_sample(print);
                if let Some(ids) = &mut ids {
                    ids.retain(|id| !ended.contains(id));
                }
                if refused > 0 && refused == count {
                    // It is not the containers that are refused.
                    return out.flush();
                }
            }
        }
        let now = Instant::now();
        let next = now.checked_add(until_next_tick(poll.interval, now - start));
        loop {
            for line in lines.pending() {
                match line {
                    Ok(line) => out.line(&line),
                    Err(e) => out.report(&e),
                }
            }
            out.flush()?;
            if once || out.closed || ids.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            match out.wait(next, lines.event_fd()) {
                WakeReason::Tick => break,
                WakeReason::Notification => {}
                WakeReason::StdoutClosed => return Ok(()),
            }
        }
    }
}

/// A sample that is being printed.
struct Sample<'a> {
    /// Set if the containers were named, rather than all there are.
    named: bool,
    once: bool,
    out: &'a mut Output,
    /// The containers of which there was a line.
    seen: &'a mut HashSet<String>,
    repeats: &'a mut Repeats,
    /// The containers of which there will be no more lines.
    ended: HashSet<String>,
    lines: usize,
    refused: usize,
}

impl Sample<'_> {
    fn take(&mut self, id: &str, line: Result<String>) {
        self.lines += 1;
        match line {
            Ok(line) => {
                self.out.line(&line);
                self.repeats
                    .recovered(id, &mut |text| self.out.diagnose(text));
                if self.named && !self.seen.contains(id) {
                    self.seen.insert(id.to_owned());
                }
            }
            Err(e) => self.fail(id, &e),
        }
    }

    fn fail(&mut self, id: &str, e: &Error) {
        let gone = e.kind() == ErrorKind::ContainerNotFound;
        let invalid = e.kind() == ErrorKind::InvalidRequest;
        let ended = gone || invalid;
        self.refused += usize::from(invalid);
        // A container that has ended is no error.
        if !gone || (self.named && !self.seen.contains(id)) {
            self.repeats
                .failed(id, e, &mut |text| self.out.diagnose(text));
            self.out.failed |= ended || self.once;
        }
        if ended && self.named {
            self.ended.insert(id.to_owned());
        }
    }
}

/// Allows as many open files as this process may have. On v1, each container that is watched for OOM kills takes two,
/// and interface files that stay open take others: the usual limit of 1024 is enough for some 200 containers.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    // Otherwise some containers are not watched, which is reported.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}

/// Returns what is left of the current interval, so that samples don't drift.
pub(super) fn until_next_tick(interval: Duration, elapsed: Duration) -> Duration {
    let interval = interval.as_nanos();
    let rest = interval - elapsed.as_nanos() % interval;
    Duration::from_nanos(rest.try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_do_not_drift() {
        let interval = Duration::from_secs(1);
        let hour = Duration::from_secs(3600);
        // The times that a sample and waking up take, in microseconds. Every 900th sample takes longer.
        for (sample, waking) in [(500, 60), (900_000, 60), (0, 0)] {
            let mut clock = Duration::ZERO;
            let mut samples = 0;
            while clock < hour {
                samples += 1;
                clock += Duration::from_micros(sample + 97 * (samples % 900));
                clock += until_next_tick(interval, clock) + Duration::from_micros(waking);
            }
            assert_eq!(samples, 3600, "{sample} {waking}");
        }
        // A sample that takes longer than the interval costs those that it left no time for.
        let elapsed = Duration::from_millis(2300);
        assert_eq!(
            until_next_tick(interval, elapsed),
            Duration::from_millis(700)
        );
    }
}
