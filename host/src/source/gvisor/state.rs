//! State files of runsc: one for each container.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Context as _, Error, Result};
use crate::linux::cgroup::OfProcess;
use crate::linux::file::read_text;
use crate::linux::mountinfo::Mounts;

/// A container that runsc has a state file of: its ID, and that of its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) struct Known {
    pub(in crate::source) id: String,
    pub(in crate::source) sandbox: String,
}

impl Known {
    /// All of them in one of runsc's root folders, in order.
    pub(in crate::source) fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(root)? {
            all.extend(entry?.file_name().to_str().and_then(Self::parse));
        }
        all.sort();
        Ok(all)
    }

    /// The name of a state file, `ID_sandbox:SANDBOX.state`.
    fn parse(name: &str) -> Option<Self> {
        let (id, sandbox) = name.strip_suffix(".state")?.rsplit_once("_sandbox:")?;
        (!id.is_empty() && !sandbox.is_empty()).then(|| Self {
            id: id.to_owned(),
            sandbox: sandbox.to_owned(),
        })
    }

    pub(in crate::source) fn state_file(&self, root: &Path) -> PathBuf {
        root.join(format!("{}_sandbox:{}.state", self.id, self.sandbox))
    }
}

/// What is of use here in a state file (runsc/sandbox `Sandbox`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sandbox {
    pub(super) pid: u32,
    /// Absent in old versions. It is relative, to who knows what, where runsc's root folder was.
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
        let state: State = read_text(file)
            .map_err(Error::from)
            .and_then(|text| serde_json::from_str(&text).context("not a state of runsc"))
            .with_context(|| file.display().to_string())?;
        Ok(state.sandbox)
    }

    /// What the host's cgroups say of the sandbox. Nothing where runsc made none: then the process is in
    /// somebody else's group, or in the machine's root group, whose figures say nothing of it. runsc itself
    /// takes the CPU time of that group, and on cgroup v2 always that of the parent group.
    pub(super) fn on_the_host(&self) -> Result<OfProcess> {
        let made = |kind| {
            self.cgroup
                .as_ref()
                .is_some_and(|c| matches!(c.get(kind), Some(Some(_))))
        };
        if !made("cgroupv1") && !made("cgroupv2") {
            return Ok(OfProcess::default());
        }
        let path = format!("/proc/{}/cgroup", self.pid);
        let cgroups = read_text(Path::new(&path)).with_context(|| path)?;
        OfProcess::read(&Mounts::of_this_process()?, &cgroups)
    }
}
