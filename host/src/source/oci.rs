//! Containers of runc and crun: the state that those keep of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::cgroup;
use super::state_dir::RuntimeKind;
use super::state_json::{annotated, limit, not_a_state, of_config, read_json, text, timestamp};
use crate::bindings::types::NetworkInterface;
use crate::details::{Details, Status};
use crate::error::{Context as _, Error, Result, bail, error};
use crate::linux::cgroup::{Cgroup, CgroupPaths, FREEZER, STATISTICS};
use crate::linux::file::{is_absent, read_regular};
use crate::linux::mountinfo::Mounts;
use crate::linux::network::{interfaces_of, namespace_of, read_interfaces};
use crate::linux::process::Process;
use crate::snapshot::Snapshot;

/// A container whose first process is running. What its runtime states holds as long as that is so.
pub(super) struct RunningContainer {
    process: Process,
    cgroup: Cgroup,
    /// The interfaces of its network namespace, if that is not the machine's. `None` before it is known.
    network: Option<Option<File>>,
    kind: RuntimeKind,
    state_file: PathBuf,
    state: State,
    /// The details, once they were requested.
    known: Option<Known>,
}

/// The details of a running container.
struct Known {
    details: Arc<Details>,
    /// The cgroup in v1's freezer hierarchy, if there is one.
    freezer: Cgroup,
    /// Set if it may not have been started yet.
    may_be_created: bool,
}

impl AsRef<Cgroup> for RunningContainer {
    fn as_ref(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl RunningContainer {
    /// Opens a container by its state file.
    pub(super) fn open(kind: RuntimeKind, state_file: PathBuf, mounts: &Mounts) -> Result<Self> {
        let path = || state_file.display().to_string();
        let parse = match kind {
            RuntimeKind::Crun => crun_state,
            RuntimeKind::Runc | RuntimeKind::Gvisor => runc_state,
        };
        let state = match read_regular(&state_file) {
            Err(e) if is_absent(&e) => bail!(ContainerNotFound, "there is no {}", path()),
            state => state.map_err(Error::from),
        };
        let state = state.and_then(|text| parse(&text)).with_context(path)?;
        let (process, cgroup) = state.open(mounts)?;
        Ok(Self {
            process,
            cgroup,
            network: None,
            kind,
            state_file,
            state,
            known: None,
        })
    }

    /// Returns what is known of it besides its usage. What does not change is read once.
    pub(super) fn details(&mut self, mounts: &Mounts) -> Result<Arc<Details>> {
        let known = match &mut self.known {
            Some(known) => known,
            None => {
                let mut details = details(self.kind, &self.state_file);
                details.cgroup = self.cgroup.path(mounts);
                details.network_namespace = namespace_of(self.state.pid);
                self.known.insert(Known {
                    details: Arc::new(details),
                    freezer: Cgroup::open(&self.state.freezer(mounts))?,
                    may_be_created: true,
                })
            }
        };
        // Both runtimes remove it when they start the container.
        let fifo = self.state_file.with_file_name("exec.fifo");
        known.may_be_created = known.may_be_created && fs::symlink_metadata(fifo).is_ok();
        let is_frozen = known.freezer.is_frozen();
        let status = match is_frozen.or_else(|| self.cgroup.is_frozen()) {
            _ if known.may_be_created => Status::Created,
            Some(true) => Status::Paused,
            _ => Status::Running,
        };
        let limits = self.cgroup.cpu_limits();
        // What the cgroup does not say is as the runtime states it.
        let old = &*known.details;
        let quota = limits.period.map_or(old.cpu_quota, |_| limits.quota);
        let period = limits.period.or(old.cpu_period);
        let shares = limits.shares.or(old.cpu_shares);
        let before = (old.status, old.cpu_quota, old.cpu_period, old.cpu_shares);
        let now = (Some(status), quota, period, shares);
        if before != now {
            let details = Arc::make_mut(&mut known.details);
            (details.status, details.cpu_quota) = (now.0, now.1);
            (details.cpu_period, details.cpu_shares) = (now.2, now.3);
        }
        Ok(Arc::clone(&known.details))
    }

    /// Reads the container. What cannot be read is left out, and the errors say why.
    pub(super) fn snapshot(&mut self, id: &str) -> Result<(Snapshot, Vec<Error>)> {
        if !self.process.is_running()? {
            bail!(ContainerNotFound, "it is not running");
        }
        let interfaces = self.interfaces();
        cgroup::snapshot(&mut self.cgroup, id, interfaces)
    }

    /// Reads the network interfaces. What fails is tried again at the next sample.
    fn interfaces(&mut self) -> io::Result<Vec<NetworkInterface>> {
        let network = match &self.network {
            Some(network) => network,
            None => self.network.insert(interfaces_of(self.state.pid)?),
        };
        network.as_ref().map_or(Ok(Vec::new()), read_interfaces)
    }
}

/// The parts of a runtime's state that are used here.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    /// The process ID of the container's first process, on the host. 0 if it has ended.
    pid: u32,
    /// When that process started, as in /proc/PID/stat. `None` if the runtime does not state it.
    started: Option<u64>,
    cgroup: StateCgroup,
}

/// The place of a container's cgroup.
#[derive(Debug, PartialEq)]
enum StateCgroup {
    /// Directories by controller. The v2 hierarchy has the empty name.
    Dirs(HashMap<String, PathBuf>),
    /// A path that is the same in all hierarchies.
    Path(PathBuf),
}

/// Parses runc's state.json (libcontainer `State`).
pub(super) fn runc_state(text: &[u8]) -> Result<State> {
    #[derive(Deserialize)]
    struct Json {
        init_process_pid: u32,
        init_process_start: Option<u64>,
        cgroup_paths: Option<Dirs>,
    }
    // There may be any number of others, which are not kept.
    #[derive(Default, Deserialize)]
    struct Dirs {
        memory: Option<PathBuf>,
        pids: Option<PathBuf>,
        cpuacct: Option<PathBuf>,
        cpu: Option<PathBuf>,
        cpuset: Option<PathBuf>,
        blkio: Option<PathBuf>,
        hugetlb: Option<PathBuf>,
        freezer: Option<PathBuf>,
        #[serde(rename = "")]
        unified: Option<PathBuf>,
    }
    let json: Json = serde_json::from_slice(text).map_err(|e| not_a_state("runc", &e))?;
    let dirs = json.cgroup_paths.unwrap_or_default();
    let dirs = [
        ("memory", dirs.memory),
        ("pids", dirs.pids),
        ("cpuacct", dirs.cpuacct),
        ("cpu", dirs.cpu),
        ("cpuset", dirs.cpuset),
        ("blkio", dirs.blkio),
        ("hugetlb", dirs.hugetlb),
        ("freezer", dirs.freezer),
        ("", dirs.unified),
    ];
    let dirs = dirs
        .into_iter()
        .filter_map(|(controller, dir)| Some((controller.to_owned(), dir?)));
    Ok(State {
        pid: json.init_process_pid,
        started: json.init_process_start,
        cgroup: StateCgroup::Dirs(dirs.collect()),
    })
}

/// Parses crun's status (`libcrun_container_status_t`).
pub(super) fn crun_state(text: &[u8]) -> Result<State> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Json {
        pid: u32,
        process_start_time: Option<u64>,
        cgroup_path: Option<PathBuf>,
    }
    let json: Json = serde_json::from_slice(text).map_err(|e| not_a_state("crun", &e))?;
    Ok(State {
        pid: json.pid,
        started: json.process_start_time,
        cgroup: StateCgroup::Path(json.cgroup_path.unwrap_or_default()),
    })
}

