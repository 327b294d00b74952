//! `runc[:ROOT]`, `crun[:ROOT]`, `gvisor[:ROOT]`: containers by the state that their runtime keeps of them.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;
use wasmtime::error::Context as _;
use wasmtime::{bail, format_err};

use super::cgroup::{Group, Mounts, Paths};
use super::gvisor::{self, Known};
use super::oom::Kept;
use super::{Listed, Source, check_folder_name, read_text};
use crate::bindings::types::NetworkInterface;
use crate::error::{Error, NotFound, Refused, Result};
use crate::snapshot::Snapshot;
use crate::text::shorten;

/// A runtime with a format of state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Runc,
    Crun,
    Gvisor,
}

impl Kind {
    /// What `--source` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Gvisor => "gvisor",
        }
    }
}

/// A state folder of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    kind: Kind,
    root: PathBuf,
}

impl Place {
    /// What `--source` calls it.
    fn name(&self) -> String {
        format!("{}:{}", self.kind.name(), self.root.display())
    }

    /// The state file of a container, as a pattern in the case of gVisor: the sandbox's ID is part of it.
    fn state_file(&self, id: &str) -> PathBuf {
        match self.kind {
            Kind::Runc => self.root.join(id).join("state.json"),
            Kind::Crun => self.root.join(id).join("status"),
            Kind::Gvisor => self.root.join(format!("{id}_sandbox:*.state")),
        }
    }

    /// The containers in it, in order. Of those that `is_one` says so of, it is known.
    fn containers(&self, is_one: impl Fn(&str) -> bool) -> io::Result<Vec<Known>> {
        if self.kind == Kind::Gvisor {
            return Known::all(&self.root);
        }
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            ids.extend(entry?.file_name().into_string());
        }
        ids.retain(|id| is_one(id) || self.state_file(id).exists());
        ids.sort();
        let alone = |id: String| Known {
            sandbox: id.clone(),
            id,
        };
        Ok(ids.into_iter().map(alone).collect())
    }
}

/// The containers in the state folders of runtimes.
pub(super) struct Runtimes {
    kinds: Vec<Kind>,
    /// The only state folder to look at; the usual ones where it is `None`.
    root: Option<PathBuf>,
    /// The sandboxes of gVisor that were read at this instant.
    sandboxes: HashMap<PathBuf, Arc<Snapshot>>,
    /// The containers of each of runsc's root folders at this instant, with their sandboxes.
    known: HashMap<PathBuf, HashMap<String, String>>,
    /// The containers of runc and crun.
    running: Kept<Running>,
}

impl Runtimes {
    pub(super) fn new(kinds: &[Kind], root: Option<PathBuf>) -> Self {
        Self {
            kinds: kinds.to_vec(),
            root,
            sandboxes: HashMap::new(),
            known: HashMap::new(),
            running: Kept::default(),
        }
    }

    /// The state folders to look at, whether they exist or not.
    fn places(&self) -> Vec<Place> {
        let roots = |kind: Kind| match &self.root {
            Some(root) => vec![root.clone()],
            None => usual_roots(kind),
        };
        self.kinds
            .iter()
            .flat_map(|&kind| {
                roots(kind)
                    .into_iter()
                    .map(move |root| Place { kind, root })
            })
            .collect()
    }

    /// The container of that ID, if that place knows it.
    fn find_in(&mut self, place: &Place, id: &str) -> io::Result<Option<Known>> {
        let sandbox = if place.kind == Kind::Gvisor {
            let known = match self.known.get(&place.root) {
                Some(known) => known,
                None => {
                    let all = Known::all(&place.root)?.into_iter();
                    let all = all.map(|known| (known.id, known.sandbox)).collect();
                    self.known.entry(place.root.clone()).or_insert(all)
                }
            };
            known.get(id).cloned()
        } else {
            place.state_file(id).metadata()?;
            Some(id.to_owned())
        };
        Ok(sandbox.map(|sandbox| Known {
            id: id.to_owned(),
            sandbox,
        }))
    }

    /// The only place that knows the container.
    fn find(&mut self, id: &str) -> Result<(Place, Known)> {
        let places = self.places();
        let mut found = Vec::new();
        let mut unreadable = None;
        for place in &places {
            match self.find_in(place, id) {
                Ok(known) => found.extend(known.map(|known| (place.clone(), known))),
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    let path = place.state_file(id);
                    unreadable = Some(format_err!("{e}").context(path.display().to_string()));
                }
            }
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(place, _)| place.name()).collect();
            bail!(
                "more than one runtime knows it, choose one: --source {}",
                names.join(" or ")
            );
        }
        found.pop().ok_or_else(|| {
            unreadable.unwrap_or_else(|| {
                let files: Vec<_> = places
                    .iter()
                    .map(|place| place.state_file(id).display().to_string())
                    .collect();
                NotFound(format!("there is no {}", files.join(", no "))).into()
            })
        })
    }
}

