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
                break;
            };
            woken.changes_lost |= change.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            woken.changed.insert(change.wd());
        }
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
