//! The capabilities that reading takes: those that docs/privileges.md has, and no others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{Eventout, RUNSC, bundle, can_run, detach, missing, run, runsc, wait_until};

/// The tests of live containers take turns.
static MACHINE: Mutex<()> = Mutex::new(());

/// Who runs the program.
#[derive(Clone, Copy)]
enum User {
    Root,
    Nobody,
}

/// The program where every user can run it.
struct Program(TempDir);

impl Program {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), everybody).expect("it is ours");
        fs::copy(
            Eventout::new().into_command().get_program(),
            directory.path().join("eventout"),
        )
        .expect("a file");
        Self(directory)
    }

    /// Runs the program as `user` with these capabilities, and none that it could get by another way.
    fn command(&self, user: User, capabilities: &[&str]) -> Command {
        let set = |capabilities: &[&str]| {
            let plus = capabilities
                .iter()
                .map(|capability| format!(",+{capability}"));
            format!("-all{}", plus.collect::<String>())
        };
        let mut command = Command::new("setpriv");
        command.args(["--no-new-privs", "--clear-groups"]).args([
            format!("--bounding-set={}", set(capabilities)),
            format!("--inh-caps={}", set(capabilities)),
        ]);
        if matches!(user, User::Nobody) {
            command.args(["--reuid=65534", "--regid=65534"]);
            command.arg(format!("--ambient-caps={}", set(capabilities)));
        }
        command.arg(self.0.path().join("eventout"));
        command.env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
        command
    }

    fn events(&self, user: User, capabilities: &[&str], source: &str, id: &str) -> Output {
        let mut command = self.command(user, capabilities);
        command.args(["--source", source, "events", "--stats", id]);
        command.output().expect("the program runs")
    }
}

/// Returns the data of the only line, and standard error.
#[track_caller]
fn line(output: &Output) -> (Value, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let mut line: Value = serde_json::from_slice(&output.stdout).expect("it is a line");
    (line["data"].take(), stderr)
}

/// A container with a network interface, which goes when this does.
struct Container {
    runtime: PathBuf,
    directory: TempDir,
    id: String,
}