/// Whether there is nothing of that name.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Where a runtime keeps its state when it is called by hand, by Docker, or by containerd.
fn usual_roots(kind: Kind) -> Vec<PathBuf> {
    if kind == Kind::Gvisor {
        // /var/run is a link to /run almost everywhere.
        let roots = ["/run/runsc", "/var/run/runsc"].map(PathBuf::from);
        let mut roots: Vec<_> = roots
            .into_iter()
            .filter_map(|root| root.canonicalize().ok())
            .collect();
        roots.dedup();
        return if roots.is_empty() {
            vec!["/run/runsc".into()]
        } else {
            roots
        };
    }
    let mut roots = vec![Path::new("/run").join(kind.name())];
    if let Some(run) = env::var_os("XDG_RUNTIME_DIR") {
        roots.push(Path::new(&run).join(kind.name()));
    }
    // Managers put whatever runtime they use there: the kind of the state tells which.
    roots.push("/run/docker/runtime-runc/moby".into());
    // A folder for each of containerd's namespaces, such as k8s.io. Where it can't be read, there is
    // no containerd, or it is not for us.
    let mut namespaces: Vec<_> = fs::read_dir("/run/containerd/runc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    namespaces.sort();
    roots.extend(namespaces);
    roots
}

impl Source for Runtimes {
    fn containers(&mut self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for place in self.places() {
            let is_running = |id: &str| self.running.contains(id);
            let containers = match place.containers(is_running) {
                Err(e) if self.root.is_none() && is_absent(&e) => continue,
                containers => {
                    containers.with_context(|| format!("cannot list {}", place.name()))?
                }
            };
            listed.extend(containers.into_iter().map(|known| Listed {
                id: known.id,
                sandbox: known.sandbox,
                source: place.name(),
            }));
        }
        Ok(listed)
    }

    /// As in runsc, the beginning of an ID is enough where no other begins like it.
    fn resolve(&mut self, container: &str) -> Result<String> {
        let places = self.places().into_iter();
        let gvisor: Vec<_> = places.filter(|place| place.kind == Kind::Gvisor).collect();
        // What is wrong with an ID comes to light when it is read.
        if gvisor.is_empty()
            || check_folder_name(container).is_err()
            || self.find(container).is_ok()
        {
            return Ok(container.to_owned());
        }
        let mut ids: Vec<_> = gvisor
            .iter()
            .flat_map(|place| place.containers(|_| false).unwrap_or_default())
            .map(|known| known.id)
            .filter(|id| id.starts_with(container))
            .collect();
        match ids.len() {
            0 => Ok(container.to_owned()),
            1 => Ok(ids.remove(0)),
            n => {
                let more = if n > 5 { ", ..." } else { "" };
                ids.truncate(5);
                let ids = ids.join(", ");
                Err(Refused(format!("it could be any of {n}: {ids}{more}")).into())
            }
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.sandboxes.clear();
        self.known.clear();
        self.running.advance();
        // One question for all.
        let mut running: Vec<_> = self.running.iter_mut().collect();
        let processes: Vec<_> = running.iter().map(|running| &running.process).collect();
        let alive = Process::are_running(&processes);
        for (running, alive) in running.iter_mut().zip(alive) {
            running.alive = alive;
        }
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        if self.running.contains(container) {
            let snapshot = |running: &mut Running| running.snapshot(container);
            return self.running.read(container, snapshot).map(Arc::new);
        }
        check_folder_name(container)?;
        let (place, known) = self.find(container)?;
        let state = match place.kind {
            Kind::Runc => runc_state,
            Kind::Crun => crun_state,
            Kind::Gvisor => {
                let sandbox = place.root.join(&known.sandbox);
                if let Some(snapshot) = self.sandboxes.get(&sandbox) {
                    return Ok(Arc::clone(snapshot));
                }
                let snapshot = Arc::new(gvisor::snapshot(&place.root, &known)?);
                self.sandboxes.insert(sandbox, Arc::clone(&snapshot));
                return Ok(snapshot);
            }
        };
        let path = place.state_file(container);
        let state = read_text(&path)
            .map_err(Error::from)
            .and_then(|text| state(&text))
            .with_context(|| path.display().to_string())?;
        let mut running = state.open()?;
        let snapshot = running.snapshot(container)?;
        self.running.insert(container, running);
        Ok(Arc::new(snapshot))
    }

    fn watch_oom(&mut self, container: &str) -> Result<()> {
        self.running.watch(container)
    }

    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.fd()
    }

    fn oom_kills(&mut self) -> Vec<String> {
        self.running.kills()
    }
}

/// A container whose first process runs. What its runtime says of it holds as long as that does.
struct Running {
    process: Process,
    /// Whether that runs at this instant, if it is known already.
    alive: Option<bool>,
    group: Group,
    /// Its network namespace's interfaces, where that is not the machine's.
    network: Option<File>,
    /// When there were none, if it was so the last time.
    without_interfaces: Option<Instant>,
}

impl AsRef<Group> for Running {
    fn as_ref(&self) -> &Group {
        &self.group
    }
}

impl Running {
    fn snapshot(&mut self, id: &str) -> Result<Snapshot> {
        let alive = match self.alive.take() {
            Some(alive) => alive,
            None => self.process.is_running()?,
        };
        if !alive {
            return Err(NotFound("it is not running".to_owned()).into());
        }
        let interfaces = self.interfaces();
        let interfaces = interfaces.context("cannot read network interfaces")?;
        self.group.snapshot(id, interfaces)
    }

    /// Most containers that stay without interfaces never get any, so they are looked for once a second.
    fn interfaces(&mut self) -> Result<Vec<NetworkInterface>> {
        const AGE: Duration = Duration::from_secs(1);
        let Some(file) = &self.network else {
            return Ok(Vec::new());
        };
        if self.without_interfaces.is_some_and(|at| at.elapsed() < AGE) {
            return Ok(Vec::new());
        }
        let interfaces = read_interfaces(file)?;
        self.without_interfaces = interfaces.is_empty().then(Instant::now);
        Ok(interfaces)
    }
}

/// What is of use here in the state that a runtime keeps.
#[derive(Debug, PartialEq)]
struct State {
    /// The process ID of the container's first process, on the host. 0 where it has ended.
    pid: u32,
    /// When that process started, as in /proc/PID/stat. `None` where the runtime doesn't say.
    started: Option<u64>,
    cgroups: Folders,
}

/// Where a container's cgroup is.
#[derive(Debug, PartialEq)]
enum Folders {
    /// By controller. The v2 hierarchy has the empty name.
    ByController(HashMap<String, PathBuf>),
    /// A path that is the same in all hierarchies.
    Path(PathBuf),
}

/// runc's state.json (libcontainer `State`).
fn runc_state(text: &str) -> Result<State> {
    #[derive(Deserialize)]
    struct Json {
        init_process_pid: u32,
        init_process_start: Option<u64>,
        cgroup_paths: Option<HashMap<String, PathBuf>>,
    }
    let json: Json = serde_json::from_str(text).context("not a state of runc")?;
    Ok(State {
        pid: json.init_process_pid,
        started: json.init_process_start,
        cgroups: Folders::ByController(json.cgroup_paths.unwrap_or_default()),
    })
}

/// crun's status (`libcrun_container_status_t`).
fn crun_state(text: &str) -> Result<State> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Json {
        pid: u32,
        process_start_time: Option<u64>,
        cgroup_path: Option<PathBuf>,
    }
    let json: Json = serde_json::from_str(text).context("not a status of crun")?;
    Ok(State {
        pid: json.pid,
        started: json.process_start_time,
        cgroups: Folders::Path(json.cgroup_path.unwrap_or_default()),
    })
}

