//! Standard output and standard error.

use std::io::{self, StdoutLock, Write as _};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use eventout::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where lines and errors go.
pub(crate) struct Output {
    stdout: StdoutLock<'static>,
    /// Lines that are not written yet.
    lines: String,
    /// Whether nobody reads standard output any more.
    pub(crate) closed: bool,
    /// Whether something went wrong that the exit code tells.
    pub(crate) failed: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            stdout: io::stdout().lock(),
            lines: String::new(),
            closed: false,
            failed: false,
        }
    }

    /// Prints a line of data, when [`Output::flush`] is called at the latest.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        const LARGE: usize = 1 << 16;
        if line.is_empty() {
            // A formatter has nothing to say of it.
            return Ok(());
        }
        self.lines.push_str(line);
        self.lines.push('\n');
        match self.lines.len() {
            LARGE.. => self.flush(),
            _ => Ok(()),
        }
    }

    /// Writes what there is of lines, all at once. That nobody reads them is no error.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let written = self.stdout.write_all(self.lines.as_bytes());
        self.lines.clear();
        match written.and_then(|()| self.stdout.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(e) => return Err(Error::from(e).context("cannot write to standard output")),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Prints an error.
    pub(crate) fn report(&mut self, error: &Error) {
        let text = format!("error: {error:?}\n");
        // There is nobody left to tell that this failed.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints an error that the exit code tells too.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.report(error);
        self.failed = true;
    }

    /// Waits until that time, which may never come, or until something comes before.
    pub(crate) fn wait(&self, end: Option<Instant>, other: Option<BorrowedFd<'_>>) -> Woken {
        loop {
            let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Woken::Time;
            }
            let timeout = rest.and_then(|rest| Timespec::try_from(rest).ok());
            // Errors and hang-ups are told without being asked for.
            let stdout = PollFd::new(&self.stdout, PollFlags::empty());
            let other = other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN));
            let mut fds: Vec<_> = [stdout].into_iter().chain(other).collect();
            if poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
                return match fds[0].revents().is_empty() {
                    true => Woken::Other,
                    false => Woken::Closed,
                };
            }
        }
    }
}

/// What ends a wait.
pub(crate) enum Woken {
    /// The time has come.
    Time,
    /// There is something to read.
    Other,
    /// Nobody reads standard output any more.
    Closed,
}
