//! The component in other hosts: the examples print what the library prints, and that is what Go prints.
//!
//! `embeddings.jsonl` is a scenario of 50 samples. Each example has a program that prints, for each container
//! of each sample, and for one that does not exist, `event-json` and `stats-json` in both formats.
//! `tests/run` builds the examples.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, thread};

use serde_json::Value;
use tempfile::tempdir;
use tests::{
    Eventout, between, can_run, installed, judge, lock_machine, missing, root, wait_until,
};

fn scenario() -> PathBuf {
    root().join("tests/embeddings.jsonl")
}

/// Returns a file that the build of an example leaves. `None` if it is not built.
fn built(file: &str) -> Option<PathBuf> {
    installed(Path::new("target").join(file))
}

fn output(command: &mut Command) -> Output {
    let command = command.current_dir(root());
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Returns what the example of the library prints.
fn expected() -> &'static str {
    static EXPECTED: OnceLock<String> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        // Built beside the program.
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--example",
            "replay",
        ]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        output(&mut build);
        let program = Eventout::new().into_command();
        let profile = Path::new(program.get_program())
            .parent()
            .expect("it is in a directory");
        let printed = output(Command::new(profile.join("examples/replay")).arg(scenario()));
        String::from_utf8(printed.stdout).expect("UTF-8")
    })
}

/// Checks what the program of an example prints.
#[track_caller]
fn replays(command: &mut Command) {
    let output = output(command.arg(scenario()));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (ours, theirs) = (expected().lines(), text.lines());
    for (at, (ours, theirs)) in ours.zip(theirs).enumerate() {
        assert_eq!(theirs, ours, "line {}", at + 1);
    }
    assert_eq!(text.lines().count(), expected().lines().count());
}

#[test]
fn the_library_prints_what_go_prints() {
    let text = fs::read_to_string(scenario()).expect("a scenario");
    assert_eq!(text.lines().count(), 50);
    let expected: Vec<_> = expected().lines().collect();
    let containers: usize = text
        .lines()
        .map(|line| {
            let sample: Value = serde_json::from_str(line).expect("it is JSON");
            sample["containers"].as_array().expect("a list").len() + 1
        })
        .sum();
    assert_eq!(expected.len(), 3 * containers);
    let Some(judge) = judge() else { return };
    for (at, kind) in ["event-out", "stats", "runc"].into_iter().enumerate() {
        let input = File::open(scenario()).expect("a scenario");
        let judged = output(Command::new(&judge).arg(kind).stdin(input));
        let judged = String::from_utf8(judged.stdout).expect("UTF-8");
        // Go skips failures.
        let ours = expected.iter().skip(at).step_by(3).copied();
        let ours: Vec<_> = ours.filter(|line| !line.starts_with("error ")).collect();
        assert_eq!(ours, judged.lines().collect::<Vec<_>>(), "{kind}");
    }
    let missing = r#"error container-not-found: container "no such \"container\"" not found"#;
    assert_eq!(
        expected.iter().filter(|line| **line == missing).count(),
        150
    );
    let unavailable = expected
        .iter()
        .filter(|line| line.starts_with("error unavailable: "));
    assert_eq!(unavailable.count(), 9);
}

#[test]
fn python_prints_the_same() {
    let Some(python) = built("examples/python/bin/python") else {
        return;
    };
    replays(Command::new(&python).arg("examples/python/replay.py"));
    output(Command::new(&python).arg("examples/python/test_eventout.py"));
    // Real data: this process, while it works.
    let id = std::process::id().to_string();
    let busy = output(Command::new(&python).args(["-m", "eventout", &id]));
    let line: Value = serde_json::from_slice(&busy.stdout).expect("it is JSON");
    assert_eq!(line["id"], *id);
    assert!(line["data"]["memory"]["usage"]["usage"].as_u64() > Some(1 << 20));
    assert!(line["data"]["pids"]["current"].as_u64() > Some(1));
}

