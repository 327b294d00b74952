//! Lines of runc against lines of eventout, value by value.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{Eventout, PureV1, between, can_run, lock_machine, missing, run, wait_until};

use super::container::{Container, mount, mount_disk};
use super::machine::{HugePages, has_controller};

/// Compares what runc prints of a container with what eventout prints just before and after, of the container `id`
/// of `source`. Some values go up and down, so that there are some attempts. Returns the last line of eventout.
pub fn compare(runc: &Container, source: &str, id: &str) -> Value {
    let ours = || Eventout::new().source(source).events([id]).stats().line();
    for attempt in 0.. {
        let before = ours();
        let line = run(runc.runtime().args(["events", "--stats", &runc.id]));
        let mut theirs: Value = serde_json::from_str(&line).expect("runc prints JSON");
        theirs["id"] = id.into();
        let after = ours();
        let why = match between(&before, &theirs, &after) {
            Ok(fixed) if fixed > 20 => return after,
            // The others moved, as they do more often if readings take long.
            Ok(fixed) => format!("only {fixed} values that are not 0 and did not move"),
            Err(e) => e,
        };
        assert!(attempt < 30, "{why}\n{before}\n{theirs}\n{after}");
    }
    unreachable!("the loop ends");
}

/// Checks pressure, which not all releases of runc print, against the interface files just before and after.
/// Machines without any, and v1, have none. Averages go up and down, so that there are some attempts.
fn check_pressure(container: &Container) {
    let cgroup = container.cgroup("memory");
    if !cgroup.join("cpu.pressure").exists() {
        return;
    }
    // Of lines like `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
    let kernel = || -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for (resource, file) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
            let text = fs::read_to_string(cgroup.join(format!("{file}.pressure")));
            for line in text.expect("it exists").lines() {
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
    for attempt in 0.. {
        let before = kernel();
        let ours = container.events().stats().line();
        let after = kernel();
        assert_eq!(before.len(), 3 * 2 * 4, "{before:?}");
        let wrong = before.iter().find(|(path, before)| {
            // What is 0 may be omitted.
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

/// A load with files, mapped memory, huge pages if there are any, and three tasks, one of them busy. A program of the
/// container's own is memory of its own that is mapped, and in use time and again. What else is not 0 is up to the
/// kernel.
const LOAD: &str = r"
    dd if=/dev/zero of=/disk/file bs=1M count=4 conv=fsync 2>/dev/null
    test ! -d /huge || fallocate -l 4M /huge/file
    cat /bin/busybox >/disk/busybox
    chmod +x /disk/busybox
    for time in 1 2 3 4; do /disk/busybox cat /disk/file >/dev/null; done
    /disk/busybox sleep 1000 & sleep 1000 &
    touch /disk/ready
    while :; do :; done";

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn every_value_of_runc_lies_between_two_of_ours() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let _v1 = PureV1::mount();
    let _pages = HugePages::new(4);
    let huge = has_controller("hugetlb");
    let device = fs::metadata(std::env::temp_dir()).expect("it exists").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    // The first number is 0 if no block device is behind the filesystem.
    let block = (has_controller("blkio") || has_controller("io")) && major != 0;
    let state = tempdir().expect("a directory");
    let runc = Container::run(
        "runc",
        Some(state.path()),
        "whole",
        LOAD,
        |spec, directory| {
            mount_disk(spec, directory);
            let resources = &mut spec["linux"]["resources"];
            resources["memory"] = json!({"limit": 64 << 20, "reservation": 32 << 20});
            resources["pids"] = json!({"limit": 50});
            resources["cpu"] = json!({"quota": 30_000, "period": 100_000});
            if huge {
                resources["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
            }
            if block && has_controller("blkio") {
                // On v1, the kernel counts nothing of a device without a limit.
                let limit = json!([{"major": major, "minor": minor, "rate": 500_000_000}]);
                resources["blockIO"] =
                    json!({"throttleWriteBpsDevice": limit, "throttleReadBpsDevice": limit});
            }
            if huge {
                let kind = "hugetlbfs";
                mount(
                    spec,
                    json!({"destination": "/huge", "type": kind, "source": kind}),
                );
            }
        },
    );
    wait_until("the load is up", 120, || {
        runc.directory().join("disk/ready").exists()
    });
    wait_until("it was throttled", 120, || {
        let stat = fs::read_to_string(runc.cgroup("cpu").join("cpu.stat"));
        let stat = stat.expect("it exists");
        // `throttled_time` on v1, `throttled_usec` on v2. The kernel adds to it when a throttled cgroup runs again.
        let mut times = stat.lines().filter(|line| line.starts_with("throttled_"));
        times.any(|line| !line.ends_with(" 0"))
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
        let entries = &data["blkio"]["ioServiceBytesRecursive"];
        let mut entries = entries.as_array().expect("a list").iter();
        let written =
            |entry: &Value| entry["op"] == "Write" && entry["value"].as_u64() >= Some(4 << 20);
        assert!(entries.any(written), "{ours}");
    }
    check_pressure(&runc);
    // The same cgroup without the runtime.
    let parent = format!("cgroup:{}", runc.parent_cgroup().display());
    compare(&runc, &parent, &runc.id);

    // A container of crun in the same cgroup has the same values.
    let crun_state = tempdir().expect("a directory");
    let crun = Container::run(
        "crun",
        Some(crun_state.path()),
        "guest",
        "sleep 1000",
        |spec, _| {
            spec["linux"]["cgroupsPath"] = format!("/{}", runc.id).into();
            spec["linux"]["resources"] = json!({});
        },
    );
    assert_eq!(crun.cgroup("memory"), runc.cgroup("memory"));
    let ours = compare(&runc, &crun.source(), &crun.id);
    assert_eq!(ours["data"]["pids"]["current"], 4);
    // Deleting it while it runs would take the other's cgroup with it.
    crun.kill();
}
