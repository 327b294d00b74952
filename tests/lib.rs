//! Parts that the tests share: calls of the program, fixtures, goldens, and tools that may be missing.

/// The examples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod artifact;
mod command;
mod plugin;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

pub use command::{Eventout, Finished, Running};
pub use plugin::{component, formatter, stranger};
use serde_json::Value;
use wit_parser::{PackageId, Resolve};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are in the workspace").to_owned()
}

/// A file or directory of `fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// Copies all files of a directory, and those of the directories in it, to another one, which is made.
///
/// # Panics
///
/// If that fails.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("it can be listed");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
    }
}

/// Reads the contract.
///
/// # Panics
///
/// If it is not valid.
pub fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(root().join("wit"))
        .expect("the WIT is valid");
    (resolve, package)
}

/// Returns a program in the directory `EVENTOUT_TOOLS`, for machines where nothing can be built.
fn tool(name: &str) -> Option<PathBuf> {
    Some(Path::new(&env::var_os("EVENTOUT_TOOLS")?).join(name))
}

/// Returns the program as it is now, built with the profile of the tests.
///
/// # Panics
///
/// If it cannot be built.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = tool("eventout") {
            return program;
        }
        let mut build = Command::new(env!("CARGO"));
        // The whole workspace, as the tests are: for one package alone, features of dependencies would
        // differ and wasmtime would be compiled once more.
        build.args(["build", "--quiet", "--locked", "--workspace"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.current_dir(root()).status().expect("cargo runs");
        assert!(status.success(), "cannot build the program");
        // The test is TARGET/PROFILE/deps/NAME.
        let test = env::current_exe().expect("it runs");
        let profile = test.ancestors().nth(2).expect("a target directory");
        profile.join("eventout")
    })
}

/// Returns whether nothing is missing that a test needs. Otherwise it prints what is.
///
/// # Panics
///
/// If something is missing, and `CI=true` is in the environment: `tests/run` has installed everything.
pub fn can_run(missing: &str) -> bool {
    if missing.is_empty() {
        return true;
    }
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "this cannot run: {missing}");
    // Past the capture of the test runner.
    let _ = fs::write("/dev/stderr", format!("NOT RUN: {missing}\n"));
    false
}

/// Returns a file that `tests/run` makes, by its path in the workspace. `None` if it has not.
///
/// # Panics
///
/// As [`can_run`].
pub fn installed(file: impl AsRef<Path>) -> Option<PathBuf> {
    let path = root().join(&file);
    let absent = format!("{} is not there (see tests/run)", file.as_ref().display());
    can_run(if path.exists() { "" } else { &absent }).then_some(path)
}

/// Reads the address of `eventout serve` from its standard error, and the warning that may precede it.
///
/// # Panics
///
/// If it prints anything else.
pub fn served_address(stderr: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    stderr.read_line(&mut line).expect("it prints UTF-8");
    if line.starts_with("warning: whoever can connect") {
        line.clear();
        stderr.read_line(&mut line).expect("it prints UTF-8");
    }
    let address = line.trim().strip_prefix("note: serving http://");
    let address = address.and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address: {line}"))
}

/// Returns what keeps containers of these tools from running here. Empty if nothing does.
///
/// # Panics
///
/// If this is not Linux.
pub fn missing(tools: &[&str]) -> String {
    // The owner of a process's directory in /proc is who it runs as.
    let root =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").expect("Linux")) == 0;
    let absent = tools.iter().find(|tool| {
        let version = Command::new(tool).arg("--version").output();
        version.is_err()
    });
    match absent {
        Some(tool) => format!("there is no {tool} (see tests/run)"),
        None if !root => "only root can start containers".to_owned(),
        None => String::new(),
    }
}

/// Runs a command, and returns what it prints.
///
/// # Panics
///
/// If it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// Makes an OCI bundle in `directory`: busybox, which runs `script`, with the spec of that runtime as `change`
/// changes it.
///
/// # Panics
///
/// If it cannot be made.
pub fn bundle(runtime: &Path, directory: &Path, script: &str, change: impl FnOnce(&mut Value)) {
    let bin = directory.join("rootfs/bin");
    fs::create_dir_all(&bin).expect("a directory");
    fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox is there");
    for tool in [
        "cat",
        "chmod",
        "dd",
        "fallocate",
        "head",
        "mv",
        "sh",
        "sleep",
        "tail",
        "touch",
        "tr",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(tool)).expect("a link");
    }
    run(Command::new(runtime).arg("spec").current_dir(directory));
    let config = directory.join("config.json");
    let text = fs::read(&config).expect("the spec is there");
    let mut spec: Value = serde_json::from_slice(&text).expect("it is JSON");
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
    spec["root"] = serde_json::json!({"path": "rootfs", "readonly": true});
    change(&mut spec);
    fs::write(&config, spec.to_string()).expect("it can be written");
}

