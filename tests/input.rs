//! Input that is wrong or hostile: IDs, interface files, scenarios, state files and sources. Each is one clear error.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;
use tests::{Eventout, copy_dir, fixture};

#[test]
fn ids_lead_nowhere_else() {
    let directory = tempdir().expect("a directory");
    let root = directory.path().join("root");
    copy_dir(&fixture("cgroup"), &root);
    // What `../x` would lead to.
    fs::create_dir(directory.path().join("x")).expect("a directory");
    let long = "x".repeat(256);
    let very_long = "x".repeat(100_000);
    let says = "no container of this source can have such an ID";
    for spec in [
        &format!("cgroup:{}", root.display()),
        "runc:/tmp",
        "crun:/tmp",
    ] {
        let source = || Eventout::new().source(spec);
        for id in ["../x", "..", ".", "/", "/etc", "a/b", "", "web/", &long] {
            let stats = source().events(["--stats", "--", id]).fails(1);
            stats.says(says);
            // It will never be one, so the stream doesn't go on.
            let stream = source().events(["--interval=1h", "--", id]).fails(1);
            stream.says(says);
        }
        let stats = source().events([&very_long]).stats().fails(1);
        stats.says("100000 bytes");
        let recording = source().record(&very_long).fails(1);
        recording.says("cannot record container");
    }
}

#[test]
fn an_interface_file_that_is_not_understood_costs_its_own_value_only() {
    let root = tempdir().expect("a directory");
    copy_dir(&fixture("cgroup"), root.path());
    let file = |name: &str| root.path().join("web").join(name);
    let stats = || {
        let source = Eventout::new().cgroup(root.path());
        let end = source.events(["web"]).stats().run();
        assert!(end.code() == Some(0) && end.stderr.len() < 2000, "{end:?}");
        (end.lines()[0]["data"].take(), end.stderr)
    };
    let (good, stderr) = stats();
    assert_eq!(stderr, "");
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
        let (bad, stderr) = stats();
        if name == "memory.current" {
            assert!(stderr.contains(&path.display().to_string()), "{stderr}");
        }
        let number = |data: &Value| data.pointer(lost).and_then(Value::as_u64).unwrap_or(0);
        assert!(number(&good) > 0, "{lost} is in {good}");
        assert_eq!(number(&bad), 0, "{name}: {bad}");
        assert!(bad["pids"]["current"].is_u64() || bad["memory"]["usage"]["usage"].is_u64());
        fs::write(&path, before).expect("it can be written");
    }

    // Neither a directory, a pipe nor a link is an interface file.
    let path = file("memory.current");
    let is_unknown = || assert_eq!(stats().0["memory"]["usage"]["usage"], Value::Null);
    fs::remove_file(&path).expect("it can be removed");
    is_unknown();
    fs::create_dir(&path).expect("a directory");
    is_unknown();
    fs::remove_dir(&path).expect("it can be removed");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    is_unknown();
    fs::remove_file(&path).expect("it can be removed");
    symlink("/proc/self/oom_score_adj", &path).expect("a link");
    is_unknown();
    fs::remove_file(&path).expect("it can be removed");
    // What the kernel shows as negative for a moment is 0, as in runc.
    fs::write(&path, "-4096\n").expect("it can be written");
    stats();
}