impl State {
    fn open(&self) -> Result<Running> {
        let not_running = || NotFound("it is not running".to_owned());
        let process = Process::open(self.pid, self.started)?.ok_or_else(not_running)?;
        let paths = match &self.cgroups {
            Folders::ByController(folders) => Paths::new(folders),
            Folders::Path(path) if path.as_os_str().is_empty() => Paths::default(),
            Folders::Path(path) => Mounts::of_this_process()?.group(&Path::new("/").join(path))?,
        };
        if paths.is_empty() {
            return Err(NotFound("its cgroup has gone".to_owned()).into());
        }
        Ok(Running {
            process,
            alive: None,
            group: paths.open()?,
            network: interfaces_of(self.pid),
            without_interfaces: None,
        })
    }
}

/// The interfaces in the network namespace of a process. `None` where that is the namespace of the machine
/// or of this program, or can't be told.
fn interfaces_of(pid: u32) -> Option<File> {
    let namespace = |process: &str| {
        let namespace = fs::metadata(format!("/proc/{process}/ns/net")).ok()?;
        Some((namespace.dev(), namespace.ino()))
    };
    let process = pid.to_string();
    let own = namespace(&process)?;
    let shared = ["1", "self"].map(namespace).contains(&Some(own));
    let file = File::open(format!("/proc/{process}/net/dev")).ok()?;
    (!shared).then_some(file)
}

