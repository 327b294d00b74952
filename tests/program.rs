//! The program's output: lines, streams, signals, pipes and exit codes.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{Eventout, copy_dir, fixture, root, wait_until};

fn demo() -> Eventout {
    Eventout::new().source("demo")
}

#[test]
fn the_demo_needs_nothing() {
    let line = demo().events(["web"]).stats().stdout();
    assert!(
        line.starts_with(r#"{"type":"stats","id":"web","data":{"#),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    assert!(line.ends_with("}\n"));
}

#[test]
fn list_names_each_container_with_its_sandbox_and_source_and_what_is_known() {
    let container =
        |id| json!({"id": id, "sandbox": "pause", "source": "demo", "runtime": "gvisor"});
    assert_eq!(demo().list().lines(), ["pause", "web", "db"].map(container));
    let named = Eventout::new().scenario(fixture("names.jsonl")).list();
    assert_eq!(
        named.format("table").stdout(),
        "NAME  ID   POD/SANDBOX  RUNTIME  STATUS  AGE\n\
         web   aa1  shop         gvisor   paused  -\n\
         db    aa2  shop         gvisor   -       -\n\
         db    b1   shop         gvisor   -       -\n"
    );
}

#[test]
fn a_container_may_be_called_by_its_name_or_by_the_beginning_of_its_id() {
    let source = || Eventout::new().scenario(fixture("names.jsonl"));
    for (name, id) in [
        ("web", "aa1"),
        ("shop/web", "aa1"),
        ("b", "b1"),
        ("aa2", "aa2"),
    ] {
        assert_eq!(source().events([name]).stats().line()["id"], id);
        let recording = source().record(name).arg("--once").stdout();
        assert!(
            recording.contains(&format!(r#""id":"{id}""#)),
            "{recording}"
        );
    }
    for (name, why) in [
        (
            "aa",
            r#""aa" is the beginning of the ID of 2 containers: "aa1", "aa2""#,
        ),
        (
            "shop/db",
            r#""shop/db" is the name of 2 containers: "aa2", "b1""#,
        ),
    ] {
        let ambiguous = source().events([name]).stats().fails(1);
        ambiguous.says("cannot find container").says(why);
    }
    // Cgroups have no names, but IDs.
    let cgroup = Eventout::new().cgroup(fixture("cgroup")).events(["we"]);
    assert_eq!(cgroup.stats().line()["id"], "web");
}

#[test]
fn a_recording_has_the_events_of_its_source() {
    let recording = demo().record("db").stats().stdout();
    let scenario = fs::read_to_string(root().join("host/src/source/demo.jsonl")).expect("UTF-8");
    assert_eq!(Some(recording.trim_end()), scenario.lines().next());

    let directory = tempdir().expect("a directory");
    let file = directory.path().join("recording.jsonl");
    let live = || Eventout::new().cgroup(fixture("cgroup"));
    let replay = || Eventout::new().scenario(&file);
    let recording = live().record("web").stats().stdout();
    fs::write(&file, &recording).expect("it can be written");
    assert_eq!(replay().record("web").stats().stdout(), recording);
    assert_eq!(
        replay().events(["web"]).stats().stdout(),
        live().events(["web"]).stats().stdout()
    );
}

#[test]
fn all_sandboxes_of_a_source_are_recorded_as_one_sample() {
    let scenario = root().join("tests/goldens/several-sandboxes.jsonl");
    let original = || Eventout::new().scenario(&scenario);
    let recording = original().record("--all").arg("--once").stdout();
    assert!(recording.starts_with('['), "{recording}");
    let directory = tempdir().expect("a directory");
    let copy = directory.path().join("all.jsonl");
    fs::write(&copy, recording).expect("a file");
    let replay = Eventout::new().scenario(&copy);
    assert_eq!(
        replay.events(["--all"]).stats().stdout(),
        original().events(["--all"]).stats().stdout()
    );
}

#[test]
fn a_stream_has_a_line_per_sample_and_ends_when_the_containers_do() {
    let scenario = fixture("two-containers-end.jsonl");
    let stream = Eventout::new().scenario(scenario).events(["a", "b"]);
    let lines = stream.interval("10ms").lines();
    let pids = |line: &Value| (line["id"].clone(), line["data"]["pids"]["current"].clone());
    assert_eq!(
        lines.iter().map(pids).collect::<Vec<_>>(),
        [("a", 1), ("b", 2), ("a", 3)].map(|(id, pids)| (json!(id), json!(pids)))
    );
}

#[test]
fn a_failed_sample_ends_neither_the_stream_nor_its_success() {
    let scenario = fixture("fails-every-other-sample.jsonl");
    let stream = Eventout::new().scenario(scenario).events(["a"]);
    let stream = stream.interval("10ms").run();
    assert_eq!(stream.lines().len(), 2, "{stream:?}");
    let reports = stream.stderr.matches("it is frozen").count();
    assert_eq!(reports, 2, "{stream:?}");
    assert_eq!(stream.code(), Some(0), "{stream:?}");
}

#[test]
fn a_stream_keeps_its_interval() {
    let begun = Instant::now();
    let mut stream = demo().events(["web"]).interval("50ms").start();
    for _ in 0..11 {
        stream.next_value();
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_signal_ends_a_stream_after_a_whole_line() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut stream = demo().events(["web"]).interval("20ms").start();
        stream.next_value();
        stream.signal(signal);
        let end = stream.wait();
        assert_eq!(end.code(), Some(code), "{signal}");
        let whole = end.stdout.is_empty() || end.stdout.ends_with("}\n");
        assert!(whole, "{signal}: {end:?}");
    }
}

#[test]
fn a_closed_pipe_is_not_an_error_and_ends_the_stream_at_once() {
    let begun = Instant::now();
    let mut stream = demo().events(["web"]).interval("1h").start();
    stream.next_value();
    stream.close_stdout();
    stream.wait().succeeds();
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "it waited for the next line"
    );
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let mut shell = Command::new("sh");
    let program = Eventout::new().into_command();
    shell
        .args(["-c", r#"exec "$0" --source demo events --stats web >&-"#])
        .arg(program.get_program());
    let output = shell.output().expect("a shell");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot write to standard output"),
        "{stderr}"
    );
}

#[test]
fn a_full_disk_is_an_error() {
    let full = File::options().write(true).open("/dev/full");
    let mut command = demo().events(["web"]).stats().into_command();
    let output = command.stdout(full.expect("Linux has it")).output();
    let output = output.expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error: cannot write to standard output\n"),
        "{stderr}"
    );
}

#[test]
fn a_container_that_is_not_there_is_an_error() {
    let says = [
        "cannot get stats of container \"no\"",
        "container \"no\" not found",
    ];
    for call in [
        demo().events(["no"]).stats(),
        demo().events(["no"]).interval("1h"),
    ] {
        call.fails(1).says(says[0]).says(says[1]);
    }
    let recording = demo().record("no").fails(1);
    recording.says("cannot record container \"no\"");
    let cgroup = fixture("cgroup");
    let stats = Eventout::new().cgroup(&cgroup).events(["no"]).stats();
    stats
        .fails(1)
        .says(&cgroup.display().to_string())
        .says("has no such cgroup");
    for runtime in ["runc", "crun", "gvisor"] {
        let spec = format!("{runtime}:/nonexistent");
        let source = || Eventout::new().source(&spec);
        let stats = source().events(["no"]).stats().fails(1);
        stats.says("no /nonexistent/no");
        let list = source().list().fails(1);
        list.says(&format!("cannot list {spec}"));
    }
}

#[test]
fn without_a_source_the_error_names_the_state_directories() {
    let stats = Eventout::new().events(["eventout-no"]).stats().fails(1);
    stats.says("/run/runc/eventout-no/state.json");
    stats.says("/run/crun/eventout-no/status");
}

#[test]
fn one_container_that_is_not_there_spoils_only_the_exit_code() {
    let stats = demo().events(["web", "no", "db"]).stats().run();
    assert_eq!(stats.code(), Some(1));
    assert_eq!(stats.lines().len(), 2, "{stats:?}");
}

#[test]
fn a_cgroup_that_vanishes_ends_its_stream() {
    let root = tempdir().expect("a directory");
    copy_dir(&fixture("cgroup"), root.path());
    let source = Eventout::new().cgroup(root.path());
    let mut stream = source.events(["web"]).interval("20ms").start();
    stream.next_value();
    // As the kernel removes one: all at once.
    let group = root.path().join("web");
    fs::rename(&group, root.path().join("gone")).expect("it can be renamed");
    stream.wait().succeeds();
}

#[test]
fn all_follows_containers_that_come_and_go() {
    let root = tempdir().expect("a directory");
    copy_dir(&fixture("cgroup"), root.path());
    let group = |name: &str| root.path().join(name);
    let source = Eventout::new().cgroup(root.path());
    let mut stream = source.events(["--all"]).interval("20ms").start();
    let mut wait_for = |id: &str| wait_until(id, 60, || stream.next_value()["id"] == id);
    wait_for("web");
    copy_dir(&group("web"), &group("other"));
    wait_for("other");
    fs::rename(group("web"), group("third")).expect("it can be renamed");
    wait_for("third");
    stream.signal("INT");
    assert_eq!(stream.wait().code(), Some(130));
}

#[test]
fn intervals_are_gos_durations_or_seconds() {
    // As in runc, it is checked with --stats too.
    let stats = |interval: &str| {
        let stats = demo().events(["web"]).stats();
        stats.arg(format!("--interval={interval}"))
    };
    for bad in [
        "0",
        "0s",
        "-1s",
        "",
        "s",
        "5x",
        "1m 30s",
        "1.2.3s",
        ".s",
        "99999999999999h",
    ] {
        stats(bad).fails(2).says("--interval <DURATION>");
    }
    for good in [
        "1",
        "1m30s",
        "1.5h",
        "500ms",
        "1h2m3s4ms5us6µs7ns",
        ".5s",
        "3000000h",
    ] {
        stats(good).stdout();
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["events"][..],
        &[],
        &["bla"],
        &["events", "--bla", "x"],
        &["record"],
    ] {
        let usage = Eventout::new().args(args).run();
        assert_eq!(usage.code(), Some(2), "{usage:?}");
        assert_eq!(usage.stdout, "", "{usage:?}");
    }
}