impl Container {
    fn start(runtime: &Path, options: &[&str], id: &str) -> Self {
        let container = Self {
            runtime: runtime.to_owned(),
            directory: tempfile::tempdir().expect("a directory"),
            id: format!("eventout-{id}-{}", std::process::id()),
        };
        let files = container.directory.path().join("bundle");
        bundle(runtime, &files, "sleep 1000", |spec| {
            spec["linux"]["cgroupsPath"] = format!("/{}", container.id).into();
            spec["linux"]["resources"]["memory"]["limit"] = (64 << 20).into();
        });
        let mut command = container.command();
        command.args(options).args(["run", "--detach", "--bundle"]);
        command.arg(&files).arg(&container.id);
        detach(&mut command, container.directory.path());
        container
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.state());
        command
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn pid(&self) -> String {
        let state = run(self.command().args(["state", &self.id]));
        let state: Value = serde_json::from_str(&state).expect("it is JSON");
        state["pid"].to_string()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.command().args(["kill", &self.id, "KILL"]).output();
        thread::sleep(Duration::from_millis(500));
        let _ = self
            .command()
            .args(["delete", "--force", &self.id])
            .output();
    }
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn containers_of_others_take_capabilities_for_their_state_and_their_interfaces() {
    if !can_run(&missing(&["runc", "busybox", "setpriv", "ip"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let program = Program::new();
    let container = Container::start(Path::new("runc"), &[], "privileges");
    let pid = container.pid();
    run(Command::new("nsenter")
        .args(["--net", "--target", &pid])
        .args([
            "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1",
        ]));
    let source = format!("runc:{}", container.state().display());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("it is there");
    let hides_processes = mounts.contains("hidepid=invisible") || mounts.contains("hidepid=2");
    for (user, capabilities, readable, interfaces) in [
        (User::Root, &[][..], true, false),
        (User::Root, &["sys_ptrace"], true, true),
        (User::Nobody, &[], false, false),
        (User::Nobody, &["sys_ptrace"], false, false),
        (User::Nobody, &["dac_read_search"], true, false),
        (User::Nobody, &["dac_read_search", "sys_ptrace"], true, true),
    ] {
        let output = program.events(user, capabilities, &source, &container.id);
        let is_hidden = hides_processes && matches!(user, User::Nobody) && !interfaces;
        if !readable || is_hidden {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            let says = if readable {
                "is hidden in /proc"
            } else {
                "Permission denied"
            };
            assert!(stderr.contains(says), "{stderr}");
            continue;
        }
        let (data, stderr) = line(&output);
        assert!(
            data["memory"]["usage"]["usage"].as_u64() > Some(0),
            "{data}"
        );
        assert_eq!(
            data["network_interfaces"].is_array(),
            interfaces,
            "{capabilities:?}"
        );
        if interfaces {
            assert_eq!(stderr, "");
        } else {
            assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
            assert!(stderr.contains("network interfaces"), "{stderr}");
        }
    }
    // In a stream, that is said once.
    let mut stream = program.command(User::Root, &[]);
    stream.args([
        "--source",
        &source,
        "events",
        "--interval",
        "50ms",
        &container.id,
    ]);
    let stream = stream.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut stream = stream.expect("the program runs");
    thread::sleep(Duration::from_secs(3));
    stream.kill().expect("it runs");
    let output = stream.wait_with_output().expect("it ends");
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(lines > 2, "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn cgroups_take_no_capability_and_their_oom_kills_only_on_v1() {
    if !can_run(&missing(&["runc", "busybox", "setpriv"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let program = Program::new();
    let container = Container::start(Path::new("runc"), &[], "unprivileged");
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists();
    for (user, capabilities, watches) in [
        (User::Root, &[][..], true),
        (User::Nobody, &[], !v1),
        (User::Nobody, &["dac_override"], true),
    ] {
        let output = program.events(user, capabilities, "cgroup", &container.id);
        let (data, stderr) = line(&output);
        assert!(
            data["memory"]["usage"]["usage"].as_u64() > Some(0),
            "{data}"
        );
        assert_eq!(stderr, "");
        let mut stream = program.command(user, capabilities);
        stream.args(["--source", "cgroup", "events", &container.id]);
        let errors = container.directory.path().join("errors");
        let stderr = fs::File::create(&errors).expect("a file");
        let output = container.directory.path().join("lines");
        let stdout = fs::File::create(&output).expect("a file");
        let stream = stream.stdout(stdout).stderr(stderr).spawn();
        let mut stream = stream.expect("the program runs");
        wait_until("there is a line", 60, || {
            !fs::read(&output).expect("it is there").is_empty()
        });
        stream.kill().expect("it runs");
        stream.wait().expect("it ends");
        let stderr = fs::read_to_string(&errors).expect("it is there");
        assert_eq!(stderr.is_empty(), watches, "{capabilities:?}: {stderr}");
    }
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn sandboxes_take_no_capability_of_root() {
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    if !can_run(&missing(&["setpriv"])) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let program = Program::new();
    let options = ["--network=none", "--platform=systrap"];
    let container = Container::start(&runsc, &options, "sandbox");
    let source = format!("gvisor:{}", container.state().display());
    let (data, stderr) = line(&program.events(User::Root, &[], &source, &container.id));
    assert!(
        data["memory"]["usage"]["usage"].as_u64() > Some(0),
        "{data}"
    );
    assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(stderr, "");
    // Others have to be able to write to the socket.
    for (capabilities, readable) in [
        (&[][..], false),
        (&["dac_read_search"], false),
        (&["dac_override"], true),
    ] {
        let output = program.events(User::Nobody, capabilities, &source, &container.id);
        assert_eq!(
            output.status.success(),
            readable,
            "{capabilities:?}: {output:?}"
        );
    }
}

#[test]
fn the_example_of_a_unit_has_the_capabilities_of_the_documentation() {
    let root = tests::root();
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("it is there");
    let unit = read("examples/systemd/eventout.service");
    let bounding = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    assert_eq!(bounding, Some("CAP_SYS_PTRACE"));
    assert!(read("docs/privileges.md").contains("`CAP_SYS_PTRACE`"));
    let verify = Command::new("systemd-analyze").arg("--version").output();
    if !can_run(match verify {
        Ok(_) => "",
        Err(_) => "there is no systemd-analyze (Debian's systemd)",
    }) {
        return;
    }
    // The program need not be where the unit looks for it.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("eventout.service");
    fs::write(&file, unit.replace("/usr/local/bin/eventout", "/bin/true")).expect("a file");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    let verified = verified.expect("it runs");
    let stderr = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !stderr.contains("eventout"),
        "{stderr}"
    );
}

/// A process of an ordinary user, which ends when this does.
struct OfNobody(std::process::Child);

impl OfNobody {
    fn start(program: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
            .args(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(command.spawn().expect("it runs"))
    }
}

impl Drop for OfNobody {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root: tests/run runs it"]
fn the_socket_of_another_user_is_not_the_one_of_a_sandbox() {
    if !can_run(&missing(&["setpriv", "/usr/bin/python3"])) {
        return;
    }
    // As old versions of runsc have it, in the abstract namespace, which is open to all.
    let id = format!("eventout-{}", std::process::id());
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0runsc-sandbox.{id}\\0')
s.listen(); print(1, flush=True); s.accept()"
    );
    let mut other = OfNobody::start(&["/usr/bin/python3", "-c", &script]);
    let mut ready = [0];
    let stdout = other.0.stdout.as_mut().expect("it is piped");
    std::io::Read::read_exact(stdout, &mut ready).expect("it listens");
    let directory = tempfile::tempdir().expect("a directory");
    // The process of the sandbox is another one.
    let state = format!(r#"{{"sandbox":{{"pid":{}}}}}"#, std::process::id());
    let file = directory.path().join(format!("{id}_sandbox:{id}.state"));
    fs::write(file, state).expect("a file");
    let source = format!("gvisor:{}", directory.path().display());
    let call = Eventout::new().source(&source).events([&id]).stats();
    call.fails(1).says("it is the socket of another process");
}

#[test]
#[ignore = "needs root: tests/run runs it"]
fn the_containers_of_a_user_are_listed_beside_those_of_root() {
    if !can_run(&missing(&["setpriv"])) {
        return;
    }
    let program = Program::new();
    let directory = program.0.path();
    let nobody = OfNobody::start(&["sleep", "1000"]);
    let state = directory.join("crun/mine");
    fs::create_dir_all(&state).expect("a directory");
    let text = format!(r#"{{"pid":{},"cgroup-path":"/"}}"#, nobody.0.id());
    fs::write(state.join("status"), text).expect("a file");
    // It cannot be looked into, as runc makes it for root.
    let runsc = directory.join("runsc");
    fs::create_dir(&runsc).expect("a directory");
    fs::set_permissions(&runsc, fs::Permissions::from_mode(0o700)).expect("it is ours");
    for args in [&["list"][..], &["events", "--all", "--stats"]] {
        let mut command = program.command(User::Nobody, &[]);
        let output = command
            .args(args)
            .env("XDG_RUNTIME_DIR", directory)
            .output();
        let output = output.expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && stdout.contains(r#""id":"mine""#),
            "{stderr}"
        );
        let says = format!("cannot list gvisor:{}", runsc.display());
        assert!(stderr.contains(&says), "{stderr}");
    }
}

#[test]
#[ignore = "needs root: tests/run runs it"]
fn nothing_is_created_in_the_home_of_another_user() {
    if !can_run(&missing(&[])) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    // As with sudo, which keeps it.
    let home = directory.path().join("home");
    fs::create_dir(&home).expect("a directory");
    let entries = || fs::read_dir(&home).expect("it is ours").count();
    for (owner, created) in [(65534, 0), (0, 1)] {
        std::os::unix::fs::chown(&home, Some(owner), None).expect("we are root");
        let call = Eventout::new().source("demo").events(["web"]).stats();
        let mut command = call.component(tests::formatter("hello")).into_command();
        command.env("HOME", &home).env_remove("XDG_CACHE_HOME");
        let output = command.output().expect("the program runs");
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(output.stdout, b"hello\n");
        assert_eq!(entries(), created, "{owner}");
    }
}