#[test]
fn a_scenario_that_is_not_valid_is_an_error_with_its_place() {
    let good =
        r#"{"root_container":"a","memory_usage":1,"containers":[{"id":"a","pids_count":1}]}"#;
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    for (text, place, why) in [
        ("", "", "has no sample in it"),
        ("\n \n", "", "has no sample in it"),
        (&good[..40], ":1:40", "EOF while parsing"),
        (
            &format!("{good}\n{{\"root_container\":1}}"),
            ":2:19",
            "expected a string",
        ),
        ("hello", ":1:1", "expected value"),
        ("[1]", ":1:", "expected struct Snapshot"),
        (
            &good.replace("memory_usage", "memory"),
            ":1:30",
            "unknown field `memory`",
        ),
        (
            &good.replace("pids_count", "tasks"),
            ":1:",
            "unknown field `tasks`",
        ),
        (
            &good.replace(
                r#""pids_count":1"#,
                r#""pids_count":1,"stats":{"cpu":{"usage":{"sum":1}}}"#,
            ),
            ":1:",
            "unknown field stats.cpu.usage.sum",
        ),
        (
            &good.replace("}]", r#"},{"id":"a","pids_count":2}]"#),
            ":1:",
            "duplicate container ID \"a\"",
        ),
        (
            &good.replace("{\"root_", "{\"root_container\":\"a\",\"root_"),
            ":1:",
            "duplicate",
        ),
        (
            &good.replace("\"pids_count\":1", "\"pids_count\":-1"),
            ":1:",
            "invalid value: integer `-1`",
        ),
        (
            &good.replace("\"pids_count\":1", "\"pids_count\":1.5"),
            ":1:",
            "floating point",
        ),
        (
            &good.replace("\"pids_count\":1", "\"pids_count\":18446744073709551616"),
            ":1:",
            "expected u64",
        ),
        (
            &good.replace("\"root_container\":\"a\"", "\"root_container\":\"b\""),
            ":1:",
            "\"b\" is not among",
        ),
        (&"[".repeat(100_000), ":1:", "expected"),
    ] {
        fs::write(&file, text).expect("it can be written");
        let stats = Eventout::new().scenario(&file).events(["a"]).stats();
        let place = format!("{}{place}", file.display());
        stats.fails(1).says(&place).says(why);
    }
    fs::write(&file, [0xff, 0xfe, b'\n', 0]).expect("it can be written");
    let list = |file: &str| Eventout::new().scenario(file).list().fails(1);
    list(&file.display().to_string()).says(":1:1");
    list("/nonexistent")
        .says("/nonexistent")
        .says("No such file");
    list("/").says("Is a directory");
    list("/dev/zero").says("/dev/zero").says("larger than");
}

#[test]
fn an_error_shows_no_control_characters_and_has_a_bounded_length() {
    let long = format!("\u{1b}[2J\u{9b}\n{}", "x".repeat(1 << 20));
    let json = serde_json::to_string(&long).expect("JSON");
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    let text = format!(r#"{{"root_container":"a","containers":[],{json}:1}}"#);
    fs::write(&file, text).expect("it can be written");
    let stats = Eventout::new().scenario(&file).events(["a"]).stats();
    let end = stats.fails(1);
    end.says("unknown field");
    assert_eq!(end.stderr.lines().count(), 3, "{end:?}");
}

#[test]
fn a_source_that_there_is_not_is_a_usage_error() {
    let list = |spec: &str| Eventout::new().source(spec).list();
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
        list(spec).fails(2).says("--source <SPEC>");
    }
    for (spec, why) in [
        ("cgroup:/nonexistent", "cannot open cgroup:/nonexistent"),
        ("cgroup:/etc", "neither in a cgroup filesystem nor"),
        ("cgroup:/etc/passwd", "it is not a directory"),
    ] {
        list(spec).fails(1).says(why);
    }
}

#[test]
fn a_state_file_that_is_not_one_is_an_error() {
    let root = tempdir().expect("a directory");
    let container = root.path().join("web");
    fs::create_dir(&container).expect("a directory");
    let stats = |runtime: &str, file: &str, text: &str| {
        fs::write(container.join(file), text).expect("a file");
        let source = Eventout::new().source(format!("{runtime}:{}", root.path().display()));
        source.events(["web"]).stats().fails(1)
    };
    for text in [
        "",
        "{}",
        "[]",
        "{\"init_process_pid\":-1}",
        "{\"pid\":\"x\"}",
        "\0",
    ] {
        for (runtime, file) in [("runc", "state.json"), ("crun", "status")] {
            let path = container.join(file).display().to_string();
            let end = stats(runtime, file, text);
            end.says(&path).says(&format!("not a state of {runtime}"));
        }
    }
    // A process that has ended, or another one that has got its ID, is not the container's.
    let ended = r#"{"init_process_pid":0,"init_process_start":1,"cgroup_paths":{}}"#;
    stats("runc", "state.json", ended).says("it is not running");
    let other = r#"{"pid":1,"process-start-time":18446744073709551615,"cgroup-path":"/"}"#;
    stats("crun", "status", other).says("it is not running");
    // A path that leads out of the cgroup filesystem is refused.
    let outside = r#"{"pid":1,"cgroup-path":"/../../etc"}"#;
    stats("crun", "status", outside).says("no mounted hierarchy leads to its cgroup");
}
