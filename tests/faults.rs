//! What must not go wrong however the machine, its containers or the readers of the output behave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Eventout, bundle, can_run, missing, root, run, wait_until};

/// The tests of live cgroups take turns.
static MACHINE: Mutex<()> = Mutex::new(());

/// Writes a scenario of the containers `web`, and `bad`, which cannot be read for another reason in each sample.
fn failing(samples: usize) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    let web = r#"{"id":"web","pids_count":1}"#;
    let mut text = String::new();
    for sample in 0..samples {
        let why = format!("{sample} {}", "x".repeat(500));
        let bad = json!({"id": "bad", "pids_count": 1, "error": why});
        text += &format!("{{\"root_container\":\"web\",\"containers\":[{web},{bad}]}}\n");
    }
    text += r#"{"root_container":"web","containers":[]}"#;
    fs::write(&file, text).expect("it can be written");
    let source = format!("scenario:{}", file.display());
    (directory, source)
}

#[test]
fn standard_error_that_nobody_reads_does_not_stop_standard_output() {
    const SAMPLES: usize = 500;
    let (_directory, source) = failing(SAMPLES);
    let (reader, mut stderr) = io::pipe().expect("a pipe");
    let full = stderr.try_clone().expect("it can be shared");
    // Whatever its size is, the pipe is always full.
    let fill = thread::spawn(move || while stderr.write_all(&[b'x'; 4096]).is_ok() {});
    let child = Eventout::new()
        .into_command()
        .args([
            "--source",
            &source,
            "events",
            "web",
            "bad",
            "--interval",
            "1ms",
        ])
        .stdout(Stdio::piped())
        .stderr(full)
        .spawn()
        .expect("the program runs");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8(output.stdout).expect("it prints UTF-8");
    assert_eq!(stdout.lines().count(), SAMPLES, "{}", output.status);
    drop(reader);
    fill.join().expect("nobody can read any more");
}

