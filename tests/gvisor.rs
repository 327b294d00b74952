//! gVisor sandboxes: the sentry as the source, against `runsc events`, and sentries that misbehave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tests::{Eventout, RUNSC, Usage, can_run, detach, lock_machine, run, runsc, wait_until};

const OLD: &str = RUNSC[0];
const NEW: &str = RUNSC[1];

/// The loads of the containers of a pod: a name, memory in bytes, and `true` to keep a CPU busy.
const LOADS: [(&str, u64, bool); 4] = [
    ("root", 0, false),
    ("a", 20_000_000, true),
    ("b", 40_000_000, false),
    ("c", 0, false),
];

/// The memory that a sandbox may use on the host, in bytes.
const LIMIT: u64 = 1 << 30;

/// A sandbox, which is deleted when this is dropped.
struct Sandbox {
    runsc: PathBuf,
    /// Holds runsc's root directory, and the bundles.
    directory: TempDir,
    options: Vec<&'static str>,
    ids: Vec<String>,
}

impl Sandbox {
    fn new(runsc: &Path, options: &[&'static str]) -> Self {
        Self {
            runsc: runsc.to_owned(),
            directory: tempdir().expect("a directory"),
            options: options.to_vec(),
            ids: Vec::new(),
        }
    }

    /// Starts a pod of the four loads. The sentry keeps cgroups of its own if the specs mount them.
    fn pod(runsc: &Path, options: &[&'static str], cgroup_mount: bool) -> Self {
        let mut pod = Self::new(runsc, options);
        for (name, memory, busy) in LOADS {
            let id = format!("eventout-{}-{name}", std::process::id());
            let root = pod.ids.first().cloned();
            pod.start("run", &id, memory, busy, root, cgroup_mount);
        }
        // Loads are up when memory has stopped growing.
        let mut last = 0;
        wait_until("the loads are up", 120, || {
            thread::sleep(Duration::from_millis(500));
            let now = pod.memory();
            now > 60_000_000 && now == std::mem::replace(&mut last, now)
        });
        pod
    }

    fn start(
        &mut self,
        command: &str,
        id: &str,
        memory: u64,
        busy: bool,
        root: Option<String>,
        cgroup_mount: bool,
    ) {
        let fill = format!("x=$(head -c {memory} /dev/zero | tr '\\0' x)");
        let then = if busy {
            "while :; do :; done"
        } else {
            "while :; do sleep 1000; done"
        };
        let bundle = self.directory.path().join(format!("bundle-{id}"));
        tests::bundle(&self.runsc, &bundle, &format!("{fill}; {then}"), |spec| {
            let parent = format!("/{}", self.ids.first().map_or(id, |root| root));
            let path = if root.is_some() {
                format!("{parent}/{id}")
            } else {
                parent
            };
            spec["linux"]["cgroupsPath"] = path.into();
            let kind = if root.is_some() {
                "container"
            } else {
                "sandbox"
            };
            spec["annotations"] = json!({
                "io.kubernetes.cri.container-type": kind,
                "io.kubernetes.cri.container-name": format!("name-of-{id}"),
                "io.kubernetes.cri.sandbox-name": "pod",
            });
            spec["linux"]["resources"]["cpu"] = json!({"shares": 512});
            if root.is_none() {
                spec["linux"]["resources"]["memory"] = json!({"limit": LIMIT});
            }
            if let Some(root) = &root {
                spec["annotations"]["io.kubernetes.cri.sandbox-id"] = root.clone().into();
            }
            let mounts = spec["mounts"].as_array_mut().expect("a list");
            mounts.retain(|mount| mount["type"] != "cgroup");
            if cgroup_mount {
                mounts.push(json!({
                    "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
                }));
            }
        });
        let flag = if command == "run" {
            &["--detach"][..]
        } else {
            &[]
        };
        let mut bounded = Command::new("timeout");
        bounded
            .args(["--signal=KILL", "120"])
            .arg(&self.runsc)
            .arg("--root")
            .arg(self.root())
            .args(&self.options)
            .arg(command)
            .args(flag)
            .arg("--bundle")
            .args([bundle.as_os_str(), id.as_ref()]);
        detach(&mut bounded, self.directory.path());
        self.ids.push(id.to_owned());
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn runsc(&self) -> Command {
        let mut command = Command::new(&self.runsc);
        command.arg("--root").arg(self.root());
        command
    }

    fn source(&self) -> String {
        format!("gvisor:{}", self.root().display())
    }

    /// A call for one event of a container.
    fn stats(&self, id: &str) -> Eventout {
        Eventout::new().source(self.source()).events([id]).stats()
    }

    /// Returns the usage of a container that runsc prints.
    fn theirs(&self, id: &str) -> Usage {
        let line = run(self.runsc().args(["events", "--stats", id]));
        Usage::of(&serde_json::from_str(&line).expect("runsc prints JSON"))
    }

    /// Returns the usage that eventout prints.
    fn ours(&self, id: &str) -> Usage {
        Usage::of(&self.stats(id).line())
    }

    /// Checks the usage that eventout prints of a container against what runsc prints before and after.
    fn check_usage(&self, id: &str) {
        attempt(|| {
            let (before, ours, after) = (self.theirs(id), self.ours(id), self.theirs(id));
            // runsc prints 0, which a consumer that subtracts usage from it takes for almost 2^64.
            assert_eq!((before.limit, ours.limit), (0, LIMIT), "{id}");
            let fits = ours.lies_between(&before, &after);
            fits.then_some(())
                .ok_or_else(|| format!("{id}: {before:?} {ours:?} {after:?}"))
        });
    }

    /// Returns the usage of all containers in one sample of eventout.
    fn all(&self) -> BTreeMap<String, Usage> {
        let lines = Eventout::new().source(self.source()).events(["--all"]);
        let lines = lines.stats().lines();
        let id = |event: &Value| event["id"].as_str().expect("an ID").to_owned();
        lines
            .iter()
            .map(|event| (id(event), Usage::of(event)))
            .collect()
    }

    /// Returns the sandbox's memory in bytes, according to runsc.
    fn memory(&self) -> u64 {
        let usage = run(self.runsc().args(["usage", "--full", &self.ids[0]]));
        let usage: Value = serde_json::from_str(&usage).expect("it is JSON");
        usage["Total"].as_u64().expect("a number")
    }

    /// Returns the CPU time of the sandbox's cgroup in nanoseconds, according to the kernel.
    fn cpu(&self) -> u64 {
        let v1 = format!("/sys/fs/cgroup/cpuacct/{}/cpuacct.usage", self.ids[0]);
        let text = fs::read_to_string(v1).expect("this test is for cgroup v1");
        text.trim().parse().expect("a number")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for id in self.ids.iter().rev() {
            let _ = self.runsc().args(["kill", id, "KILL"]).output();
            let _ = self.runsc().args(["delete", "--force", id]).output();
        }
    }
}

#[track_caller]
fn check_between(low: u64, value: u64, high: u64) {
    let (low, high) = (low.min(high), low.max(high));
    assert!(
        (low..=high).contains(&value),
        "{value} is not between {low} and {high}"
    );
}

/// Compares readings of different times until they agree. A sentry that has just started still takes and frees memory, so
/// that there are some attempts.
fn attempt(mut compare: impl FnMut() -> Result<(), String>) {
    for attempt in 0.. {
        match compare() {
            Ok(()) => return,
            Err(differences) => assert!(attempt < 20, "{differences}"),
        }
    }
}

/// Checks that memory and CPU time of all containers add up to the sandbox's.
fn check_sums(pod: &Sandbox) {
    let before = (pod.memory(), pod.cpu());
    let all = pod.all();
    let after = (pod.memory(), pod.cpu());
    assert_eq!(all.len(), pod.ids.len());
    let memory: u64 = all.values().map(|usage| usage.memory).sum();
    let cpu: u64 = all.values().map(|usage| usage.cpu).sum();
    // What rounding down may drop.
    let dropped = pod.ids.len() as u64;
    check_between(
        before.0.min(after.0) - dropped,
        memory,
        before.0.max(after.0),
    );
    check_between(before.1 - before.1 / 1_000_000 - dropped, cpu, after.1);
}

/// The runsc of that version, if a test of containers can run with it.
fn usable(version: &str) -> Option<PathBuf> {
    match runsc(version) {
        Ok(runsc) => Some(runsc),
        Err(missing) => {
            can_run(&missing);
            None
        }
    }
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_pod_is_as_runsc_says() {
    let Some(runsc) = usable(NEW) else { return };
    let _machine = lock_machine();
    let pod = Sandbox::pod(&runsc, &["--network=none"], false);
    for id in &pod.ids {
        pod.check_usage(id);
    }
    check_sums(&pod);

    // IDs may be shortened, as with runsc, to a prefix that only one of them has.
    let (root, a) = (&pod.ids[0], &pod.ids[1]);
    let short = &root[..root.len() - 2];
    assert_eq!(pod.ours(short).pids, pod.theirs(short).pids);
    let ambiguous = pod.stats(&a[..a.len() - 1]).fails(1);
    ambiguous.says("is the beginning of the ID of 4 containers: ");
    ambiguous.says(a);

    // The pod is listed as one.
    let state = pod.root().join(format!("{root}_sandbox:{root}.state"));
    let state = fs::read(state).expect("it can be read");
    let state: Value = serde_json::from_slice(&state).expect("it is JSON");
    let namespace = fs::metadata(format!("/proc/{}/ns/net", state["sandbox"]["pid"]));
    let namespace = namespace.expect("it runs").ino();
    let listed = Eventout::new().source(pod.source()).list().lines();
    assert_eq!(listed.len(), 4);
    for listed in &listed {
        let id = listed["id"].as_str().expect("an ID");
        let expected = json!({
            "sandbox": root,
            "runtime": "gvisor",
            "name": format!("name-of-{id}"),
            "pod": "pod",
            "status": "running",
            "cpu_shares": 512,
            // On the host, all of the sandbox is in the cgroup of its root container.
            "cgroup": format!("/{root}"),
            "network_namespace": namespace,
        });
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&listed[key], value, "{key}: {listed}");
        }
        assert!(listed["started"].is_u64(), "{listed}");
    }
    assert_eq!(pod.ours(&format!("name-of-{a}")).pids, pod.ours(a).pids);

    // A stream ends with the sandbox.
    let stream = Eventout::new().source(pod.source()).events([a]);
    let mut stream = stream.interval("100ms").start();
    stream.next_value();
    drop(pod);
    let end = stream.wait();
    assert_eq!(end.code(), Some(0), "{end:?}");
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn with_cgroups_inside_each_container_has_its_own_and_all_add_up() {
    let Some(runsc) = usable(NEW) else { return };
    let _machine = lock_machine();
    let pod = Sandbox::pod(&runsc, &["--network=none"], true);
    for id in &pod.ids {
        attempt(|| {
            let (theirs, ours) = (pod.theirs(id), pod.ours(id));
            // Its own, and its part of what the sentry needs for itself.
            let most = theirs.memory + theirs.memory / 100 + 1;
            let fits = (theirs.memory..=most).contains(&ours.memory);
            (fits && ours.pids == theirs.pids)
                .then_some(())
                .ok_or_else(|| format!("{id}: {theirs:?} {ours:?}"))
        });
    }
    let [_, a, b, c] = &pod.ids[..] else {
        panic!("there are four")
    };
    let all = pod.all();
    assert!(
        all[a].memory > 20_000_000 && all[b].memory > 40_000_000,
        "{all:?}"
    );
    assert!(all[c].memory < 10_000_000, "{all:?}");
    // The idle ones have next to none of the busy one's CPU time, sooner or later: starting them takes some.
    wait_until("the busy one has used the most", 120, || {
        let all = pod.all();
        all[a].cpu > 10 * all[c].cpu
    });
    check_sums(&pod);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn the_old_sentry_tells_enough_to_tell_containers_apart() {
    let Some(runsc) = usable(OLD) else { return };
    let _machine = lock_machine();
    let pod = Sandbox::pod(&runsc, &["--network=none", "--platform=ptrace"], false);
    let all = pod.all();
    let tasks: u64 = all.values().map(|usage| usage.pids).sum();
    for id in &pod.ids {
        // That runsc gives each container the memory and the tasks of the whole sandbox.
        attempt(|| {
            let (theirs, memory) = (pod.theirs(id), pod.memory());
            let fits = (theirs.memory, theirs.pids) == (memory, tasks);
            fits.then_some(())
                .ok_or_else(|| format!("{id}: {theirs:?} {memory} {tasks}"))
        });
        let (before, ours, after) = (pod.theirs(id), pod.ours(id), pod.theirs(id));
        let cpu = (before.cpu - before.cpu / 100, after.cpu + after.cpu / 100);
        check_between(cpu.0, ours.cpu, cpu.1);
    }
    assert_eq!(all[&pod.ids[0]].memory, 0);
    attempt(|| {
        let (ours, memory) = (pod.ours(&pod.ids[1]).memory, pod.memory());
        (ours == memory / 3)
            .then_some(())
            .ok_or_else(|| format!("{ours} of {memory}"))
    });
    check_sums(&pod);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_sandbox_without_a_cgroup_has_the_sentrys_own_value() {
    let Some(runsc) = usable(NEW) else { return };
    let _machine = lock_machine();
    let mut sandbox = Sandbox::new(&runsc, &["--network=none", "--ignore-cgroups"]);
    let id = format!("eventout-{}-ignore", std::process::id());
    sandbox.start("run", &id, 0, true, None, false);
    let sentry = || {
        let event = sandbox.stats(&id).format("gvisor-event-out").line();
        event["containerUsage"][&id].as_u64().unwrap_or(0)
    };
    wait_until("it has used some CPU time", 60, || sentry() > 100_000_000);
    let (before, ours, after) = (sentry(), sandbox.ours(&id), sentry());
    check_between(before, ours.cpu, after);
    // runsc reports the whole machine's.
    assert!(sandbox.theirs(&id).cpu > 2 * after);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_created_container_has_used_nothing_yet() {
    let Some(runsc) = usable(NEW) else { return };
    let _machine = lock_machine();
    let mut sandbox = Sandbox::new(&runsc, &["--network=none"]);
    let id = format!("eventout-{}-created", std::process::id());
    sandbox.start("create", &id, 0, false, None, false);
    let ours = sandbox.ours(&id);
    // Where older releases divided by zero.
    assert_eq!((ours.pids, ours.cpu), (0, 0));
    attempt(|| {
        let (ours, theirs) = (sandbox.ours(&id).memory, sandbox.theirs(&id).memory);
        (ours == theirs)
            .then_some(())
            .ok_or_else(|| format!("{ours} {theirs}"))
    });
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_client_of_runtimes_takes_the_program_for_runsc() {
    let Some(runsc) = usable(NEW) else { return };
    let Some(client) = tests::go("client") else {
        return;
    };
    let _machine = lock_machine();
    let mut sandbox = Sandbox::new(&runsc, &["--network=none"]);
    let id = format!("eventout-{}-client", std::process::id());
    sandbox.start("run", &id, 0, false, None, false);
    // The shell, and what it sleeps in.
    wait_until("the load is up", 60, || sandbox.theirs(&id).pids == 2);
    sandbox.check_usage(&id);

    // A line of runsc's own command line.
    let root = format!("--root={}", sandbox.root().display());
    let flags = [root.as_str(), "--log=/dev/null", "--log-format=json"];
    let event = Eventout::new().args(flags).events([&id]).stats().line();
    assert_eq!(Usage::of(&event).pids, 2);

    let program = Eventout::new().into_command();
    let mut client = Command::new(client);
    client
        .arg(program.get_program())
        .args([sandbox.root().as_os_str(), id.as_ref()]);
    let seen: Value = serde_json::from_str(&run(&mut client)).expect("it is JSON");
    assert_eq!((&seen["first"], &seen["id"]), (&json!("stats"), &json!(id)));
    assert_eq!(seen["stats"]["pids"]["current"], 2);
    assert!(
        seen["stats"]["memory"]["usage"]["usage"].as_u64() > Some(0),
        "{seen}"
    );
}

/// A root directory of runsc with a container `web`, whose sentry does what `serve` does with each connection.
fn sentry(serve: impl Fn(UnixStream) + Send + 'static) -> TempDir {
    let root = tempdir().expect("a directory");
    let socket = root.path().join("control.sock");
    let state = json!({
        "id": "web",
        "sandbox": {"id": "web", "pid": std::process::id(), "controlSocketPath": socket},
    });
    write_state(&root, &state.to_string());
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a connection"));
        }
    });
    root
}

fn write_state(root: &TempDir, text: &str) {
    let file = root.path().join("web_sandbox:web.state");
    fs::write(file, text).expect("it can be written");
}

/// Checks that the container `web` in that root directory is one error, soon.
#[track_caller]
fn fails(root: &TempDir, says: &str) {
    let begun = Instant::now();
    let source = format!("gvisor:{}", root.path().display());
    let stats = Eventout::new().source(source).events(["web"]).stats();
    stats.fails(1).says(says);
    // The limit is two seconds. The machine may be busy.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn whatever_a_sentry_does_is_one_error_in_a_bounded_time() {
    let sends = |text: &'static str| {
        sentry(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
            thread::sleep(Duration::from_secs(5));
        })
    };
    fails(&sentry(drop), "containerManager.Event");
    let stalls = sentry(|_| thread::sleep(Duration::from_secs(30)));
    fails(&stalls, "took longer than 2s");
    let drips = sentry(|mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    fails(&drips, "took longer than 2s");
    let floods = sentry(|mut stream| {
        let _ = stream.write_all(b"{\"success\":true,\"err\":\"");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    fails(&floods, "its response is larger than 16777216 bytes");
    for (text, says) in [
        ("hello", "expected value"),
        (r#"{"success":true"#, "took longer than 2s"),
        ("[]", "containerManager.Event"),
        (
            r#"{"success":true,"err":"","result":{"event":{"data":{"pids":{"current":-1}}}}}"#,
            "invalid value: integer `-1`",
        ),
        (r#"{"success":true,"err":"","result":null}"#, "no result"),
        (
            r#"{"success":false,"err":"unknown method","result":null}"#,
            "containerManager.Event: the sentry reports \"unknown method\"",
        ),
    ] {
        fails(&sends(text), says);
    }
}

#[test]
fn a_sentry_that_does_not_accept_connections_is_an_error() {
    let root = sentry(drop);
    let socket = root.path().join("control.sock");
    fs::remove_file(&socket).expect("it can be removed");
    let listener = UnixListener::bind(&socket).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a queue of one");
    let _waiting = UnixStream::connect(&socket).expect("it has room for one");
    fails(&root, "control.sock");
}

#[test]
fn a_state_file_of_no_sandbox_is_an_error() {
    let root = tempdir().expect("a directory");
    write_state(
        &root,
        r#"{"id":"web","sandbox":{"id":"web","pid":4194305,"controlSocketPath":"/nowhere"}}"#,
    );
    fails(&root, "its sandbox is not running");
    write_state(&root, "{}");
    fails(&root, "not a state of runsc");
}