impl State {
    /// Opens the first process and the cgroup.
    fn open(&self, mounts: &Mounts) -> Result<(Process, Cgroup)> {
        let not_running = || error!(ContainerNotFound, "it is not running");
        let process = Process::open(self.pid, self.started)?.ok_or_else(not_running)?;
        let (is_stated, paths) = match &self.cgroup {
            StateCgroup::Dirs(dirs) => (
                !dirs.is_empty(),
                CgroupPaths::in_state(mounts, dirs, STATISTICS)?,
            ),
            StateCgroup::Path(path) if path.as_os_str().is_empty() => {
                (false, CgroupPaths::default())
            }
            StateCgroup::Path(path) => {
                let path = Path::new("/").join(path);
                (true, CgroupPaths::of_state(mounts, &path, STATISTICS)?)
            }
        };
        if !is_stated {
            bail!(InvalidRequest, "it has no cgroup, according to its state");
        }
        if paths.is_empty() {
            bail!(Source, "no mounted hierarchy leads to its cgroup");
        }
        let cgroup = Cgroup::open(&paths)?;
        if cgroup.is_absent() {
            bail!(ContainerNotFound, "its cgroup has gone");
        }
        Ok((process, cgroup))
    }

    /// Returns where the cgroup is in v1's freezer hierarchy. What is wrong with it has come to light with the others.
    fn freezer(&self, mounts: &Mounts) -> CgroupPaths {
        let paths = match &self.cgroup {
            StateCgroup::Dirs(dirs) => CgroupPaths::in_state(mounts, dirs, FREEZER),
            StateCgroup::Path(path) => {
                CgroupPaths::of_state(mounts, &Path::new("/").join(path), FREEZER)
            }
        };
        paths.unwrap_or_default()
    }
}