fn read_interfaces(file: &File) -> Result<Vec<NetworkInterface>> {
    const LIMIT: usize = 1 << 20;
    /// The kernel ends a reading between two lines, where the next one could be too long for its page.
    const PAGE: usize = 4096;
    const LONGEST: usize = 512;
    let mut bytes = vec![0; PAGE];
    let mut len = 0;
    loop {
        let more = file.read_at(&mut bytes[len..], len as u64)?;
        len += more;
        if more < PAGE - LONGEST {
            break;
        }
        if len > LIMIT {
            bail!("it is larger than {LIMIT} bytes");
        }
        bytes.resize(len + PAGE, 0);
    }
    interfaces(str::from_utf8(&bytes[..len])?)
}

/// The interfaces in a /proc/PID/net/dev, but for the loopback interface.
fn interfaces(text: &str) -> Result<Vec<NetworkInterface>> {
    // Two lines of headings.
    let rows = (1..).zip(text.lines()).skip(2).map(|(at, line)| {
        let row = || -> Option<NetworkInterface> {
            let (name, figures) = line.rsplit_once(':')?;
            let figures: Result<Vec<u64>, _> =
                figures.split_ascii_whitespace().map(str::parse).collect();
            let figures = figures.ok()?;
            // Bytes, packets, errors and drops received, four others, and the same sent.
            let figure = |at: usize| figures.get(at).copied();
            Some(NetworkInterface {
                name: name.trim_ascii_start().to_owned(),
                rx_bytes: figure(0)?,
                rx_packets: figure(1)?,
                rx_errors: figure(2)?,
                rx_dropped: figure(3)?,
                tx_bytes: figure(8)?,
                tx_packets: figure(9)?,
                tx_errors: figure(10)?,
                tx_dropped: figure(11)?,
            })
        };
        row().ok_or_else(|| {
            format_err!(
                "line {at}: {} is not an interface and its figures",
                shorten(line)
            )
        })
    });
    let rows: Result<Vec<_>> = rows.collect();
    Ok(rows?.into_iter().filter(|row| row.name != "lo").collect())
}

/// A process. Another one that gets its number is not taken for it.
enum Process {
    Pidfd(OwnedFd),
    /// Before Linux 5.3: its open /proc/PID/stat.
    Stat(File),
}

impl Process {
    /// The process of that number which started at that time, as the runtimes find it out. `None` where it
    /// has ended: one that started at another time is another one.
    fn open(pid: u32, started: Option<u64>) -> Result<Option<Self>> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else {
            return Ok(None);
        };
        // First, so that what is read then is of this one, or there is nothing to read.
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return Ok(None),
            Err(_) => None,
        };
        let path = format!("/proc/{pid}/stat");
        let stat = match File::open(&path) {
            Ok(stat) => stat,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(e).context(path),
        };
        let now = Self::read(&stat).context(path)?;
        let same = now.is_some_and(|began| started.is_none_or(|started| started == began));
        let process = pidfd.map_or(Self::Stat(stat), Self::Pidfd);
        Ok(same.then_some(process))
    }

    /// Whether it has not ended.
    fn is_running(&self) -> Result<bool> {
        match self {
            Self::Pidfd(pidfd) => {
                let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
                Ok(poll(&mut ended, Some(&Timespec::default()))? == 0)
            }
            Self::Stat(stat) => Ok(Self::read(stat)?.is_some()),
        }
    }

    /// The same of many, as far as one system call can tell.
    fn are_running(processes: &[&Self]) -> Vec<Option<bool>> {
        let pidfds = processes.iter().filter_map(|process| match process {
            Self::Pidfd(pidfd) => Some(PollFd::new(pidfd, PollFlags::IN)),
            Self::Stat(_) => None,
        });
        let mut pidfds: Vec<_> = pidfds.collect();
        if pidfds.len() < processes.len() || poll(&mut pidfds, Some(&Timespec::default())).is_err()
        {
            return vec![None; processes.len()];
        }
        let alive = pidfds.iter().map(|pidfd| pidfd.revents().is_empty());
        alive.map(Some).collect()
    }

    /// When a process started. `None` where it has ended.
    fn read(stat: &File) -> Result<Option<u64>> {
        let mut text = [0; 1024];
        let len = match stat.read_at(&mut text, 0) {
            Ok(len) => len,
            Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let (state, began) = process(&text[..len]).context("it is not the state of a process")?;
        Ok((!matches!(state, b'Z' | b'X')).then_some(began))
    }
}

