//! Live containers of runc and crun, and a live cgroup, against their control files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{can_run, eventout, judge, missing, printed, program, run, scratch, wait_until};

/// The tests have the machine's hierarchies to themselves, one after the other.
static MACHINE: Mutex<()> = Mutex::new(());

/// What runs in a container: 20 MiB in memory, four tasks, one of them busy.
const LOAD: &str = "dd if=/dev/zero of=/tmp/file bs=1M count=20 2>/dev/null
sleep 1000 & sleep 1000 & sleep 1000 &
while :; do :; done";
const TASKS: u64 = 4;
const MEMORY: u64 = 20 << 20;

/// crun refuses machines that have controllers in v1 hierarchies and in v2. Where v2 has nothing but
/// hugetlb, this moves that to v1 as long as it lives.
struct PureV1 {
    mounted: bool,
}

impl PureV1 {
    const FOLDER: &str = "/sys/fs/cgroup/hugetlb";

    fn new() -> Self {
        let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
        let mounted = controllers.is_ok_and(|controllers| controllers.trim() == "hugetlb");
        if mounted {
            let _ = fs::create_dir(Self::FOLDER);
            run(Command::new("mount").args([
                "-t",
                "cgroup",
                "-o",
                "hugetlb",
                "hugetlb",
                Self::FOLDER,
            ]));
        }
        Self { mounted }
    }
}

