//! Live gVisor sandboxes: the sentry as the source, and `runsc events` as the judge.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{RUNSC, can_run, detach, eventout, printed, run, runsc, scratch, wait_until};

/// Sandboxes are busy: one at a time, so that those that are compared are not starved.
static MACHINE: Mutex<()> = Mutex::new(());

/// Which runsc.
const OLD: &str = RUNSC[0];
const NEW: &str = RUNSC[1];

/// What runs in the containers of a pod: how much memory in bytes, and whether it keeps a CPU busy.
const LOADS: [(&str, u64, bool); 4] = [
    ("root", 0, false),
    ("a", 20_000_000, true),
    ("b", 40_000_000, false),
    ("c", 0, false),
];

/// The memory that a sandbox may use on the host, in bytes.
const LIMIT: u64 = 1 << 30;

/// A sandbox, which goes when this does.
struct Sandbox {
    runsc: PathBuf,
    /// runsc's root directory, with bundles beside it.
    directory: PathBuf,
    options: Vec<&'static str>,
    ids: Vec<String>,
}

impl Sandbox {
    fn new(runsc: &Path, name: &str, options: &[&'static str]) -> Self {
        Self {
            runsc: runsc.to_owned(),
            directory: scratch(name),
            options: options.to_vec(),
            ids: Vec::new(),
        }
    }

    /// Starts a pod of the four loads. Whether the sentry keeps cgroups of its own is up to whether the specs
    /// mount them.
    fn pod(runsc: &Path, name: &str, options: &[&'static str], cgroup_mount: bool) -> Self {
        let mut pod = Self::new(runsc, name, options);
        for (name, memory, busy) in LOADS {
            let id = format!("eventout-{}-{name}", std::process::id());
            let root = pod.ids.first().cloned();
            pod.start("run", &id, memory, busy, root, cgroup_mount);
        }
        // Loads are up when memory has stopped to grow.
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
        let bundle = self.directory.join(format!("bundle-{id}"));
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
            let mounts = spec["mounts"].as_array_mut().expect("it has mounts");
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
        detach(&mut bounded, &self.directory);
        self.ids.push(id.to_owned());
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn runsc(&self) -> Command {
        let mut command = Command::new(&self.runsc);
        command.arg("--root").arg(self.root());
        command
    }

    fn source(&self) -> String {
        format!("gvisor:{}", self.root().display())
    }

    /// What runsc prints of a container.
    fn judged(&self, id: &str) -> Usage {
        usage_of(&run(self.runsc().args(["events", "--stats", id])))
    }

    /// What eventout prints of it.
    fn ours(&self, id: &str) -> Usage {
        usage_of(printed(&eventout([
            "--source",
            &self.source(),
            "events",
            "--stats",
            id,
        ])))
    }

    /// What eventout prints of all, by one reading.
    fn all(&self) -> BTreeMap<String, Usage> {
        let output = eventout(["--source", &self.source(), "events", "--all", "--stats"]);
        let line = |line: &str| {
            let event: Value = serde_json::from_str(line).expect("it is JSON");
            (
                event["id"].as_str().expect("a string").to_owned(),
                usage_of(line),
            )
        };
        printed(&output).lines().map(line).collect()
    }

    /// The sandbox's memory in bytes, by the account of runsc.
    fn memory(&self) -> u64 {
        let usage = run(self.runsc().args(["usage", "--full", &self.ids[0]]));
        let usage: Value = serde_json::from_str(&usage).expect("it is JSON");
        usage["Total"].as_u64().expect("a number")
    }

    /// The CPU time of the sandbox's cgroup in nanoseconds, by the account of the kernel.
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
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Pids, memory in bytes, CPU time in nanoseconds. What is not printed is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    /// In bytes.
    limit: u64,
    pids: u64,
    memory: u64,
    cpu: u64,
}

fn usage_of(line: &str) -> Usage {
    let event: Value = serde_json::from_str(line).expect("it is JSON");
    assert_eq!(event["type"], "stats");
    let value = |path: &str| {
        let value = event["data"].pointer(path);
        value.map_or(0, |value| value.as_u64().expect("a u64"))
    };
    Usage {
        pids: value("/pids/current"),
        memory: value("/memory/usage/usage"),
        limit: value("/memory/usage/limit"),
        cpu: value("/cpu/usage/total"),
    }
}

#[track_caller]
fn between(low: u64, value: u64, high: u64) {
    let (low, high) = (low.min(high), low.max(high));
    assert!(
        (low..=high).contains(&value),
        "{value} is not between {low} and {high}"
    );
}

/// CPU time of one container: it is scaled by a ratio that moves both ways, since the sentry counts in ticks and
/// the cgroup doesn't.
#[track_caller]
fn about_between(low: u64, value: u64, high: u64) {
    between(low - low / 100, value, high + high / 100);
}

/// Memory and CPU time of all containers add up to the sandbox's.
fn adds_up(pod: &Sandbox) {
    let before = (pod.memory(), pod.cpu());
    let all = pod.all();
    let after = (pod.memory(), pod.cpu());
    assert_eq!(all.len(), pod.ids.len());
    let memory: u64 = all.values().map(|usage| usage.memory).sum();
    let cpu: u64 = all.values().map(|usage| usage.cpu).sum();
    // What rounding down may drop.
    let dropped = pod.ids.len() as u64;
    between(
        before.0.min(after.0) - dropped,
        memory,
        before.0.max(after.0),
    );
    between(before.1 - before.1 / 1_000_000 - dropped, cpu, after.1);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_pod_is_as_runsc_says() {
    let runsc = match runsc(NEW) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let pod = Sandbox::pod(&runsc, "pod", &["--network=none"], false);
    for id in &pod.ids {
        let (before, ours, after) = (pod.judged(id), pod.ours(id), pod.judged(id));
        assert_eq!(ours.pids, before.pids, "{id}");
        between(before.memory, ours.memory, after.memory);
        about_between(before.cpu, ours.cpu, after.cpu);
        // runsc prints 0, of which a consumer that computes what is left makes 2^64 and less.
        assert_eq!((before.limit, ours.limit), (0, LIMIT), "{id}");
    }
    adds_up(&pod);

    // IDs may be shortened, as with runsc, to what only one of them begins with.
    let (root, a) = (&pod.ids[0], &pod.ids[1]);
    let short = &root[..root.len() - 2];
    assert_eq!(pod.ours(short).pids, pod.judged(short).pids);
    let common = &a[..a.len() - 1];
    let output = eventout(["--source", &pod.source(), "events", "--stats", common]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("is the beginning of the ID of 4 containers: ")
            && stderr.contains(a.as_str()),
        "{stderr}"
    );

    // The pod is listed as one.
    let state = pod.root().join(format!("{root}_sandbox:{root}.state"));
    let state: Value =
        serde_json::from_slice(&fs::read(state).expect("it is there")).expect("it is JSON");
    let process = format!("/proc/{}/ns/net", state["sandbox"]["pid"]);
    let network_namespace = fs::metadata(process).expect("it runs").ino();
    let listed = eventout(["--source", &pod.source(), "list"]);
    let listed: Vec<Value> = printed(&listed)
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    assert_eq!(listed.len(), 4);
    for listed in &listed {
        let id = listed["id"].as_str().expect("a string");
        let expected = json!({
            "sandbox": root,
            "runtime": "gvisor",
            "name": format!("name-of-{id}"),
            "pod": "pod",
            "status": "running",
            "cpu_shares": 512,
            // On the host, all of the sandbox is in the cgroup of its root container.
            "cgroup": format!("/{root}"),
        });
        for (key, value) in expected.as_object().expect("it is one") {
            assert_eq!(&listed[key], value, "{key}: {listed}");
        }
        assert!(listed["started"].is_u64(), "{listed}");
        assert_eq!(listed["network_namespace"], network_namespace, "{listed}");
    }
    assert_eq!(pod.ours(&format!("name-of-{a}")).pids, pod.ours(a).pids);

    // A stream ends with the sandbox.
    let mut stream = tests::program()
        .args([
            "--source",
            &pod.source(),
            "events",
            "--interval",
            "100ms",
            a,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = [0];
    let stdout = stream.stdout.as_mut().expect("it is piped");
    stdout.read_exact(&mut first).expect("it prints");
    drop(pod);
    let output = stream.wait_with_output().expect("it ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn with_cgroups_inside_each_container_has_its_own_and_all_add_up() {
    let runsc = match runsc(NEW) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let pod = Sandbox::pod(&runsc, "pod-cgroups", &["--network=none"], true);
    for id in &pod.ids {
        let (judged, ours) = (pod.judged(id), pod.ours(id));
        assert_eq!(ours.pids, judged.pids, "{id}");
        // Its own, and its part of what the sentry needs for itself.
        between(
            judged.memory,
            ours.memory,
            judged.memory + judged.memory / 100 + 1,
        );
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
    // The idle ones have next to none of the busy one's CPU time.
    assert!(all[a].cpu > 10 * all[c].cpu, "{all:?}");
    adds_up(&pod);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn the_old_sentry_tells_enough_to_tell_containers_apart() {
    let runsc = match runsc(OLD) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let pod = Sandbox::pod(
        &runsc,
        "pod-old",
        &["--network=none", "--platform=ptrace"],
        false,
    );
    let all = pod.all();
    for id in &pod.ids {
        // That runsc gives each container the memory and the tasks of the whole sandbox.
        let judged = pod.judged(id);
        assert_eq!(judged.memory, pod.memory());
        assert_eq!(
            judged.pids,
            all.values().map(|usage| usage.pids).sum::<u64>()
        );
        let (before, ours, after) = (pod.judged(id), pod.ours(id), pod.judged(id));
        about_between(before.cpu, ours.cpu, after.cpu);
    }
    assert_eq!(all[&pod.ids[0]].memory, 0);
    assert_eq!(all[&pod.ids[1]].memory, pod.memory() / 3);
    adds_up(&pod);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_sandbox_without_a_cgroup_has_the_sentrys_own_value() {
    let runsc = match runsc(NEW) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let mut sandbox = Sandbox::new(&runsc, "ignore", &["--network=none", "--ignore-cgroups"]);
    let id = format!("eventout-{}-ignore", std::process::id());
    sandbox.start("run", &id, 0, true, None, false);
    let sentry = || {
        let source = sandbox.source();
        let output = eventout([
            "--source",
            &source,
            "events",
            "--stats",
            "--format=gvisor-event-out",
            &id,
        ]);
        let out: Value = serde_json::from_str(printed(&output)).expect("it is JSON");
        out["containerUsage"][&id].as_u64().unwrap_or(0)
    };
    wait_until("it has used some CPU time", 60, || sentry() > 100_000_000);
    let (before, ours, after) = (sentry(), sandbox.ours(&id), sentry());
    between(before, ours.cpu, after);
    // runsc reports the whole machine's.
    assert!(sandbox.judged(&id).cpu > 2 * after);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_created_container_has_used_nothing_yet() {
    let runsc = match runsc(NEW) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let mut sandbox = Sandbox::new(&runsc, "created", &["--network=none"]);
    let id = format!("eventout-{}-created", std::process::id());
    sandbox.start("create", &id, 0, false, None, false);
    let ours = sandbox.ours(&id);
    // Where older releases divided by zero.
    assert_eq!((ours.pids, ours.cpu), (0, 0));
    assert_eq!(ours.memory, sandbox.judged(&id).memory);
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_single_container_is_as_runsc_says_and_a_client_takes_us_for_runsc() {
    let runsc = match runsc(NEW) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let Some(client) = tests::go("client") else {
        return;
    };
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let mut sandbox = Sandbox::new(&runsc, "for-client", &["--network=none"]);
    let id = format!("eventout-{}-client", std::process::id());
    sandbox.start("run", &id, 0, false, None, false);
    // The shell, and what it sleeps in.
    wait_until("the load is up", 60, || sandbox.judged(&id).pids == 2);
    // A sentry that has just started still frees memory, so that a value may lie outside of its neighbours.
    let mut samples =
        (0..20).map(|_| (sandbox.judged(&id), sandbox.ours(&id), sandbox.judged(&id)));
    let (before, ours, after) = samples
        .find(|(before, ours, after)| {
            let (low, high) = (
                before.memory.min(after.memory),
                before.memory.max(after.memory),
            );
            (low..=high).contains(&ours.memory)
        })
        .expect("memory is between two of runsc's at least once in 20 samples");
    // The sentry may still count a task that has just made way for another.
    between(before.pids, ours.pids, after.pids);
    about_between(before.cpu, ours.cpu, after.cpu);

    // A line of runsc's own command line, which must be one JSON value and nothing else.
    let root = format!("--root={}", sandbox.root().display());
    let flags = [root.as_str(), "--log=/dev/null", "--log-format=json"];
    let output = eventout(flags.iter().chain(&["events", "--stats", &id]));
    assert_eq!(usage_of(printed(&output)).pids, 2);

    let root = sandbox.root();
    let program = tests::program();
    let mut command = Command::new(client);
    command
        .arg(program.get_program())
        .args([root.as_os_str(), id.as_ref()]);
    let client_saw: Value = serde_json::from_str(&run(&mut command)).expect("it is JSON");
    assert_eq!(client_saw["first"], "stats");
    assert_eq!(client_saw["id"], id.as_str());
    assert_eq!(client_saw["stats"]["pids"]["current"], 2);
    assert!(
        client_saw["stats"]["memory"]["usage"]["usage"].as_u64() > Some(0),
        "{client_saw}"
    );
}

/// A control socket on which `serve` answers, with a state file that leads to it.
fn impostor(name: &str, serve: impl Fn(std::os::unix::net::UnixStream) + Send + 'static) -> String {
    let root = scratch(name);
    let socket = root.join("control.sock");
    let state = json!({
        "id": "web",
        "sandbox": {"id": "web", "pid": std::process::id(), "controlSocketPath": socket},
    });
    fs::write(root.join("web_sandbox:web.state"), state.to_string()).expect("a file");
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a connection"));
        }
    });
    format!("gvisor:{}", root.display())
}

#[test]
fn whatever_a_sentry_does_is_one_error_in_a_bounded_time() {
    let answer = |text: &'static str| {
        move |mut stream: std::os::unix::net::UnixStream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
            thread::sleep(Duration::from_secs(5));
        }
    };
    let check = |spec: String, says: &str| {
        let begun = Instant::now();
        let output = eventout(["--source", &spec, "events", "--stats", "web"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
        assert!(
            stderr.contains(says) && !stderr.contains("panicked"),
            "no {says:?} in {stderr}"
        );
        assert!(stderr.len() < 1000, "{stderr}");
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
    };
    check(impostor("closes", drop), "containerManager.Event");
    check(
        impostor("stalls", |_| thread::sleep(Duration::from_secs(30))),
        "took longer than 2s",
    );
    let drips = |mut stream: std::os::unix::net::UnixStream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    };
    check(impostor("drips", drips), "took longer than 2s");
    let floods = |mut stream: std::os::unix::net::UnixStream| {
        let _ = stream.write_all(b"{\"success\":true,\"err\":\"");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    };
    check(
        impostor("floods", floods),
        "its response is larger than 16777216 bytes",
    );
    check(impostor("not-json", answer("hello")), "expected value");
    check(
        impostor("cut", answer("{\"success\":true")),
        "took longer than 2s",
    );
    check(impostor("a-list", answer("[]")), "containerManager.Event");
    let wrong = r#"{"success":true,"err":"","result":{"event":{"data":{"pids":{"current":-1}}}}}"#;
    check(
        impostor("wrong", answer(wrong)),
        "invalid value: integer `-1`",
    );
    check(
        impostor(
            "no-result",
            answer(r#"{"success":true,"err":"","result":null}"#),
        ),
        "no result",
    );
    let unknown = r#"{"success":false,"err":"unknown method","result":null}"#;
    check(
        impostor("unknown-method", answer(unknown)),
        "containerManager.Event: the sentry reports \"unknown method\"",
    );

    // Nobody accepts, and the queue of connections is full.
    let spec = impostor("never-accepts", drop);
    let root = spec.strip_prefix("gvisor:").expect("it begins so");
    let socket = Path::new(root).join("control.sock");
    fs::remove_file(&socket).expect("it goes");
    let listener = UnixListener::bind(&socket).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a queue of one");
    let _waiting = std::os::unix::net::UnixStream::connect(&socket).expect("it has room for one");
    check(spec, "control.sock");

    // A state file of a sandbox that has gone.
    let root = scratch("gone");
    let state =
        r#"{"id":"web","sandbox":{"id":"web","pid":4194305,"controlSocketPath":"/nowhere"}}"#;
    fs::write(root.join("web_sandbox:web.state"), state).expect("a file");
    check(
        format!("gvisor:{}", root.display()),
        "its sandbox is not running",
    );
    fs::write(root.join("web_sandbox:web.state"), "{}").expect("a file");
    check(format!("gvisor:{}", root.display()), "not a state of runsc");
}
