//! Containers of runc and crun against their interface files.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;
use tests::{Eventout, PureV1, Usage, can_run, judge, lock_machine, missing, wait_until};

use super::container::{Container, TASKS};

/// Checks an event against the interface files before and after it. Memory can go up and down in between, so that
/// there are some attempts.
fn check(container: &Container, call: impl Fn() -> Eventout) {
    for attempt in 0.. {
        let before = (container.memory(), container.cpu());
        let event = call().line();
        let after = (container.memory(), container.cpu());
        let usage = Usage::of(&event);
        assert_eq!(usage.pids, container.read("pids.current"));
        assert_eq!(usage.pids, TASKS);
        assert!(
            (before.1..=after.1).contains(&usage.cpu),
            "{before:?} {usage:?} {after:?}"
        );
        assert_eq!(usage.limit, 128 << 20);
        assert_eq!(event["data"]["pids"]["limit"], 50);
        if (before.0.min(after.0)..=before.0.max(after.0)).contains(&usage.memory) {
            return;
        }
        assert!(attempt < 20, "{before:?} {usage:?} {after:?}");
    }
}

/// Returns what a program prints that reads `input`, and must succeed.
fn accepts(command: &mut Command, input: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

fn is_as_its_interface_files_say(runtime: &'static str) {
    let state = tempdir().expect("a directory");
    let container = Container::start(runtime, Some(state.path()), "load");
    let (source, id) = (container.source(), container.id.as_str());
    check(&container, || container.events().stats());
    // The same cgroup without the runtime.
    let parent = container.parent_cgroup();
    check(&container, || {
        Eventout::new().cgroup(&parent).events([id]).stats()
    });

    // jq and a strict decoder accept the line.
    let line = container.events().stats().stdout();
    let jq = accepts(Command::new("jq").args(["-r", ".id"]), &line);
    assert_eq!(jq.trim(), id);
    if let Some(judge) = judge() {
        let lines = accepts(Command::new(judge).arg("check-runc"), &line);
        assert_eq!(lines.trim(), "1");
    }

    let listed = Eventout::new().source(&source).list().line();
    for (key, value) in [("id", id), ("sandbox", id), ("source", &source)] {
        assert_eq!(listed[key], value, "{listed}");
    }

    let recording = state.path().join("recording.jsonl");
    let recorded = Eventout::new().source(&source).record(id).stats();
    fs::write(&recording, recorded.stdout()).expect("it can be written");
    let replay = Eventout::new().scenario(&recording).events([id]).stats();
    assert_eq!(Usage::of(&replay.line()).pids, TASKS);

    // A stream goes on while the container does, and ends when it stops.
    let mut stream = container.events().interval("50ms").start();
    let mut cpu = vec![Usage::of(&stream.next_value()).cpu];
    // A busy machine may not run it between two samples.
    while cpu.len() < 6 || (cpu.last() == cpu.first() && cpu.len() < 1000) {
        cpu.push(Usage::of(&stream.next_value()).cpu);
    }
    assert!(cpu.is_sorted() && cpu.last() > cpu.first(), "{cpu:?}");
    container.kill();
    stream.wait().succeeds();

    // It is still known, and not running.
    let ended = container.events().stats().fails(1);
    ended.says("it is not running");
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_runc_container_is_as_its_interface_files_say() {
    if can_run(&missing(&["runc", "busybox", "jq"])) {
        let _machine = lock_machine();
        is_as_its_interface_files_say("runc");
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_crun_container_is_as_its_interface_files_say() {
    if can_run(&missing(&["crun", "busybox", "jq"])) {
        let _machine = lock_machine();
        let _v1 = PureV1::mount();
        is_as_its_interface_files_say("crun");
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn without_a_source_the_runtime_that_knows_the_container_is_found() {
    if !can_run(&missing(&["runc", "crun", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let _v1 = PureV1::mount();
    let stats = |container: &Container| Eventout::new().events([&container.id]).stats();
    let runc = Container::start("runc", None, "same");
    check(&runc, || stats(&runc));
    // Other containers of this machine may be listed too.
    let mut listed = Eventout::new().list().run().lines().into_iter();
    let listed = listed.find(|listed| listed["id"] == runc.id.as_str());
    let listed = listed.expect("it is listed");
    assert_eq!(listed["source"], "runc:/run/runc", "{listed}");

    let crun = Container::start("crun", None, "other");
    check(&crun, || stats(&crun));

    let mut stream = Eventout::new().events(["--all"]).interval("100ms").start();
    wait_until("it is in the stream", 60, || {
        stream.next_value()["id"] == runc.id.as_str()
    });

    // Two runtimes that know the same ID: neither is taken for the other, not even by a stream that has one open.
    let state = Path::new("/run/crun");
    let copy = state.join(&runc.id);
    fs::create_dir_all(&copy).expect("a directory");
    fs::copy(state.join(&crun.id).join("status"), copy.join("status")).expect("a state of crun");
    let end = stats(&runc).run();
    let mut others = 0;
    wait_until("neither of them has lines", 60, || {
        match stream.next_value()["id"] == runc.id.as_str() {
            true => others = 0,
            false => others += 1,
        }
        others == 10
    });
    stream.kill().says("more than one runtime knows it");
    fs::remove_dir_all(&copy).expect("it can be removed");
    end.fails(1);
    end.says("--source runc:/run/runc or crun:/run/crun");
}
