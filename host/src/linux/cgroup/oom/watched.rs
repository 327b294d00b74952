//! The cgroup of a container, watched for OOM kills.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use super::wakers::{Wakers, Woken, take};
use crate::error::Result;
use crate::linux::cgroup::dir::{CgroupDir, FsKind, at, is_gone, is_within_limit};
use crate::linux::cgroup::parse::parse_value_of;
use crate::linux::file::{fd_path, is_absent};

/// The cgroup of a container, watched for OOM kills.
pub(super) struct WatchedCgroup {
    /// The directory that accounts for memory.
    dir: CgroupDir,
    /// The value of the counter so far. `None` if the kernel has no such counter, as v1 before Linux 4.13.
    kills: Option<u64>,
    /// Set to look at the counter even if nothing is signalled.
    pub(super) is_due: bool,
    /// Set if it was signalled a moment ago: v1 signals before it kills.
    pub(super) is_signalled: bool,
    notification: Notification,
}

enum Notification {
    V1(V1),
    /// The inotify watch.
    V2(i32),
}

struct V1 {
    /// Signalled when memory runs out in this cgroup or in one above it, and once when this cgroup goes.
    eventfd: OwnedFd,
    token: u64,
    /// Set if it was signalled as memory ran out, which no kill was found for yet.
    is_unexplained: bool,
    /// The number of signals since the cgroup has gone. One signal is for the end itself, which may come
    /// late.
    late_signals: u64,
    /// Set if no further signal is expected.
    is_over: bool,
    /// The counters of the cgroups below, by device and inode: v1 counts a kill in the victim's cgroup alone.
    below: HashMap<(u64, u64), u64>,
}

/// The result of looking at a cgroup.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) kills: u64,
    /// Set if the cgroup has gone.
    pub(super) is_gone: bool,
}

/// The largest number of cgroups below one that are watched, and how deep they may be.
const MOST_BELOW: usize = 1000;
const DEEPEST: usize = 100;

const OOM_CONTROL: &str = "memory.oom_control";
const EVENTS: &str = "memory.events";

impl WatchedCgroup {
    /// Watches the cgroup of `dir` from now on. `None` if the kernel does not report its OOM kills.
    pub(super) fn new(dir: &CgroupDir, wakers: &mut Wakers) -> Result<Option<Self>> {
        let file = match dir.kind {
            FsKind::V1 => OOM_CONTROL,
            FsKind::V2 => EVENTS,
            // What is not a kernel's is neither watched nor written to.
            FsKind::Ordinary => return Ok(None),
        };
        // That one may be closed before this one.
        let own = at(&dir.path, CgroupDir::open(&dir.path))?;
        let own = own.filter(|own| own.identity == dir.identity);
        let Some(dir) = own.filter(|dir| dir.has(file)) else {
            return Ok(None);
        };
        let path = dir.path.join(file);
        if dir.kind == FsKind::V1 && !dir.has("cgroup.event_control") {
            return Ok(None);
        }
        let notification = match watch(&dir, wakers) {
            // The cgroup has gone since.
            Err(e) if is_gone(&e) || is_absent(&e) => return Ok(None),
            notification => at(&path, notification)?,
        };
        let mut watched = Self {
            dir,
            kills: None,
            is_due: false,
            is_signalled: false,
            notification,
        };
        // Only now, so that none falls between this and the watching.
        watched.kills = match counter(&watched.dir) {
            Err(e) if is_gone(&e) || is_absent(&e) => return Ok(None),
            kills => at(&path, kills)?,
        };
        watched.look_below(wakers, true);
        Ok(Some(watched))
    }

    pub(super) fn is_v1(&self) -> bool {
        matches!(self.notification, Notification::V1(_))
    }

    /// Returns the inotify watch, which is to be removed with it.
    pub(super) fn descriptor(&self) -> Option<i32> {
        match self.notification {
            Notification::V1(_) => None,
            Notification::V2(descriptor) => Some(descriptor),
        }
    }

    /// Has the counters looked at, if they have to be at each sample: cgroups below may have come.
    pub(super) fn check_below(&mut self) {
        self.is_due |= self.is_v1() && self.dir.has_children();
    }

