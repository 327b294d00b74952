//! Containers of runc and crun: the state that those keep of them.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::cgroup;
use crate::bindings::types::NetworkInterface;
use crate::error::{Context as _, Result, bail, error};
use crate::linux::cgroup::{Group, Paths};
use crate::linux::mountinfo::Mounts;
use crate::linux::network::{interfaces_of, read_interfaces};
use crate::linux::process::Process;
use crate::snapshot::Snapshot;

/// A container whose first process runs. What its runtime says of it holds as long as that does.
pub(super) struct Running {
    pub(super) process: Process,
    /// Whether that runs at this instant, if it is known already.
    pub(super) alive: Option<bool>,
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
    pub(super) fn snapshot(&mut self, id: &str) -> Result<Snapshot> {
        let alive = match self.alive.take() {
            Some(alive) => alive,
            None => self.process.is_running()?,
        };
        if !alive {
            bail!(ContainerNotFound, "it is not running");
        }
        let interfaces = self.interfaces();
        let interfaces = interfaces.context("cannot read network interfaces")?;
        cgroup::snapshot(&mut self.group, id, interfaces)
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
pub(super) struct State {
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
pub(super) fn runc_state(text: &str) -> Result<State> {
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
pub(super) fn crun_state(text: &str) -> Result<State> {
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
    pub(super) fn open(&self) -> Result<Running> {
        let not_running = || error!(ContainerNotFound, "it is not running");
        let process = Process::open(self.pid, self.started)?.ok_or_else(not_running)?;
        let paths = match &self.cgroups {
            Folders::ByController(folders) => Paths::new(folders),
            Folders::Path(path) if path.as_os_str().is_empty() => Paths::default(),
            Folders::Path(path) => {
                Paths::of(&Mounts::of_this_process()?, &Path::new("/").join(path))?
            }
        };
        if paths.is_empty() {
            bail!(ContainerNotFound, "its cgroup has gone");
        }
        Ok(Running {
            process,
            alive: None,
            group: Group::open(&paths)?,
            network: interfaces_of(self.pid),
            without_interfaces: None,
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
    fn any_text_is_a_state_or_an_error() {
        let samples = [
            r#"{"init_process_pid":23687,"init_process_start":783833,"cgroup_paths":{"":"/sys/fs/cgroup/a"}}"#,
            r#"{"pid":23631,"process-start-time":783708,"cgroup-path":"/real/web"}"#,
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (runc_state(text), crun_state(text));
        });
    }
}
