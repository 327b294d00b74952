//! Live containers of containerd and Podman, as those start them and as they report them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use tests::{Eventout, PureV1, can_run, lock_machine, missing, run, wait_until};

const TOOLS: [&str; 6] = ["busybox", "conmon", "containerd", "crun", "podman", "runc"];

/// What runs in a container: two tasks, one of them busy.
const LOAD: &str = "sleep 1000 & while :; do :; done";

const LIMIT: u64 = 64 << 20;

/// A directory with a root filesystem of busybox, which goes when this does, and so do the cgroups of that name.
struct Place {
    name: String,
    directory: TempDir,
}

impl Place {
    fn new(engine: &str) -> Self {
        let name = format!("eventout-{engine}-{}", std::process::id());
        let directory = tempfile::tempdir().expect("a directory");
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).expect("a directory");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox is there");
        for tool in ["sh", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(tool)).expect("a link");
        }
        Self { name, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let hierarchies = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let hierarchies = hierarchies.map(|entry| entry.path());
        for hierarchy in hierarchies.chain(["/sys/fs/cgroup".into()]) {
            let cgroup = hierarchy.join(&self.name);
            // Podman's monitors end a while after the containers.
            for _ in 0..100 {
                let _ = fs::remove_dir(cgroup.join("conmon"));
                if !cgroup.exists() || fs::remove_dir(&cgroup).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// CPU time in nanoseconds, memory in bytes and its limit, and tasks.
#[derive(Debug)]
struct Usage {
    cpu: u64,
    memory: u64,
    limit: u64,
    pids: u64,
}

/// What eventout prints of a container without flags.
#[track_caller]
fn ours(container: &str) -> (String, Usage) {
    let event = Eventout::new().events([container]).stats().line();
    let value = |path: &str| event["data"].pointer(path).and_then(Value::as_u64);
    let usage = Usage {
        cpu: value("/cpu/usage/total").expect("a number"),
        memory: value("/memory/usage/usage").expect("a number"),
        limit: value("/memory/usage/limit").expect("a number"),
        pids: value("/pids/current").expect("a number"),
    };
    (event["id"].as_str().expect("a string").to_owned(), usage)
}

/// Checks what an engine reports against what eventout prints before and after. Memory may go up and down in between, so
/// that there are some tries.
#[track_caller]
fn check(id: &str, engine: impl Fn() -> Usage) {
    for attempt in 0.. {
        let ((_, before), theirs, (_, after)) = (ours(id), engine(), ours(id));
        let all = format!("{before:?} {theirs:?} {after:?}");
        assert!((before.cpu..=after.cpu).contains(&theirs.cpu), "{all}");
        assert_eq!((before.limit, theirs.limit), (LIMIT, LIMIT), "{all}");
        let memory = before.memory.min(after.memory)..=before.memory.max(after.memory);
        if memory.contains(&theirs.memory) && (before.pids, theirs.pids) == (2, 2) {
            return;
        }
        assert!(attempt < 20, "{all}");
    }
}

/// What `list` prints of a container.
fn listed(id: &str) -> Option<Value> {
    let mut all = Eventout::new().list().lines().into_iter();
    all.find(|listed| listed["id"] == id)
}

/// Checks what `list` prints of a container.
#[track_caller]
fn check_listed(id: &str, expected: &[(&str, Value)]) {
    let listed = listed(id).unwrap_or_else(|| panic!("{id} is not listed"));
    for (key, value) in expected {
        assert_eq!(&listed[key], value, "{key}: {listed}");
    }
    let started = listed["started"].as_u64().expect("a number");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.expect("the clock is set").as_nanos()).expect("it fits");
    assert!((now - 600_000_000_000..now).contains(&started), "{listed}");
    assert!(listed["network_namespace"].is_u64(), "{listed}");
}

/// Checks that a name means no container, or several.
#[track_caller]
fn refuses(name: &str, why: &str) {
    Eventout::new().events([name]).stats().fails(1).says(why);
}

/// A containerd with directories of its own, which goes when this does, with its containers.
struct Containerd {
    daemon: Child,
    containers: Vec<String>,
    place: Place,
    _v1: PureV1,
}

impl Containerd {
    fn start() -> Self {
        let v1 = PureV1::mount();
        let place = Place::new("containerd");
        let path = |name: &str| place.path(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{:?}, {:?}]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            "io.containerd.grpc.v1.cri",
            "io.containerd.internal.v1.opt",
            path("sock"),
            path("sock.ttrpc"),
        );
        fs::write(place.path("config.toml"), config).expect("it can be written");
        let log = fs::File::create(place.path("log")).expect("a file");
        let daemon = Command::new("containerd")
            .arg("--config")
            .arg(place.path("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs");
        let containerd = Self {
            daemon,
            containers: Vec::new(),
            place,
            _v1: v1,
        };
        wait_until("containerd serves", 60, || {
            let version = containerd.ctr().arg("version").output();
            version.expect("it runs").status.success()
        });
        containerd
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.place.path("sock"));
        command.args(["--namespace", &self.place.name]);
        command
    }

    fn run(&mut self, id: &str, runtime: &str, annotations: &[(&str, &str)]) {
        let mut command = self.ctr();
        command.args(["run", "--detach", "--rootfs", "--runc-binary", runtime]);
        command.args(["--memory-limit", &LIMIT.to_string()]);
        command.args(["--cpu-quota", "60000", "--cpu-period", "100000"]);
        for (name, value) in annotations {
            command.arg(format!("--annotation={name}={value}"));
        }
        command.arg(self.place.path("rootfs"));
        self.containers.push(id.to_owned());
        run(command.args([id, "/bin/sh", "-c", LOAD]));
    }

    /// What `ctr task metrics` prints.
    fn metrics(&self, id: &str) -> Usage {
        let metrics = run(self.ctr().args(["task", "metrics", "--format=json", id]));
        let metrics: Value = serde_json::from_str(&metrics).expect("it is JSON");
        let value = |path: &str| metrics.pointer(path).and_then(Value::as_u64);
        let v2 = || value("/cpu/usage_usec").map(|us| us * 1000);
        Usage {
            cpu: value("/cpu/usage/total").or_else(v2).expect("a number"),
            memory: value("/memory/usage/usage")
                .or_else(|| value("/memory/usage"))
                .expect("a number"),
            limit: value("/memory/usage/limit")
                .or_else(|| value("/memory/usage_limit"))
                .expect("a number"),
            pids: value("/pids/current").expect("a number"),
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in &self.containers {
            let _ = self.ctr().args(["task", "rm", "--force", id]).output();
            let _ = self.ctr().args(["container", "rm", id]).output();
        }
        // Its own end, so that shims and mounts don't stay.
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.daemon.wait();
        for shared in ["runc", "fifo"] {
            let directory = Path::new("/run/containerd").join(shared);
            let _ = fs::remove_dir(directory.join(&self.place.name));
        }
    }
}

#[test]
#[ignore = "starts containerd and containers: tests/run runs it"]
fn containers_of_containerd_are_found_and_named_and_have_its_values() {
    if !can_run(&missing(&TOOLS)) {
        return;
    }
    let _machine = lock_machine();
    let mut containerd = Containerd::start();
    let pid = std::process::id();
    let (pod, name) = (format!("pod-{pid}"), format!("web-{pid}"));
    let image = "docker.io/library/busybox:1";
    for runtime in ["runc", "crun"] {
        // As long as those that Kubernetes makes.
        let id = format!("{runtime}{pid:0>60}");
        containerd.run(
            &id,
            runtime,
            &[
                ("io.kubernetes.cri.container-type", "container"),
                ("io.kubernetes.cri.container-name", &name),
                (
                    "io.kubernetes.cri.sandbox-name",
                    &format!("{pod}-{runtime}"),
                ),
                ("io.kubernetes.cri.sandbox-namespace", "shop"),
                ("io.kubernetes.cri.image-name", image),
            ],
        );
        check(&id, || containerd.metrics(&id));
        let directory = &containerd.place.name;
        check_listed(
            &id,
            &[
                (
                    "source",
                    format!("{runtime}:/run/containerd/runc/{directory}").into(),
                ),
                ("runtime", runtime.into()),
                ("name", name.as_str().into()),
                ("pod", format!("{pod}-{runtime}").into()),
                ("namespace", "shop".into()),
                ("image", image.into()),
                ("status", "running".into()),
                ("cpu_quota", 60_000.into()),
                ("cpu_period", 100_000.into()),
                ("cgroup", format!("/{directory}/{id}").into()),
            ],
        );
        // By its names, and by the beginning of its ID.
        for short in [&format!("{pod}-{runtime}/{name}"), &id[..62]] {
            assert_eq!(ours(short).0, id);
        }
    }
    refuses(&name, "is the name of 2 containers");

    let id = containerd.containers[0].clone();
    run(containerd.ctr().args(["task", "pause", &id]));
    check_listed(&id, &[("status", "paused".into())]);
    run(containerd.ctr().args(["task", "resume", &id]));
    check_listed(&id, &[("status", "running".into())]);
    drop(containerd);
    assert_eq!(listed(&id), None);
}

/// Podman with storage of its own, which goes when this does, with its containers.
struct Podman {
    containers: Vec<String>,
    place: Place,
    _v1: PureV1,
}

impl Podman {
    fn new() -> Self {
        Self {
            _v1: PureV1::mount(),
            containers: Vec::new(),
            place: Place::new("podman"),
        }
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        let path = |name| self.place.path(name);
        command.arg("--root").arg(path("storage"));
        command.arg("--runroot").arg(path("run"));
        command.arg("--tmpdir").arg(path("tmp"));
        command.args(["--cgroup-manager=cgroupfs", "--events-backend=none"]);
        command
    }

    /// Starts a container, and returns its ID.
    fn run(&mut self, runtime: &str, name: &str) -> String {
        let mut command = self.podman();
        command.args(["--runtime", runtime, "run", "--detach", "--name", name]);
        command.args(["--network=none", "--cpus=0.6", "--cgroup-parent"]);
        command.arg(format!("/{}", self.place.name));
        command.arg(format!("--memory={LIMIT}"));
        // By default, it asks for more than a container of its own may have.
        command.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
        command.arg("--rootfs").arg(self.place.path("rootfs"));
        self.containers.push(name.to_owned());
        run(command.args(["/bin/sh", "-c", LOAD])).trim().to_owned()
    }

    /// What `podman stats` prints.
    fn stats(&self, name: &str) -> Usage {
        // As JSON, it rounds.
        let format = "[{{.CPUNano}},{{.ContainerStats.MemUsage}},{{.ContainerStats.MemLimit}},\
            {{.ContainerStats.PIDs}}]";
        let mut command = self.podman();
        let stats = run(command.args(["stats", "--no-stream", "--format", format, name]));
        let stats: [u64; 4] = serde_json::from_str(&stats).expect("they are numbers");
        let [cpu, memory, limit, pids] = stats;
        Usage {
            cpu,
            memory,
            limit,
            pids,
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for name in &self.containers {
            let _ = self
                .podman()
                .args(["rm", "--force", "--time=0", name])
                .output();
        }
        // Mounts in the storage.
        let _ = self.podman().args(["unmount", "--all"]).output();
        let overlay = self.place.path("storage/overlay");
        let _ = Command::new("umount").arg(overlay).output();
    }
}

#[test]
#[ignore = "starts containers of Podman: tests/run runs it"]
fn containers_of_podman_are_found_and_have_its_values() {
    if !can_run(&missing(&TOOLS)) {
        return;
    }
    let _machine = lock_machine();
    let mut podman = Podman::new();
    for runtime in ["runc", "crun"] {
        let name = format!("eventout-{runtime}-{}", std::process::id());
        let id = podman.run(runtime, &name);
        assert_eq!(id.len(), 64);
        check(&id, || podman.stats(&name));
        let parent = &podman.place.name;
        check_listed(
            &id,
            &[
                ("source", format!("{runtime}:/run/{runtime}").into()),
                ("runtime", runtime.into()),
                // Podman has it in its own storage alone.
                ("name", Value::Null),
                ("status", "running".into()),
                ("cpu_quota", 60_000.into()),
                ("cgroup", format!("/{parent}/libpod-{id}").into()),
            ],
        );
        assert_eq!(ours(&id[..12]).0, id);

        let first = listed(&id).expect("it is listed");
        run(podman.podman().args(["pause", &name]));
        check_listed(&id, &[("status", "paused".into())]);
        run(podman.podman().args(["unpause", &name]));
        // One that was started again is another one.
        run(podman.podman().args(["restart", "--time=0", &name]));
        check(&id, || podman.stats(&name));
        let second = listed(&id).expect("it is listed");
        let started = |listed: &Value| listed["started"].as_u64().expect("a number");
        assert!(started(&first) < started(&second), "{first} {second}");
    }
}
