//! OOM kills.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{Eventout, can_run, lock_machine, missing, wait_until};

use super::container::{Container, mount_disk};

/// Starts as many processes that take all memory as the file /disk/hogs says, whenever there is one. `tail` keeps all
/// of a line that never ends. The shell is not to be the victim.
const HOGS: &str = r"
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

/// Limits the memory of a container to 16 MiB.
fn limit_memory(spec: &mut Value) {
    spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
}

/// Returns the number of OOM kills in the container's cgroup, according to the kernel.
fn kills(container: &Container) -> usize {
    let directory = container.cgroup("memory");
    let text = fs::read_to_string(directory.join("memory.oom_control"))
        .or_else(|_| fs::read_to_string(directory.join("memory.events")));
    let text = text.expect("one of them exists");
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills
        .and_then(|kills| kills.parse().ok())
        .expect("a number")
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn each_oom_kill_is_one_line_as_it_happens() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let state = tempdir().expect("a directory");
    let start = |id: &str| {
        Container::run("runc", Some(state.path()), id, HOGS, |spec, directory| {
            mount_disk(spec, directory);
            limit_memory(spec);
        })
    };
    let (hog, quiet) = (start("hog"), start("quiet"));
    let disk = hog.directory().join("disk");
    let start_hogs = |n: usize| {
        // The file is whole when it appears, and is taken once.
        fs::write(disk.join("next"), n.to_string()).expect("it can be written");
        fs::rename(disk.join("next"), disk.join("hogs")).expect("it can be renamed");
    };
    // A kill before a stream begins is not reported.
    wait_until("the script runs", 60, || disk.join("ready").exists());
    start_hogs(1);
    wait_until("the first is killed", 60, || kills(&hog) == 1);

    let both = Eventout::new().source(hog.source());
    let mut stream = both.events([&hog.id, &quiet.id]).interval("1h").start();
    for _ in 0..2 {
        assert_eq!(stream.next_value()["type"], "stats");
    }
    let oom = json!({"type": "oom", "id": hog.id}).to_string();
    for n in [1, 5] {
        let before = kills(&hog);
        start_hogs(n);
        wait_until("all are killed", 60, || kills(&hog) == before + n);
        for _ in 0..n {
            // Long before the interval is over, which is an hour.
            let line = stream.next_line_within(Duration::from_secs(30));
            assert_eq!(line.as_ref(), Some(&oom));
        }
    }
    // Nothing else is reported: not again, and not of others.
    assert_eq!(stream.next_line_within(Duration::from_secs(3)), None);
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn an_oom_kill_that_ends_a_container_is_reported_before_its_stream_ends() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let state = tempdir().expect("a directory");
    let script = "while test ! -e /disk/go; do sleep 0.05; done; tail /dev/zero";
    let container = Container::run(
        "runc",
        Some(state.path()),
        "dies",
        script,
        |spec, bundle| {
            mount_disk(spec, bundle);
            limit_memory(spec);
        },
    );
    let mut stream = container.events().interval("100ms").start();
    stream.next_value();
    fs::write(container.directory().join("disk/go"), "").expect("it can be written");
    let end = stream.wait();
    end.succeeds();
    let oom = json!({"type": "oom", "id": container.id});
    let reported = end.lines().into_iter().filter(|line| *line == oom);
    assert_eq!(reported.count(), 1, "{end:?}");
}
