//! Processes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::file::is_absent;
use crate::error::{Context as _, Result, bail, error};

/// A process. Another one that gets its number is not taken for it.
pub(crate) enum Process {
    Pidfd(OwnedFd),
    /// Before Linux 5.3: its open /proc/PID/stat.
    Stat(File),
}

impl Process {
    /// Opens the process of that number which started at that time, as the runtimes find it out. `None` if it
    /// has ended: one that started at another time is another one.
    pub(crate) fn open(pid: u32, started: Option<u64>) -> Result<Option<Self>> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else {
            return Ok(None);
        };
        // First, so that what is read then is of this one, or there is nothing to read.
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => Some(Self::Pidfd(pidfd)),
            Err(Errno::SRCH) => return Ok(None),
            Err(_) => None,
        };
        let path = format!("/proc/{pid}/stat");
        let stat = match File::open(&path) {
            Ok(stat) => stat,
            Err(e) if !is_absent(&e) => return Err(e).context(path),
            Err(_) => match &process {
                Some(process) if process.is_running()? => {
                    bail!(
                        Source,
                        "process {pid} is hidden in /proc (hidepid, proc(5))"
                    )
                }
                _ => return Ok(None),
            },
        };
        let now = Self::read(&stat).context(path)?;
        let same = now.is_some_and(|began| started.is_none_or(|started| started == began));
        Ok(same.then_some(process.unwrap_or(Self::Stat(stat))))
    }

    /// Returns whether it has not ended.
    pub(crate) fn is_running(&self) -> Result<bool> {
        match self {
            Self::Pidfd(pidfd) => {
                let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
                let ready = poll(&mut ended, Some(&Timespec::default()));
                Ok(ready.map_err(io::Error::from)? == 0)
            }
            Self::Stat(stat) => Ok(Self::read(stat)?.is_some()),
        }
    }

    /// Reads when a process started. `None` if it has ended.
    fn read(stat: &File) -> Result<Option<u64>> {
        let mut text = [0; 1024];
        let len = match stat.read_at(&mut text, 0) {
            Ok(len) => len,
            Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let not_one = || error!(Source, "it is not the state of a process");
        let (state, began) = process(&text[..len]).ok_or_else(not_one)?;
        Ok((!matches!(state, b'Z' | b'X')).then_some(began))
    }
}

/// Returns whether a process exists and has not ended.
pub(crate) fn is_running(pid: u32, started: Option<u64>) -> Result<bool> {
    Ok(Process::open(pid, started)?.is_some())
}

/// Parses the state and the start time (in ticks since boot) in a /proc/PID/stat. The name of the program,
/// in parentheses, can be anything.
pub(super) fn process(stat: &[u8]) -> Option<(u8, u64)> {
    let behind_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(behind_name + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The state is the third field, the start time the 22nd.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 783833 20 21";
        for name in ["sleep", "a) Z 1 (b", ") (", "\n", ""] {
            let stat = format!("23687 ({name}) {fields}\n");
            assert_eq!(process(stat.as_bytes()), Some((b'S', 783_833)), "{name:?}");
        }
        let stat = [b"1 (\xff) ", fields.as_bytes()].concat();
        assert_eq!(process(&stat), Some((b'S', 783_833)));
        for broken in [
            "",
            "1",
            "1 (sleep",
            "1 (sleep)",
            "1 (sleep) S 1 2",
            &format!("1 (a) {}", "x ".repeat(30)),
        ] {
            assert_eq!(process(broken.as_bytes()), None, "{broken:?}");
        }
    }

    #[test]
    fn a_process_that_began_at_another_time_is_another_one() {
        let me = std::process::id();
        let stat = fs::read(format!("/proc/{me}/stat")).expect("it runs");
        let (_, started) = process(&stat).expect("it is the kernel's");
        for (pid, at, runs) in [
            (me, Some(started), true),
            (me, None, true),
            (me, Some(started + 1), false),
            (0, Some(started), false),
            (u32::MAX, None, false),
        ] {
            assert_eq!(
                is_running(pid, at).expect("it can be found out"),
                runs,
                "{pid} {at:?}"
            );
        }
        // One that has ended, and whose parent hasn't noticed.
        let mut child = std::process::Command::new("true").spawn().expect("it runs");
        let zombie = || !is_running(child.id(), None).expect("it can be found out");
        let waited = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            zombie()
        });
        assert!(waited);
        child.wait().expect("it has ended");
    }
}
