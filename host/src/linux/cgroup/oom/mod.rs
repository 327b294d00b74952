//! OOM kills: tasks that the kernel kills because memory runs out.
//!
//! The kernel counts them for each cgroup (`oom_kill` in v1's `memory.oom_control` and v2's `memory.events`),
//! so each is reported once, whatever else wakes the notifier: v1 signals an eventfd when memory runs out, which
//! is a moment before it kills, and v2 changes a file that can be watched.

mod wakers;
mod watched;

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

use super::dir::CgroupDir;
use super::group::Cgroup;
use crate::error::{Error, Result, error};
use wakers::Wakers;
use watched::WatchedCgroup;

/// The containers that are watched for OOM kills.
#[derive(Default)]
pub(crate) struct OomNotifier {
    /// Made for the first container.
    wakers: Option<Wakers>,
    containers: HashMap<String, Watched>,
    /// The OOM kills that were found between two calls of [`OomNotifier::drain`].
    found: Vec<String>,
    /// Set if it was reported that not all containers can be watched.
    is_exhausted: bool,
}

/// A container that is to be watched, whether it can be or not.
struct Watched {
    /// Set if it was requested at this sample.
    is_fresh: bool,
    cgroup: Option<WatchedCgroup>,
    /// The directory that is watched, or refused to be.
    identity: Option<(u64, u64)>,
}

/// The largest number of OOM kills of one container that one call of [`OomNotifier::drain`] reports. Further ones
/// are dropped: the number comes from outside.
const MOST_KILLS: u64 = 1000;

/// The time after a signal in which a v1 cgroup that goes counts as one with an OOM kill, though no counter rose: until the
/// sixth look of the timer.
const EXPLAINED: Duration = Duration::from_millis(160);

impl OomNotifier {
    /// Begins the next sample. Containers that were not requested at the last one are watched no more; what was
    /// killed in them until now is still reported.
    pub(crate) fn advance(&mut self) {
        let Some(wakers) = &mut self.wakers else {
            self.containers.clear();
            return;
        };
        self.containers.retain(|container, watched| {
            let stays = std::mem::take(&mut watched.is_fresh);
            if !stays && let Some(cgroup) = watched.cgroup.take() {
                finish(cgroup, container, wakers, &mut self.found);
            }
            stays
        });
    }

    /// Notes that a container is requested at this sample.
    pub(crate) fn request(&mut self, container: &str) {
        if let Some(watched) = self.containers.get_mut(container) {
            watched.is_fresh = true;
        }
    }

    /// Watches a container from now on: OOM kills before that are not reported. It is watched as soon as its
    /// cgroup is [observed](Self::observe), and goes on being so if that is made anew.
    pub(crate) fn watch(&mut self, container: &str) {
        if !self.containers.contains_key(container) {
            let watched = Watched {
                is_fresh: true,
                cgroup: None,
                identity: None,
            };
            self.containers.insert(container.to_owned(), watched);
        }
    }

    /// Takes note of the cgroup of a container at this sample, which is watched if it is not yet. Returns whether it
    /// is watched: not, without a memory controller of the kernel.
    ///
    /// If the kernel's limits are reached, that is an error once, for all containers; it is tried again at each
    /// sample.
    pub(crate) fn observe(&mut self, container: &str, cgroup: &Cgroup) -> Result<bool> {
        let Some(watched) = self.containers.get_mut(container) else {
            return Ok(false);
        };
        let Some(dir) = cgroup.memory_dir() else {
            return Ok(false);
        };
        if watched.identity == Some(dir.identity) {
            if let Some(cgroup) = &mut watched.cgroup {
                cgroup.check_below();
            }
            return Ok(watched.cgroup.is_some());
        }
        let wakers = match &mut self.wakers {
            Some(wakers) => wakers,
            None => match Wakers::new() {
                Ok(wakers) => self.wakers.insert(wakers),
                Err(e) => return self.refuse(e.into(), dir),
            },
        };
        if let Some(before) = watched.cgroup.take() {
            finish(before, container, wakers, &mut self.found);
        }
        match WatchedCgroup::new(dir, wakers) {
            Ok(cgroup) => {
                watched.identity = cgroup.as_ref().map(|_| dir.identity);
                watched.cgroup = cgroup;
                Ok(watched.cgroup.is_some())
            }
            Err(e) => {
                if !is_exhausted(&e) {
                    watched.identity = Some(dir.identity);
                }
                self.refuse(e, dir)
            }
        }
    }

