//! Tasks that the kernel kills for want of memory, as it happens.
//!
//! The kernel counts them for each group (`oom_kill` in v1's `memory.oom_control` and v2's
//! `memory.events`), so each is told once, whatever else wakes us: v1 signals an eventfd when memory
//! runs out, which is a moment before it kills, and v2 changes a file that can be watched.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::inotify;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::group::Group;
use super::parse::value_of;
use crate::error::{Context as _, Result};

/// The containers whose kills are watched.
#[derive(Default)]
pub(crate) struct Watch {
    /// Made for the first container.
    wakers: Option<Wakers>,
    containers: HashMap<String, Watched>,
}

/// One container.
struct Watched {
    /// `memory.oom_control` or `memory.events`.
    counter: File,
    /// What was told of it.
    kills: u64,
    /// How v2 calls it when it wakes us. `None` with v1.
    descriptor: Option<i32>,
    /// Whether it is to be looked at.
    due: bool,
    /// Whether it is not to be watched any more.
    ended: bool,
}

/// What wakes us, for all containers together: inotify instances are few, 128 for each user.
struct Wakers {
    /// Readable when any of the others is.
    epoll: OwnedFd,
    v1: OwnedFd,
    v2: OwnedFd,
    /// After v1 has woken us, until it has killed.
    timer: OwnedFd,
    /// How long until the timer wakes us again.
    pause: Duration,
}

impl Wakers {
    /// The first of the looks after v1 has woken us; each other comes after twice the time.
    const FIRST: Duration = Duration::from_millis(5);
    /// The last of them: a kill that takes longer is told with the next one, or at the end.
    const LAST: Duration = Duration::from_secs(2);

    fn new() -> io::Result<Self> {
        let wakers = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            v1: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            v2: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?,
            timer: timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
            pause: Self::FIRST,
        };
        for waker in [&wakers.v1, &wakers.v2, &wakers.timer] {
            let data = epoll::EventData::new_u64(0);
            epoll::add(&wakers.epoll, waker, data, epoll::EventFlags::IN)?;
        }
        Ok(wakers)
    }

    /// Has the timer wake us once.
    fn rest(&self) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(self.pause).map_err(io::Error::other)?,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl Watch {
    /// Watches a container from now on; what was killed before is not told.
    pub(crate) fn begin(&mut self, container: &str, group: &Group) -> Result<()> {
        if self.containers.contains_key(container) {
            return Ok(());
        }
        let Some((folder, v1)) = group.memory_folder() else {
            return Ok(());
        };
        let watched = self.watch(folder, v1)?;
        self.containers
            .extend(watched.map(|watched| (container.to_owned(), watched)));
        Ok(())
    }

    /// `None` where the folder is not one that a kernel makes.
    fn watch(&mut self, folder: &Path, v1: bool) -> Result<Option<Watched>> {
        let name = if v1 {
            "memory.oom_control"
        } else {
            "memory.events"
        };
        let path = folder.join(name);
        let control = folder.join("cgroup.event_control");
        if !path.exists() || (v1 && !control.exists()) {
            return Ok(None);
        }
        let counter = File::open(&path).with_context(|| path.display().to_string())?;
        let wakers = match &self.wakers {
            Some(wakers) => wakers,
            None => self.wakers.insert(Wakers::new()?),
        };
        let descriptor = if v1 {
            let line = format!("{} {} ", wakers.v1.as_raw_fd(), counter.as_raw_fd());
            File::options()
                .write(true)
                .open(&control)
                .and_then(|mut control| control.write_all(line.as_bytes()))
                .with_context(|| control.display().to_string())?;
            None
        } else {
            let flags = inotify::WatchFlags::MODIFY;
            let descriptor = inotify::add_watch(&wakers.v2, &path, flags);
            Some(descriptor.with_context(|| path.display().to_string())?)
        };
        let mut watched = Watched {
            counter,
            kills: 0,
            descriptor,
            due: false,
            ended: false,
        };
        // Only now, so that none falls between this and the watching.
        watched.kills = watched
            .count()
            .with_context(|| path.display().to_string())?;
        Ok(Some(watched))
    }

    /// Watches a container no more. What was killed until now is still told.
    pub(crate) fn end(&mut self, container: &str) {
        if let Some(watched) = self.containers.get_mut(container) {
            (watched.due, watched.ended) = (true, true);
        }
    }

    /// Readable when [`Watch::kills`] may have something to tell.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.wakers.as_ref().map(|wakers| wakers.epoll.as_fd())
    }

    /// The containers in which tasks were killed since the last call, each as often as that happened.
    pub(crate) fn kills(&mut self) -> Vec<String> {
        let Some(wakers) = &mut self.wakers else {
            return Vec::new();
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changes = inotify::Reader::new(&wakers.v2, &mut buffer);
        while let Ok(change) = changes.next() {
            let lost = change.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            for watched in self.containers.values_mut() {
                watched.due |= lost || watched.descriptor == Some(change.wd());
            }
        }
        let mut eight = [0; 8];
        let v1 = rustix::io::read(&wakers.v1, &mut eight).is_ok();
        let timer = rustix::io::read(&wakers.timer, &mut eight).is_ok();
        if v1 {
            wakers.pause = Wakers::FIRST;
        } else if timer {
            wakers.pause *= 2;
        }
        if v1 || timer {
            for watched in self.containers.values_mut() {
                watched.due |= watched.descriptor.is_none();
            }
            if wakers.pause <= Wakers::LAST {
                // Without it, kills are told later, but told.
                let _ = wakers.rest();
            }
        }
        let mut kills = Vec::new();
        for (container, watched) in &mut self.containers {
            if std::mem::take(&mut watched.due) {
                // Where the group has gone, nobody can tell any more.
                let now = watched.count().unwrap_or(watched.kills);
                for _ in watched.kills..now {
                    kills.push(container.clone());
                }
                watched.kills = watched.kills.max(now);
            }
        }
        self.containers.retain(|_, watched| {
            if let (true, Some(descriptor)) = (watched.ended, watched.descriptor) {
                // It may have gone with the file.
                let _ = inotify::remove_watch(&wakers.v2, descriptor);
            }
            !watched.ended
        });
        kills
    }
}

impl Watched {
    /// The kills in the group since it was made.
    fn count(&self) -> Result<u64> {
        let mut text = [0; 1024];
        let len = self.counter.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..len]).map_err(io::Error::other)?;
        value_of(text, "oom_kill")
    }
}