/// Runs a command that leaves a process behind. What both print goes to a new file `log` in that directory: the
/// process would keep a pipe open.
///
/// # Panics
///
/// If it fails.
pub fn detach(command: &mut Command, directory: &Path) {
    let log = directory.join("log");
    let file = || fs::File::create(&log).expect("a file");
    let status = command
        .stdin(Stdio::null())
        .stdout(file())
        .stderr(file())
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let log = fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{command:?}: {log}");
}

/// crun refuses machines that have controllers in v1 hierarchies and in v2. Where v2 has nothing but
/// hugetlb, this moves that to v1 as long as it lives. It also mounts it where v1 has it already, but not there:
/// containerd 1.6 reads no cgroup of a machine with a hierarchy that is not mounted.
#[derive(Debug)]
pub struct PureV1 {
    mounted: bool,
}

impl PureV1 {
    const DIRECTORY: &str = "/sys/fs/cgroup/hugetlb";

    /// Moves hugetlb, where that is necessary.
    ///
    /// # Panics
    ///
    /// Where it can't be mounted.
    #[must_use]
    pub fn mount() -> Self {
        let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
        let in_v2 = controllers.is_ok_and(|controllers| controllers.trim() == "hugetlb");
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let in_v1 = cgroups.contains(":hugetlb:");
        let mounted = in_v2 || in_v1 && !Path::new(Self::DIRECTORY).exists();
        if mounted {
            let _ = fs::create_dir(Self::DIRECTORY);
            run(Command::new("mount").args([
                "-t",
                "cgroup",
                "-o",
                "hugetlb",
                "hugetlb",
                Self::DIRECTORY,
            ]));
        }
        Self { mounted }
    }
}

