//! The program's manners: streams, signals, pipes, exit codes, and what it says of bad input.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{eventout, printed, program, root, scratch, wait_until};

/// Starts the program with its output to be read.
fn start(args: &[&str]) -> Child {
    let mut command = program();
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the program runs")
}

/// Sends a signal.
fn kill(signal: &str, child: &Child) {
    let command = format!("kill -{signal} {}", child.id());
    let status = Command::new("sh").args(["-c", &command]).status();
    assert!(status.expect("sh runs").success());
}

/// A scenario in a file, as `--source` takes it.
fn scenario(name: &str, text: impl AsRef<[u8]>) -> (PathBuf, String) {
    let file = scratch(name).join("scenario.jsonl");
    fs::write(&file, text).expect("it can be written");
    let spec = format!("scenario:{}", file.display());
    (file, spec)
}

/// A v2 group with a container in it, in an ordinary directory.
fn cgroup(name: &str) -> (PathBuf, String) {
    let directory = scratch(name);
    fs::write(directory.join("cgroup.controllers"), "cpu memory pids\n").expect("a file");
    let group = directory.join("web");
    fs::create_dir(&group).expect("a directory");
    for (file, text) in [
        (
            "cpu.stat",
            "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 0\n",
        ),
        ("memory.current", "4096\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 4096\nfile 0\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
    ] {
        fs::write(group.join(file), text).expect("a file");
    }
    let spec = format!("cgroup:{}", directory.display());
    (group, spec)
}

/// Runs the program, which must fail with one clear error and print nothing else.
#[track_caller]
fn fails(args: &[&str], code: i32, says: &[&str]) {
    let begun = Instant::now();
    let output = eventout(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(
        output.stdout.is_empty(),
        "{args:?} printed {:?}",
        output.stdout
    );
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    assert!(stderr.len() < 2000, "{args:?}: {stderr}");
    for text in says {
        assert!(stderr.contains(text), "{args:?}: no {text:?} in {stderr}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}");
}

#[test]
fn the_demo_needs_nothing() {
    let output = eventout(["--source", "demo", "events", "--stats", "web"]);
    let line = printed(&output);
    assert!(
        line.starts_with(r#"{"type":"stats","id":"web","data":{"#),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    assert!(line.ends_with("}\n"));
}

#[test]
fn list_names_each_container_with_its_sandbox_and_source_and_what_is_known() {
    let output = eventout(["--source", "demo", "list"]);
    assert_eq!(
        printed(&output),
        r#"{"id":"pause","sandbox":"pause","source":"demo","runtime":"gvisor"}
{"id":"web","sandbox":"pause","source":"demo","runtime":"gvisor"}
{"id":"db","sandbox":"pause","source":"demo","runtime":"gvisor"}
"#
    );
    let (_, named) = scenario(
        "named",
        r#"{"root_container":"a1","containers":[{"id":"a1","pids_count":1,"details":{"name":"web","pod":"shop","status":"paused"}}]}"#,
    );
    let output = eventout(["--source", &named, "list", "--format", "table"]);
    assert_eq!(
        printed(&output),
        "NAME  ID  POD/SANDBOX  RUNTIME  STATUS  AGE\n\
         web   a1  shop         gvisor   paused  -\n"
    );
}

#[test]
fn a_container_may_be_called_by_its_name_or_by_the_beginning_of_its_id() {
    let container = |id: &str, name: &str| {
        format!(r#"{{"id":"{id}","pids_count":1,"details":{{"name":"{name}","pod":"shop"}}}}"#)
    };
    let containers = [("aa1", "web"), ("aa2", "db"), ("b1", "db")];
    let containers = containers.map(|(id, name)| container(id, name)).join(",");
    let text = format!(r#"{{"root_container":"b1","containers":[{containers}]}}"#);
    let (_, spec) = scenario("names", &text);
    for (name, id) in [
        ("web", "aa1"),
        ("shop/web", "aa1"),
        ("b", "b1"),
        ("aa2", "aa2"),
    ] {
        for command in [&["events", "--stats"][..], &["record", "--once"]] {
            let source = ["--source", &spec];
            let output = eventout(source.iter().chain(command).chain([&name]));
            let line = printed(&output);
            assert!(line.contains(&format!(r#""id":"{id}""#)), "{name}: {line}");
        }
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
        let args = ["--source", &spec, "events", "--stats", name];
        fails(&args, 1, &["cannot find container", why]);
    }
    // Cgroups have no names, but IDs.
    let (_, live) = cgroup("beginnings");
    let output = eventout(["--source", &live, "events", "--stats", "we"]);
    assert!(printed(&output).contains(r#""id":"web""#));
}

#[test]
fn what_is_recorded_plays_back_the_same() {
    let recording = eventout(["--source", "demo", "record", "db", "--stats"]);
    let demo = fs::read_to_string(root().join("host/src/source/demo.jsonl")).expect("UTF-8");
    assert_eq!(Some(printed(&recording).trim_end()), demo.lines().next());

    let (_, live) = cgroup("record");
    let recording = eventout(["--source", &live, "record", "web", "--stats"]);
    let (_, replay) = scenario("replay", printed(&recording));
    let original = eventout(["--source", &live, "events", "--stats", "web"]);
    let again = eventout(["--source", &replay, "events", "--stats", "web"]);
    assert_eq!(printed(&original), printed(&again));
    let again = eventout(["--source", &replay, "record", "web", "--stats"]);
    assert_eq!(printed(&recording), printed(&again));
}

#[test]
fn a_stream_has_a_line_per_sample_and_ends_when_the_containers_do() {
    let both = r#"{"root_container":"a","memory_usage":8,"containers":[{"id":"a","pids_count":1},{"id":"b","pids_count":2}]}"#;
    let one = r#"{"root_container":"a","memory_usage":8,"containers":[{"id":"a","pids_count":3}]}"#;
    let none = r#"{"root_container":"a","memory_usage":0,"containers":[]}"#;
    let (_, spec) = scenario("stream", format!("{both}\n{one}\n\n{none}"));
    let output = eventout(["--source", &spec, "events", "a", "b", "--interval", "10ms"]);
    let ids: Vec<_> = printed(&output)
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
            (
                event["id"].to_string(),
                event["data"]["pids"]["current"].clone(),
            )
        })
        .collect();
    let line = |id: &str, pids: u64| (format!("{id:?}"), pids.into());
    assert_eq!(ids, [line("a", 1), line("b", 2), line("a", 3)]);
}

#[test]
fn a_failed_sample_ends_neither_the_stream_nor_its_success() {
    let good =
        r#"{"root_container":"a","memory_usage":8,"containers":[{"id":"a","pids_count":1}]}"#;
    let bad = r#"{"root_container":"a","memory_usage":8,"containers":[{"id":"a","pids_count":1,"error":"it is frozen"}]}"#;
    let none = r#"{"root_container":"a","memory_usage":0,"containers":[]}"#;
    let (_, spec) = scenario("failed-sample", [bad, good, bad, good, none].join("\n"));
    let output = eventout(["--source", &spec, "events", "a", "--interval", "10ms"]);
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    assert_eq!(stderr.matches("it is frozen").count(), 2, "{stderr}");
    assert_eq!(output.status.code(), Some(0), "{stderr}");
}

#[test]
fn a_stream_keeps_its_interval() {
    let begun = Instant::now();
    let mut child = start(&["--source", "demo", "events", "web", "--interval", "50ms"]);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.by_ref().take(11).all(|line| line.is_ok()));
    let took = begun.elapsed();
    kill("KILL", &child);
    child.wait().expect("it ends");
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_signal_ends_a_stream_after_a_whole_line() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut child = start(&["--source", "demo", "events", "web", "--interval", "20ms"]);
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut text = String::new();
        stdout.read_line(&mut text).expect("it prints");
        kill(signal, &child);
        stdout.read_to_string(&mut text).expect("it prints UTF-8");
        assert_eq!(
            child.wait().expect("it ends").code(),
            Some(code),
            "{signal}"
        );
        assert!(text.ends_with("}\n"), "{signal}: {text}");
    }
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let program = program();
    let script = r#"exec "$0" --source demo events --stats web >&-"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program.get_program());
    let output = shell.output().expect("a shell");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot write to standard output"),
        "{stderr}"
    );
}

#[test]
fn an_error_shows_no_control_characters_and_has_a_bounded_length() {
    let long = format!("\u{1b}[2J\u{9b}\n{}", "x".repeat(1 << 20));
    let json = serde_json::to_string(&long).expect("JSON");
    let text = format!(r#"{{"root_container":"a","containers":[],{json}:1}}"#);
    let (_, spec) = scenario("hostile-key", &text);
    let output = eventout(["--source", &spec, "events", "--stats", "a"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("unknown field"), "{stderr}");
    assert!(stderr.len() < 4000, "{} bytes", stderr.len());
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!stderr.contains(control), "{stderr:?}");
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
}

#[test]
fn all_sandboxes_of_a_source_are_recorded_as_one_sample() {
    let scenario = root().join("tests/goldens/several-sandboxes.jsonl");
    let play = |file: &Path| {
        let spec = format!("scenario:{}", file.display());
        eventout(["--source", &spec, "events", "--all", "--stats"])
    };
    let spec = format!("scenario:{}", scenario.display());
    let recorded = eventout(["--source", &spec, "record", "--all", "--once"]);
    let line = printed(&recorded);
    assert!(line.starts_with('['), "{line}");
    let copy = scratch("recorded").join("all.jsonl");
    fs::write(&copy, line).expect("a file");
    assert_eq!(printed(&play(&copy)), printed(&play(&scenario)));
}

#[test]
fn a_closed_pipe_is_not_an_error_and_ends_the_stream_at_once() {
    let begun = Instant::now();
    let mut child = start(&["--source", "demo", "events", "web", "--interval", "1h"]);
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("it prints");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "it didn't wait for the next line"
    );
}

#[test]
fn a_full_disk_is_an_error() {
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let mut command = program();
    let output = command
        .args(["--source", "demo", "events", "--stats", "web"])
        .stdout(full)
        .output()
        .expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error: cannot write to standard output\n"),
        "{stderr}"
    );
}

#[test]
fn intervals_are_gos_durations_or_seconds() {
    for bad in [
        "0",
        "0s",
        "-1s",
        "",
        "s",
        "1",
        "5x",
        "1m 30s",
        "1.2.3s",
        ".s",
        "99999999999999h",
    ] {
        let interval = format!("--interval={bad}");
        if bad != "1" {
            // As in runc, it is checked with --stats too.
            fails(
                &["--source", "demo", "events", "--stats", "web", &interval],
                2,
                &["--interval <DURATION>"],
            );
        }
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
        let interval = format!("--interval={good}");
        let output = eventout(["--source", "demo", "events", "--stats", "web", &interval]);
        printed(&output);
    }
}

#[test]
fn a_container_that_is_not_there_is_an_error() {
    let says = [
        "cannot get stats of container \"no\"",
        "container \"no\" not found",
    ];
    fails(&["--source", "demo", "events", "--stats", "no"], 1, &says);
    fails(
        &["--source", "demo", "events", "no", "--interval", "1h"],
        1,
        &says,
    );
    fails(
        &["--source", "demo", "record", "no"],
        1,
        &["cannot record container \"no\""],
    );
    let (_, spec) = cgroup("not-there");
    fails(
        &["--source", &spec, "events", "--stats", "no"],
        1,
        &[&spec, "has no such cgroup"],
    );
    for kind in ["runc", "crun", "gvisor"] {
        let spec = format!("{kind}:/nonexistent");
        fails(
            &["--source", &spec, "events", "--stats", "no"],
            1,
            &["no /nonexistent/no"],
        );
        fails(
            &["--source", &spec, "list"],
            1,
            &[&format!("cannot list {spec}")],
        );
    }
    // Without a source, it says where it looked.
    let says = [
        "/run/runc/eventout-no/state.json",
        "/run/crun/eventout-no/status",
    ];
    fails(&["events", "--stats", "eventout-no"], 1, &says);
}

#[test]
fn one_container_that_is_not_there_spoils_only_the_exit_code() {
    let output = eventout(["--source", "demo", "events", "--stats", "web", "no", "db"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        2
    );
}

#[test]
fn ids_lead_nowhere_else() {
    let (group, spec) = cgroup("traversal");
    let outside = group
        .parent()
        .expect("it has one")
        .with_extension("outside");
    fs::create_dir_all(&outside).expect("a directory");
    let long = "x".repeat(256);
    let very_long = "x".repeat(100_000);
    for source in [spec.as_str(), "runc:/tmp", "crun:/tmp"] {
        for id in ["../x", "..", ".", "/", "/etc", "a/b", "", "web/", &long] {
            let says = ["no container of this source can have such an ID"];
            fails(
                &["--source", source, "events", "--stats", "--", id],
                1,
                &says,
            );
            // It will never be one, so the stream doesn't go on.
            fails(
                &["--source", source, "events", "--interval=1h", "--", id],
                1,
                &says,
            );
        }
        fails(
            &["--source", source, "events", "--stats", &very_long],
            1,
            &["100000 bytes"],
        );
        fails(
            &["--source", source, "record", &very_long],
            1,
            &["cannot record container"],
        );
    }
}

#[test]
fn interface_files_may_hold_anything() {
    let (group, spec) = cgroup("nonsense");
    let args = ["--source", &spec, "events", "--stats", "web"];
    let data = || {
        let output = eventout(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && stderr.len() < 2000, "{stderr}");
        let line: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        (line["data"].clone(), stderr)
    };
    let (good, stderr) = data();
    assert_eq!(stderr, "");
    let file = |name: &str| group.join(name);
    // What cannot be understood costs itself, and nothing else.
    for (name, text, lost) in [
        ("memory.current", &b"lots\n"[..], "/memory/usage/usage"),
        ("memory.current", b"", "/memory/usage/usage"),
        (
            "memory.current",
            b"18446744073709551616",
            "/memory/usage/usage",
        ),
        ("memory.current", b"1\xff", "/memory/usage/usage"),
        ("memory.max", b"min\n", "/memory/usage/limit"),
        ("memory.stat", b"anon\nfile 0\n", "/memory/raw/anon"),
        ("memory.stat", b"anon x\nfile 0\n", "/memory/raw/anon"),
        ("pids.current", b"1 2\n", "/pids/current"),
        (
            "cpu.stat",
            b"usage_usec 18446744073709551615\n",
            "/cpu/usage/total",
        ),
    ] {
        let path = file(name);
        let before = fs::read(&path).expect("it was there");
        fs::write(&path, text).expect("it can be written");
        let (bad, stderr) = data();
        if name == "memory.current" {
            let path = path.display().to_string();
            assert!(stderr.contains(&path), "no {path} in {stderr}");
        }
        let number = |data: &Value| data.pointer(lost).and_then(Value::as_u64).unwrap_or(0);
        assert!(number(&good) > 0, "{lost} is in {good}");
        assert_eq!(number(&bad), 0, "{name}: {bad}");
        assert!(bad["pids"]["current"].is_u64() || bad["memory"]["usage"]["usage"].is_u64());
        fs::write(&path, before).expect("it can be written");
    }
    // Neither a directory, a pipe nor a link is an interface file.
    let path = file("memory.current");
    let without = || {
        assert_eq!(data().0["memory"]["usage"]["usage"], Value::Null);
    };
    fs::remove_file(&path).expect("it goes");
    without();
    fs::create_dir(&path).expect("a directory");
    without();
    fs::remove_dir(&path).expect("it goes");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    without();
    fs::remove_file(&path).expect("it goes");
    symlink("/proc/self/oom_score_adj", &path).expect("a link");
    without();
    fs::remove_file(&path).expect("it goes");
    // What the kernel shows as negative for a moment is 0, as in runc.
    fs::write(&path, "-4096\n").expect("it can be written");
    printed(&eventout(args));
}

#[test]
fn a_group_that_vanishes_ends_its_stream() {
    let (group, spec) = cgroup("vanishing");
    let mut child = start(&["--source", &spec, "events", "web", "--interval", "20ms"]);
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it prints");
    // As the kernel removes one: all at once.
    fs::rename(&group, group.with_extension("gone")).expect("it can be renamed");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn all_follows_containers_that_come_and_go() {
    let (group, spec) = cgroup("all");
    let mut child = start(&["--source", &spec, "events", "--all", "--interval", "20ms"]);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut wait_for = |id: &str| {
        let id = format!("\"id\":\"{id}\"");
        wait_until(&id, 60, || {
            lines
                .next()
                .is_some_and(|line| line.expect("UTF-8").contains(&id))
        });
    };
    wait_for("web");
    let other = group.with_file_name("other");
    let copied = Command::new("cp").arg("-r").args([&group, &other]).status();
    assert!(copied.expect("cp runs").success());
    wait_for("other");
    fs::rename(&group, group.with_file_name("third")).expect("it can be renamed");
    wait_for("third");
    kill("INT", &child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_scenario_that_is_not_valid_is_an_error_with_its_place() {
    let good =
        r#"{"root_container":"a","memory_usage":1,"containers":[{"id":"a","pids_count":1}]}"#;
    for (name, text, place, why) in [
        ("empty", "", ":", "has no sample in it"),
        ("blank", "\n \n", ":", "has no sample in it"),
        ("truncated", &good[..40], ":1:40", "EOF while parsing"),
        (
            "second-line",
            &format!("{good}\n{{\"root_container\":1}}"),
            ":2:19",
            "expected a string",
        ),
        ("not-json", "hello", ":1:1", "expected value"),
        ("list", "[1]", ":1:", "expected struct Snapshot"),
        (
            "unknown-key",
            &good.replace("memory_usage", "memory"),
            ":1:30",
            "unknown field `memory`",
        ),
        (
            "unknown-key-below",
            &good.replace("pids_count", "tasks"),
            ":1:",
            "unknown field `tasks`",
        ),
        (
            "unknown-value",
            &good.replace(
                r#""pids_count":1"#,
                r#""pids_count":1,"stats":{"cpu":{"usage":{"sum":1}}}"#,
            ),
            ":1:",
            "unknown field stats.cpu.usage.sum",
        ),
        (
            "duplicate-id",
            &good.replace("}]", r#"},{"id":"a","pids_count":2}]"#),
            ":1:",
            "duplicate container ID \"a\"",
        ),
        (
            "duplicate-key",
            &good.replace("{\"root_", "{\"root_container\":\"a\",\"root_"),
            ":1:",
            "duplicate",
        ),
        (
            "negative",
            &good.replace("\"pids_count\":1", "\"pids_count\":-1"),
            ":1:",
            "invalid value: integer `-1`",
        ),
        (
            "fraction",
            &good.replace("\"pids_count\":1", "\"pids_count\":1.5"),
            ":1:",
            "floating point",
        ),
        (
            "too-large",
            &good.replace("\"pids_count\":1", "\"pids_count\":18446744073709551616"),
            ":1:",
            "expected u64",
        ),
        (
            "no-such-root",
            &good.replace("\"root_container\":\"a\"", "\"root_container\":\"b\""),
            ":1:",
            "\"b\" is not among",
        ),
        ("deep", &"[".repeat(100_000), ":1:", "expected"),
    ] {
        let (file, spec) = scenario(name, text);
        let place = format!("{}{place}", file.display());
        let place = if name == "empty" || name == "blank" {
            file.display().to_string()
        } else {
            place
        };
        fails(
            &["--source", &spec, "events", "--stats", "a"],
            1,
            &[&place, why],
        );
    }
    fails(
        &["--source", "scenario:/nonexistent", "list"],
        1,
        &["/nonexistent", "No such file"],
    );
    fails(&["--source", "scenario:/", "list"], 1, &["Is a directory"]);
    fails(
        &["--source", "scenario:/dev/zero", "list"],
        1,
        &["/dev/zero", "larger than"],
    );
    let (_, binary) = scenario("binary", [0xff, 0xfe, b'\n', 0]);
    fails(&["--source", &binary, "list"], 1, &[":1:1"]);
}

#[test]
fn a_source_that_there_is_not_is_a_usage_error() {
    for spec in [
        "",
        "bla",
        "demo:x",
        "scenario",
        "scenario:",
        "runc:",
        "cgroup:",
        ":x",
        "gvisor:",
    ] {
        fails(&["--source", spec, "list"], 2, &["--source <SPEC>"]);
    }
    fails(
        &["--source", "cgroup:/nonexistent", "list"],
        1,
        &["cannot open cgroup:/nonexistent"],
    );
    fails(
        &["--source", "cgroup:/etc", "list"],
        1,
        &["neither in a cgroup filesystem nor"],
    );
    fails(
        &["--source", "cgroup:/etc/passwd", "list"],
        1,
        &["it is not a directory"],
    );
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
        let output = eventout(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_state_of_a_runtime_that_is_not_one_is_an_error() {
    let root = scratch("states");
    fs::create_dir(root.join("web")).expect("a directory");
    let spec = |kind: &str| format!("{kind}:{}", root.display());
    let state = |name: &str, text: &str| {
        let path: PathBuf = [&root, Path::new("web"), Path::new(name)].iter().collect();
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    for text in [
        "",
        "{}",
        "[]",
        "{\"init_process_pid\":-1}",
        "{\"pid\":\"x\"}",
        "\0",
    ] {
        let path = state("state.json", text);
        let says = [path.as_str(), "not a state of runc"];
        fails(
            &["--source", &spec("runc"), "events", "--stats", "web"],
            1,
            &says,
        );
        let path = state("status", text);
        let says = [path.as_str(), "not a state of crun"];
        fails(
            &["--source", &spec("crun"), "events", "--stats", "web"],
            1,
            &says,
        );
    }
    // A process that has ended, or another one that has got its ID, is not the container's.
    state(
        "state.json",
        r#"{"init_process_pid":0,"init_process_start":1,"cgroup_paths":{}}"#,
    );
    fails(
        &["--source", &spec("runc"), "events", "--stats", "web"],
        1,
        &["it is not running"],
    );
    state(
        "status",
        r#"{"pid":1,"process-start-time":18446744073709551615,"cgroup-path":"/"}"#,
    );
    fails(
        &["--source", &spec("crun"), "events", "--stats", "web"],
        1,
        &["it is not running"],
    );
    // A path that leads out of the cgroup filesystem is refused.
    state("status", r#"{"pid":1,"cgroup-path":"/../../etc"}"#);
    let says = ["no mounted hierarchy leads to its cgroup"];
    fails(
        &["--source", &spec("crun"), "events", "--stats", "web"],
        1,
        &says,
    );
}