    /// Notes what has happened. Returns whether it was signalled.
    pub(super) fn wake(&mut self, woken: &Woken) -> bool {
        match &self.notification {
            Notification::V1(v1) => {
                let signalled =
                    woken.signalled.contains(&v1.token) || (woken.below && !v1.below.is_empty());
                self.is_signalled |= signalled;
                self.is_due |= signalled || (woken.timer && self.is_signalled);
                signalled
            }
            Notification::V2(descriptor) => {
                self.is_due |= woken.changes_lost || woken.changed.contains(descriptor);
                false
            }
        }
    }

    /// Stops expecting a kill for the last signal: it was for another cgroup that shares a limit, or for the end
    /// of this one.
    pub(super) fn explain(&mut self) {
        if let Notification::V1(v1) = &mut self.notification {
            v1.is_unexplained = false;
            v1.is_over = true;
        }
    }

    /// Looks at the counters.
    pub(super) fn look(&mut self, wakers: &Wakers) -> Found {
        self.is_due = false;
        let signals = match &self.notification {
            Notification::V1(v1) => take(&v1.eventfd),
            Notification::V2(_) => 0,
        };
        let counted = counter(&self.dir);
        let mut found = Found::default();
        match (counted, self.kills) {
            (Ok(Some(now)), Some(before)) => {
                found.kills = now.saturating_sub(before);
                self.kills = Some(now.max(before));
            }
            // As runc does: one for each time that it was woken.
            (Ok(None), _) => found.kills = u64::from(signals > 0),
            (Ok(Some(now)), None) => self.kills = Some(now),
            (Err(e), _) => found.is_gone = is_gone(&e) || is_absent(&e),
        }
        found.kills = found.kills.saturating_add(self.look_below(wakers, false));
        let Notification::V1(v1) = &mut self.notification else {
            return found;
        };
        if !found.is_gone {
            v1.is_unexplained |= signals > 0 && self.kills.is_some();
            v1.is_unexplained &= found.kills == 0;
            v1.is_over = false;
            return found;
        }
        // Before the end, a task was killed in it.
        v1.late_signals += signals;
        found.kills = u64::from(v1.is_unexplained || v1.late_signals > 1);
        found.is_gone = found.kills > 0 || v1.is_over;
        self.is_signalled |= !found.is_gone;
        found
    }

    /// Looks at the v1 cgroups below, and watches new ones. Those that are there at the beginning are not
    /// reported for what was killed before.
    fn look_below(&mut self, wakers: &Wakers, at_first: bool) -> u64 {
        let Notification::V1(v1) = &mut self.notification else {
            return 0;
        };
        if self.kills.is_none() || !self.dir.has_children() {
            v1.below.clear();
            return 0;
        }
        let before = std::mem::take(&mut v1.below);
        let mut kills = 0;
        let mut visit = |child: &CgroupDir| {
            let now = counter(child).ok().flatten().unwrap_or(0);
            let known = before.get(&child.identity).copied();
            if known.is_none() {
                // Without it, its kills are found when something else wakes.
                let _ = register(child, &wakers.below);
            }
            kills += now.saturating_sub(known.unwrap_or(if at_first { now } else { 0 }));
            v1.below.insert(child.identity, now);
            v1.below.len() < MOST_BELOW
        };
        visit_below(&self.dir, 0, &mut visit);
        kills
    }
}

/// Visits all cgroups below one, as long as `visit` says so.
fn visit_below(dir: &CgroupDir, depth: usize, visit: &mut impl FnMut(&CgroupDir) -> bool) -> bool {
    // Mostly, there are none, and listing them takes five system calls.
    if depth > DEEPEST || !dir.has_children() {
        return true;
    }
    // Those that go meanwhile are not counted any more.
    for name in dir.children().unwrap_or_default() {
        if let Ok(Some(child)) = dir.open_child(&name)
            && !(visit(&child) && visit_below(&child, depth + 1, visit))
        {
            return false;
        }
    }
    true
}

/// Has the kernel wake the notifier.
fn watch(dir: &CgroupDir, wakers: &mut Wakers) -> io::Result<Notification> {
    // Quite a few are left for other uses.
    if !is_within_limit(dir.fd(), 3) {
        return Err(Errno::MFILE.into());
    }
    if dir.kind == FsKind::V2 {
        let file = dir.open_file(EVENTS)?;
        return Ok(Notification::V2(wakers.watch_file(&fd_path(&file))?));
    }
    let (eventfd, token) = wakers.add_eventfd()?;
    register(dir, &eventfd)?;
    Ok(Notification::V1(V1 {
        eventfd,
        token,
        is_unexplained: false,
        late_signals: 0,
        is_over: false,
        below: HashMap::new(),
    }))
}