#[test]
fn standard_output_that_does_not_block_is_waited_for() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    const SAMPLES: usize = 1000;
    let (_directory, source) = failing(SAMPLES);
    let (mut reader, stdout) = io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&stdout).expect("it has flags");
    fcntl_setfl(&stdout, flags | OFlags::NONBLOCK).expect("it can be set");
    let mut child = Eventout::new()
        .into_command()
        .args(["--source", &source, "events", "web", "--interval", "1ms"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // The pipe is full for a while.
    thread::sleep(Duration::from_secs(2));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("it prints UTF-8");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(text.lines().all(|line| line.ends_with("}}")));
    assert_eq!(text.lines().count(), SAMPLES);
}

#[test]
fn the_texts_of_a_formatter_are_not_kept_for_all_containers() {
    const CONTAINERS: usize = 16;
    const TEXT: usize = 31 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let containers: Vec<_> = (0..CONTAINERS)
        .map(|n| json!({"id": n.to_string(), "pids_count": 1}))
        .collect();
    let sandbox = json!({"root_container": "0", "containers": containers});
    let scenario = directory.path().join("scenario.jsonl");
    fs::write(&scenario, sandbox.to_string()).expect("a file");
    let mut child = Eventout::new()
        .into_command()
        .args(["--source", &format!("scenario:{}", scenario.display())])
        .args(["events", "--all", "--stats", "--component"])
        .arg(tests::formatter("large"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut peak = 0;
    let mut printed = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = stdout.read(&mut buffer).expect("it can be read");
        if count == 0 {
            break;
        }
        printed += count;
        peak = peak.max(memory_peak(child.id()));
    }
    assert!(child.wait().expect("it ends").success());
    assert_eq!(printed, CONTAINERS * (TEXT + 1));
    assert!(peak > 0 && peak < 8 * TEXT, "{peak} bytes");
}

/// Returns the most memory that a process has had, in bytes. 0 if it has ended.
fn memory_peak(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Cgroups in one parent, which are removed at the end.
struct Cgroups {
    parents: Vec<PathBuf>,
    names: Vec<String>,
}

impl Cgroups {
    /// Makes them in the hierarchies that count memory, tasks and CPU time.
    fn new(name: &str, count: usize) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("eventout-{name}-{}", std::process::id());
        let parents = match root.join("memory").exists() {
            true => ["memory", "pids", "cpuacct"]
                .map(|c| root.join(c).join(&name))
                .to_vec(),
            false => vec![root.join(&name)],
        };
        let cgroups = Self {
            parents,
            names: (0..count).map(|n| format!("g{n}")).collect(),
        };
        for parent in &cgroups.parents {
            fs::create_dir(parent).expect("a cgroup");
            let control = parent.join("cgroup.subtree_control");
            if control.exists() {
                fs::write(control, "+memory +pids").expect("the controllers are there");
            }
            for name in &cgroups.names {
                fs::create_dir(parent.join(name)).expect("a cgroup");
            }
        }
        cgroups
    }

    /// Returns the first one's directory in the hierarchy that counts memory.
    fn memory(&self) -> PathBuf {
        self.parents[0].join(&self.names[0])
    }

    fn source(&self) -> String {
        format!("cgroup:{}", self.parents[0].display())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for parent in &self.parents {
            let children = self.names.iter().map(|name| parent.join(name));
            for cgroup in children.chain([parent.clone()]) {
                remove(&cgroup);
            }
        }
    }
}

/// Removes a cgroup, which is busy for a moment after the last process has gone.
fn remove(cgroup: &Path) {
    for _ in 0..100 {
        if !cgroup.exists() || fs::remove_dir(cgroup).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the program with that limit of open files, soft and hard.
fn limited(files: usize) -> Command {
    let program = Eventout::new().into_command();
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nofile={files}"))
        .arg(program.get_program())
        .stdin(Stdio::null());
    command
}

#[test]
#[ignore = "makes cgroups: tests/run runs it"]
fn five_thousand_cgroups_are_read_with_a_thousand_open_files() {
    if !can_run(&missing(&["prlimit"])) {
        return;
    }
    const COUNT: usize = 5000;
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let cgroups = Cgroups::new("many", COUNT);
    let source = cgroups.source();
    let events = ["--source", &source, "events", "--all"];
    let output = limited(1024).args(events).arg("--stats").output();
    let output = output.expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, COUNT);

    // A stream, which watches as many as there is room for, and says so once.
    let mut child = limited(1024)
        .args(events)
        .args(["--interval", "1s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut counts = BTreeMap::new();
    for line in stdout.lines().take(3 * COUNT) {
        let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        *counts.entry(line["id"].to_string()).or_insert(0) += 1;
    }
    child.kill().expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(counts.len(), COUNT);
    assert!(counts.values().all(|count| *count == 3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    assert!(
        stderr.contains("the limit of open files is reached"),
        "{stderr}"
    );
}

/// The lines of a program, which is killed at the end.
struct Stream {
    child: Child,
    lines: std::sync::Arc<Mutex<Vec<Value>>>,
}

impl Stream {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let lines = std::sync::Arc::new(Mutex::new(Vec::new()));
        let all = lines.clone();
        thread::spawn(move || {
            for line in stdout.lines() {
                let line = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
                all.lock().expect("nobody panics").push(line);
            }
        });
        Self { child, lines }
    }

    /// Returns the number of lines of that type about a container.
    fn count(&self, of: &str, id: &str) -> usize {
        let lines = self.lines.lock().expect("nobody panics");
        let lines = lines.iter();
        lines
            .filter(|line| line["type"] == of && line["id"] == id)
            .count()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "makes cgroups: tests/run runs it"]
fn two_hundred_programs_at_once_all_report_an_oom_kill() {
    // On v2, more than 128 of one user exceed the kernel's number of inotify instances.
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists();
    if !v1 || !can_run(&missing(&["busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let cgroups = Cgroups::new("crowd", 1);
    let memory = cgroups.memory();
    fs::write(memory.join("memory.limit_in_bytes"), "8M").expect("it can be limited");
    let source = cgroups.source();
    let streams: Vec<_> = (0..200)
        .map(|_| {
            Stream::start(Eventout::new().into_command().args([
                "--source",
                &source,
                "events",
                "--interval",
                "1s",
                "g0",
            ]))
        })
        .collect();
    wait_until("all have read it twice", 120, || {
        streams.iter().all(|stream| stream.count("stats", "g0") > 1)
    });
    exhaust(&memory);
    wait_until("all report the kill", 120, || {
        streams.iter().all(|stream| stream.count("oom", "g0") == 1)
    });
}

/// A container of runc that ends by an OOM kill as soon as it is started.
struct Doomed<'a> {
    state: &'a Path,
    id: String,
}

impl<'a> Doomed<'a> {
    fn create(state: &'a Path, bundle: &Path, id: &str) -> Self {
        let config = bundle.join("config.json");
        let text = fs::read(&config).expect("the spec is there");
        let mut spec: Value = serde_json::from_slice(&text).expect("it is JSON");
        spec["linux"]["cgroupsPath"] = format!("/eventout-{}-{id}", std::process::id()).into();
        fs::write(&config, spec.to_string()).expect("it can be written");
        let doomed = Self {
            state,
            id: id.to_owned(),
        };
        let create = doomed
            .runc()
            .args(["create", "--bundle"])
            .arg(bundle)
            .arg(id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(create.expect("runc runs").success(), "{id}");
        doomed
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.state);
        runc
    }

    fn status(&self) -> Value {
        let state = run(self.runc().args(["state", &self.id]));
        let state: Value = serde_json::from_str(&state).expect("it is JSON");
        state["status"].clone()
    }
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        let _ = self.runc().args(["delete", "--force", &self.id]).output();
    }
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn no_oom_kill_that_runc_reports_is_missed() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    const KILLS: usize = 200;
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let directory = tempfile::tempdir().expect("a directory");
    let (state, files) = (
        directory.path().join("state"),
        directory.path().join("bundle"),
    );
    fs::create_dir(&state).expect("a directory");
    bundle(Path::new("runc"), &files, "exec tail /dev/zero", |spec| {
        spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
    });
    let source = format!("runc:{}", state.display());
    let ours = Stream::start(Eventout::new().into_command().args([
        "--source",
        &source,
        "events",
        "--all",
        "--interval",
        "100ms",
    ]));
    let (mut reported, mut twice) = (0, 0);
    for n in 0..KILLS {
        let doomed = Doomed::create(&state, &files, &format!("doomed-{n}"));
        let id = doomed.id.clone();
        let runc = Stream::start(doomed.runc().args(["events", "--interval", "100ms", &id]));
        // Both have begun.
        wait_until("there are lines", 60, || {
            ours.count("stats", &id) > 0 && runc.count("stats", &id) > 0
        });
        run(doomed.runc().args(["start", &id]));
        wait_until("it has ended", 60, || doomed.status() == "stopped");
        // The cgroup goes at once.
        drop(doomed);
        wait_until("it is reported", 20, || ours.count("oom", &id) > 0);
        let runcs = runc.count("oom", &id);
        reported += usize::from(runcs > 0);
        twice += usize::from(runcs > 1);
    }
    thread::sleep(Duration::from_secs(3));
    for n in 0..KILLS {
        let id = format!("doomed-{n}");
        assert_eq!(ours.count("oom", &id), 1, "{id}");
    }
    println!("of {KILLS} kills, runc reports {reported}, {twice} of them more than once");
}

/// Runs a program that takes all memory in a v1 cgroup, until it is killed.
fn exhaust(memory: &Path) {
    let procs = memory.join("cgroup.procs");
    let script = format!("echo $$ >{}; exec busybox tail /dev/zero", procs.display());
    let hog = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status();
    assert!(!hog.expect("sh runs").success());
}

#[test]
#[ignore = "makes cgroups: tests/run runs it"]
fn an_oom_kill_in_a_cgroup_below_is_one_of_the_container() {
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists();
    if !v1 || !can_run(&missing(&["busybox"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let cgroups = Cgroups::new("below", 1);
    let memory = cgroups.memory();
    // As an init system or Docker inside makes it.
    let inner = Inner::new(memory.join("inner"));
    fs::write(memory.join("memory.limit_in_bytes"), "30M").expect("it can be limited");
    let source = cgroups.source();
    let stream = ["--source", &source, "events", "--interval", "1h", "g0"];
    let stream = Stream::start(Eventout::new().into_command().args(stream));
    wait_until("it has begun", 60, || stream.count("stats", "g0") > 0);
    // At the container's limit, at one of its own, and not below.
    exhaust(&inner.0);
    wait_until("the first is reported", 60, || {
        stream.count("oom", "g0") == 1
    });
    fs::write(inner.0.join("memory.limit_in_bytes"), "20M").expect("it can be limited");
    exhaust(&inner.0);
    wait_until("the second is reported", 60, || {
        stream.count("oom", "g0") == 2
    });
    exhaust(&memory);
    wait_until("the third is reported", 60, || {
        stream.count("oom", "g0") == 3
    });
}

/// A cgroup in another one, which is removed at the end.
struct Inner(PathBuf);

impl Inner {
    fn new(directory: PathBuf) -> Self {
        fs::create_dir(&directory).expect("a cgroup");
        Self(directory)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

#[test]
#[ignore = "makes cgroups: tests/run runs it"]
fn without_the_kernels_counter_each_signal_is_an_oom_kill() {
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists();
    if !v1 || !can_run(&missing(&["busybox", "gcc"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    // Reads the file as kernels before 4.13 have it.
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("old.c");
    let code = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <string.h>
        #include <unistd.h>
        ssize_t pread64(int fd, void *buffer, size_t size, off64_t at) {
            ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
            ssize_t count = real(fd, buffer, size, at);
            char *line = count > 0 ? memmem(buffer, count, "\noom_kill ", 10) : 0;
            return line ? line + 1 - (char *)buffer : count;
        }"#;
    fs::write(&source, code).expect("a file");
    let library = directory.path().join("old.so");
    run(Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source]));
    let cgroups = Cgroups::new("old", 1);
    let memory = cgroups.memory();
    fs::write(memory.join("memory.limit_in_bytes"), "8M").expect("it can be limited");
    let source = cgroups.source();
    let stream = ["--source", &source, "events", "--interval", "1h", "g0"];
    let stream = Stream::start(
        Eventout::new()
            .into_command()
            .args(stream)
            .env("LD_PRELOAD", &library),
    );
    wait_until("it has begun", 60, || stream.count("stats", "g0") > 0);
    for kills in 1..=2 {
        exhaust(&memory);
        wait_until("it is reported", 60, || stream.count("oom", "g0") == kills);
    }
}

/// Returns the data of the container `c1` in an ordinary directory with these files.
fn data(files: &[&[(&str, &str)]]) -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files.concat() {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        fs::write(file, text).expect("a file");
    }
    let call = Eventout::new().cgroup(directory.path()).events(["c1"]);
    call.stats().line()["data"].take()
}

#[test]
fn what_machines_lack_on_v2_costs_nothing_else() {
    const CPU_AND_PIDS: &[(&str, &str)] = &[
        ("cgroup.controllers", "cpu io memory pids\n"),
        ("c1/cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"),
        ("c1/pids.current", "1\n"),
        ("c1/pids.max", "max\n"),
    ];
    const MEMORY: &[(&str, &str)] = &[
        ("c1/memory.current", "43622400\n"),
        ("c1/memory.max", "268435456\n"),
        ("c1/memory.stat", "anon 7\nfile 5\n"),
    ];
    let whole = data(&[CPU_AND_PIDS, MEMORY]);
    assert_eq!(whole["pids"], json!({"current": 1}));
    assert_eq!(whole["memory"]["cache"], 5);
    // Without swap, runc counts memory for both.
    let both = json!({"limit": 268_435_456, "usage": 43_622_400, "failcnt": 0});
    assert_eq!(whole["memory"]["swap"], both);
    // Without memory, as on boards where it has to be enabled, and in threaded cgroups.
    let without = data(&[CPU_AND_PIDS]);
    assert_eq!(without["memory"], json!({}));
    assert_eq!(
        (&without["cpu"], &without["pids"]),
        (&whole["cpu"], &whole["pids"])
    );
    // Devices without a number, without values, with others in another order, and no newline at the end.
    let io = "252:0 \n(unknown) rbytes=1\n8:0 wios=2 cost.usage=3 dbytes=4 rbytes=5";
    let io = data(&[CPU_AND_PIDS, MEMORY, &[("c1/io.stat", io)]]);
    let bytes = io["blkio"]["ioServiceBytesRecursive"]
        .as_array()
        .expect("a list");
    assert!(
        bytes.contains(&json!({"major": 8, "op": "Read", "value": 5})),
        "{io}"
    );
    assert!(bytes.iter().all(|row| row["major"] != 252), "{io}");
    // Sizes of huge pages that x86 lacks.
    let hugetlb = data(&[
        CPU_AND_PIDS,
        &[
            ("c1/hugetlb.64KB.current", "65536"),
            ("c1/hugetlb.32MB.current", "0"),
            ("c1/hugetlb.32MB.rsvd.current", "33554432"),
        ],
    ]);
    assert_eq!(hugetlb["hugetlb"]["64KB"]["usage"], 65536);
    assert_eq!(hugetlb["hugetlb"]["32MB"]["usage"], 33_554_432);
}

#[test]
fn what_machines_lack_on_v1_costs_nothing_else() {
    const BASE: &[(&str, &str)] = &[
        ("memory/c1/memory.usage_in_bytes", "4096\n"),
        ("memory/c1/memory.limit_in_bytes", "268435456\n"),
        ("memory/c1/memory.stat", "cache 5\nrss 7\n"),
        ("pids/c1/pids.current", "2\n"),
        ("pids/c1/pids.max", "4\n"),
        ("cpuacct/c1/cpuacct.usage", "9000\n"),
    ];
    // Without swap, the limit of kernel memory, and the times of each CPU.
    let whole = data(&[BASE]);
    assert_eq!(whole["memory"]["usage"]["usage"], 4096);
    // As runc omits what is 0.
    assert_eq!(whole["memory"]["swap"], Value::Null);
    assert_eq!(whole["memory"]["kernel"], Value::Null);
    assert_eq!(whole["cpu"]["usage"]["total"], 9000);
    assert_eq!(whole["pids"], json!({"current": 2, "limit": 4}));
    // More lines than user and system.
    let stat = (
        "cpuacct/c1/cpuacct.stat",
        "user 1\nsystem 2\nnice 3\nsched_delay x\n",
    );
    let cpu = &data(&[BASE, &[stat]])["cpu"]["usage"];
    assert_eq!(
        (&cpu["user"], &cpu["kernel"]),
        (&10_000_000.into(), &20_000_000.into())
    );
    // Devices without a number.
    let rows = "(unknown) Read 1\n(unknown) 1\n259:0 Read 8192\n259:0 Total 8192\nTotal 8193\n";
    let files = ["io_serviced", "io_service_bytes"]
        .map(|name| format!("blkio/c1/blkio.throttle.{name}_recursive"));
    let files = [(files[0].as_str(), rows), (files[1].as_str(), rows)];
    let blkio = &data(&[BASE, &files])["blkio"]["ioServiceBytesRecursive"];
    let row = |op: &str| json!({"major": 259, "op": op, "value": 8192});
    assert_eq!(blkio, &json!([row("Read"), row("Total")]));
    // A counter below zero is 0, and one that fell is what it is.
    let negative = ("memory/c1/memory.usage_in_bytes", "-4096\n");
    assert_eq!(
        data(&[BASE, &[negative]])["memory"]["usage"]["usage"],
        Value::Null
    );
    let less = ("cpuacct/c1/cpuacct.usage", "8000\n");
    assert_eq!(data(&[BASE, &[less]])["cpu"]["usage"]["total"], 8000);
}

#[test]
fn each_test_that_a_document_names_exists() {
    let mut sources = String::new();
    let mut directories = ["host/src", "guest/src", "tests"]
        .map(|d| root().join(d))
        .to_vec();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &fs::read_to_string(path).expect("it is UTF-8");
            }
        }
    }
    // A test is a sentence.
    let is_test = |text: &&str| {
        let mut characters = text.chars();
        text.matches('_').count() > 1
            && characters.all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    };
    for (document, least) in [
        ("docs/faults.md", 50),
        ("docs/compatibility.md", 5),
        ("docs/privileges.md", 3),
        ("SECURITY.md", 30),
    ] {
        let text = fs::read_to_string(root().join(document)).expect("it is there");
        let quoted = text.split('`').skip(1).step_by(2);
        let names: Vec<_> = quoted.filter(is_test).collect();
        assert!(
            names.len() >= least,
            "{document} names {} tests",
            names.len()
        );
        for name in names {
            let exists = sources.contains(&format!("fn {name}()"));
            assert!(exists, "{document} names {name}");
        }
    }
}

#[test]
fn two_gigabytes_of_address_space_are_enough() {
    let program = Eventout::new().into_command();
    let mut command = Command::new("prlimit");
    command.arg("--as=2000000000").arg(program.get_program());
    command.args(["--source", "demo", "events", "--stats", "--all"]);
    assert_eq!(run(&mut command).lines().count(), 3);
}

#[test]
fn a_state_without_a_cgroup_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let container = directory.path().join("web");
    // What is there beside states is no container.
    fs::create_dir_all(directory.path().join("other/dir")).expect("a directory");
    fs::create_dir(&container).expect("a directory");
    let pid = std::process::id();
    for (runtime, file, state) in [
        (
            "runc",
            "state.json",
            json!({"init_process_pid": pid, "cgroup_paths": {}}),
        ),
        (
            "runc",
            "state.json",
            json!({"init_process_pid": pid, "cgroup_paths": null}),
        ),
        ("runc", "state.json", json!({"init_process_pid": pid})),
        ("crun", "status", json!({"pid": pid, "cgroup-path": ""})),
    ] {
        fs::write(container.join(file), state.to_string()).expect("a file");
        let source = format!("{runtime}:{}", directory.path().display());
        let call = || Eventout::new().source(&source);
        let failed = call().events(["web"]).stats().fails(1);
        failed.says("it has no cgroup, according to its state");
        assert_eq!(call().list().lines().len(), 1);
    }
}
