//! Live containers of runc and crun, and a live cgroup, against their interface files.

mod vm;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    PureV1, between, can_run, detach, eventout, judge, missing, printed, program, run, scratch,
    wait_until,
};

/// The tests have the machine's hierarchies to themselves, one after the other.
static MACHINE: Mutex<()> = Mutex::new(());

/// What runs in a container: 20 MiB in memory, four tasks, one of them busy.
const LOAD: &str = "dd if=/dev/zero of=/tmp/file bs=1M count=20 2>/dev/null
sleep 1000 & sleep 1000 & sleep 1000 &
while :; do :; done";
const TASKS: u64 = 4;
const MEMORY: u64 = 20 << 20;

/// A container, which goes when this does.
struct Container {
    runtime: &'static str,
    /// The runtime's state directory; the usual one where it is `None`.
    state: Option<PathBuf>,
    directory: PathBuf,
    id: String,
}

impl Container {
    /// A container with the load.
    fn start(runtime: &'static str, state: Option<&Path>, id: &str) -> Self {
        let container = Self::run(runtime, state, id, LOAD, |spec, _| {
            spec["linux"]["resources"]["memory"] = json!({"limit": 128 << 20});
            spec["linux"]["resources"]["pids"] = json!({"limit": 50});
        });
        wait_until("the load is up", 60, || {
            container.read("pids.current") == TASKS && container.memory() > MEMORY
        });
        container
    }

    /// A container that runs `script`, with the spec as `change` changes it, who also gets the directory of the
    /// bundle.
    fn run(
        runtime: &'static str,
        state: Option<&Path>,
        id: &str,
        script: &str,
        change: impl FnOnce(&mut Value, &Path),
    ) -> Self {
        let id = format!("eventout-{}-{id}", std::process::id());
        let directory = scratch(&format!("{runtime}-{id}"));
        let container = Self {
            runtime,
            state: state.map(Path::to_owned),
            directory,
            id,
        };
        tests::bundle(Path::new(runtime), &container.directory, script, |spec| {
            mount(
                spec,
                json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
            );
            spec["linux"]["cgroupsPath"] = format!("/{}", container.id).into();
            change(spec, &container.directory);
        });
        let mut command = container.runtime();
        command
            .args(["run", "--detach", "--bundle"])
            .args([container.directory.as_os_str(), container.id.as_ref()]);
        detach(&mut command, &container.directory);
        container
    }

    /// Its first process, on the host.
    fn pid(&self) -> String {
        let state = run(self.runtime().args(["state", &self.id]));
        let state: Value = serde_json::from_str(&state).expect("it is JSON");
        state["pid"].to_string()
    }

    fn runtime(&self) -> Command {
        let mut command = Command::new(self.runtime);
        if let Some(state) = &self.state {
            command.arg("--root").arg(state);
        }
        command
    }

    /// What `--source` calls where it is.
    fn source(&self) -> String {
        match &self.state {
            Some(state) => format!("{}:{}", self.runtime, state.display()),
            None => self.runtime.to_owned(),
        }
    }