impl Drop for PureV1 {
    fn drop(&mut self) {
        // The kernel lets go of the groups of dead containers after a while.
        for _ in 0..if self.mounted { 50 } else { 0 } {
            let unmounted = Command::new("umount").arg(Self::DIRECTORY).output();
            if unmounted.is_ok_and(|output| output.status.success()) {
                let _ = fs::remove_dir(Self::DIRECTORY);
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The versions of runsc: Debian bookworm has the first, its backports the second.
pub const RUNSC: [&str; 2] = ["20221219", "20240729"];

/// Returns the runsc of that version, which `tests/run` installs.
///
/// # Errors
///
/// What is missing, if it cannot run containers here.
pub fn runsc(version: &str) -> Result<PathBuf, String> {
    let program = tool(&format!("runsc-{version}"))
        .unwrap_or_else(|| root().join(format!("target/tools/runsc-{version}/usr/bin/runsc")));
    match missing(&["busybox"]) {
        absent if !absent.is_empty() => Err(absent),
        _ if !program.exists() => Err(format!("there is no runsc {version} (see tests/run)")),
        _ => Ok(program),
    }
}

/// Returns `go/judge.go`, built. `None` if Go is missing.
///
/// # Panics
///
/// If it cannot be built, or if [`can_run`] does.
pub fn judge() -> Option<PathBuf> {
    static JUDGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    JUDGE.get_or_init(|| go("judge")).clone()
}

/// Returns a program of `tests/go`, built with Debian's packages. `None` if Go is missing.
///
/// # Panics
///
/// If it cannot be built, or if [`can_run`] does.
pub fn go(name: &str) -> Option<PathBuf> {
    if let Some(program) = tool(name) {
        return Some(program);
    }
    let there = Command::new("go").arg("version").output().is_ok();
    if !can_run(if there {
        ""
    } else {
        "there is no Go (Debian's golang-go)"
    }) {
        return None;
    }
    let tools = root().join("target/tools");
    fs::create_dir_all(&tools).expect("a directory");
    // Other tests may be running the program of before.
    let new = tools.join(format!("{name}.{}", std::process::id()));
    let source = root().join(format!("tests/go/{name}.go"));
    let status = Command::new("go")
        .args(["build", "-o"])
        .args([&new, &source])
        .env("GOCACHE", root().join("target/tmp/go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .status()
        .expect("go runs");
    assert!(status.success(), "cannot build {}", source.display());
    let program = tools.join(name);
    fs::rename(new, &program).expect("it can be renamed");
    Some(program)
}

/// Waits until no other test of containers runs: those that are compared are not to be starved, and some change the
/// machine. The lock is on the directory of temporary files, so that it holds between processes and checkouts.
///
/// # Panics
///
/// If it cannot be locked.
#[must_use]
pub fn lock_machine() -> fs::File {
    let directory = fs::File::open(env::temp_dir()).expect("there is one");
    directory.lock().expect("it can be locked");
    directory
}

/// Usage of a container, from a stats event. What the event does not have is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The number of tasks.
    pub pids: u64,
    /// In bytes.
    pub memory: u64,
    /// The limit of memory, in bytes.
    pub limit: u64,
    /// CPU time in nanoseconds.
    pub cpu: u64,
}

impl Usage {
    /// Takes the usage from an event.
    ///
    /// # Panics
    ///
    /// If it is not a stats event.
    #[track_caller]
    pub fn of(event: &Value) -> Self {
        assert_eq!(event["type"], "stats", "{event}");
        let value = |path: &str| match event["data"].pointer(path) {
            None => 0,
            Some(value) => value
                .as_u64()
                .unwrap_or_else(|| panic!("{path} of {event}")),
        };
        Self {
            pids: value("/pids/current"),
            memory: value("/memory/usage/usage"),
            limit: value("/memory/usage/limit"),
            cpu: value("/cpu/usage/total"),
        }
    }

    /// Returns whether each value lies between two that were read before and after. The CPU time of one container of
    /// a sandbox may be off by a hundredth: it is scaled by a ratio that moves both ways, since the sentry counts in
    /// ticks, and the cgroup does not.
    pub fn lies_between(&self, before: &Self, after: &Self) -> bool {
        let lies = |low: u64, value, high: u64| (low.min(high)..=low.max(high)).contains(&value);
        let cpu = (before.cpu - before.cpu / 100, after.cpu + after.cpu / 100);
        lies(before.pids, self.pids, after.pids)
            && lies(before.memory, self.memory, after.memory)
            && lies(cpu.0, self.cpu, cpu.1)
    }
}

/// Compares a line of runc with lines of eventout from just before and just after: a value that is the same in both
/// must be runc's too, and runc's must lie between values that differ. Returns the number of values that did not move
/// and are not 0.
///
/// Keys must be the same, but for the differences between releases of runc, which docs/compatibility.md lists.
///
/// # Errors
///
/// What differs.
pub fn between(before: &Value, runc: &Value, after: &Value) -> Result<usize, String> {
    let [before, runc, after] = [before, runc, after].map(|line| {
        let mut values = BTreeMap::new();
        flatten("", line, &mut values);
        values
    });
    let keys = before.keys().chain(runc.keys()).chain(after.keys());
    let mut fixed = 0;
    for key in keys.collect::<BTreeSet<_>>() {
        let ours = (before.get(key), after.get(key));
        let Some(runc) = runc.get(key) else {
            // runc 1.1 doesn't read memory.peak, and no pressure.
            let newer = key.ends_with("/memory/usage/max") || key.contains("/psi");
            // runc knows of interfaces only where libcontainer made them.
            let interfaces = key.starts_with("/data/network_interfaces/");
            // What appeared between the readings.
            let moved = ours.0 != ours.1;
            if newer || interfaces || moved {
                continue;
            }
            return Err(format!("runc has no {key}: {ours:?}"));
        };
        if ours.0 == ours.1 {
            if ours.0 != Some(runc) {
                return Err(format!("{key}: {ours:?}, and runc has {runc}"));
            }
            fixed += usize::from(runc.as_f64() > Some(0.0));
            continue;
        }
        // What is 0 may be omitted.
        let number = |value: Option<&Value>| value.map_or(Some(0.0), Value::as_f64);
        let numbers = (number(ours.0), number(Some(runc)), number(ours.1));
        let (Some(low), Some(runc), Some(high)) = numbers else {
            return Err(format!("{key} is no number, but moved: {ours:?}"));
        };
        if !(low.min(high)..=low.max(high)).contains(&runc) {
            return Err(format!("{key}: {low} {runc} {high}"));
        }
    }
    Ok(fixed)
}

/// Collects all values of a line by their paths, but for structs that are zero: some releases of runc omit them.
/// An empty list is a value.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    let zero = Value::from(0);
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let omitted = [
        "usage",
        "swap",
        "kernel",
        "kernelTCP",
        "throttling",
        "some",
        "full",
    ]
    .map(|name| path.ends_with(&format!("/{name}")))
    .contains(&true);
    if value.is_object() && omitted && members.iter().all(|(_, value)| **value == zero) {
        return;
    }
    if value.is_object() {
        // That it is there.
        out.insert(path.to_owned(), Value::Null);
    } else if members.is_empty() {
        out.insert(path.to_owned(), value.clone());
    }
    for (name, value) in members {
        flatten(&format!("{path}/{name}"), value, out);
    }
}

/// Waits until `done` returns true.
///
/// # Panics
///
/// After `seconds`.
#[track_caller]
pub fn wait_until(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < end, "waited {seconds} s until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Compares `actual` with the file `golden`, byte for byte. With `BLESS=1` in the environment, writes the file
/// instead.
///
/// # Panics
///
/// If they differ, with `hint`.
#[track_caller]
pub fn check_golden(golden: &Path, actual: &[u8], hint: &str) {
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(golden, actual).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
        return;
    }
    let expected = fs::read(golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
    if expected == actual {
        return;
    }
    let at = expected
        .iter()
        .zip(actual)
        .take_while(|(a, b)| a == b)
        .count();
    if let (Ok(expected), Ok(actual)) = (str::from_utf8(&expected), str::from_utf8(actual)) {
        println!("--- expected\n{expected}\n--- actual\n{actual}");
    }
    panic!(
        "{} has {} bytes, and now it would have {}; they differ from byte {at} on\n{hint}",
        golden.display(),
        expected.len(),
        actual.len(),
    );
}