/// Whether a process is there and has not ended.
pub(super) fn is_running(pid: u32, started: Option<u64>) -> Result<bool> {
    Ok(Process::open(pid, started)?.is_some())
}

/// The state and the start time (in ticks since boot) in a /proc/PID/stat. The name of the program,
/// in parentheses, can be anything.
fn process(stat: &[u8]) -> Option<(u8, u64)> {
    let behind_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(behind_name + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The state is the third field, the start time the 22nd.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_both_runtimes_are_understood() {
        // Shortened from what runc 1.1.5 and crun 1.8.1 wrote.
        let runc = r#"{"id":"web","init_process_pid":23687,"init_process_start":783833,
            "config":{"rootfs":"rootfs","cgroups":{"path":"/real/web"}},
            "cgroup_paths":{"":"/sys/fs/cgroup/unified/real/web","memory":"/sys/fs/cgroup/memory/real/web"}}"#;
        let folders = [
            ("", "/sys/fs/cgroup/unified/real/web"),
            ("memory", "/sys/fs/cgroup/memory/real/web"),
        ];
        let folders = folders.map(|(name, folder)| (name.to_owned(), folder.into()));
        assert_eq!(
            runc_state(runc).expect("it is one"),
            State {
                pid: 23687,
                started: Some(783_833),
                cgroups: Folders::ByController(folders.into()),
            }
        );
        let crun = r#"{"pid":23631,"process-start-time":783708,"cgroup-path":"/real/web","scope":"",
            "rootfs":"rootfs","systemd-cgroup":false}"#;
        assert_eq!(
            crun_state(crun).expect("it is one"),
            State {
                pid: 23631,
                started: Some(783_708),
                cgroups: Folders::Path("/real/web".into()),
            }
        );
    }

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
                is_running(pid, at).expect("it can be told"),
                runs,
                "{pid} {at:?}"
            );
        }
        // One that has ended, and whose parent hasn't noticed.
        let mut child = std::process::Command::new("true").spawn().expect("it runs");
        let zombie = || !is_running(child.id(), None).expect("it can be told");
        let waited = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            zombie()
        });
        assert!(waited);
        child.wait().expect("it has ended");
    }

    #[test]
    fn interfaces_are_told_but_for_the_loopback() {
        const HEADINGS: &str = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
        let text = HEADINGS.to_owned()
            + "    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0:1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n\
               a:b:  21       2    0    0    0     0          0         0     22       1    0    0    0     0       0          0\n";
        let rows = interfaces(&text).expect("it is one");
        let figures: Vec<_> = rows
            .iter()
            .map(|row| {
                let received = [row.rx_bytes, row.rx_packets, row.rx_errors, row.rx_dropped];
                let sent = [row.tx_bytes, row.tx_packets, row.tx_errors, row.tx_dropped];
                (row.name.as_str(), received, sent)
            })
            .collect();
        assert_eq!(
            figures,
            [
                ("eth0", [1, 2, 3, 4], [11, 12, 13, 14]),
                ("a:b", [21, 2, 0, 0], [22, 1, 0, 0]),
            ]
        );
        for broken in [
            "eth0\n",
            "eth0: 1 2 3\n",
            "eth0: x 2 3 4 5 6 7 8 9 10 11 12\n",
        ] {
            let error = interfaces(&(HEADINGS.to_owned() + broken)).expect_err(broken);
            assert!(error.to_string().starts_with("line 3: "), "{error}");
        }
        crate::fuzz::survives_anything(&[&text], |text| drop(interfaces(text)));
    }

    #[test]
    fn any_text_is_a_state_or_an_error() {
        let samples = [
            r#"{"init_process_pid":23687,"init_process_start":783833,"cgroup_paths":{"":"/sys/fs/cgroup/a"}}"#,
            r#"{"pid":23631,"process-start-time":783708,"cgroup-path":"/real/web"}"#,
            "23687 (sleep) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 783833 20 21\n",
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (runc_state(text), crun_state(text), process(text.as_bytes()));
        });
    }
}
