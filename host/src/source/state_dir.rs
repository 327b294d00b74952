//! The state directories of runtimes.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::gvisor::StateFile;

/// A runtime with a format of state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuntimeKind {
    Runc,
    Crun,
    Gvisor,
}

impl RuntimeKind {
    /// Returns the name that `--source` has for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Gvisor => "gvisor",
        }
    }

    /// Returns the name of its own state directory.
    fn dir_name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Gvisor => "runsc",
        }
    }
}

/// A state directory of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateDir {
    pub(super) kind: RuntimeKind,
    pub(super) root: PathBuf,
}

impl StateDir {
    /// Returns the name that `--source` has for it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.kind.name(), self.root.display())
    }

    /// Returns the state file of a container, which is a pattern in the case of gVisor: the sandbox's ID is part
    /// of it.
    pub(super) fn state_file(&self, id: &str) -> PathBuf {
        match self.kind {
            RuntimeKind::Runc => self.root.join(id).join("state.json"),
            RuntimeKind::Crun => self.root.join(id).join("status"),
            RuntimeKind::Gvisor => self.root.join(format!("{id}_sandbox:*.state")),
        }
    }

    /// Returns the containers in it, in order. `is_known` saves looking for the state files of IDs that are known to be
    /// containers.
    pub(super) fn containers(&self, is_known: impl Fn(&str) -> bool) -> io::Result<Vec<StateFile>> {
        if self.kind == RuntimeKind::Gvisor {
            return StateFile::all(&self.root);
        }
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            ids.extend(entry?.file_name().into_string());
        }
        ids.retain(|id| is_known(id) || self.state_file(id).exists());
        ids.sort();
        let alone = |id: String| StateFile {
            sandbox: id.clone(),
            id,
        };
        Ok(ids.into_iter().map(alone).collect())
    }

    /// Returns the directories in which a runtime of that kind keeps its state when it is called by hand, by
    /// Docker, by containerd, or by Podman and CRI-O, which leave it where it is.
    pub(super) fn all(kind: RuntimeKind) -> Vec<Self> {
        let run = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::all_in(
            kind,
            Path::new("/"),
            run.filter(|run| run.is_absolute()).as_deref(),
        )
    }

    fn all_in(kind: RuntimeKind, root: &Path, user: Option<&Path>) -> Vec<Self> {
        let system = root.join("run");
        let mut roots = vec![system.join(kind.dir_name())];
        roots.push(root.join("var/run").join(kind.dir_name()));
        let runs = [Some(system.as_path()), user];
        for run in runs.into_iter().flatten() {
            roots.push(run.join(kind.dir_name()));
            // Docker and containerd put whatever runtime they use there: the kind of the state tells which.
            let runtimes = subdirectories(&run.join("docker"));
            let runtimes = runtimes.into_iter().filter(|dir| {
                let name = dir.file_name().unwrap_or_default();
                name.as_encoded_bytes().starts_with(b"runtime-")
            });
            roots.extend(runtimes.map(|dir| dir.join("moby")));
            // A directory for each of containerd's namespaces, such as k8s.io.
            for shim in ["runc", "runsc", "crun"] {
                roots.extend(subdirectories(&run.join("containerd").join(shim)));
            }
        }
        // /var/run is a link to /run almost everywhere, and there may be other links.
        let mut seen = HashSet::new();
        let default = roots[0].clone();
        roots.retain(|root| match fs::metadata(root) {
            Ok(metadata) => metadata.is_dir() && seen.insert((metadata.dev(), metadata.ino())),
            // Others' directories may be ones that cannot be looked into.
            Err(e) => e.kind() == io::ErrorKind::PermissionDenied,
        });
        if roots.is_empty() {
            roots.push(default);
        }
        roots.dedup();
        let roots = roots.into_iter();
        roots.map(|root| Self { kind, root }).collect()
    }
}

/// Returns the directories in a directory, in order. If it cannot be read, there is no such manager, or it is
/// not for this user.
fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<_> = entries.map(|entry| entry.path()).collect();
    dirs.sort();
    dirs
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_usual_state_directories_are_each_found_once() {
        let test = tempdir().expect("a directory");
        let mkdir = |path: &str| fs::create_dir_all(test.path().join(path)).expect("a directory");
        for path in [
            "run/runc",
            "run/docker/runtime-runc/moby",
            "run/docker/runtime-runsc/moby",
            "run/docker/plugins",
            "run/containerd/runc/k8s.io",
            "run/containerd/runsc/k8s.io",
            "run/user/0/runsc",
            "run/user/0/docker/runtime-runc/moby",
            "var",
        ] {
            mkdir(path);
        }
        symlink("../run", test.path().join("var/run")).expect("a link");
        let link = test.path().join("run/containerd/runc/link");
        symlink("../../docker/runtime-runc/moby", link).expect("a link");
        let user = test.path().join("run/user/0");
        let all = |kind| -> Vec<String> {
            let all = StateDir::all_in(kind, test.path(), Some(&user)).into_iter();
            let path = |dir: StateDir| {
                dir.root
                    .strip_prefix(test.path())
                    .map(|p| p.display().to_string())
            };
            all.map(|dir| path(dir).expect("it is in there")).collect()
        };
        let managers = [
            "run/docker/runtime-runc/moby",
            "run/docker/runtime-runsc/moby",
            "run/containerd/runc/k8s.io",
            "run/containerd/runsc/k8s.io",
        ];
        let rootless = "run/user/0/docker/runtime-runc/moby";
        assert_eq!(
            all(RuntimeKind::Runc),
            [&["run/runc"][..], &managers, &[rootless]].concat()
        );
        assert_eq!(
            all(RuntimeKind::Gvisor),
            [&managers[..], &["run/user/0/runsc", rootless]].concat()
        );
        let none = StateDir::all_in(RuntimeKind::Crun, &test.path().join("var/none"), None);
        assert_eq!(none.len(), 1);
    }
}
