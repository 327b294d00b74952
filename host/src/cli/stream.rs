//! Streams: lines at once, and then per interval.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use eventout::{ErrorKind, Result};

use super::args::Rhythm;
use super::output::{Output, Woken};

/// What prints lines of containers.
pub(crate) trait Lines {
    /// A line of each of these containers, or of all there are, at one instant.
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>>;

    /// What is readable when there may be something between two instants.
    fn fd(&mut self) -> Option<BorrowedFd<'_>>;

    /// The lines of what has happened since the last call.
    fn between(&mut self) -> Vec<Result<String>>;
}

/// Prints lines of containers, at once and then per interval, until all of them have ended, and in between
/// what happens then. A container that could not be read is asked again the next time. Without `ids`, it
/// is all there are at that time, and there is no end.
pub(crate) fn repeat(
    mut ids: Option<Vec<String>>,
    rhythm: Rhythm,
    out: &mut Output,
    lines: &mut impl Lines,
) -> Result<()> {
    let start = Instant::now();
    let mut seen = HashSet::new();
    loop {
        match lines.read(ids.as_deref()) {
            Err(e) if rhythm.stats => return Err(e),
            Err(e) => out.report(&e),
            Ok(lines) => {
                let asked = lines.len();
                let mut refused = 0;
                for (id, line) in lines {
                    let e = match line {
                        Ok(line) => {
                            out.line(&line)?;
                            if ids.is_some() {
                                seen.insert(id);
                            }
                            continue;
                        }
                        Err(e) => e,
                    };
                    let gone = e.kind() == ErrorKind::ContainerNotFound;
                    let invalid = e.kind() == ErrorKind::InvalidRequest;
                    let over = gone || invalid;
                    refused += usize::from(invalid);
                    if gone && (ids.is_none() || seen.contains(&id)) {
                        // What was there and is not any more has ended, as containers do.
                    } else {
                        out.report(&e);
                        out.failed |= over || rhythm.stats;
                    }
                    if over && let Some(ids) = &mut ids {
                        ids.retain(|other| *other != id);
                    }
                }
                if refused > 0 && refused == asked {
                    // It is not the containers that are refused.
                    return out.flush();
                }
            }
        }
        let next = Instant::now().checked_add(rhythm.rest(start.elapsed()));
        loop {
            for line in lines.between() {
                match line {
                    Ok(line) => out.line(&line)?,
                    Err(e) => out.report(&e),
                }
            }
            out.flush()?;
            if rhythm.stats || out.closed || ids.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            match out.wait(next, lines.fd()) {
                Woken::Time => break,
                Woken::Other => {}
                Woken::Closed => return Ok(()),
            }
        }
    }
}

impl Rhythm {
    /// What is left of the interval that it is now, so that lines don't drift.
    fn rest(self, elapsed: Duration) -> Duration {
        let interval = self.interval.as_nanos();
        let rest = interval - elapsed.as_nanos() % interval;
        Duration::from_nanos(rest.try_into().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_hour_there_are_3600_lines_however_long_each_takes() {
        let rhythm = Rhythm {
            stats: false,
            interval: Duration::from_secs(1),
        };
        let hour = Duration::from_secs(3600);
        // How long lines and waking up take, in microseconds: little, much, and now and then nearly all.
        for (line, waking, lines) in [(500, 60, 3600), (900_000, 60, 3600), (0, 0, 3600)] {
            let mut clock = Duration::ZERO;
            let mut printed = 0;
            while clock < hour {
                printed += 1;
                clock += Duration::from_micros(line + 97 * (printed % 900));
                clock += rhythm.rest(clock) + Duration::from_micros(waking);
            }
            assert_eq!(printed, lines, "{line} {waking}");
        }
        // A line that takes longer than the interval costs the ones that it left no time for.
        assert_eq!(
            rhythm.rest(Duration::from_millis(2300)),
            Duration::from_millis(700)
        );
    }

    /// A stream whose reading takes its time, and sometimes longer than the interval: the lines keep to
    /// the multiples of the interval, and after an hour of seconds there are 3600.
    #[test]
    fn lines_do_not_drift() {
        let interval = Duration::from_secs(1);
        let rhythm = Rhythm {
            stats: false,
            interval,
        };
        let (mut clock, mut lines) = (Duration::ZERO, 0);
        while clock < Duration::from_secs(3600) {
            assert_eq!(clock.as_nanos() % interval.as_nanos(), 0);
            lines += 1;
            clock += Duration::from_millis(if lines == 7 { 2500 } else { 300 });
            clock += rhythm.rest(clock);
        }
        assert_eq!(lines, 3600 - 2);
    }
}
