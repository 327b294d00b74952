//! Standard error: bounded, clean, and never waited for.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io::{self, Stderr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use eventout::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The most that a pipe takes without blocking, once it is ready, in bytes.
pub(super) const PIPE_CHUNK: usize = 4096;

/// The most that waits for a reader of standard error, in bytes.
const QUEUE_LIMIT: usize = 1 << 16;

/// The messages for standard error that nobody has read yet. Messages that find no room are dropped and counted, so
/// that nobody has to read standard error for the data to go on.
pub(super) struct Diagnostics {
    stderr: Stderr,
    queue: Vec<u8>,
    dropped: u64,
}

impl Diagnostics {
    pub(super) fn new() -> Self {
        Self {
            stderr: io::stderr(),
            queue: Vec::new(),
            dropped: 0,
        }
    }

    /// Prints a message as soon as that is possible without waiting.
    pub(super) fn print(&mut self, message: &str) {
        self.write();
        if self.dropped > 0 {
            let dropped = format!("note: {} messages were dropped\n", self.dropped);
            if self.queue.len() + dropped.len() + message.len() < QUEUE_LIMIT {
                self.queue.extend_from_slice(dropped.as_bytes());
                self.dropped = 0;
            }
        }
        if self.dropped > 0 || self.queue.len() + message.len() >= QUEUE_LIMIT {
            self.dropped += 1;
            return;
        }
        self.queue.extend_from_slice(message.as_bytes());
        self.queue.push(b'\n');
        self.write();
    }

    /// Returns standard error if messages wait for it.
    pub(super) fn pending(&self) -> Option<BorrowedFd<'_>> {
        (!self.queue.is_empty()).then(|| self.stderr.as_fd())
    }

    /// Writes as much as possible without waiting.
    pub(super) fn write(&mut self) {
        self.write_until(Instant::now());
    }

    /// Writes what is left, unless nobody reads it.
    pub(super) fn finish(&mut self) {
        self.write_until(Instant::now() + Duration::from_secs(1));
    }

    fn write_until(&mut self, deadline: Instant) {
        while !self.queue.is_empty() {
            let rest = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(rest).unwrap_or_default();
            match poll(
                &mut [PollFd::new(&self.stderr, PollFlags::OUT)],
                Some(&timeout),
            ) {
                Ok(0) => return,
                Err(Errno::INTR) if !rest.is_zero() => continue,
                _ => {}
            }
            // A pipe that is ready takes that much without blocking.
            let chunk = &self.queue[..self.queue.len().min(PIPE_CHUNK)];
            match rustix::io::write(&self.stderr, chunk) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // There is nobody left to tell.
                Err(_) => self.queue.clear(),
            }
        }
    }
}

/// Renders an error and its causes, bounded, and without anything that a terminal would act on.
pub(super) fn render(error: &Error) -> String {
    /// The most causes that are shown.
    const CAUSES: usize = 16;
    let mut text = format!("error: {}", clean(error));
    let causes = std::iter::successors(error.source(), |&cause: &&dyn StdError| cause.source());
    for (at, cause) in causes.enumerate() {
        let heading = if at == 0 { "\nCaused by:" } else { "" };
        text += heading;
        if at == CAUSES {
            text += "\n    ...";
            break;
        }
        let _ = write!(text, "\n    {at}: {}", clean(cause));
    }
    text
}

/// Returns the beginning of a message, with characters that don't print escaped.
pub(super) fn clean(message: impl fmt::Display) -> String {
    /// The longest message, in characters.
    const LIMIT: usize = 1000;
    struct Clean(String, usize);
    impl fmt::Write for Clean {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if self.1 == LIMIT {
                    self.0 += "...";
                    return Err(fmt::Error);
                }
                self.1 += 1;
                let escaped = c.escape_debug();
                // Quotes and backslashes are escaped there too.
                if c.is_control() || escaped.len() > 2 {
                    self.0.extend(escaped);
                } else {
                    self.0.push(c);
                }
            }
            Ok(())
        }
    }
    let mut clean = Clean(String::new(), 0);
    // What comes after the limit is not even formatted.
    let _ = write!(clean, "{message}");
    clean.0
}

/// Returns a text that is no wider than `width` cells of a terminal: one that is cut off ends in `mark`, which takes one.
pub(super) fn cut(text: &str, width: usize, mark: &str) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        match room.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => room = rest,
            None => break,
        }
        cut.push(c);
    }
    cut.push_str(mark);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::ErrorKind;

    #[test]
    fn what_does_not_print_is_escaped() {
        let text = "web \"ü\" \\ \x1b[2J\x07\n\r\t\0\x7f\u{9b}2J\u{202e}\u{2028}\u{feff}";
        assert_eq!(
            clean(text),
            "web \"ü\" \\ \\u{1b}[2J\\u{7}\\n\\r\\t\\0\\u{7f}\\u{9b}2J\\u{202e}\\u{2028}\\u{feff}"
        );
    }

    #[test]
    fn errors_are_cut() {
        let long = "A".repeat(100_000);
        assert_eq!(clean(&long), format!("{}...", &long[..1000]));
        assert_eq!(clean(&long[..1000]), long[..1000]);
        let mut error = Error::new(ErrorKind::Source, &long);
        for _ in 0..40 {
            error = error.context(&long);
        }
        let text = render(&error);
        assert!(text.len() < 18_000, "{}", text.len());
        assert!(text.ends_with("\n    ..."));
        let error = Error::new(ErrorKind::Source, "x\nerror: forged").context("a");
        assert_eq!(
            render(&error),
            "error: a\nCaused by:\n    0: x\\nerror: forged"
        );
    }
}
