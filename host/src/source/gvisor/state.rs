//! State files of runsc: one for each container.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::details::{Details, Status};
use crate::error::{Context as _, Error, Result};
use crate::linux::cgroup::SandboxCgroup;
use crate::linux::file::{read_proc, read_regular};
use crate::linux::mountinfo::Mounts;
use crate::linux::network::namespace_of;
use crate::source::state_json::{not_a_state, of_config, read_json, text, timestamp};

/// A state file of a container: the ID of the container, and that of its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) struct StateFile {
    pub(in crate::source) id: String,
    pub(in crate::source) sandbox: String,
}

impl StateFile {
    /// Returns all of them in one of runsc's root directories, in order.
    pub(in crate::source) fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(root)? {
            all.extend(entry?.file_name().to_str().and_then(Self::parse));
        }
        all.sort();
        Ok(all)
    }

    /// Parses the name of a state file, `ID_sandbox:SANDBOX.state`.
    fn parse(name: &str) -> Option<Self> {
        let (id, sandbox) = name.strip_suffix(".state")?.rsplit_once("_sandbox:")?;
        (!id.is_empty() && !sandbox.is_empty()).then(|| Self {
            id: id.to_owned(),
            sandbox: sandbox.to_owned(),
        })
    }

    pub(in crate::source) fn path(&self, root: &Path) -> PathBuf {
        root.join(format!("{}_sandbox:{}.state", self.id, self.sandbox))
    }
}

/// The fields of a state file that are used here (runsc/sandbox `Sandbox`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sandbox {
    pub(super) pid: u32,
    /// Absent in old versions. It is relative, to an unknown directory, if runsc's root directory was.
    pub(super) control_socket_path: Option<PathBuf>,
    /// The cgroup that runsc made, under the name of its kind.
    cgroup: Option<HashMap<String, Option<IgnoredAny>>>,
}

impl Sandbox {
    /// Reads a state file.
    pub(super) fn read(file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct State {
            sandbox: Sandbox,
        }
        let state: State = read_regular(file)
            .map_err(Error::from)
            .and_then(|text| serde_json::from_slice(&text).map_err(|e| not_a_state("runsc", &e)))
            .with_context(|| file.display().to_string())?;
        Ok(state.sandbox)
    }

    /// Reads what the host's cgroups account for the sandbox. Nothing if runsc made none: then the process is in
    /// another one, or in the machine's root cgroup, whose values say nothing of it. runsc itself takes the CPU
    /// time of that cgroup, and on cgroup v2 always that of the parent.
    pub(super) fn on_the_host(&self) -> Result<SandboxCgroup> {
        match self.cgroups()? {
            Some(cgroups) => SandboxCgroup::read(&Mounts::of_this_process()?, &cgroups),
            None => Ok(SandboxCgroup::default()),
        }
    }

    /// Returns the path of the cgroup that runsc made for the sandbox.
    fn cgroup(&self) -> Option<PathBuf> {
        SandboxCgroup::path(&self.cgroups().ok()??)
    }

    /// Reads the list of the cgroups of the sandbox's process. `None` if runsc made none.
    fn cgroups(&self) -> Result<Option<Vec<u8>>> {
        let made = |kind| {
            let cgroup = self.cgroup.as_ref();
            cgroup.is_some_and(|cgroup| matches!(cgroup.get(kind), Some(Some(_))))
        };
        if !made("cgroupv1") && !made("cgroupv2") {
            return Ok(None);
        }
        let path = format!("/proc/{}/cgroup", self.pid);
        read_proc(&path).with_context(|| path).map(Some)
    }
}

/// Returns what runsc states of a container besides its usage, by its state file, and the process of its sandbox. What
/// cannot be read or understood costs itself.
///
/// Limits are those of the container's configuration: the host's cgroup has those of the whole sandbox.
pub(super) fn details(file: &Path) -> (Details, u32) {
    let state = read_json(file);
    let status = match text(&state, "/status") {
        Some("created" | "creating") => Some(Status::Created),
        Some("running") => Some(Status::Running),
        Some("paused") => Some(Status::Paused),
        Some("stopped") => Some(Status::Stopped),
        _ => None,
    };
    let sandbox = state.get("sandbox").unwrap_or(&Value::Null);
    let sandbox = Sandbox::deserialize(sandbox).ok();
    let pid = sandbox.as_ref().map_or(0, |sandbox| sandbox.pid);
    let details = Details {
        status,
        started: text(&state, "/createdAt").and_then(timestamp),
        cgroup: sandbox.as_ref().and_then(Sandbox::cgroup),
        network_namespace: namespace_of(pid),
        ..of_config("gvisor", state.get("spec").unwrap_or(&Value::Null))
    };
    (details, pid)
}