impl Drop for PureV1 {
    fn drop(&mut self) {
        // The kernel lets go of the groups of dead containers after a while.
        for _ in 0..if self.mounted { 50 } else { 0 } {
            let unmounted = Command::new("umount").arg(Self::FOLDER).output();
            if unmounted.is_ok_and(|output| output.status.success()) {
                let _ = fs::remove_dir(Self::FOLDER);
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A container with the load, which goes when this does.
struct Container {
    runtime: &'static str,
    /// The runtime's state folder; the usual one where it is `None`.
    state: Option<PathBuf>,
    folder: PathBuf,
    id: String,
}

impl Container {
    fn start(runtime: &'static str, state: Option<&Path>, id: &str) -> Self {
        let id = format!("eventout-{}-{id}", std::process::id());
        let folder = scratch(&format!("{runtime}-{id}"));
        let container = Self {
            runtime,
            state: state.map(Path::to_owned),
            folder,
            id,
        };
        tests::bundle(Path::new(runtime), &container.folder, LOAD, |spec| {
            let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"});
            spec["mounts"]
                .as_array_mut()
                .expect("it has mounts")
                .push(tmp);
            spec["linux"]["cgroupsPath"] = format!("/{}", container.id).into();
            spec["linux"]["resources"]["memory"] = json!({"limit": 128 << 20});
            spec["linux"]["resources"]["pids"] = json!({"limit": 50});
        });
        // Not a pipe, which the container would keep open.
        let log = || File::create(container.folder.join("log")).expect("a file");
        let status = container
            .runtime()
            .args(["run", "--detach", "--bundle"])
            .args([container.folder.as_os_str(), container.id.as_ref()])
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .status()
            .expect("the runtime runs");
        let log = fs::read_to_string(container.folder.join("log")).unwrap_or_default();
        assert!(status.success(), "{runtime}: {log}");
        wait_until("the load is up", 60, || {
            container.read("pids.current") == TASKS && container.memory() > MEMORY
        });
        container
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

    /// The folder of its cgroup with that controller, by the account of the kernel.
    fn cgroup(&self, controller: &str) -> PathBuf {
        let state = run(self.runtime().args(["state", &self.id]));
        let state: Value = serde_json::from_str(&state).expect("it is JSON");
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"]));
        cgroup_folder(&cgroups.expect("it runs"), controller)
    }

    /// The figure in a control file.
    fn read(&self, file: &str) -> u64 {
        let (controller, _) = file.split_once('.').expect("it begins with the controller");
        figure(&self.cgroup(controller).join(file)).expect("it is a figure")
    }

    fn memory(&self) -> u64 {
        let folder = self.cgroup("memory");
        let v1 = figure(&folder.join("memory.usage_in_bytes"));
        v1.or_else(|| figure(&folder.join("memory.current")))
            .expect("it is a figure")
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
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of a group, from the text of a /proc/PID/cgroup.
fn cgroup_folder(cgroups: &str, controller: &str) -> PathBuf {
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

fn figure(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The CPU time of the group in `folder`, in nanoseconds.
fn cpu(folder: &Path) -> u64 {
    figure(&folder.join("cpuacct.usage")).unwrap_or_else(|| {
        let stat = fs::read_to_string(folder.join("cpu.stat")).expect("it is there");
        let usec = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        usec.and_then(|usec| usec.parse::<u64>().ok())
            .expect("it is a figure")
            * 1000
    })
}

/// The figures of one line: pids, memory in bytes, CPU in nanoseconds.
fn figures(line: &str) -> (u64, u64, u64) {
    let event: Value = serde_json::from_str(line).expect("it is JSON");
    let figure = |path: &str| event["data"].pointer(path).and_then(Value::as_u64);
    let (pids, memory) = (figure("/pids/current"), figure("/memory/usage/usage"));
    let cpu = figure("/cpu/usage/total");
    let all = pids.zip(memory).zip(cpu);
    let ((pids, memory), cpu) = all.unwrap_or_else(|| panic!("{line}"));
    (pids, memory, cpu)
}

/// Checks a line against the control files before and after it. Memory can go up and down in between,
/// so that there are some tries.
fn check(container: &Container, args: &[&str]) {
    for attempt in 0.. {
        let before = (container.memory(), container.cpu());
        let output = eventout(args);
        let after = (container.memory(), container.cpu());
        let line = printed(&output);
        let (pids, memory, cpu) = figures(line);
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
    figures(&line);
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
        assert_eq!(accepts(Command::new(judge).arg("check")).trim(), "1");
    }

    let listed = eventout(["--source", &source, "list"]);
    let listed: Value = serde_json::from_str(printed(&listed)).expect("it is one line");
    assert_eq!(listed, json!({"id": id, "sandbox": id, "source": source}));

    // A recording plays back.
    let recording = state.join("recording.jsonl");
    let recorded = eventout(["--source", &source, "record", "--stats", id]);
    fs::write(&recording, printed(&recorded)).expect("it can be written");
    let replay = format!("scenario:{}", recording.display());
    let (pids, ..) = figures(printed(&eventout([
        "--source", &replay, "events", "--stats", id,
    ])));
    assert_eq!(pids, TASKS);

    // A stream goes on while the container does, and ends when it stops.
    let (child, mut lines) = stream(&["--source", &source, "events", "--interval", "50ms", id]);
    let mut cpu = Vec::new();
    for _ in 0..5 {
        let mut line = String::new();
        lines.read_line(&mut line).expect("it prints");
        cpu.push(figures(&line).2);
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
fn a_runc_container_is_as_its_control_files_say() {
    if can_run(&missing(&["runc", "busybox", "jq"])) {
        let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
        live("runc");
    }
}

#[test]
fn a_crun_container_is_as_its_control_files_say() {
    if can_run(&missing(&["crun", "busybox", "jq"])) {
        let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
        let _v1 = PureV1::new();
        live("crun");
    }
}

#[test]
fn without_a_source_the_runtime_that_knows_the_container_is_found() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let _v1 = PureV1::new();
    let runc = Container::start("runc", None, "same");
    check(&runc, &["events", "--stats", &runc.id]);
    let listed = eventout(["list"]);
    let line = json!({"id": runc.id, "sandbox": runc.id, "source": "runc:/run/runc"}).to_string();
    assert!(
        printed(&listed).lines().any(|listed| listed == line),
        "{listed:?}"
    );

    let crun = Container::start("crun", None, "other");
    check(&crun, &["events", "--stats", &crun.id]);

    // Two runtimes that know the same ID: neither is taken for the other.
    let copy = Path::new("/run/crun").join(&runc.id);
    fs::create_dir_all(&copy).expect("a folder");
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

/// A group with a process in it, in each hierarchy, which goes when this does.
struct Group {
    folders: BTreeMap<&'static str, PathBuf>,
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
        let folders = ["memory", "pids", "cpuacct"].map(|controller| {
            let root = if v2 {
                String::new()
            } else {
                format!("/{controller}")
            };
            let folder = PathBuf::from(format!("/sys/fs/cgroup{root}/{name}/busy"));
            fs::create_dir_all(&folder).expect("a group");
            fs::write(folder.join("cgroup.procs"), process.id().to_string()).expect("it moves");
            (controller, folder)
        });
        process
            .stdin
            .take()
            .expect("it is piped")
            .write_all(b"\n")
            .expect("it reads");
        Self {
            folders: folders.into(),
            process,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for folder in self.folders.values() {
            for folder in folder.ancestors().take(2) {
                // It is busy for a moment after the last process has gone.
                for _ in 0..100 {
                    if !folder.exists() || fs::remove_dir(folder).is_ok() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

#[test]
fn a_live_cgroup_needs_no_runtime() {
    if !can_run(&missing(&[])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let group = Group::new();
    let folder = &group.folders["cpuacct"];
    let parent = folder.parent().expect("it has one");
    let source = format!("cgroup:{}", parent.display());
    let memory = group.folders["memory"].join("memory.stat");
    wait_until("the load is up", 60, || {
        let stat = fs::read_to_string(&memory).expect("it is there");
        let anon = stat.lines().find_map(|line| {
            line.strip_prefix("rss ")
                .or_else(|| line.strip_prefix("anon "))
        });
        anon.and_then(|anon| anon.parse::<u64>().ok()) > Some(3_000_000)
    });
    let before = cpu(folder);
    let output = eventout(["--source", &source, "events", "--stats", "busy"]);
    let after = cpu(folder);
    let (pids, memory, cpu) = figures(printed(&output));
    assert_eq!(pids, 1);
    assert!(memory > 3_000_000);
    assert!((before..=after).contains(&cpu), "{before} {cpu} {after}");

    // The group above it is a child of the machine's root group, with the same figures below it.
    let name = parent
        .file_name()
        .expect("it has one")
        .to_string_lossy()
        .into_owned();
    let output = eventout(["--source", "cgroup", "events", "--stats", &name]);
    let (pids, ..) = figures(printed(&output));
    assert_eq!(pids, 1);

    let args = ["--source", &source, "events", "--interval", "20ms", "busy"];
    let (child, lines) = stream(&args);
    drop(group);
    let output = child.wait_with_output().expect("it ends");
    drop(lines);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
}
