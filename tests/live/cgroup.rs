//! A cgroup without a container.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tests::{Eventout, Usage, can_run, lock_machine, missing, wait_until};

use super::container::cpu;

/// A cgroup with a process in it, in each hierarchy, which is removed when this is dropped.
struct Cgroup {
    directories: BTreeMap<&'static str, PathBuf>,
    process: Child,
}

impl Cgroup {
    fn new() -> Self {
        let name = format!("eventout-tests-{}", std::process::id());
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let delegate = |cgroup: &Path| {
            let control = cgroup.join("cgroup.subtree_control");
            fs::write(control, "+cpu +memory +pids").expect("the machine has the controllers");
        };
        if v2 {
            delegate(Path::new("/sys/fs/cgroup"));
        }
        // What it takes before it is in the cgroup is charged elsewhere.
        let load = r"read go; x=$(head -c 3000000 /dev/zero | tr '\0' x); while :; do :; done";
        let mut process = Command::new("sh")
            .args(["-c", load])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let directories = ["memory", "pids", "cpuacct"].map(|controller| {
            let hierarchy = if v2 { "" } else { controller };
            let parent = Path::new("/sys/fs/cgroup").join(hierarchy).join(&name);
            let directory = parent.join("busy");
            fs::create_dir_all(&parent).expect("a cgroup");
            if v2 {
                delegate(&parent);
            }
            fs::create_dir_all(&directory).expect("a cgroup");
            fs::write(directory.join("cgroup.procs"), process.id().to_string()).expect("it moves");
            (controller, directory)
        });
        let mut stdin = process.stdin.take().expect("it is piped");
        stdin.write_all(b"\n").expect("it reads");
        Self {
            directories: directories.into(),
            process,
        }
    }
}

impl Drop for Cgroup {
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
    let _machine = lock_machine();
    let cgroup = Cgroup::new();
    let directory = &cgroup.directories["cpuacct"];
    let parent = directory.parent().expect("it has one").to_owned();
    let memory = cgroup.directories["memory"].join("memory.stat");
    let procs = cgroup.directories["pids"].join("cgroup.procs");
    wait_until("the load is up", 60, || {
        // What filled the memory is a process of its own, for a while.
        let procs = fs::read_to_string(&procs).expect("it exists");
        if procs.lines().count() != 1 {
            return false;
        }
        let stat = fs::read_to_string(&memory).expect("it exists");
        let anon = |line: &str| {
            let anon = line.strip_prefix("rss ").or(line.strip_prefix("anon "));
            anon.and_then(|anon| anon.parse::<u64>().ok())
        };
        stat.lines().find_map(anon) > Some(3_000_000)
    });
    let busy = || Eventout::new().cgroup(&parent).events(["busy"]);
    let before = cpu(directory);
    let usage = Usage::of(&busy().stats().line());
    let after = cpu(directory);
    assert_eq!(usage.pids, 1);
    assert!(usage.memory > 3_000_000, "{usage:?}");
    assert!(
        (before..=after).contains(&usage.cpu),
        "{before} {usage:?} {after}"
    );

    // The cgroup above it is a child of the machine's root cgroup, with what is below it.
    let name = parent.file_name().expect("it has one");
    let stats = Eventout::new().source("cgroup").events([name]).stats();
    assert_eq!(Usage::of(&stats.line()).pids, 1);

    let mut stream = busy().interval("20ms").start();
    stream.next_value();
    drop(cgroup);
    let end = stream.wait();
    assert_eq!(end.code(), Some(0), "{end:?}");
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn tasks_are_counted_without_the_pids_controller_however_many_they_are() {
    const THREADS: u64 = 1500;
    if !can_run(&missing(&[])) {
        return;
    }
    let _machine = lock_machine();
    // Beside v1, no controller is at work there.
    let root = Path::new("/sys/fs/cgroup/unified");
    if !can_run(if root.exists() {
        ""
    } else {
        "there is no hybrid hierarchy"
    }) {
        return;
    }
    let name = format!("eventout-threads-{}", std::process::id());
    let script = format!(
        "import threading, time\nthreading.stack_size(65536)\n\
        for _ in range({THREADS} - 1): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n\
        print(flush=True)\ntime.sleep(600)"
    );
    let mut process = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdout = process.stdout.take().expect("it is piped");
    let directory = root.join(&name);
    let cgroup = Cgroup {
        directories: [("", directory.clone())].into(),
        process,
    };
    stdout.read_exact(&mut [0]).expect("its threads run");
    fs::create_dir(&directory).expect("a cgroup");
    let procs = directory.join("cgroup.procs");
    fs::write(procs, cgroup.process.id().to_string()).expect("it moves");
    let line = Eventout::new().cgroup(root).events([&name]).stats().line();
    assert_eq!(Usage::of(&line).pids, THREADS);
    drop(cgroup);
}
