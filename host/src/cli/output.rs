//! Standard output and standard error.

use std::io::{self, Stdout};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use eventout::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::diagnostics::{Diagnostics, PIPE_CHUNK, render};
use super::signals::Signals;

/// Writes lines to standard output and errors to standard error.
pub(crate) struct Output {
    stdout: Stdout,
    /// Set if standard output is a file, which is never waited for.
    is_file: bool,
    /// Lines that are not written yet.
    lines: String,
    signals: Option<Signals>,
    diagnostics: Diagnostics,
    /// Why lines could not be written.
    error: Option<io::Error>,
    /// Set if lines go nowhere any more.
    pub(crate) closed: bool,
    /// Set if the exit code is to be 1.
    pub(crate) failed: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let kind = fstat(&stdout).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            is_file: kind == Ok(FileType::RegularFile),
            stdout,
            lines: String::new(),
            // Where handlers are refused, the signals themselves end the program.
            signals: Signals::install().ok(),
            diagnostics: Diagnostics::new(),
            error: None,
            closed: false,
            failed: false,
        }
    }

    /// Returns the handlers of signals, if they could be installed.
    pub(super) fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// Prints a line of data, at the latest when [`Output::flush`] is called, which also returns the error.
    pub(crate) fn line(&mut self, line: &str) {
        const LARGE: usize = 1 << 16;
        if line.is_empty() {
            // A formatter may return nothing for an event.
            return;
        }
        self.lines.push_str(line);
        self.lines.push('\n');
        if self.lines.len() >= LARGE {
            self.write();
        }
    }

    /// Writes the lines that are not written yet. That nobody reads them is no error.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write();
        match self.error.take() {
            Some(e) => Err(Error::from(e).context("cannot write to standard output")),
            None => Ok(()),
        }
    }

    fn write(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if !self.closed
            && !lines.is_empty()
            && let Err(e) = self.write_all(lines.as_bytes())
        {
            self.closed = true;
            self.error = (e != Errno::PIPE).then(|| e.into());
        }
        self.lines = lines;
        self.lines.clear();
    }

    /// Writes whole lines. With a signal, the program ends after the line that has begun, which gets a second.
    fn write_all(&mut self, lines: &[u8]) -> Result<(), Errno> {
        const LAST_LINE: Duration = Duration::from_secs(1);
        if let Some(signals) = &self.signals {
            signals.begin_line();
        }
        let mut deadline = None;
        let mut written = 0;
        let result = loop {
            let rest = &lines[written..];
            if rest.is_empty() {
                break Ok(());
            }
            // On a pipe, a line that fits into one chunk is written whole or not at all.
            let limit = if self.is_file { rest.len() } else { PIPE_CHUNK };
            let mut chunk = &rest[..rest.len().min(limit)];
            if let Some(end) = chunk.iter().rposition(|&byte| byte == b'\n') {
                chunk = &chunk[..=end];
            }
            if let Some(signals) = &self.signals
                && signals.exit_code().is_some()
            {
                let end = *deadline.get_or_insert_with(|| Instant::now() + LAST_LINE);
                if written == 0 || lines[written - 1] == b'\n' || Instant::now() >= end {
                    signals.exit_if_signalled();
                }
                let line = rest.iter().position(|&byte| byte == b'\n');
                chunk = &chunk[..line.map_or(chunk.len(), |at| chunk.len().min(at + 1))];
            }
            if !self.is_file && !self.wait_for_reader(deadline) {
                continue;
            }
            match rustix::io::write(&self.stdout, chunk) {
                Ok(count) => written += count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e) => break Err(e),
            }
        };
        if let Some(signals) = &self.signals {
            signals.end_line();
        }
        result
    }

    /// Waits until standard output takes data, a signal comes, or until `deadline`. Returns whether it does.
    fn wait_for_reader(&mut self, deadline: Option<Instant>) -> bool {
        let mut fds = vec![PollFd::new(&self.stdout, PollFlags::OUT)];
        let signals = self.signals.as_ref().filter(|_| deadline.is_none());
        fds.extend(signals.map(|s| PollFd::from_borrowed_fd(s.fd(), PollFlags::IN)));
        let stderr = self.diagnostics.pending();
        fds.extend(stderr.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        let rest = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = rest.and_then(|rest| Timespec::try_from(rest).ok());
        let ready = poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
            && !fds[0].revents().is_empty();
        drop(fds);
        if !ready {
            self.diagnostics.write();
        }
        ready
    }

    /// Prints an error.
    pub(crate) fn report(&mut self, error: &Error) {
        self.diagnostics.print(&render(error));
    }

    /// Prints an error that the exit code reports too.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.report(error);
        self.failed = true;
    }

    /// Prints a message that has been cleaned.
    pub(super) fn diagnose(&mut self, message: &str) {
        self.diagnostics.print(message);
    }

    /// Keeps signals from ending the program, and returns what becomes readable with one. `None` if they end it anyway.
    pub(super) fn hold_signals(&self) -> io::Result<Option<UnixStream>> {
        self.signals.as_ref().map(Signals::hold).transpose()
    }

    /// Prints the errors that are left.
    pub(crate) fn finish(&mut self) {
        self.diagnostics.finish();
    }

    /// Waits until `end`, if any, or until `notification` is readable or standard output is closed.
    pub(crate) fn wait(
        &mut self,
        end: Option<Instant>,
        notification: Option<BorrowedFd<'_>>,
    ) -> WakeReason {
        loop {
            let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return WakeReason::Tick;
            }
            let timeout = rest.and_then(|rest| Timespec::try_from(rest).ok());
            let read = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let stderr = self.diagnostics.pending();
            let stderr = stderr.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            // Errors and hang-ups are reported without a request.
            let stdout = PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::empty());
            let mut fds = vec![stdout];
            fds.extend(notification.map(read));
            fds.extend(stderr);
            let ready = poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0);
            let is_ready = |at: usize| ready && !fds[at].revents().is_empty();
            if is_ready(0) {
                return WakeReason::StdoutClosed;
            }
            if notification.is_some() && is_ready(1) {
                return WakeReason::Notification;
            }
            drop(fds);
            if ready {
                self.diagnostics.write();
            }
        }
    }
}

/// The reason why a wait ended.
pub(crate) enum WakeReason {
    /// The time has come.
    Tick,
    /// There is something to read.
    Notification,
    /// Nobody reads standard output any more.
    StdoutClosed,
}
