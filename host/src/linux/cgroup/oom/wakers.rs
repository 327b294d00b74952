//! The wakers of the notifier: one file descriptor for all that is watched.

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fs::inotify;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// The sources of wake-ups, in one epoll instance.
pub(super) struct Wakers {
    epoll: OwnedFd,
    /// Expires when cgroups that were signalled are to be looked at again.
    timer: OwnedFd,
    backoff: Duration,
    /// Signalled by the v1 cgroups below those of containers.
    pub(super) below: OwnedFd,
    /// Changes of v2's interface files. It is made for the first of them: inotify instances are few, 128 for
    /// each user.
    inotify: Option<OwnedFd>,
    next_token: u64,
}

/// The signals since the last call.
#[derive(Default)]
pub(super) struct Woken {
    /// The tokens of the eventfds that are readable.
    pub(super) signalled: HashSet<u64>,
    /// The inotify watches whose files have changed, and whether others may have, too.
    pub(super) changed: HashSet<i32>,
    pub(super) changes_lost: bool,
    /// Set if cgroups below those of containers were signalled.
    pub(super) below: bool,
    /// Set if the timer has expired.
    pub(super) timer: bool,
}

const TIMER: u64 = 0;
const BELOW: u64 = 1;
const INOTIFY: u64 = 2;
const FIRST_TOKEN: u64 = 3;

impl Wakers {
    /// The time until the first look after a signal. The time doubles with each further look.
    const MIN_BACKOFF: Duration = Duration::from_millis(5);
    /// The time until the last look: an OOM kill that takes longer is reported with the next one, or at the end.
    const MAX_BACKOFF: Duration = Duration::from_secs(2);

    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let wakers = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            backoff: Self::MIN_BACKOFF,
            below: new_eventfd()?,
            inotify: None,
            next_token: FIRST_TOKEN,
        };
        wakers.add(&wakers.timer, TIMER)?;
        wakers.add(&wakers.below, BELOW)?;
        Ok(wakers)
    }

    /// Returns what is readable when there may be something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Makes an eventfd that wakes, and its token.
    pub(super) fn add_eventfd(&mut self) -> io::Result<(OwnedFd, u64)> {
        let eventfd = new_eventfd()?;
        let token = self.next_token;
        self.add(&eventfd, token)?;
        self.next_token += 1;
        Ok((eventfd, token))
    }

    fn add(&self, fd: &OwnedFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Watches a file for changes.
    pub(super) fn watch_file(&mut self, path: &str) -> io::Result<i32> {
        let inotify = match &self.inotify {
            Some(inotify) => inotify,
            None => {
                let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
                let inotify = inotify::init(flags)?;
                self.add(&inotify, INOTIFY)?;
                self.inotify.insert(inotify)
            }
        };
        Ok(inotify::add_watch(
            inotify,
            path,
            inotify::WatchFlags::MODIFY,
        )?)
    }

    pub(super) fn unwatch_file(&self, descriptor: i32) {
        if let Some(inotify) = &self.inotify {
            // It may have gone with the file.
            let _ = inotify::remove_watch(inotify, descriptor);
        }
    }

    /// Takes what has happened, without waiting. What is left over keeps the file descriptor readable.
    pub(super) fn take(&mut self) -> Woken {
        let mut woken = Woken::default();
        let mut events = [MaybeUninit::uninit(); 256];
        let now = Timespec::default();
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, Some(&now)) else {
            return woken;
        };
        for event in events {
            match event.data.u64() {
                TIMER => woken.timer = take(&self.timer) > 0,
                BELOW => woken.below = take(&self.below) > 0,
                INOTIFY => self.take_changes(&mut woken),
                token => _ = woken.signalled.insert(token),
            }
        }
        woken
    }

    fn take_changes(&self, woken: &mut Woken) {
        const MOST: usize = 4096;
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changes = inotify::Reader::new(inotify, &mut buffer);
        for _ in 0..MOST {
            let Ok(change) = changes.next() else {
                return;
            };
            woken.changes_lost |= change.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            woken.changed.insert(change.wd());
        }
        // The buffer of the reader may hold others, which are lost when it is dropped.
        woken.changes_lost = true;
    }

    /// Restarts the looks after a signal.
    pub(super) fn restart_timer(&mut self) {
        self.backoff = Self::MIN_BACKOFF;
        self.arm_timer();
    }

    /// Has the timer expire once more, after twice the time. Returns how long it has been doing so, or `None`
    /// if it was the last time.
    pub(super) fn continue_timer(&mut self) -> Option<Duration> {
        self.backoff *= 2;
        if self.backoff > Self::MAX_BACKOFF {
            return None;
        }
        self.arm_timer();
        Some(self.backoff)
    }

    fn arm_timer(&self) {
        let once = Timespec::try_from(self.backoff).map(|it_value| Itimerspec {
            it_interval: Timespec::default(),
            it_value,
        });
        if let Ok(once) = once {
            // Without it, OOM kills are reported later.
            let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        }
    }
}

