//! Signals that end the program: SIGINT, SIGTERM and SIGHUP.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// The handlers of the signals.
///
/// Without them, the kernel ignores these signals for process 1, and a signal may cut a line. Outside of lines a
/// signal ends the program at once, whatever it is waiting for; within a line, the writer does.
#[derive(Clone)]
pub(super) struct Signals {
    /// Set if no line has been written in part.
    between_lines: Arc<AtomicBool>,
    /// The exit code of the last signal, or 0.
    exit_code: Arc<AtomicUsize>,
    /// Readable once there was a signal.
    pipe: Arc<UnixStream>,
}

impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        let (pipe, sender) = UnixStream::pair()?;
        let signals = Self {
            between_lines: Arc::new(AtomicBool::new(true)),
            exit_code: Arc::default(),
            pipe: Arc::new(pipe),
        };
        let ignored = ignored_signals(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // What nohup and shells ignore for a job in the background stays ignored, as with Go's runtime.
            if signal != SIGTERM && ignored & 1 << (signal - 1) != 0 {
                continue;
            }
            let code = 128 + signal;
            let now = Arc::clone(&signals.between_lines);
            flag::register_conditional_shutdown(signal, code, now)?;
            let code = code.unsigned_abs() as usize;
            flag::register_usize(signal, Arc::clone(&signals.exit_code), code)?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Keeps signals from ending the program before the line that begins now has been written.
    pub(super) fn begin_line(&self) {
        self.between_lines.store(false, Ordering::SeqCst);
    }

    /// Ends the program if there was a signal since [`Signals::begin_line`], and lets signals end it from now on.
    pub(super) fn end_line(&self) {
        self.between_lines.store(true, Ordering::SeqCst);
        self.exit_if_signalled();
    }

    /// Keeps signals from ending the program, and returns what becomes readable with one.
    pub(super) fn hold(&self) -> io::Result<UnixStream> {
        self.between_lines.store(false, Ordering::SeqCst);
        self.pipe.set_nonblocking(true)?;
        self.pipe.try_clone()
    }

    /// Ends the program if there was a signal.
    pub(super) fn exit_if_signalled(&self) {
        if let Some(code) = self.exit_code() {
            std::process::exit(code);
        }
    }

    /// Returns the exit code of the signal, if there was one.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.exit_code.load(Ordering::SeqCst) {
            0 => None,
            code => i32::try_from(code).ok(),
        }
    }

    /// Returns what becomes readable with a signal.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Returns the mask of ignored signals in `/proc/PID/status`.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_a_mask_in_hexadecimal() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\t0\n";
        assert_eq!(ignored_signals(status), 0x1003);
        assert_eq!(ignored_signals("Name:\tx\n"), 0);
    }
}
