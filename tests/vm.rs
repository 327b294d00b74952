//! Cgroup v2 with every controller: a virtual machine that has nothing else, for the tests beside this, and a gVisor
//! pod on such a machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{
    RUNSC, can_run, detach, eventout, judge, missing, printed, program, root, run, runsc, scratch,
    wait_until,
};

use super::{MACHINE, cpu};

/// The memory that a sandbox may use on the host, in bytes.
const LIMIT: u64 = 1 << 30;

/// The programs of the containers of the pod. More memory than a shell's would take long where all is emulated.
const LOADS: [(&str, &str); 3] = [
    ("root", "while :; do sleep 1000; done"),
    ("a", "while :; do :; done"),
    ("b", "while :; do sleep 1000; done"),
];

/// A pod, which goes when this does.
struct Pod {
    runsc: PathBuf,
    /// runsc's root directory, with bundles beside it.
    directory: PathBuf,
    /// The group above those of the containers.
    group: String,
    ids: Vec<String>,
}

impl Pod {
    fn start(runsc: &Path) -> Self {
        let mut pod = Self {
            runsc: runsc.to_owned(),
            directory: scratch("pod-v2"),
            group: format!("eventout-{}-pod", std::process::id()),
            ids: Vec::new(),
        };
        for (name, script) in LOADS {
            let id = format!("{}-{name}", pod.group);
            let bundle = pod.directory.join(format!("bundle-{name}"));
            tests::bundle(&pod.runsc, &bundle, script, |spec| {
                // The groups lie side by side: one with processes can't have children with controllers.
                spec["linux"]["cgroupsPath"] = format!("/{}/{name}", pod.group).into();
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
                let mounts = spec["mounts"].as_array_mut().expect("it has mounts");
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
            detach(&mut command, &pod.directory);
            pod.ids.push(id);
        }
        wait_until("the loads are up", 120, || {
            let ours = pod.ours(&pod.ids);
            // The idle ones' shells wait for another task.
            ours.iter().map(|values| values.pids).eq([2, 1, 2]) && ours[1].cpu > 1_000_000_000
        });
        pod
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn runsc(&self) -> Command {
        let mut command = Command::new(&self.runsc);
        command.arg("--root").arg(self.root());
        command
    }

    /// Returns the values that runsc prints of a container.
    fn judged(&self, id: &str) -> Values {
        values(&run(self.runsc().args(["events", "--stats", id])))
    }

    /// Returns the values that eventout prints of these containers in one sample.
    fn ours(&self, ids: &[String]) -> Vec<Values> {
        let source = format!("gvisor:{}", self.root().display());
        let args = ["--source", &source, "events", "--stats"].map(str::to_owned);
        let output = eventout(args.iter().chain(ids));
        printed(&output).lines().map(values).collect()
    }

    /// The group of a container.
    fn cgroup(&self, name: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.group).join(name)
    }

    /// Memory and CPU time of all containers add up to the sandbox's, which are those of runsc and of the kernel.
    fn adds_up(&self) {
        let sandbox = || {
            let usage = run(self.runsc().args(["usage", "--full", &self.ids[0]]));
            let usage: Value = serde_json::from_str(&usage).expect("it is JSON");
            let memory = usage["Total"].as_u64().expect("a number");
            (memory, cpu(&self.cgroup("root")))
        };
        let before = sandbox();
        let ours = self.ours(&self.ids);
        let after = sandbox();
        let memory: u64 = ours.iter().map(|values| values.memory).sum();
        let cpu: u64 = ours.iter().map(|values| values.cpu).sum();
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
        let _ = fs::remove_dir_all(&self.directory);
        for (name, _) in LOADS {
            let _ = fs::remove_dir(self.cgroup(name));
        }
        let _ = fs::remove_dir(self.cgroup(""));
    }
}

/// The values of a line: memory in bytes, CPU time in nanoseconds. What is not printed is 0.
#[derive(Clone, Copy, Debug)]
struct Values {
    pids: u64,
    memory: u64,
    limit: u64,
    cpu: u64,
}

impl Values {
    /// Returns whether each value that runsc has lies between two of runsc. CPU time of one container is scaled by a ratio
    /// that moves both ways, since the sentry counts in ticks and the group doesn't.
    fn between(&self, before: &Self, after: &Self) -> bool {
        let lies = |low: u64, value, high: u64| (low.min(high)..=low.max(high)).contains(&value);
        let cpu = (before.cpu - before.cpu / 100, after.cpu + after.cpu / 100);
        lies(before.pids, self.pids, after.pids)
            && lies(before.memory, self.memory, after.memory)
            && lies(cpu.0, self.cpu, cpu.1)
    }
}

fn values(line: &str) -> Values {
    let event: Value = serde_json::from_str(line).expect("it is JSON");
    assert_eq!(event["type"], "stats");
    let value = |path: &str| {
        let value = event["data"].pointer(path);
        value.map_or(0, |value| value.as_u64().expect("a u64"))
    };
    Values {
        pids: value("/pids/current"),
        memory: value("/memory/usage/usage"),
        limit: value("/memory/usage/limit"),
        cpu: value("/cpu/usage/total"),
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
    let _machine = MACHINE.lock().unwrap_or_else(|e| e.into_inner());
    let pod = Pod::start(&runsc);
    for id in &pod.ids {
        for attempt in 0.. {
            let before = pod.judged(id);
            let ours = pod.ours(std::slice::from_ref(id))[0];
            let after = pod.judged(id);
            // runsc has no limit, but 0.
            assert_eq!((before.limit, ours.limit), (0, LIMIT), "{id}");
            if ours.between(&before, &after) {
                break;
            }
            // The sentry may have taken memory in between and freed it.
            assert!(attempt < 10, "{id}: {before:?} {ours:?} {after:?}");
        }
    }
    pod.adds_up();

    // What runs beside the sandbox in the group above is not the sandbox's, though this runsc counts it.
    let mut neighbour = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .stdin(Stdio::null())
        .spawn()
        .expect("sh runs");
    let group = pod.cgroup("b");
    fs::write(group.join("cgroup.procs"), neighbour.id().to_string()).expect("it moves");
    // runsc's reading is the earlier one, by less and less of what has been used.
    wait_until("runsc counts the neighbour", 120, || {
        let judged = pod.judged(&pod.ids[1]);
        let ours = pod.ours(&pod.ids)[1];
        judged.cpu > ours.cpu + ours.cpu / 20
    });
    pod.adds_up();
    neighbour.kill().expect("it runs");
    neighbour.wait().expect("it ends");
}

/// Copies a program into the root directory of a machine as /usr/bin/NAME, with its libraries.
fn install(root: &Path, name: &str, program: &Path) {
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().expect("it has one")).expect("a directory");
        fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    };
    copy(program, &root.join("usr/bin").join(name));
    // It fails for a program without any.
    let libraries = Command::new("ldd").arg(program).output().expect("it runs");
    let libraries = String::from_utf8(libraries.stdout).expect("it prints UTF-8");
    for library in libraries.split_ascii_whitespace() {
        if let Some(to) = library.strip_prefix('/') {
            copy(Path::new(library), &root.join(to));
        }
    }
}

/// The first process of the machine. Runtimes pivot, which the root filesystem that the kernel unpacks does not
/// allow: all moves to another.
const UNPACKED: &str = "#!/busybox sh
set -e
/busybox mount -t tmpfs -o size=90% root /new
/busybox cp -a /machine/. /new
exec /busybox switch_root /new /init
";

/// The first process from then on.
const INIT: &str = r#"#!/bin/busybox sh
# What can't run here is a failure.
export PATH=/usr/bin:/bin CI=true EVENTOUT_TOOLS=/usr/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd/2 /dev/stderr
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
mke2fs /dev/nvme0n1 >/dev/null
mount -t ext4 /dev/nvme0n1 /tmp
{
    echo "Linux $(uname -r), $(cat /sys/fs/cgroup/cgroup.subtree_control), after $(cut -d ' ' -f 1 /proc/uptime) s"
    live --include-ignored --test-threads=1 --color=never --skip fifty_containers --skip interfaces --skip on_a_machine 2>&1
    echo "exit code $? after $(cut -d ' ' -f 1 /proc/uptime) s"
} >/dev/ttyS1
poweroff -f
"#;

/// A virtual machine of two processors, emulated: Linux with the tests beside this, whose only cgroup hierarchy is
/// v2, with every controller, pressure and huge pages, and with a disk.
#[test]
#[ignore = "starts a virtual machine: tests/run runs it"]
fn on_a_machine_of_pure_v2_all_this_holds_too() {
    let programs = ["runc", "crun", "busybox", "jq", "ip", "nsenter", "timeout"];
    let emulator = "qemu-system-x86_64";
    let needed = [&programs[..], &[emulator, "cpio"]].concat();
    if !can_run(&missing(&needed)) {
        return;
    }
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let boot = fs::read_dir(root().join("target/tools/kernel/boot"));
    let files = boot.into_iter().flatten().filter_map(Result::ok);
    let Some(kernel) = files
        .map(|file| file.path())
        .find(|file| file.to_string_lossy().contains("/vmlinuz-"))
    else {
        return assert!(!can_run("there is no kernel (see tests/run)"));
    };
    let Some(judge) = judge() else { return };

    let directory = scratch("machine");
    let machine = directory.join("initial/machine");
    let made = "bin dev proc sys run tmp usr/bin".split(' ');
    for made in made {
        fs::create_dir_all(machine.join(made)).expect("a directory");
    }
    for name in programs {
        let path = run(Command::new("sh").args(["-c", "command -v \"$0\"", name]));
        install(&machine, name, Path::new(path.trim()));
    }
    let live = std::env::current_exe().expect("it runs");
    install(&machine, "live", &live);
    // What the tests look for where it is here, they look for there.
    let runsc_name = format!("runsc-{}", RUNSC[1]);
    for (name, program) in [
        ("judge", judge.as_path()),
        ("eventout", Path::new(program().get_program())),
        (&runsc_name, &runsc),
    ] {
        install(&machine, name, program);
    }
    fs::copy("/bin/busybox", machine.join("bin/busybox")).expect("it can be copied");
    fs::copy("/bin/busybox", directory.join("initial/busybox")).expect("it can be copied");
    let script = |file: PathBuf, text: &str| {
        fs::write(&file, text).expect("it can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    fs::create_dir(directory.join("initial/new")).expect("a directory");
    script(directory.join("initial/init"), UNPACKED);
    script(machine.join("init"), INIT);
    run(Command::new("sh")
        .args(["-c", "find . | cpio --quiet -o -H newc >../image"])
        .current_dir(directory.join("initial")));
    let disk = fs::File::create(directory.join("disk")).expect("a file");
    disk.set_len(512 << 20).expect("it grows");

    let status = Command::new("timeout")
        .args(["--signal=KILL", "300", emulator])
        // Kernels crash early, more often than not, where QEMU 7.2 emulates their CMPXCHG16B.
        .args([
            "-M",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,cx16=off",
        ])
        .args(["-smp", "2", "-m", "2500"])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-serial", "file:console", "-serial", "file:output"])
        .args(["-drive", "file=disk,format=raw,if=none,id=disk"])
        .args(["-device", "nvme,drive=disk,serial=disk"])
        .arg("-kernel")
        .arg(kernel)
        .args(["-initrd", "image", "-append"])
        .arg("console=ttyS0 quiet panic=1 mitigations=off nokaslr")
        .current_dir(&directory)
        .stdin(Stdio::null())
        .status()
        .expect("it runs");
    let read = |name: &str| {
        let text = fs::read(directory.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\r', "")
    };
    let (console, output) = (read("console"), read("output"));
    let console: Vec<&str> = console.lines().collect();
    let console = console[console.len().saturating_sub(30)..].join("\n");
    fs::remove_dir_all(&directory).expect("it goes");
    println!("{output}");
    assert!(
        output.contains("exit code 0 "),
        "the machine ended with {status}; its console's last lines:\n{console}"
    );
    assert!(output.contains("test result: ok. 7 passed"));
    assert!(!output.contains("NOT RUN"));
}
