//! Containers of runc and crun.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Eventout, detach, run, wait_until};

/// The load of [`Container::start`]: 20 MiB in memory, four tasks, one of them busy.
pub const LOAD: &str = "dd if=/dev/zero of=/tmp/file bs=1M count=20 2>/dev/null
sleep 1000 & sleep 1000 & sleep 1000 &
while :; do :; done";
pub const TASKS: u64 = 4;
const MEMORY: u64 = 20 << 20;

/// A container, which is deleted when this is dropped.
pub struct Container {
    runtime: &'static str,
    /// The runtime's state directory; the usual one if it is `None`.
    state: Option<PathBuf>,
    /// The bundle.
    directory: TempDir,
    pub id: String,
}

impl Container {
    /// Starts a container with the load, 128 MiB of memory and 50 tasks at most.
    pub fn start(runtime: &'static str, state: Option<&Path>, id: &str) -> Self {
        let container = Self::run(runtime, state, id, LOAD, |spec, _| {
            spec["linux"]["resources"]["memory"] = json!({"limit": 128 << 20});
            spec["linux"]["resources"]["pids"] = json!({"limit": 50});
        });
        wait_until("the load is up", 60, || {
            container.read("pids.current") == TASKS && container.memory() > MEMORY
        });
        container
    }

    /// Starts a container that runs `script`, with the spec as `change` changes it, which also gets the directory
    /// of the bundle.
    pub fn run(
        runtime: &'static str,
        state: Option<&Path>,
        id: &str,
        script: &str,
        change: impl FnOnce(&mut Value, &Path),
    ) -> Self {
        let container = Self {
            runtime,
            state: state.map(Path::to_owned),
            directory: tempfile::tempdir().expect("a directory"),
            id: format!("eventout-{}-{id}", std::process::id()),
        };
        let directory = container.directory.path();
        tests::bundle(Path::new(runtime), directory, script, |spec| {
            mount(
                spec,
                json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
            );
            spec["linux"]["cgroupsPath"] = format!("/{}", container.id).into();
            change(spec, directory);
        });
        let mut command = container.runtime();
        command
            .args(["run", "--detach", "--bundle"])
            .args([directory.as_os_str(), container.id.as_ref()]);
        detach(&mut command, directory);
        container
    }

    /// Returns the directory of the bundle.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns its first process, on the host.
    pub fn pid(&self) -> String {
        let state = run(self.runtime().args(["state", &self.id]));
        let state: Value = serde_json::from_str(&state).expect("it is JSON");
        state["pid"].to_string()
    }

    /// A command of the runtime.
    pub fn runtime(&self) -> Command {
        let mut command = Command::new(self.runtime);
        if let Some(state) = &self.state {
            command.arg("--root").arg(state);
        }
        command
    }

    /// Returns the source that has the container.
    pub fn source(&self) -> String {
        match &self.state {
            Some(state) => format!("{}:{}", self.runtime, state.display()),
            None => self.runtime.to_owned(),
        }
    }

    /// A call for a stream of its events.
    pub fn events(&self) -> Eventout {
        Eventout::new().source(self.source()).events([&self.id])
    }

    /// Returns the directory of its cgroup with that controller, according to the kernel.
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()));
        cgroup_directory(&cgroups.expect("it runs"), controller)
    }

    /// Returns the directory of the cgroup above its own.
    pub fn parent_cgroup(&self) -> PathBuf {
        let cgroup = self.cgroup("memory");
        cgroup.parent().expect("it is not the root").to_owned()
    }

    /// Returns the number in an interface file.
    pub fn read(&self, file: &str) -> u64 {
        let (controller, _) = file.split_once('.').expect("it begins with the controller");
        read_number(&self.cgroup(controller).join(file)).expect("a number")
    }

    /// Returns its memory in bytes.
    pub fn memory(&self) -> u64 {
        let directory = self.cgroup("memory");
        let v1 = read_number(&directory.join("memory.usage_in_bytes"));
        v1.or_else(|| read_number(&directory.join("memory.current")))
            .expect("a number")
    }

    /// Returns its CPU time in nanoseconds.
    pub fn cpu(&self) -> u64 {
        cpu(&self.cgroup("cpuacct"))
    }

    /// Creates it anew, once it is deleted.
    pub fn create(&self) {
        let mut command = self.runtime();
        command
            .args(["create", "--bundle"])
            .args([self.directory().as_os_str(), self.id.as_ref()]);
        detach(&mut command, self.directory());
    }

    /// Kills it, and waits for its end.
    pub fn kill(&self) {
        run(self.runtime().args(["kill", &self.id, "KILL"]));
        wait_until("it has stopped", 30, || {
            run(self.runtime().args(["state", &self.id])).contains("\"stopped\"")
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut delete = self.runtime();
        let _ = delete.args(["delete", "--force", &self.id]).output();
    }
}

/// Adds a mount to a spec.
pub fn mount(spec: &mut Value, mount: Value) {
    let mounts = spec["mounts"].as_array_mut();
    mounts.expect("it has mounts").push(mount);
}

/// Mounts a directory of the bundle in its container, at /disk.
pub fn mount_disk(spec: &mut Value, bundle: &Path) {
    let source = bundle.join("disk");
    fs::create_dir(&source).expect("a directory");
    let options = ["bind", "rw"];
    let disk =
        json!({"destination": "/disk", "type": "bind", "source": source, "options": options});
    mount(spec, disk);
}

/// Returns the directory of a cgroup, from the text of a /proc/PID/cgroup.
fn cgroup_directory(cgroups: &str, controller: &str) -> PathBuf {
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = fields.next().zip(fields.next()).expect("three fields");
        if controllers.split(',').any(|other| other == controller) {
            return PathBuf::from(format!("/sys/fs/cgroup/{controllers}{path}"));
        }
        let v2 = PathBuf::from(format!("/sys/fs/cgroup{path}"));
        if controllers.is_empty() && v2.join("cgroup.controllers").exists() {
            return v2;
        }
    }
    panic!("no {controller} in {cgroups}");
}

/// Returns the number in a file. `None` if there is no such file, or another text.
pub fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Returns the CPU time of the cgroup in `directory`, in nanoseconds.
pub fn cpu(directory: &Path) -> u64 {
    read_number(&directory.join("cpuacct.usage")).unwrap_or_else(|| {
        let stat = fs::read_to_string(directory.join("cpu.stat")).expect("it exists");
        let mut lines = stat.lines();
        let usec = lines.find_map(|line| line.strip_prefix("usage_usec "));
        usec.and_then(|usec| usec.parse::<u64>().ok())
            .expect("a number")
            * 1000
    })
}
