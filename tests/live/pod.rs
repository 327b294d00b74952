//! A pod of gVisor on a machine with cgroup v2 alone, against runsc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tests::{
    Eventout, RUNSC, Usage, can_run, detach, lock_machine, missing, run, runsc, wait_until,
};

use super::container::cpu;

/// The memory that a sandbox may use on the host, in bytes.
const LIMIT: u64 = 1 << 30;

/// The programs of the containers of the pod. More memory than a shell's would take long where all is emulated.
const LOADS: [(&str, &str); 3] = [
    ("root", "while :; do sleep 1000; done"),
    ("a", "while :; do :; done"),
    ("b", "while :; do sleep 1000; done"),
];

/// A pod, which is deleted when this is dropped.
struct Pod {
    runsc: PathBuf,
    /// Holds runsc's root directory, and the bundles.
    directory: TempDir,
    /// The cgroup above those of the containers.
    cgroup: String,
    ids: Vec<String>,
}

impl Pod {
    fn start(runsc: &Path) -> Self {
        let mut pod = Self {
            runsc: runsc.to_owned(),
            directory: tempdir().expect("a directory"),
            cgroup: format!("eventout-{}-pod", std::process::id()),
            ids: Vec::new(),
        };
        for (name, script) in LOADS {
            let id = format!("{}-{name}", pod.cgroup);
            let bundle = pod.directory.path().join(format!("bundle-{name}"));
            tests::bundle(&pod.runsc, &bundle, script, |spec| {
                // The cgroups lie side by side: one with processes can't have children with controllers.
                spec["linux"]["cgroupsPath"] = format!("/{}/{name}", pod.cgroup).into();
                spec["annotations"] = match pod.ids.first() {
                    None => json!({"io.kubernetes.cri.container-type": "sandbox"}),
                    Some(root) => json!({
                        "io.kubernetes.cri.container-type": "container",
                        "io.kubernetes.cri.sandbox-id": root,
                    }),
                };
                if pod.ids.is_empty() {
                    spec["linux"]["resources"]["memory"] = json!({"limit": LIMIT});
                }
                // With this mount, runsc reports CPU time by the sentry's ticks alone.
                let mounts = spec["mounts"].as_array_mut().expect("a list");
                mounts.retain(|mount| mount["type"] != "cgroup");
            });
            let mut command = Command::new("timeout");
            command
                .args(["--signal=KILL", "120"])
                .arg(&pod.runsc)
                .arg("--root")
                .arg(pod.root())
                .args(["--network=none", "--platform=ptrace", "run", "--detach"])
                .arg("--bundle")
                .args([bundle.as_os_str(), id.as_ref()]);
            detach(&mut command, pod.directory.path());
            pod.ids.push(id);
        }
        wait_until("the loads are up", 120, || {
            let ours = pod.ours(&pod.ids);
            // The idle ones' shells wait for another task.
            ours.iter().map(|usage| usage.pids).eq([2, 1, 2]) && ours[1].cpu > 1_000_000_000
        });
        pod
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn runsc(&self) -> Command {
        let mut command = Command::new(&self.runsc);
        command.arg("--root").arg(self.root());
        command
    }

    /// Returns the usage of a container that runsc prints.
    fn theirs(&self, id: &str) -> Usage {
        let line = run(self.runsc().args(["events", "--stats", id]));
        Usage::of(&serde_json::from_str(&line).expect("runsc prints JSON"))
    }

    /// Returns the usage of these containers in one sample of eventout.
    fn ours(&self, ids: &[String]) -> Vec<Usage> {
        let source = format!("gvisor:{}", self.root().display());
        let lines = Eventout::new().source(source).events(ids).stats().lines();
        lines.iter().map(Usage::of).collect()
    }

    /// Returns the cgroup of a container.
    fn cgroup(&self, name: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.cgroup).join(name)
    }

    /// Checks that memory and CPU time of all containers add up to those of the sandbox, which runsc and the kernel
    /// report.
    fn check_sums(&self) {
        let sandbox = || {
            let usage = run(self.runsc().args(["usage", "--full", &self.ids[0]]));
            let usage: Value = serde_json::from_str(&usage).expect("it is JSON");
            let memory = usage["Total"].as_u64().expect("a number");
            (memory, cpu(&self.cgroup("root")))
        };
        let before = sandbox();
        let ours = self.ours(&self.ids);
        let after = sandbox();
        let memory: u64 = ours.iter().map(|usage| usage.memory).sum();
        let cpu: u64 = ours.iter().map(|usage| usage.cpu).sum();
        let all = format!("{before:?} {ours:?} {after:?}");
        assert_eq!(ours.len(), self.ids.len());
        // What rounding down may drop.
        let dropped = self.ids.len() as u64;
        let low = before.0.min(after.0) - dropped;
        assert!((low..=before.0.max(after.0)).contains(&memory), "{all}");
        let low = before.1 - before.1 / 1_000_000 - dropped;
        assert!((low..=after.1).contains(&cpu), "{all}");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for id in self.ids.iter().rev() {
            let _ = self.runsc().args(["kill", id, "KILL"]).output();
            let _ = self.runsc().args(["delete", "--force", id]).output();
        }
        for (name, _) in LOADS {
            let _ = fs::remove_dir(self.cgroup(name));
        }
        let _ = fs::remove_dir(self.cgroup(""));
    }
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn a_pod_on_v2_is_as_runsc_says_and_has_the_cpu_time_of_its_own_group() {
    // Other machines run this in the virtual one.
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return;
    }
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    if !can_run(&missing(&[])) {
        return;
    }
    let _machine = lock_machine();
    let pod = Pod::start(&runsc);
    for id in &pod.ids {
        for attempt in 0.. {
            let before = pod.theirs(id);
            let ours = pod.ours(std::slice::from_ref(id))[0];
            let after = pod.theirs(id);
            // runsc has no limit, but 0.
            assert_eq!((before.limit, ours.limit), (0, LIMIT), "{id}");
            if ours.lies_between(&before, &after) {
                break;
            }
            // The sentry may have taken memory in between and freed it.
            assert!(attempt < 10, "{id}: {before:?} {ours:?} {after:?}");
        }
    }
    pod.check_sums();

    // What runs beside the sandbox in the cgroup above is not the sandbox's, though this runsc counts it.
    let mut neighbour = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .stdin(Stdio::null())
        .spawn()
        .expect("sh runs");
    let cgroup = pod.cgroup("b");
    fs::write(cgroup.join("cgroup.procs"), neighbour.id().to_string()).expect("it moves");
    // runsc's reading is the earlier one, by less and less of what has been used.
    wait_until("runsc counts the neighbour", 120, || {
        let theirs = pod.theirs(&pod.ids[1]);
        let ours = pod.ours(&pod.ids)[1];
        theirs.cpu > ours.cpu + ours.cpu / 20
    });
    pod.check_sums();
    neighbour.kill().expect("it runs");
    neighbour.wait().expect("it ends");
}
