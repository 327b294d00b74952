//! State files of runsc: one for each container.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::details::{Details, Status};
use crate::error::{Context as _, Error, Result, bail};
use crate::linux::cgroup::SandboxCgroup;
use crate::linux::file::{is_absent, read_proc, read_regular};
use crate::linux::mountinfo::Mounts;
use crate::linux::network::namespace_of;
use crate::linux::process::is_running;
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
    pub(in crate::source) fn parse(name: &str) -> Option<Self> {
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
        let text = match read_regular(file) {
            Err(e) if is_absent(&e) => bail!(ContainerNotFound, "there is no {}", file.display()),
            text => text.map_err(Error::from),
        };
        text.and_then(|text| Self::parse(&text))
            .with_context(|| file.display().to_string())
    }

    /// Parses a state file.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct State {
            sandbox: Sandbox,
        }
        let state: State = serde_json::from_slice(text).map_err(|e| not_a_state("runsc", &e))?;
        Ok(state.sandbox)
    }

    /// Returns whether the sandbox may be running, to whose sentry there was no connection because of `error`.
    ///
    /// If nobody listens, another process may have got the number of the sandbox's, and would never end. The last
    /// argument of runsc's `boot` is the ID.
    pub(super) fn may_run(&self, id: &str, error: &Error) -> Result<bool> {
        if !is_running(self.pid, None)? {
            return Ok(false);
        }
        let error = error.find::<io::Error>().map(io::Error::kind);
        let nobody_listens = matches!(
            error,
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        );
        let arguments = || read_proc(&format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        Ok(!nobody_listens || arguments().ends_with(format!("\0{id}\0").as_bytes()))
    }

    /// Reads what the host's cgroups account for the sandbox. Nothing if runsc made none: then the process is in
    /// another one, or in the machine's root cgroup, whose values say nothing of it. runsc itself takes the CPU
    /// time of that cgroup, and on cgroup v2 always that of the parent.
    pub(super) fn on_the_host(&self, mounts: &Mounts) -> Result<SandboxCgroup> {
        match self.cgroups()? {
            Some(cgroups) => SandboxCgroup::read(mounts, &cgroups),
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
/// cannot be read or understood is left out.
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_process_that_got_the_number_of_a_sandbox_is_not_taken_for_it() {
        let mut sandbox = Command::new("cat");
        // What a sandbox has there, and a program that waits.
        sandbox.args(["-", "web"]).stdin(Stdio::piped());
        sandbox.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = sandbox.spawn().expect("it runs");
        // It has its arguments only some time after it was started.
        let (stdin, stdout) = (process.stdin.as_mut(), process.stdout.as_mut());
        stdin.expect("a pipe").write_all(b"x").expect("it reads");
        stdout
            .expect("a pipe")
            .read_exact(&mut [0])
            .expect("it copies");
        let sandbox = Sandbox {
            pid: process.id(),
            control_socket_path: None,
            cgroup: None,
        };
        let refused = |kind: io::ErrorKind| Error::from(io::Error::from(kind));
        let may_run = |id: &str, error: &Error| sandbox.may_run(id, error).expect("it runs");
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound] {
            assert!(may_run("web", &refused(kind)));
            assert!(!may_run("eb", &refused(kind)));
            assert!(!may_run("db", &refused(kind)));
        }
        // Somebody listens.
        assert!(may_run("db", &refused(io::ErrorKind::PermissionDenied)));
        assert!(may_run("db", &Error::new(ErrorKind::Source, "it is busy")));
        process.kill().expect("it runs");
        process.wait().expect("it ends");
        assert!(!may_run("web", &refused(io::ErrorKind::NotFound)));
    }
}