    /// The directory of its cgroup with that controller, by the account of the kernel.
    fn cgroup(&self, controller: &str) -> PathBuf {
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()));
        cgroup_directory(&cgroups.expect("it runs"), controller)
    }

    /// The number in an interface file.
    fn read(&self, file: &str) -> u64 {
        let (controller, _) = file.split_once('.').expect("it begins with the controller");
        read_number(&self.cgroup(controller).join(file)).expect("it is a number")
    }

    fn memory(&self) -> u64 {
        let directory = self.cgroup("memory");
        let v1 = read_number(&directory.join("memory.usage_in_bytes"));
        v1.or_else(|| read_number(&directory.join("memory.current")))
            .expect("it is a number")
    }

    /// In nanoseconds.
    fn cpu(&self) -> u64 {
        cpu(&self.cgroup("cpuacct"))
    }

    fn kill(&self) {
        run(self.runtime().args(["kill", &self.id, "KILL"]));
        wait_until("it has stopped", 30, || {
            run(self.runtime().args(["state", &self.id])).contains("\"stopped\"")
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self
            .runtime()
            .args(["delete", "--force", &self.id])
            .output();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The directory of a group, from the text of a /proc/PID/cgroup.
fn cgroup_directory(cgroups: &str, controller: &str) -> PathBuf {
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (
            fields.next().expect("a field"),
            fields.next().expect("a field"),
        );
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

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The CPU time of the group in `directory`, in nanoseconds.
fn cpu(directory: &Path) -> u64 {
    read_number(&directory.join("cpuacct.usage")).unwrap_or_else(|| {
        let stat = fs::read_to_string(directory.join("cpu.stat")).expect("it is there");
        let usec = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        usec.and_then(|usec| usec.parse::<u64>().ok())
            .expect("it is a number")
            * 1000
    })
}

/// The values of one line: pids, memory in bytes, CPU in nanoseconds.
fn usage_of(line: &str) -> (u64, u64, u64) {
    let event: Value = serde_json::from_str(line).expect("it is JSON");
    let number = |path: &str| event["data"].pointer(path).and_then(Value::as_u64);
    let (pids, memory) = (number("/pids/current"), number("/memory/usage/usage"));
    let cpu = number("/cpu/usage/total");
    let all = pids.zip(memory).zip(cpu);
    let ((pids, memory), cpu) = all.unwrap_or_else(|| panic!("{line}"));
    (pids, memory, cpu)
}

/// Checks a line against the interface files before and after it. Memory can go up and down in between,
/// so that there are some tries.
fn check(container: &Container, args: &[&str]) {
    for attempt in 0.. {
        let before = (container.memory(), container.cpu());
        let output = eventout(args);
        let after = (container.memory(), container.cpu());
        let line = printed(&output);
        let (pids, memory, cpu) = usage_of(line);
        assert_eq!(line.lines().count(), 1);
        assert_eq!(pids, container.read("pids.current"));
        assert_eq!(pids, TASKS);
        assert!(
            (before.1..=after.1).contains(&cpu),
            "{before:?} {cpu} {after:?}"
        );
        let event: Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!(event["data"]["memory"]["usage"]["limit"], 128 << 20);
        assert_eq!(event["data"]["pids"]["limit"], 50);
        let between = before.0.min(after.0)..=before.0.max(after.0);
        if between.contains(&memory) {
            return;
        }
        assert!(attempt < 20, "{before:?} {memory} {after:?}");
    }
}

/// Starts a stream and reads its first line.
fn stream(args: &[&str]) -> (Child, BufReader<impl std::io::Read + use<>>) {
    let mut child = program()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("it prints");
    usage_of(&line);
    (child, lines)
}

fn live(runtime: &'static str) {
    let state = scratch(&format!("{runtime}-state"));
    let container = Container::start(runtime, Some(&state), "load");
    let (source, id) = (container.source(), container.id.as_str());

    check(&container, &["--source", &source, "events", "--stats", id]);

    // The same group without the runtime.
    let memory = container.cgroup("memory");
    let parent = memory.parent().expect("it has one").display().to_string();
    let parent = format!("cgroup:{parent}");
    check(&container, &["--source", &parent, "events", "--stats", id]);

    // jq and a strict decoder accept the line.
    let line = eventout(["--source", &source, "events", "--stats", id]);
    let accepts = |command: &mut Command| {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(&line.stdout).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{command:?}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    };
    let jq = accepts(Command::new("jq").args(["-r", ".id"]));
    assert_eq!(jq.trim(), id);
    if let Some(judge) = judge() {
        assert_eq!(accepts(Command::new(judge).arg("check-runc")).trim(), "1");
    }

    let listed = eventout(["--source", &source, "list"]);
    let listed: Value = serde_json::from_str(printed(&listed)).expect("it is one line");
    for (key, value) in [("id", id), ("sandbox", id), ("source", &source)] {
        assert_eq!(listed[key], value, "{listed}");
    }

    // A recording plays back.
    let recording = state.join("recording.jsonl");
    let recorded = eventout(["--source", &source, "record", "--stats", id]);
    fs::write(&recording, printed(&recorded)).expect("it can be written");
    let replay = format!("scenario:{}", recording.display());
    let (pids, ..) = usage_of(printed(&eventout([
        "--source", &replay, "events", "--stats", id,
    ])));
    assert_eq!(pids, TASKS);

    // A stream goes on while the container does, and ends when it stops.
    let (child, mut lines) = stream(&["--source", &source, "events", "--interval", "50ms", id]);
    let mut cpu = Vec::new();
    for _ in 0..5 {
        let mut line = String::new();
        lines.read_line(&mut line).expect("it prints");
        cpu.push(usage_of(&line).2);
    }
    assert!(
        cpu.is_sorted_by(|earlier, later| earlier < later),
        "{cpu:?}"
    );
    container.kill();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));

    // It is still known, and not running.
    let output = eventout(["--source", &source, "events", "--stats", id]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("it is not running"), "{stderr}");
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_runc_container_is_as_its_interface_files_say() {
    if can_run(&missing(&["runc", "busybox", "jq"])) {
        let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
        live("runc");
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_crun_container_is_as_its_interface_files_say() {
    if can_run(&missing(&["crun", "busybox", "jq"])) {
        let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
        let _v1 = PureV1::mount();
        live("crun");
    }
}

/// What `list` prints of a container that was given annotations, as containerd's CRI plugin makes them, and limits; in
/// each of its states.
fn details(runtime: &'static str) {
    let annotations = json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.sandbox-name": "pod",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.image-name": "docker.io/library/busybox:1",
    });
    let state = scratch(&format!("{runtime}-details-state"));
    let container = Container::run(runtime, Some(&state), "details", "sleep 1000", |spec, _| {
        spec["annotations"] = annotations.clone();
        let cpu = json!({"quota": 30_000, "period": 100_000, "shares": 512});
        spec["linux"]["resources"]["cpu"] = cpu;
    });
    let (source, id) = (container.source(), container.id.as_str());
    let list = || {
        let listed = eventout(["--source", &source, "list"]);
        let listed: Value = serde_json::from_str(printed(&listed)).expect("it is one line");
        listed
    };
    let namespace = fs::metadata(format!("/proc/{}/ns/net", container.pid()));
    let listed = list();
    let created = run(container.runtime().args(["state", id]));
    let created: Value = serde_json::from_str(&created).expect("it is JSON");
    let created = created["created"].as_str().expect("a string");
    let date = run(Command::new("date").args(["--date", created, "+%s%N"]));
    let expected = json!({
        "id": id,
        "sandbox": id,
        "source": source,
        "runtime": runtime,
        "name": "web",
        "pod": "pod",
        "namespace": "shop",
        "image": "docker.io/library/busybox:1",
        "annotations": annotations,
        "status": "running",
        "started": date.trim().parse::<u64>().expect("a number"),
        "cpu_quota": 30_000,
        "cpu_period": 100_000,
        "cpu_shares": 512,
        "cgroup": format!("/{id}"),
        "network_namespace": namespace.expect("it runs").ino(),
    });
    assert_eq!(listed, expected);

    for name in ["web", "pod/web", &id[..id.len() - 1]] {
        let line = eventout(["--source", &source, "events", "--stats", name]);
        let line: Value = serde_json::from_str(printed(&line)).expect("it is one line");
        assert_eq!(line["id"], id, "{name}");
    }

    // Other limits, and all states.
    run(container.runtime().args([
        "update",
        "--cpu-quota",
        "40000",
        "--cpu-period",
        "100000",
        id,
    ]));
    run(container.runtime().args(["pause", id]));
    let listed = list();
    assert_eq!(
        (&listed["status"], &listed["cpu_quota"]),
        (&json!("paused"), &json!(40_000))
    );
    run(container.runtime().args(["resume", id]));
    assert_eq!(list()["status"], "running");
    container.kill();
    let listed = list();
    assert_eq!(
        (&listed["status"], &listed["name"]),
        (&json!("stopped"), &json!("web"))
    );
    run(container.runtime().args(["delete", id]));
    let mut create = container.runtime();
    create
        .args(["create", "--bundle"])
        .args([container.directory.as_os_str(), id.as_ref()]);
    detach(&mut create, &container.directory);
    assert_eq!(list()["status"], "created");
    run(container.runtime().args(["start", id]));
    let again = list();
    assert_eq!(again["status"], "running");
    // It is another one.
    let started = |listed: &Value| listed["started"].as_u64().expect("a number");
    assert!(started(&listed) < started(&again), "{listed} {again}");
    drop(container);
    let _ = fs::remove_dir_all(&state);
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn containers_have_the_details_that_runtimes_were_given() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let _v1 = PureV1::mount();
    details("runc");
    details("crun");
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn without_a_source_the_runtime_that_knows_the_container_is_found() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let _v1 = PureV1::mount();
    let runc = Container::start("runc", None, "same");
    check(&runc, &["events", "--stats", &runc.id]);
    let listed = eventout(["list"]);
    let line = json!({"id": runc.id, "sandbox": runc.id, "source": "runc:/run/runc"}).to_string();
    let line = line.trim_end_matches('}');
    assert!(
        printed(&listed)
            .lines()
            .any(|listed| listed.starts_with(line)),
        "{listed:?}"
    );

    let crun = Container::start("crun", None, "other");
    check(&crun, &["events", "--stats", &crun.id]);

    // Two runtimes that know the same ID: neither is taken for the other.
    let copy = Path::new("/run/crun").join(&runc.id);
    fs::create_dir_all(&copy).expect("a directory");
    fs::copy(
        Path::new("/run/crun").join(&crun.id).join("status"),
        copy.join("status"),
    )
    .expect("crun's state is there");
    let output = eventout(["events", "--stats", &runc.id]);
    fs::remove_dir_all(&copy).expect("it goes");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("--source runc:/run/runc or crun:/run/crun"),
        "{stderr}"
    );
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn top_shows_the_cpu_time_and_the_throttling_that_the_kernel_counts() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let state = scratch("top-state");
    let container = Container::run("runc", Some(&state), "top", LOAD, |spec, _| {
        // So little of a core that the load gets it on a busy machine, too.
        spec["linux"]["resources"]["cpu"] = json!({"quota": 5_000, "period": 100_000});
    });
    let stat = |name: &str| {
        let stat = container.cgroup("cpu").join("cpu.stat");
        let stat = fs::read_to_string(stat).expect("it is there");
        let value = stat.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.trim().parse::<u64>().ok());
        value.expect("it is a number") as f64
    };
    let read = || {
        let cpu = container.cpu() as f64;
        (cpu, stat("nr_periods "), stat("nr_throttled "))
    };
    wait_until("it is throttled", 60, || read().2 > 0.0);
    let source = container.source();
    let args = ["--source", &source, "top", "--once", "--interval", "4s"];
    let (begin, before) = (Instant::now(), read());
    let output = eventout(args.iter().chain(&["--format", "json"]));
    let (took, after) = (begin.elapsed(), read());
    let row: Value = serde_json::from_str(printed(&output)).expect("one line");
    let value = |name: &str| {
        row[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {row}"))
    };

    let used = value("cpu_percent") / 100.0 * value("interval_ns");
    // The load may have begun a little later, but not used more; a percent is rounded.
    let most = after.0 - before.0;
    assert!(used <= most + 1e6, "{used} {most}: {row}");
    let percent = most / took.as_nanos() as f64 * 100.0;
    let close = |ours: f64, kernel: f64, by: f64| {
        assert!((ours - kernel).abs() < by, "{ours} {kernel}: {row}");
    };
    close(value("cpu_percent"), percent, 1.5);
    assert!(value("cpu_percent") < 8.0, "{row}");
    let throttled = (after.2 - before.2) / (after.1 - before.1) * 100.0;
    close(value("throttled_percent"), throttled, 20.0);
    assert!((before.0..=after.0).contains(&value("cpu_ns")), "{row}");
}

/// A group with a process in it, in each hierarchy, which goes when this does.
struct Group {
    directories: BTreeMap<&'static str, PathBuf>,
    process: Child,
}

impl Group {
    fn new() -> Self {
        let name = format!("eventout-tests-{}", std::process::id());
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        if v2 {
            let control = "/sys/fs/cgroup/cgroup.subtree_control";
            fs::write(control, "+cpu +memory +pids").expect("the controllers are there");
        }
        // What it takes before it is in the group is charged elsewhere.
        let load = r"read go; x=$(head -c 3000000 /dev/zero | tr '\0' x); while :; do :; done";
        let mut process = Command::new("sh")
            .args(["-c", load])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let directories = ["memory", "pids", "cpuacct"].map(|controller| {
            let root = if v2 {
                String::new()
            } else {
                format!("/{controller}")
            };
            let directory = PathBuf::from(format!("/sys/fs/cgroup{root}/{name}/busy"));
            let parent = directory.parent().expect("it has one");
            fs::create_dir_all(parent).expect("a group");
            if v2 {
                let control = parent.join("cgroup.subtree_control");
                fs::write(control, "+cpu +memory +pids").expect("they are there");
            }
            fs::create_dir_all(&directory).expect("a group");
            fs::write(directory.join("cgroup.procs"), process.id().to_string()).expect("it moves");
            (controller, directory)
        });
        process
            .stdin
            .take()
            .expect("it is piped")
            .write_all(b"\n")
            .expect("it reads");
        Self {
            directories: directories.into(),
            process,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for directory in self.directories.values() {
            for directory in directory.ancestors().take(2) {
                // It is busy for a moment after the last process has gone.
                for _ in 0..100 {
                    if !directory.exists() || fs::remove_dir(directory).is_ok() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_live_cgroup_needs_no_runtime() {
    if !can_run(&missing(&[])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let group = Group::new();
    let directory = &group.directories["cpuacct"];
    let parent = directory.parent().expect("it has one");
    let source = format!("cgroup:{}", parent.display());
    let memory = group.directories["memory"].join("memory.stat");
    let procs = group.directories["pids"].join("cgroup.procs");
    wait_until("the load is up", 60, || {
        // What filled the memory is a process of its own, for a while.
        let procs = fs::read_to_string(&procs).expect("it is there");
        if procs.lines().count() != 1 {
            return false;
        }
        let stat = fs::read_to_string(&memory).expect("it is there");
        let anon = stat.lines().find_map(|line| {
            line.strip_prefix("rss ")
                .or_else(|| line.strip_prefix("anon "))
        });
        anon.and_then(|anon| anon.parse::<u64>().ok()) > Some(3_000_000)
    });
    let before = cpu(directory);
    let output = eventout(["--source", &source, "events", "--stats", "busy"]);
    let after = cpu(directory);
    let (pids, memory, cpu) = usage_of(printed(&output));
    assert_eq!(pids, 1);
    assert!(memory > 3_000_000);
    assert!((before..=after).contains(&cpu), "{before} {cpu} {after}");

    // The group above it is a child of the machine's root group, with the same values below it.
    let name = parent
        .file_name()
        .expect("it has one")
        .to_string_lossy()
        .into_owned();
    let output = eventout(["--source", "cgroup", "events", "--stats", &name]);
    let (pids, ..) = usage_of(printed(&output));
    assert_eq!(pids, 1);

    let args = ["--source", &source, "events", "--interval", "20ms", "busy"];
    let (child, lines) = stream(&args);
    drop(group);
    let output = child.wait_with_output().expect("it ends");
    drop(lines);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
}

/// Adds a mount to a spec.
fn mount(spec: &mut Value, mount: Value) {
    let mounts = spec["mounts"].as_array_mut();
    mounts.expect("it has mounts").push(mount);
}

/// Mounts a directory of the bundle in its container, at /disk.
fn mount_disk(spec: &mut Value, bundle: &Path) {
    let source = bundle.join("disk");
    fs::create_dir(&source).expect("a directory");
    let options = ["bind", "rw"];
    let disk =
        json!({"destination": "/disk", "type": "bind", "source": source, "options": options});
    mount(spec, disk);
}

/// What one command prints: an event.
fn event(command: &mut Command) -> Value {
    serde_json::from_str(&run(command)).expect("it is one line of JSON")
}

/// Compares what runc says of a container with what eventout says just before and after, of the container
/// `id` of `source`. Some values go up and down, so that there are some tries. Returns the last line of
/// eventout.
fn compare(runc: &Container, source: &str, id: &str) -> Value {
    let ours = || event(program().args(["--source", source, "events", "--stats", id]));
    for attempt in 0.. {
        let before = ours();
        let mut theirs = event(runc.runtime().args(["events", "--stats", &runc.id]));
        theirs["id"] = id.into();
        let after = ours();
        let why = match between(&before, &theirs, &after) {
            Ok(fixed) if fixed > 20 => return after,
            // The others moved, as they do more often where readings take long.
            Ok(fixed) => format!("only {fixed} values that are not 0 and stood still"),
            Err(e) => e,
        };
        assert!(attempt < 30, "{why}\n{before}\n{theirs}\n{after}");
    }
    unreachable!("the loop ends");
}

/// As many huge pages as long as it lives.
struct HugePages {
    before: Option<String>,
}

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    fn new(pages: u64) -> Self {
        let before = fs::read_to_string(Self::FILE).ok();
        let there = before
            .as_ref()
            .and_then(|text| text.trim().parse::<u64>().ok());
        if there < Some(pages) && before.is_some() {
            fs::write(Self::FILE, pages.to_string()).expect("root may have huge pages");
        }
        Self { before }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(Self::FILE, before);
        }
    }
}

/// Whether the machine has that controller, where runc looks for it.
fn has_controller(name: &str) -> bool {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    v2.split_ascii_whitespace().any(|other| other == name)
        || Path::new("/sys/fs/cgroup")
            .join(name)
            .join("cgroup.procs")
            .exists()
}

/// Checks pressure, which not all releases of runc print, against the interface files just before and after. Machines
/// without any, and v1, have none. Averages go up and down, so that there are some tries.
fn check_pressure(container: &Container) {
    let group = container.cgroup("memory");
    if !group.join("cpu.pressure").exists() {
        return;
    }
    // Of lines like `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
    let kernel = || -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for (resource, file) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
            let text = fs::read_to_string(group.join(format!("{file}.pressure")));
            for line in text.expect("it is there").lines() {
                let mut words = line.split(' ');
                let share = words.next().expect("a word");
                for (name, value) in words.filter_map(|word| word.split_once('=')) {
                    let value = value.parse().expect("a number");
                    values.insert(format!("/{resource}/psi/{share}/{name}"), value);
                }
            }
        }
        values
    };
    let source = container.source();
    for attempt in 0.. {
        let before = kernel();
        let ours = event(program().args(["--source", &source, "events", "--stats", &container.id]));
        let after = kernel();
        assert_eq!(before.len(), 3 * 2 * 4, "{before:?}");
        let wrong = before.iter().find(|(path, before)| {
            // What is 0 may be left out.
            let value = ours["data"].pointer(path);
            let value = value.map_or(0.0, |value| value.as_f64().expect("a number"));
            let after = after[*path];
            !(before.min(after)..=before.max(after)).contains(&value)
        });
        let Some(wrong) = wrong else {
            let total = &ours["data"]["cpu"]["psi"]["some"]["total"];
            assert!(total.as_f64() > Some(0.0), "{ours}");
            return;
        };
        assert!(attempt < 30, "{wrong:?}\n{before:?}\n{ours}\n{after:?}");
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn every_value_of_runc_lies_between_two_of_ours() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let _v1 = PureV1::mount();
    let _pages = HugePages::new(4);
    let huge = has_controller("hugetlb");
    let disk = {
        let device = fs::metadata(std::env::temp_dir())
            .expect("it is there")
            .dev();
        (rustix::fs::major(device), rustix::fs::minor(device))
    };
    // The first number is 0 where no block device is behind the filesystem.
    let block = (has_controller("blkio") || has_controller("io")) && disk.0 != 0;
    // A program of the container's own is memory of its own that is mapped, and in use time and again. What else
    // is not 0 is up to the kernel.
    let script = r"
        dd if=/dev/zero of=/disk/file bs=1M count=4 conv=fsync 2>/dev/null
        test ! -d /huge || fallocate -l 4M /huge/file
        cat /bin/busybox >/disk/busybox
        chmod +x /disk/busybox
        for time in 1 2 3 4; do /disk/busybox cat /disk/file >/dev/null; done
        /disk/busybox sleep 1000 & sleep 1000 &
        touch /disk/ready
        while :; do :; done";
    let state = scratch("whole-state");
    let start = |runtime, script: &str| {
        Container::run(runtime, Some(&state), "whole", script, |spec, directory| {
            mount_disk(spec, directory);
            if huge {
                let source = "hugetlbfs";
                mount(
                    spec,
                    json!({"destination": "/huge", "type": source, "source": source}),
                );
            }
            let resources = &mut spec["linux"]["resources"];
            resources["memory"] = json!({"limit": 64 << 20, "reservation": 32 << 20});
            resources["pids"] = json!({"limit": 50});
            resources["cpu"] = json!({"quota": 30_000, "period": 100_000});
            if huge {
                resources["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
            }
            if block && has_controller("blkio") {
                // On v1, the kernel counts nothing of a device without a limit.
                let limit = json!([{"major": disk.0, "minor": disk.1, "rate": 500_000_000}]);
                resources["blockIO"] =
                    json!({"throttleWriteBpsDevice": limit, "throttleReadBpsDevice": limit});
            }
        })
    };
    let runc = start("runc", script);
    wait_until("the load is up", 60, || {
        runc.directory.join("disk/ready").exists()
    });
    wait_until("it was throttled", 60, || {
        let directory = runc.cgroup("cpu");
        let stat = fs::read_to_string(directory.join("cpu.stat")).expect("it is there");
        !stat.contains("nr_throttled 0\n")
    });

    let ours = compare(&runc, &runc.source(), &runc.id);
    let data = &ours["data"];
    assert!(
        data["cpu"]["throttling"]["throttledTime"].as_u64() > Some(0),
        "{ours}"
    );
    assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(data["pids"], json!({"current": 3, "limit": 50}));
    if huge {
        assert_eq!(data["hugetlb"]["2MB"]["usage"], 4 << 20, "{ours}");
    }
    if block {
        let written = &data["blkio"]["ioServiceBytesRecursive"];
        let written = written.as_array().expect("there is something").iter();
        let mut written = written.filter(|entry| entry["op"] == "Write");
        assert!(
            written.any(|entry| entry["value"].as_u64() >= Some(4 << 20)),
            "{ours}"
        );
    }
    check_pressure(&runc);
    // The same group without the runtime.
    let parent = runc.cgroup("memory");
    let parent = parent.parent().expect("it has one").display();
    compare(&runc, &format!("cgroup:{parent}"), &runc.id);

    // A container of crun in the same group has the same values.
    let crun_state = scratch("whole-state-crun");
    let group = format!("/{}", runc.id);
    let crun = Container::run(
        "crun",
        Some(&crun_state),
        "guest",
        "sleep 1000",
        |spec, _| {
            spec["linux"]["cgroupsPath"] = group.into();
            spec["linux"]["resources"] = json!({});
        },
    );
    assert_eq!(crun.cgroup("memory"), runc.cgroup("memory"));
    let ours = compare(&runc, &crun.source(), &crun.id);
    assert_eq!(ours["data"]["pids"]["current"], 4);
    // It would take the other's group with it.
    crun.kill();
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn the_interfaces_of_a_container_have_its_hosts_values_the_other_way_around() {
    let ip = |args: &[&str]| run(Command::new("ip").args(args));
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let state = scratch("network-state");
    let container = Container::run("runc", Some(&state), "network", "sleep 1000", |_, _| {});
    let name = format!("ev{}", std::process::id());
    let pid = container.pid();
    let peer = ["peer", "name", "eth7", "netns", &pid];
    ip(&[&["link", "add", &name, "type", "veth"][..], &peer].concat());
    ip(&["link", "set", &name, "up"]);
    ip(&["addr", "add", "192.0.2.1/24", "dev", &name]);
    let inside = |args: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid]).args(args);
        command.output().expect("it runs")
    };
    inside(&["ip", "addr", "add", "192.0.2.2/24", "dev", "eth7"]);
    inside(&["ip", "link", "set", "eth7", "up"]);
    // A firewall may keep it from being answered. What is sent is counted all the same.
    inside(&["/bin/busybox", "ping", "-c", "3", "-W", "1", "192.0.2.1"]);
    let host = || -> Value {
        let read = |name_of: &str| {
            let file = format!("/sys/class/net/{name}/statistics/{name_of}");
            read_number(Path::new(&file)).expect("it is a number")
        };
        json!([{
            "Name": "eth7",
            "RxBytes": read("tx_bytes"), "RxPackets": read("tx_packets"),
            "RxErrors": read("tx_errors"), "RxDropped": read("tx_dropped"),
            "TxBytes": read("rx_bytes"), "TxPackets": read("rx_packets"),
            "TxErrors": read("rx_errors"), "TxDropped": read("rx_dropped"),
        }])
    };
    let source = container.source();
    for attempt in 0.. {
        let before = host();
        let ours = event(program().args(["--source", &source, "events", "--stats", &container.id]));
        // Where both directions had the same, the test would not tell one from the other.
        if before == host() && before[0]["RxBytes"] != before[0]["TxBytes"] {
            assert_eq!(ours["data"]["network_interfaces"], before);
            assert!(before[0]["TxPackets"].as_u64() > Some(0), "{before}");
            break;
        }
        // Neighbours announce themselves at first.
        assert!(attempt < 100, "it never stands still: {before}");
        thread::sleep(Duration::from_millis(100));
    }
    // One that shares the machine's interfaces has none of its own.
    drop(container);
    let shared = Container::run("runc", Some(&state), "shared", "sleep 1000", |spec, _| {
        let namespaces = spec["linux"]["namespaces"]
            .as_array_mut()
            .expect("it has some");
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    compare(&shared, &source, &shared.id);
    let ours = event(program().args(["--source", &source, "events", "--stats", &shared.id]));
    assert_eq!(ours["data"]["network_interfaces"], Value::Null);
}

/// How many tasks the kernel has killed in the container's group.
fn kills(container: &Container) -> usize {
    let directory = container.cgroup("memory");
    let text = fs::read_to_string(directory.join("memory.oom_control"))
        .or_else(|_| fs::read_to_string(directory.join("memory.events")));
    let text = text.expect("one of them is there");
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills
        .and_then(|kills| kills.parse().ok())
        .expect("it is a number")
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn each_oom_kill_is_one_line_as_it_happens() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let state = scratch("oom-state");
    // `tail` keeps all of a line that never ends. A number in the file is that of hogs to run, of which the
    // shell is not to be the victim.
    let script = r"
        touch /disk/ready
        while :; do
            if mv /disk/hogs /disk/taken 2>/dev/null; then
                n=$(cat /disk/taken)
                while test $n -gt 0; do
                    (echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero) >/dev/null
                    n=$((n - 1))
                done
            fi
            sleep 0.05
        done";
    let start = |id: &str| {
        Container::run("runc", Some(&state), id, script, |spec, directory| {
            mount_disk(spec, directory);
            spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
        })
    };
    let (hog, quiet) = (start("hog"), start("quiet"));
    let hogs = |n: u64| {
        // It is there as a whole, and taken once.
        let disk = hog.directory.join("disk");
        fs::write(disk.join("next"), n.to_string()).expect("it can be written");
        fs::rename(disk.join("next"), disk.join("hogs")).expect("it can be moved");
    };
    // What was killed before a stream begins is not reported.
    wait_until("the script runs", 60, || {
        hog.directory.join("disk/ready").exists()
    });
    thread::sleep(Duration::from_millis(200));
    hogs(1);
    wait_until("the first is killed", 60, || kills(&hog) == 1);

    let source = hog.source();
    let mut child = program()
        .args([
            "--source",
            &source,
            "events",
            "--interval",
            "1h",
            &hog.id,
            &quiet.id,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (sender, lines) = {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            for line in lines {
                let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        (reader, receiver)
    };
    let next = || {
        lines
            .recv_timeout(Duration::from_secs(30))
            .expect("there is a line")
    };
    assert_eq!(
        [next(), next()].map(|line| line["type"].clone()),
        ["stats", "stats"]
    );
    for (round, n) in [(1, 1), (2, 5)] {
        let before = kills(&hog);
        hogs(n);
        wait_until("all are killed", 60, || kills(&hog) == before + n as usize);
        for _ in 0..n {
            // Long before the interval is over, which is an hour.
            assert_eq!(next(), json!({"type": "oom", "id": hog.id}), "{round}");
        }
    }
    // Nothing else is reported: not again, and not of others.
    let more = lines.recv_timeout(Duration::from_secs(3));
    assert!(more.is_err(), "{more:?}");
    kill_and_wait(&mut child);
    sender.join().expect("it ends");

    // A container that dies of it is reported, and then its stream ends.
    let id = "dies";
    let doomed = Container::run(
        "runc",
        Some(&state),
        id,
        "sleep 2; tail /dev/zero",
        |spec, _| {
            spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
        },
    );
    let output = eventout([
        "--source",
        &source,
        "events",
        "--interval",
        "100ms",
        &doomed.id,
    ]);
    let oom = json!({"type": "oom", "id": doomed.id});
    let lines = printed(&output).lines();
    let reported = lines.filter(|line| serde_json::from_str::<Value>(line).expect("JSON") == oom);
    assert_eq!(reported.count(), 1, "{output:?}");
}

fn kill_and_wait(child: &mut Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// The CPU time (user and system, in seconds) and the memory (resident, in bytes) of a process.
fn used(pid: u32) -> (f64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .expect("it has a name")
        .1
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // Fields 14, 15 and 24 of proc_pid_stat(5); the third is the first here.
    ((fields[11] + fields[12]) as f64 / 100.0, fields[21] * 4096)
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn fifty_containers_at_ten_lines_a_second_lose_none() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    const CONTAINERS: usize = 50;
    const SECONDS: usize = 60;
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let state = scratch("fifty-state");
    let containers: Vec<_> = (0..CONTAINERS)
        .map(|n| {
            Container::run(
                "runc",
                Some(&state),
                &format!("n{n}"),
                "sleep 1000",
                |_, _| {},
            )
        })
        .collect();
    let source = containers[0].source();
    let mut child = program()
        .args([
            "--source",
            &source,
            "events",
            "--all",
            "--interval",
            "100ms",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = |rounds: usize| {
        for _ in 0..CONTAINERS * rounds {
            let line = lines.next().expect("it goes on").expect("UTF-8");
            let id = line.split('"').nth(7).expect("it has an ID").to_owned();
            *counts.entry(id).or_default() += 1;
        }
    };
    read(50);
    let (cpu, memory) = used(child.id());
    let begun = Instant::now();
    read(10 * SECONDS - 50);
    let took = begun.elapsed().as_secs_f64();
    let (cpu_after, memory_after) = used(child.id());
    child.kill().expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // One of each for each tenth of a second, on time.
    assert_eq!(counts.len(), CONTAINERS);
    assert!(counts.values().all(|n| *n == 10 * SECONDS), "{counts:?}");
    let due = SECONDS as f64 - 5.0;
    assert!((took - due).abs() < 1.0, "{took} s instead of {due} s");
    println!(
        "{:.2} % of a core, {} KiB at first and {} KiB in the end",
        100.0 * (cpu_after - cpu) / took,
        memory >> 10,
        memory_after >> 10
    );
    assert!(memory_after < memory + (1 << 20), "{memory} {memory_after}");
}
