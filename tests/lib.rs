//! What the tests share: the program, goldens, and tools that may be missing.

pub mod artifact;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are in the workspace").to_owned()
}

/// The contract.
///
/// # Panics
///
/// Where it is not valid.
pub fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(root().join("wit"))
        .expect("the WIT is valid");
    (resolve, package)
}

/// The component made of a core module that imports and exports what that world does: one of the contract's
/// by its name, or one of another package, of which `others` is the text.
///
/// # Panics
///
/// Where the module does not do that.
pub fn component(mut module: Vec<u8>, world: &str, others: &str) -> Vec<u8> {
    let (mut resolve, package) = contract();
    if !others.is_empty() {
        resolve.push_str("others.wit", others).expect("it is valid");
    }
    let world = resolve
        .select_world(&[package], Some(world))
        .expect("there is such a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("it can be embedded");
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .unwrap_or_else(|e| panic!("it becomes no component: {e:?}"))
}

/// A program in the directory `EVENTOUT_TOOLS`, which is for machines where nothing can be built.
fn tool(name: &str) -> Option<PathBuf> {
    Some(Path::new(&env::var_os("EVENTOUT_TOOLS")?).join(name))
}

/// The program, built as it is now with the profile of the tests.
///
/// # Panics
///
/// Where it can't be built.
pub fn program() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
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
        assert!(status.success(), "can't build the program");
        // This test is TARGET/PROFILE/deps/NAME.
        let test = env::current_exe().expect("it runs");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("it is in a target directory");
        profile.join("eventout")
    });
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    // Machine code of what is made here is of no use to the user.
    command.env("XDG_CACHE_HOME", root().join("target/tmp/cache"));
    command
}

/// What the program does with these arguments. It is killed where it takes longer than a minute.
///
/// # Panics
///
/// Where it doesn't run.
pub fn eventout<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let program = program();
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", "60"])
        .arg(program.get_program())
        .args(args);
    let environment = program.get_envs();
    command
        .envs(environment.filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// What the program printed.
///
/// # Panics
///
/// Where it failed, or said anything on standard error.
#[track_caller]
pub fn printed(output: &Output) -> &str {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{}: {stderr}",
        output.status
    );
    str::from_utf8(&output.stdout).expect("it prints UTF-8")
}

/// An empty directory of that name, which no other test has.
///
/// # Panics
///
/// Where there can't be one.
pub fn scratch(name: &str) -> PathBuf {
    let directory = env::temp_dir().join(format!("eventout-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    directory
}

/// Whether a test that needs something can go on. Where it can't, this says why; and in CI, where
/// `tests/run` has installed all there is to install, it panics.
///
/// # Panics
///
/// With `CI=true` in the environment, where `missing` is not empty.
pub fn can_run(missing: &str) -> bool {
    if missing.is_empty() {
        return true;
    }
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "this can't run in CI: {missing}");
    // Past the capture of the test runner.
    let _ = fs::write("/dev/stderr", format!("NOT RUN: {missing}\n"));
    false
}

/// What keeps containers of these tools from running here, if anything does.
///
/// # Panics
///
/// Where this is not Linux.
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

/// What a command prints.
///
/// # Panics
///
/// Where it fails.
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
/// Where it can't be made.
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

/// Runs a command that leaves a process behind, and must succeed. What both print goes to a new file `log` in
/// that directory: a pipe, the process would keep open.
///
/// # Panics
///
/// Where it fails.
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

/// The runsc of that version, where `tests/run` has put it, or what is missing.
///
/// # Errors
///
/// Where it is not there, or nothing is there to run in a container.
pub fn runsc(version: &str) -> Result<PathBuf, String> {
    let program = tool(&format!("runsc-{version}"))
        .unwrap_or_else(|| root().join(format!("target/tools/runsc-{version}/usr/bin/runsc")));
    match missing(&["busybox"]) {
        absent if !absent.is_empty() => Err(absent),
        _ if !program.exists() => Err(format!("there is no runsc {version} (see tests/run)")),
        _ => Ok(program),
    }
}

/// Go's word on events: `go/judge.go`, built. `None` where there is no Go.
///
/// # Panics
///
/// Where it can't be built, or where [`can_run`] does.
pub fn judge() -> Option<PathBuf> {
    static JUDGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    JUDGE.get_or_init(|| go("judge")).clone()
}

/// A program of `tests/go`, built with the packages that Debian has. `None` where there is no Go.
///
/// # Panics
///
/// Where it can't be built, or where [`can_run`] does.
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
    let program = scratch(name).join(name);
    let source = root().join(format!("tests/go/{name}.go"));
    let status = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GOCACHE", env::temp_dir().join("eventout-go-cache"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .status()
        .expect("go runs");
    assert!(status.success(), "can't build {}", source.display());
    Some(program)
}

/// Compares a line of runc with lines of ours from just before and just after: a value that is the same
/// in both must be runc's too, a value that moved must have runc's between. Returns how many values
/// stood still and are not 0.
///
/// Keys must be the same, but for the differences between releases of runc, which docs/compatibility.md lists.
///
/// # Errors
///
/// Where that is not so.
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
        // What is 0 may be left out.
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

/// All values of a line by their paths, but for structs that are zero: releases of runc differ in whether
/// they print them. An empty list is a value.
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

/// Waits until `done` says so.
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

/// Compares `actual` with the file `golden`, byte for byte. With `BLESS=1` in the environment it
/// writes the file instead.
///
/// # Panics
///
/// Where they differ. `hint` says what that means.
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