#[test]
fn node_prints_the_same() {
    let Some(directory) = built("examples/javascript") else {
        return;
    };
    // The tests of the release build it again.
    let _lock = lock_machine();
    replays(Command::new("node").arg(directory.join("replay.js")));
    // The page in Chromium among them.
    let output = output(
        Command::new("npm")
            .arg("--prefix")
            .arg(&directory)
            .arg("test"),
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text.lines().filter_map(|line| line.split_once("pass "));
    let passed = passed.filter_map(|(_, count)| count.trim().parse::<u32>().ok());
    assert!(passed.max() > Some(20), "{text}");
}

#[test]
fn c_prints_the_same() {
    let Some(replay) = built("examples/c/replay") else {
        return;
    };
    replays(Command::new(replay).arg("guest/eventout.wasm"));
}

/// A component of `examples/wasmtime`, and the Python with a wasmtime that runs it.
struct Plain {
    python: PathBuf,
    component: PathBuf,
}

impl Plain {
    fn new(component: &str) -> Option<Self> {
        Some(Self {
            python: built("examples/python/bin/python")?,
            component: built(&format!("examples/wasmtime/{component}.wasm"))?,
        })
    }

    /// Returns a line or an error for each ID.
    fn stats_json(&self, directory: Option<&Path>, format: &str, ids: &[&str]) -> Vec<String> {
        let mut run = Command::new(&self.python);
        run.arg("examples/wasmtime/run.py");
        if let Some(directory) = directory {
            run.arg("--dir").arg(directory);
        }
        let output = output(run.arg(&self.component).arg(format).args(ids));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), ids.len(), "{text}");
        lines
    }
}

/// The beginning of a line for an ID that is no container's.
const NOT_FOUND: &str = "error container-not-found: ";

#[test]
fn a_plain_wasmtime_runs_it_with_a_mock() {
    let Some(plain) = Plain::new("mock") else {
        return;
    };
    let ids = ["pause", "web", "db", "job", "nobody"];
    for format in ["gvisor", "runc"] {
        let lines = plain.stats_json(None, format, &ids);
        for (id, line) in ids.iter().zip(&lines).take(4) {
            let pod = Eventout::new().scenario(root().join("examples/wasmtime/pod.jsonl"));
            let ours = pod.events([id]).stats().format(format).stdout();
            assert_eq!(ours, format!("{line}\n"));
        }
        assert!(lines[4].starts_with(NOT_FOUND), "{}", lines[4]);
    }
}

#[test]
fn a_plain_wasmtime_reads_interface_files() {
    let Some(plain) = Plain::new("stats") else {
        return;
    };
    let mut recordings = 0;
    for entry in fs::read_dir(root().join("tests/recorded")).expect("a directory") {
        let path = entry.expect("it can be listed").path();
        let text = fs::read(&path).expect("it can be read");
        let recording: Value = serde_json::from_slice(&text).expect("it is JSON");
        let directory = tempdir().expect("a directory");
        let directory = directory.path();
        // The files that the provider reads, and no others: eventout would print those too.
        for (file, text) in recording["before"].as_object().expect("files") {
            let (controller, name) = file.split_once('/').expect("CONTROLLER/FILE");
            let read = match controller {
                "unified" => {
                    name == "cpu.stat"
                        || name.starts_with("pids.")
                        || name.starts_with("memory.") && name != "memory.pressure"
                }
                _ => ["cpu", "cpuacct", "memory", "pids"].contains(&controller),
            };
            if read {
                let cgroup = directory.join(controller).join("c");
                fs::create_dir_all(&cgroup).expect("a directory");
                fs::write(cgroup.join(name), text.as_str().expect("a text")).expect("a file");
            }
        }
        let ours = Eventout::new().cgroup(directory).events(["c"]).stats();
        let ids = ["c", "", ".", "..", "../c", "/c", "c/", "nobody"];
        let lines = plain.stats_json(Some(directory), "runc", &ids);
        assert_eq!(lines[0], ours.stdout().trim_end(), "{}", path.display());
        for (id, line) in ids.iter().zip(&lines).skip(1) {
            assert!(line.starts_with(NOT_FOUND), "{id:?}: {line}");
        }
        recordings += 1;
    }
    assert!(recordings > 5);
}

