//! Containers of runc and crun: the state that those keep of them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cgroup;
use crate::error::{Error, Result, bail, error};
use crate::linux::cgroup::{Cgroup, CgroupPaths};
use crate::linux::mountinfo::Mounts;
use crate::linux::network::{interfaces_of, read_interfaces};
use crate::linux::process::Process;
use crate::snapshot::Snapshot;
use crate::text::clean;

/// A container whose first process is running. What its runtime states holds as long as that is so.
pub(super) struct RunningContainer {
    pub(super) process: Process,
    /// Set if the process is running at this sample, if that is known already.
    pub(super) is_alive: Option<bool>,
    cgroup: Cgroup,
    /// The interfaces of its network namespace, if that is not the machine's.
    network: io::Result<Option<File>>,
}

impl AsRef<Cgroup> for RunningContainer {
    fn as_ref(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl RunningContainer {
    /// Reads the container. What cannot be read costs itself, and the errors say why.
    pub(super) fn snapshot(&mut self, id: &str) -> Result<(Snapshot, Vec<Error>)> {
        let is_alive = match self.is_alive.take() {
            Some(is_alive) => is_alive,
            None => self.process.is_running()?,
        };
        if !is_alive {
            bail!(ContainerNotFound, "it is not running");
        }
        let interfaces = match &self.network {
            Ok(Some(file)) => read_interfaces(file),
            Ok(None) => Ok(Vec::new()),
            Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
        };
        cgroup::snapshot(&mut self.cgroup, id, interfaces)
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
    // There may be any number of others.
    #[derive(Default, Deserialize)]
    struct Dirs {
        memory: Option<PathBuf>,
        pids: Option<PathBuf>,
        cpuacct: Option<PathBuf>,
        cpu: Option<PathBuf>,
        cpuset: Option<PathBuf>,
        blkio: Option<PathBuf>,
        hugetlb: Option<PathBuf>,
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

/// Returns an error for a state file that cannot be parsed. serde's message may hold a value from it, of any
/// length.
pub(super) fn not_a_state(runtime: &str, e: &serde_json::Error) -> Error {
    let why = clean(&e.to_string());
    error!(Source, "it is not a state of {runtime}: {why}")
}

impl State {
    /// Opens the container.
    pub(super) fn open(&self, mounts: &Mounts) -> Result<RunningContainer> {
        let not_running = || error!(ContainerNotFound, "it is not running");
        let process = Process::open(self.pid, self.started)?.ok_or_else(not_running)?;
        let (is_stated, paths) = match &self.cgroup {
            StateCgroup::Dirs(dirs) => (!dirs.is_empty(), CgroupPaths::in_state(mounts, dirs)?),
            StateCgroup::Path(path) if path.as_os_str().is_empty() => {
                (false, CgroupPaths::default())
            }
            StateCgroup::Path(path) => {
                let path = Path::new("/").join(path);
                (true, CgroupPaths::of_state(mounts, &path)?)
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
        Ok(RunningContainer {
            process,
            is_alive: None,
            cgroup,
            network: interfaces_of(self.pid),
        })
    }
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
    fn a_state_that_is_none_is_quoted_in_part_only() {
        let long = format!(r#"{{"init_process_pid":"{}\u001b"}}"#, "x".repeat(1 << 20));
        let error = runc_state(long.as_bytes()).expect_err("the pid is a string");
        let error = error.to_string();
        assert!(error.len() < 2000 && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn any_text_is_a_state_or_an_error() {
        let samples = [
            r#"{"init_process_pid":23687,"init_process_start":783833,"cgroup_paths":{"":"/sys/fs/cgroup/a"}}"#,
            r#"{"pid":23631,"process-start-time":783708,"cgroup-path":"/real/web"}"#,
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (runc_state(text.as_bytes()), crun_state(text.as_bytes()));
        });
    }
}