fn new_eventfd() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Takes the value of an eventfd or a timer. 0 if there is none.
pub(super) fn take(fd: &OwnedFd) -> u64 {
    let mut value = [0; 8];
    match rustix::io::read(fd, &mut value) {
        Ok(8) => u64::from_ne_bytes(value),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn nothing_has_happened_at_first() {
        let mut wakers = Wakers::new().expect("wakers");
        let woken = wakers.take();
        assert!(woken.signalled.is_empty() && woken.changed.is_empty());
        assert!(!woken.below && !woken.timer && !woken.changes_lost);
    }

    #[test]
    fn each_signal_has_its_token_until_it_is_taken() {
        let mut wakers = Wakers::new().expect("wakers");
        let (first, first_token) = wakers.add_eventfd().expect("an eventfd");
        let (second, second_token) = wakers.add_eventfd().expect("an eventfd");
        let signal = |fd: &OwnedFd| rustix::io::write(fd, &1_u64.to_ne_bytes()).expect("room");
        signal(&second);
        signal(&second);
        signal(&wakers.below);
        let woken = wakers.take();
        assert_eq!(woken.signalled, HashSet::from([second_token]));
        assert!(woken.below);
        assert_eq!((take(&first), take(&second), take(&second)), (0, 2, 0));
        let woken = wakers.take();
        assert!(woken.signalled.is_empty() && !woken.below);
        signal(&first);
        assert_eq!(wakers.take().signalled, HashSet::from([first_token]));
        // It is gone from the set as soon as it is closed.
        drop(first);
        assert!(wakers.take().signalled.is_empty());
    }

    #[test]
    fn a_watched_file_wakes_when_it_is_written_and_no_more_once_it_is_unwatched() {
        let directory = tempdir().expect("a directory");
        let file = directory.path().join("memory.events");
        fs::write(&file, "").expect("a file");
        let mut wakers = Wakers::new().expect("wakers");
        let path = file.to_str().expect("UTF-8");
        let watch = wakers.watch_file(path).expect("a watch");
        assert!(wakers.take().changed.is_empty());
        fs::write(&file, "oom_kill 1\n").expect("a file");
        assert_eq!(wakers.take().changed, HashSet::from([watch]));
        assert!(wakers.take().changed.is_empty());
        wakers.unwatch_file(watch);
        // The kernel confirms the end of a watch.
        wakers.take();
        fs::write(&file, "oom_kill 2\n").expect("a file");
        assert!(wakers.take().changed.is_empty());
        // Twice is as good as once.
        wakers.unwatch_file(watch);
    }

    #[test]
    fn the_timer_expires_after_longer_and_longer_times_and_then_no_more() {
        let mut wakers = Wakers::new().expect("wakers");
        wakers.restart_timer();
        let mut timer = [rustix::event::PollFd::new(
            &wakers.epoll,
            rustix::event::PollFlags::IN,
        )];
        let long = Timespec::try_from(Duration::from_secs(60)).expect("a time");
        let ready = rustix::event::poll(&mut timer, Some(&long)).expect("it can be waited for");
        assert_eq!(ready, 1);
        assert!(wakers.take().timer);
        let mut times = Vec::new();
        while let Some(time) = wakers.continue_timer() {
            times.push(time);
        }
        assert!(times.is_sorted() && times.len() < 20, "{times:?}");
        assert!(times.last() <= Some(&Wakers::MAX_BACKOFF), "{times:?}");
        assert!(
            times.last() >= Some(&(Wakers::MAX_BACKOFF / 2)),
            "{times:?}"
        );
        wakers.restart_timer();
        assert_eq!(wakers.continue_timer(), Some(2 * Wakers::MIN_BACKOFF));
    }
}