#[test]
fn formatters_in_python_and_javascript_give_events_a_form_of_their_own() {
    let (Some(influx), Some(sentence)) = (
        built("examples/formatters/influx.wasm"),
        built("examples/formatters/sentence.wasm"),
    ) else {
        return;
    };
    let all = || Eventout::new().source("demo").events(["--all"]).stats();
    // The first start compiles it, which takes longer than the minute that other calls get if the machine is busy.
    let formatted = |file: &Path| {
        let end = all().component(file).start().wait();
        end.succeeds().stdout.clone()
    };
    let (influx, sentences) = (formatted(&influx), formatted(&sentence));
    let forms = influx.lines().zip(sentences.lines());
    let mut seen = 0;
    for (line, (influx, sentence)) in all().lines().into_iter().zip(forms) {
        let (id, data) = (line["id"].as_str().expect("an ID"), &line["data"]);
        let (cpu, memory) = (
            &data["cpu"]["usage"]["total"],
            &data["memory"]["usage"]["usage"],
        );
        // JSON omits what is 0.
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let (cpu, memory, pids) = (
            number(cpu),
            number(memory),
            number(&data["pids"]["current"]),
        );
        let expected = format!(
            "container,id={id} cpu_total_ns={cpu}u,memory_usage_bytes={memory}u,pids_current={pids}u"
        );
        assert_eq!(influx, expected);
        let plural = if pids == 1 { "" } else { "s" };
        assert!(
            sentence.starts_with(&format!("{id}: {pids} task{plural}, ")),
            "{sentence}"
        );
        seen += 1;
    }
    assert_eq!(seen, 3);

    let mut unit = Command::new("python3");
    output(unit.args(["target/examples/formatters/python/test_influx.py"]));
    output(Command::new("node").args(["--test", "examples/formatters/sentence.test.js"]));
}

/// A cgroup with a process in it that is busy, in some v1 hierarchies.
struct Cgroup {
    directories: Vec<PathBuf>,
    busy: Child,
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.busy.kill();
        let _ = self.busy.wait();
        for directory in &self.directories {
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[test]
#[ignore = "changes cgroups: tests/run runs it"]
fn a_plain_wasmtime_reads_the_cgroups_of_this_machine() {
    let Some(plain) = Plain::new("stats") else {
        return;
    };
    let hierarchies =
        ["memory", "pids", "cpu", "cpuacct"].map(|name| Path::new("/sys/fs/cgroup").join(name));
    if !hierarchies.iter().all(|path| path.is_dir()) {
        // The recordings are of both kinds.
        return println!("this machine has no v1 hierarchies");
    }
    if !can_run(&missing(&[])) {
        return;
    }
    let _machine = lock_machine();
    let id = format!("eventout-plain-{}", std::process::id());
    let mut busy = Command::new("sh");
    busy.args(["-c", "while :; do :; done"])
        .stdin(Stdio::null());
    let cgroup = Cgroup {
        directories: hierarchies.iter().map(|path| path.join(&id)).collect(),
        busy: busy.spawn().expect("a shell"),
    };
    for path in &cgroup.directories {
        // cpu and cpuacct may be one.
        let _ = fs::create_dir(path);
        fs::write(path.join("cgroup.procs"), cgroup.busy.id().to_string()).expect("root may");
    }
    let ours = || -> Value {
        let source = Eventout::new().source("cgroup");
        source.events([&id]).stats().line()
    };
    let total = |line: &Value| line["data"]["cpu"]["usage"]["total"].as_u64();
    // On a busy machine, it may not run between two readings.
    wait_until(
        "the line of a busy cgroup is between two others",
        60,
        || {
            let before = ours();
            let lines = plain.stats_json(Some(Path::new("/sys/fs/cgroup")), "runc", &[&id]);
            let after = ours();
            let line: Value = serde_json::from_str(&lines[0]).expect("it is JSON");
            let fixed = between(&before, &line, &after);
            fixed.is_ok_and(|fixed| fixed > 5)
                && total(&before) < total(&line)
                && total(&line) < total(&after)
        },
    );
    drop(cgroup);
}
