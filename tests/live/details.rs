//! What is known of a container besides its usage.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{Eventout, PureV1, can_run, lock_machine, missing, run};

use super::container::Container;

/// Checks what `list` prints of a container that was given annotations, as containerd's CRI plugin makes them, and
/// limits; in each of its states.
fn has_its_details(runtime: &'static str) {
    let annotations = json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.sandbox-name": "pod",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.image-name": "docker.io/library/busybox:1",
    });
    let state = tempdir().expect("a directory");
    let container = Container::run(
        runtime,
        Some(state.path()),
        "details",
        "sleep 1000",
        |spec, _| {
            spec["annotations"] = annotations.clone();
            let cpu = json!({"quota": 30_000, "period": 100_000, "shares": 512});
            spec["linux"]["resources"]["cpu"] = cpu;
        },
    );
    let (source, id) = (container.source(), container.id.as_str());
    let list = || Eventout::new().source(&source).list().line();
    let control = |command: &str| run(container.runtime().args([command, id]));
    let namespace = fs::metadata(format!("/proc/{}/ns/net", container.pid()));
    let listed = list();
    let created: Value = serde_json::from_str(&control("state")).expect("it is JSON");
    let created = created["created"].as_str().expect("a time");
    let created = created.trim_end_matches('Z').replace('T', " ");
    let (seconds, fraction) = created.split_once('.').expect("a fraction");
    // As busybox has it, too.
    let seconds = run(Command::new("date").args(["-u", "-d", seconds, "+%s"]));
    let started = format!("{}{fraction:0<9}", seconds.trim());
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
        "started": started.parse::<u64>().expect("a number"),
        "cpu_quota": 30_000,
        "cpu_period": 100_000,
        "cpu_shares": 512,
        "cgroup": format!("/{id}"),
        "network_namespace": namespace.expect("it runs").ino(),
    });
    assert_eq!(listed, expected);

    for name in ["web", "pod/web", &id[..id.len() - 1]] {
        let stats = Eventout::new().source(&source).events([name]).stats();
        assert_eq!(stats.line()["id"], id, "{name}");
    }

    // Other limits, and all states.
    let mut update = container.runtime();
    update.args(["update", "--cpu-quota", "40000", "--cpu-period", "100000"]);
    run(update.arg(id));
    control("pause");
    let paused = list();
    assert_eq!(paused["status"], "paused");
    assert_eq!(paused["cpu_quota"], 40_000);
    control("resume");
    assert_eq!(list()["status"], "running");
    container.kill();
    let stopped = list();
    assert_eq!(stopped["status"], "stopped");
    assert_eq!(stopped["name"], "web");
    control("delete");
    container.create();
    assert_eq!(list()["status"], "created");
    control("start");
    let again = list();
    assert_eq!(again["status"], "running");
    // It is another one.
    let started = |listed: &Value| listed["started"].as_u64().expect("a number");
    assert!(started(&listed) < started(&again), "{listed} {again}");
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn containers_have_the_details_that_runtimes_were_given() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let _v1 = PureV1::mount();
    has_its_details("runc");
    has_its_details("crun");
}