/// Returns what a runtime states of a container besides its usage, running or not, by its state file. What cannot be
/// read or understood is left out.
pub(super) fn details(kind: RuntimeKind, state_file: &Path) -> Details {
    let state = read_json(state_file);
    let details = match kind {
        RuntimeKind::Crun => {
            // crun's own copy of the configuration in the bundle.
            of_config(
                kind.name(),
                &read_json(&state_file.with_file_name("config.json")),
            )
        }
        RuntimeKind::Runc | RuntimeKind::Gvisor => {
            let labels = state.pointer("/config/labels").and_then(Value::as_array);
            let labels = labels.into_iter().flatten().filter_map(Value::as_str);
            let labels = labels.filter_map(|label| label.split_once('='));
            // runc's own among the annotations.
            let annotations = labels.filter(|(name, _)| *name != "bundle");
            Details {
                cpu_quota: limit(&state, "/config/cgroups/cpu_quota"),
                cpu_period: limit(&state, "/config/cgroups/cpu_period"),
                cpu_shares: limit(&state, "/config/cgroups/cpu_shares"),
                ..annotated(kind.name(), annotations)
            }
        }
    };
    Details {
        started: text(&state, "/created").and_then(timestamp),
        ..details
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn the_states_of_both_runtimes_are_understood() {
        // Shortened from what runc 1.1.5 and crun 1.8.1 wrote.
        let runc = r#"{"id":"web","init_process_pid":23687,"init_process_start":783833,
            "config":{"rootfs":"rootfs","cgroups":{"path":"/real/web"}},
            "cgroup_paths":{"":"/sys/fs/cgroup/unified/real/web","memory":"/sys/fs/cgroup/memory/real/web"}}"#;
        let dirs = [
            ("", "/sys/fs/cgroup/unified/real/web"),
            ("memory", "/sys/fs/cgroup/memory/real/web"),
        ];
        let dirs = dirs.map(|(name, dir)| (name.to_owned(), dir.into()));
        assert_eq!(
            runc_state(runc.as_bytes()).expect("it is one"),
            State {
                pid: 23687,
                started: Some(783_833),
                cgroup: StateCgroup::Dirs(dirs.into()),
            }
        );
        let crun = r#"{"pid":23631,"process-start-time":783708,"cgroup-path":"/real/web","scope":"",
            "rootfs":"rootfs","systemd-cgroup":false}"#;
        assert_eq!(
            crun_state(crun.as_bytes()).expect("it is one"),
            State {
                pid: 23631,
                started: Some(783_708),
                cgroup: StateCgroup::Path("/real/web".into()),
            }
        );
    }

    #[test]
    fn both_runtimes_state_the_details() {
        let test = tempdir().expect("a directory");
        // Shortened from what runc 1.1.5 wrote, with annotations as containerd's CRI plugin makes them.
        write(
            &test,
            "runc/state.json",
            r#"{"id":"web","created":"2026-11-23T11:25:23.495761464Z","config":{
                "cgroups":{"path":"/real/web","cpu_shares":512,"cpu_quota":30000,"cpu_period":100000},
                "labels":["io.kubernetes.cri.container-name=web","a=b=c","none",1,"bundle=b-web"]}}"#,
        );
        let runc = details(RuntimeKind::Runc, &test.path().join("runc/state.json"));
        let expected = Details {
            runtime: Some("runc".to_owned()),
            name: Some("web".to_owned()),
            annotations: [("io.kubernetes.cri.container-name", "web"), ("a", "b=c")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            started: Some(1_795_433_123_495_761_464),
            cpu_quota: Some(30_000),
            cpu_period: Some(100_000),
            cpu_shares: Some(512),
            ..Details::default()
        };
        assert_eq!(runc, expected);

        // Of crun 1.8.1. The configuration is beside it.
        write(
            &test,
            "crun/status",
            r#"{"pid":23631,"created":"2026-11-23T11:25:22.228168Z","bundle":"b-crun"}"#,
        );
        write(
            &test,
            "crun/config.json",
            r#"{"annotations":{"io.kubernetes.cri.container-name":"web","a":"b=c"},"linux":
                {"resources":{"cpu":{"shares":512,"quota":30000,"period":100000}}}}"#,
        );
        let crun = details(RuntimeKind::Crun, &test.path().join("crun/status"));
        let expected = Details {
            runtime: Some("crun".to_owned()),
            started: Some(1_795_433_122_228_168_000),
            ..expected
        };
        assert_eq!(crun, expected);

        // What is wrong is left out.
        write(
            &test,
            "wrong/state.json",
            r#"{"created":1,"config":{"labels":{},"cgroups":{"cpu_quota":"x","cpu_shares":2}}}"#,
        );
        let wrong = details(RuntimeKind::Runc, &test.path().join("wrong/state.json"));
        assert_eq!((wrong.started, wrong.cpu_shares), (None, Some(2)));
        let none = details(RuntimeKind::Crun, &test.path().join("none/status"));
        assert_eq!(none.runtime.as_deref(), Some("crun"));
    }

    #[test]
    fn a_state_that_is_none_is_quoted_in_part_only() {
        let long = format!(r#"{{"init_process_pid":"{}\u001b"}}"#, "x".repeat(1 << 20));
        let error = runc_state(long.as_bytes()).expect_err("the pid is a string");
        let error = error.to_string();
        assert!(error.len() < 2000 && !error.contains('\u{1b}'), "{error}");
    }
}