    /// Returns why a container is not watched: that the kernel's limits are reached once, for all containers.
    fn refuse(&mut self, error: Error, dir: &CgroupDir) -> Result<bool> {
        if !is_exhausted(&error) {
            return Err(error);
        }
        match std::mem::replace(&mut self.is_exhausted, true) {
            true => Ok(false),
            false => Err(exhausted(dir)),
        }
    }

    /// Returns whether a container is watched that was requested at this sample.
    pub(crate) fn is_watched(&self, container: &str) -> bool {
        let watched = self.containers.get(container);
        watched.is_some_and(|watched| watched.is_fresh && watched.cgroup.is_some())
    }

    /// Returns what is readable when [`OomNotifier::drain`] may find something.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.wakers.as_ref().map(Wakers::fd)
    }

    /// Returns the containers in which there were OOM kills since the last call, each as often as that happened.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut all = std::mem::take(&mut self.found);
        let Some(wakers) = &mut self.wakers else {
            return all;
        };
        let woken = wakers.take();
        let elapsed = match woken.timer {
            true => wakers.continue_timer(),
            false => Some(Duration::ZERO),
        };
        let mut signalled = false;
        for (container, watched) in &mut self.containers {
            let Some(cgroup) = &mut watched.cgroup else {
                continue;
            };
            let is_signalled = cgroup.wake(&woken);
            signalled |= is_signalled;
            if !cgroup.is_due {
                continue;
            }
            if !is_signalled && elapsed.is_none_or(|elapsed| elapsed > EXPLAINED) {
                cgroup.explain();
            }
            let found = cgroup.look(wakers);
            report(container, found.kills, &mut all);
            if !is_signalled && elapsed.is_none() {
                cgroup.is_signalled = false;
            }
            if found.is_gone {
                close(watched.cgroup.take(), wakers);
                watched.identity = None;
            }
        }
        if signalled {
            wakers.restart_timer();
        }
        all
    }
}

/// Looks at a cgroup for the last time.
fn finish(mut cgroup: WatchedCgroup, container: &str, wakers: &Wakers, all: &mut Vec<String>) {
    let found = cgroup.look(wakers);
    report(container, found.kills, all);
    close(Some(cgroup), wakers);
}

fn close(cgroup: Option<WatchedCgroup>, wakers: &Wakers) {
    if let Some(descriptor) = cgroup.and_then(|cgroup| cgroup.descriptor()) {
        wakers.unwatch_file(descriptor);
    }
}

fn report(container: &str, kills: u64, all: &mut Vec<String>) {
    for _ in 0..kills.min(MOST_KILLS) {
        all.push(container.to_owned());
    }
}

/// Returns whether an error is about a limit on what can be open or watched.
fn is_exhausted(error: &Error) -> bool {
    let errno = error.find::<io::Error>().and_then(Errno::from_io_error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOMEM)
    )
}

fn exhausted(dir: &CgroupDir) -> Error {
    use super::dir::FsKind;
    let limit = match dir.kind {
        FsKind::V2 => {
            "the limit of open files, fs.inotify.max_user_instances or fs.inotify.max_user_watches"
        }
        FsKind::V1 | FsKind::Ordinary => "the limit of open files",
    };
    error!(
        Source,
        "{limit} is reached, so that some containers are not watched until others end"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Context as _;

    #[test]
    fn a_counter_from_outside_causes_a_bounded_number_of_reports() {
        let mut all = Vec::new();
        report("web", 2, &mut all);
        assert_eq!(all, ["web", "web"]);
        report("db", u64::MAX, &mut all);
        assert_eq!(all.len() as u64, 2 + MOST_KILLS);
    }

    #[test]
    fn only_limits_of_the_kernel_are_reported_once_for_all() {
        for (errno, expected) in [
            (Errno::MFILE, true),
            (Errno::NOSPC, true),
            (Errno::NOENT, false),
            (Errno::ACCESS, false),
        ] {
            let error = Err::<(), _>(io::Error::from(errno)).context("/sys/fs/cgroup/web");
            let error = error.expect_err("it is one");
            assert_eq!(is_exhausted(&error), expected, "{error:#}");
        }
    }

    #[test]
    fn without_a_cgroup_nothing_is_kept_of_a_container() {
        let mut notifier = OomNotifier::default();
        notifier.watch("web");
        notifier.watch("db");
        assert!(notifier.fd().is_none(), "there is no cgroup yet");
        notifier.advance();
        // Without a cgroup there is nothing to look at for the last time.
        assert!(notifier.containers.is_empty());
        assert!(notifier.drain().is_empty());
    }
}