/// Has a v1 cgroup signal an eventfd when memory runs out.
fn register(dir: &CgroupDir, eventfd: &OwnedFd) -> io::Result<()> {
    let file = dir.open_file(OOM_CONTROL)?;
    let control = dir.open_to_write("cgroup.event_control")?;
    let line = format!("{} {}", eventfd.as_raw_fd(), file.as_fd().as_raw_fd());
    rustix::io::write(&control, line.as_bytes())?;
    Ok(())
}

/// Returns the number of OOM kills in a cgroup since it was made. `None` if they are not counted.
fn counter(dir: &CgroupDir) -> io::Result<Option<u64>> {
    let name = match dir.kind {
        FsKind::V2 => EVENTS,
        FsKind::V1 | FsKind::Ordinary => OOM_CONTROL,
    };
    let mut text = [0; 1024];
    let len = File::from(dir.open_file(name)?).read_at(&mut text, 0)?;
    Ok(parse_value_of(
        &String::from_utf8_lossy(&text[..len]),
        "oom_kill",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::linux::file::tests::write;

    /// Watches a directory as if it were a cgroup of that version.
    fn watched(test: &TempDir, kind: FsKind, wakers: &mut Wakers) -> WatchedCgroup {
        let path = test.path().join("web");
        let dir = CgroupDir::open(&path).expect("it can be read");
        let mut dir = dir.expect("a directory");
        dir.kind = kind;
        let notification = match kind {
            FsKind::V2 => {
                let file = path.join(EVENTS).display().to_string();
                Notification::V2(wakers.watch_file(&file).expect("a watch"))
            }
            FsKind::V1 | FsKind::Ordinary => {
                let (eventfd, token) = wakers.add_eventfd().expect("an eventfd");
                Notification::V1(V1 {
                    eventfd,
                    token,
                    is_unexplained: false,
                    late_signals: 0,
                    is_over: false,
                    below: HashMap::new(),
                })
            }
        };
        WatchedCgroup {
            kills: counter(&dir).expect("it can be read"),
            dir,
            is_due: false,
            is_signalled: false,
            notification,
        }
    }

    /// Signals a v1 cgroup, as the kernel does when memory runs out and when the cgroup is removed.
    fn signal(cgroup: &WatchedCgroup) {
        let Notification::V1(v1) = &cgroup.notification else {
            panic!("it is of v2");
        };
        rustix::io::write(&v1.eventfd, &1_u64.to_ne_bytes()).expect("room");
    }

    const NOTHING: Found = Found {
        kills: 0,
        is_gone: false,
    };

    #[test]
    fn directories_outside_of_cgroup_filesystems_are_not_watched() {
        let test = tempdir().expect("a directory");
        write(&test, "web/memory.oom_control", "oom_kill 0\n");
        write(&test, "web/memory.events", "oom_kill 0\n");
        write(&test, "web/cgroup.event_control", "");
        let dir = CgroupDir::open(&test.path().join("web"));
        let dir = dir.expect("it can be read").expect("a directory");
        let mut wakers = Wakers::new().expect("wakers");
        let watched = WatchedCgroup::new(&dir, &mut wakers).expect("no error");
        assert!(watched.is_none());
        let control = fs::read(test.path().join("web/cgroup.event_control"));
        assert_eq!(control.expect("a file"), b"");
    }

    #[test]
    fn on_v2_the_kills_are_what_the_counter_rises_by() {
        let test = tempdir().expect("a directory");
        let count = |text: &str| write(&test, "web/memory.events", text);
        count("low 0\noom 5\noom_kill 5\n");
        let mut wakers = Wakers::new().expect("wakers");
        let mut cgroup = watched(&test, FsKind::V2, &mut wakers);
        assert_eq!(cgroup.kills, Some(5));
        cgroup.wake(&wakers.take());
        assert!(!cgroup.is_due);
        for (text, kills) in [
            ("oom 8\noom_kill 7\n", 2),
            ("oom 9\noom_kill 7\n", 0),
            // A counter that falls is not the kernel's.
            ("oom 9\noom_kill 1\n", 0),
            ("oom 9\noom_kill 8\n", 1),
        ] {
            count(text);
            cgroup.wake(&wakers.take());
            assert!(cgroup.is_due, "{text}");
            let found = cgroup.look(&wakers);
            assert_eq!(found, Found { kills, ..NOTHING }, "{text}");
            assert!(!cgroup.is_due, "{text}");
        }
        fs::remove_dir_all(test.path().join("web")).expect("it can be removed");
        assert!(cgroup.look(&wakers).is_gone);
    }

    #[test]
    fn on_v1_a_signal_is_followed_by_looks_until_the_kill_is_counted() {
        let test = tempdir().expect("a directory");
        let count = |text: &str| write(&test, "web/memory.oom_control", text);
        count("under_oom 0\noom_kill 0\n");
        let mut wakers = Wakers::new().expect("wakers");
        let mut cgroup = watched(&test, FsKind::V1, &mut wakers);
        signal(&cgroup);
        assert!(cgroup.wake(&wakers.take()));
        assert_eq!(cgroup.look(&wakers), NOTHING);
        // It stays due whenever the timer expires.
        count("under_oom 0\noom_kill 1\n");
        let timer = Woken {
            timer: true,
            ..Woken::default()
        };
        assert!(!cgroup.wake(&timer));
        assert!(cgroup.is_due);
        assert_eq!(cgroup.look(&wakers).kills, 1);
        assert_eq!(cgroup.look(&wakers), NOTHING);
    }

    #[test]
    fn a_kernel_that_does_not_count_kills_has_one_for_each_signal() {
        let test = tempdir().expect("a directory");
        write(&test, "web/memory.oom_control", "under_oom 0\n");
        let mut wakers = Wakers::new().expect("wakers");
        let mut cgroup = watched(&test, FsKind::V1, &mut wakers);
        assert_eq!(cgroup.kills, None);
        assert_eq!(cgroup.look(&wakers), NOTHING);
        signal(&cgroup);
        assert_eq!(cgroup.look(&wakers).kills, 1);
        assert_eq!(cgroup.look(&wakers), NOTHING);
    }

    #[test]
    fn a_v1_cgroup_that_goes_after_a_signal_has_lost_a_task_unless_that_was_for_another() {
        for (is_for_another, kills) in [(false, 1), (true, 0)] {
            let test = tempdir().expect("a directory");
            write(&test, "web/memory.oom_control", "oom_kill 0\n");
            let mut wakers = Wakers::new().expect("wakers");
            let mut cgroup = watched(&test, FsKind::V1, &mut wakers);
            signal(&cgroup);
            assert_eq!(cgroup.look(&wakers), NOTHING);
            if is_for_another {
                cgroup.explain();
            }
            fs::remove_dir_all(test.path().join("web")).expect("it can be removed");
            // The kernel signals the end, too.
            signal(&cgroup);
            let is_gone = true;
            assert_eq!(cgroup.look(&wakers), Found { kills, is_gone });
        }
    }

    #[test]
    fn a_v1_cgroup_that_goes_in_silence_is_looked_at_until_its_end_is_explained() {
        let test = tempdir().expect("a directory");
        write(&test, "web/memory.oom_control", "oom_kill 0\n");
        let mut wakers = Wakers::new().expect("wakers");
        let mut cgroup = watched(&test, FsKind::V1, &mut wakers);
        fs::remove_dir_all(test.path().join("web")).expect("it can be removed");
        // The signals of a kill and of the end may both come late.
        assert_eq!(cgroup.look(&wakers), NOTHING);
        assert!(cgroup.is_signalled);
        cgroup.explain();
        assert!(cgroup.look(&wakers).is_gone);
    }

    #[test]
    fn kills_in_the_v1_cgroups_below_count_from_when_they_are_found() {
        let test = tempdir().expect("a directory");
        write(&test, "web/memory.oom_control", "oom_kill 1\n");
        write(&test, "web/a/memory.oom_control", "oom_kill 3\n");
        let mut wakers = Wakers::new().expect("wakers");
        let mut cgroup = watched(&test, FsKind::V1, &mut wakers);
        assert_eq!(cgroup.look_below(&wakers, true), 0);
        cgroup.check_below();
        assert!(cgroup.is_due);
        // One that is new was made since the last look, and all its kills with it.
        write(&test, "web/a/memory.oom_control", "oom_kill 4\n");
        write(&test, "web/a/b/memory.oom_control", "oom_kill 2\n");
        assert_eq!(cgroup.look(&wakers).kills, 3);
        assert_eq!(cgroup.look(&wakers).kills, 0);
    }
}
