//! Performance, as ratios: `cargo bench --workspace --bench speed` prints the tables, and with `calls`, `processes`,
//! `scrapes` or `cgroups` behind `--` only those of that kind.
//!
//! What is compared runs in turns, in rounds of some milliseconds, and the fastest round of each counts: other
//! work on the machine can only make a round slower. Results are checked before they are timed. There is no
//! bench library, since those time one thing after the other, and a machine's mood changes in between.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventout::{
    Component, Container, ContainerInfo, Format, Limits, Monitor, Plugin, Result, Snapshot, Source,
    SourceSpec,
};
use guest::accounting::Sandbox;
use guest::json;
use guest::types::EventOut;
use tempfile::tempdir;
use tests::{Eventout, RUNSC, artifact, detach, judge, missing, root, runsc, served_address};

/// A sandbox of so many containers, as a gVisor pod: IDs as containerd makes them.
fn sandbox(containers: u64) -> Snapshot {
    let id = |n: u64| {
        // Hexadecimal digits without a pattern.
        let mut id = String::new();
        let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while id.len() < 64 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let _ = write!(id, "{seed:016x}");
        }
        id
    };
    // The source of gVisor lists them in this order, and reads one after the other.
    let mut ids: Vec<_> = (0..containers).map(id).collect();
    ids.sort();
    let containers: Vec<_> = (0..)
        .zip(&ids)
        .map(|(n, id)| Container {
            id: id.clone(),
            pids_count: n % 7 + 1,
            cpu_usage: Some(n * 1_234_567_891),
            ..Container::default()
        })
        .collect();
    Snapshot {
        root_container: containers[0].id.clone(),
        memory_usage: Some(12_345_678_901),
        cgroup_cpu_usage: Some(98_765_432_101_234),
        containers,
        ..Snapshot::default()
    }
}

/// One snapshot, always.
struct Always(Arc<Snapshot>);

impl Source for Always {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self, _container: &str) -> Result<Arc<Snapshot>> {
        Ok(Arc::clone(&self.0))
    }
}

fn limits() -> Limits {
    Limits {
        time: Duration::from_secs(60),
        memory: 1 << 30,
        output: 1 << 30,
        ..Limits::default()
    }
}

fn events(snapshot: &Arc<Snapshot>) -> Monitor {
    let component = Component::builtin(limits()).expect("it was compiled for this machine");
    Monitor::new(&component, Box::new(Always(Arc::clone(snapshot))))
}

/// The same component, from its file: one that can be interrupted.
fn foreign_events(snapshot: &Arc<Snapshot>) -> Monitor {
    match Plugin::from_file(&artifact::path(), limits()).expect("it is a component") {
        Plugin::Events(component) => {
            Monitor::new(&component, Box::new(Always(Arc::clone(snapshot))))
        }
        Plugin::Formatter(_) => panic!("it computes events"),
    }
}

/// Computes the event with the component's own code, natively: the facts are copied, as the functions of a host
/// copy them.
fn native(snapshot: &Snapshot, id: &str) -> EventOut {
    let containers = &snapshot.containers;
    let mine = containers.iter().find(|container| container.id == id);
    let pids = mine.expect("it exists").pids_count;
    let count = containers.len() as u64;
    let root = (count > 1).then(|| snapshot.root_container.clone());
    let usage = containers.iter();
    let usage = usage.filter_map(|c| Some((c.id.clone(), c.cpu_usage?)));
    let sandbox = Sandbox::new(snapshot.memory_usage, count, root, usage.collect());
    sandbox.event(id.to_owned(), pids)
}

fn native_json(snapshot: &Snapshot, id: &str) -> String {
    json::event_out(native(snapshot, id))
}

/// The fastest round of each, in nanoseconds for one call. They run in turns.
fn race(racers: &mut [(&str, &mut dyn FnMut())]) -> Vec<f64> {
    const ROUNDS: usize = 40;
    const ROUND: Duration = Duration::from_millis(10);
    let mut best = vec![f64::INFINITY; racers.len()];
    for _ in 0..ROUNDS {
        for (best, (_, racer)) in best.iter_mut().zip(racers.iter_mut()) {
            let begun = Instant::now();
            let mut calls = 0;
            while calls == 0 || begun.elapsed() < ROUND {
                // The clock takes its time too.
                for _ in 0..4 {
                    racer();
                }
                calls += 4;
            }
            *best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    best
}

/// What Go takes for the same event, in nanoseconds.
fn go(judge: &Path, snapshot: &Snapshot) -> f64 {
    let mut child = Command::new(judge)
        .arg("race")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judge runs");
    let scenario = serde_json::to_vec(snapshot).expect("it has a form in JSON");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(&scenario).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("it prints a number")
}

/// What Go prints of the last container.
fn go_line(judge: &Path, snapshot: &Snapshot) -> String {
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    fs::write(&file, serde_json::to_vec(snapshot).expect("JSON")).expect("a file");
    let mut command = Command::new(judge);
    let output = command
        .arg("event-out")
        .stdin(File::open(&file).expect("it is there"))
        .output()
        .expect("the judge runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().last().expect("there are lines").to_owned()
}

fn calls() {
    let judge = judge();
    println!(
        "| containers | event-json | native | ÷ native | Go | ÷ Go | event | native | ÷ native | interruptible, ÷ |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for n in [1, 10, 100, 1000] {
        let snapshot = Arc::new(sandbox(n));
        let id = snapshot.containers.last().expect("one or more").id.clone();
        let (mut with_json, mut typed) = (events(&snapshot), events(&snapshot));
        let mut foreign = foreign_events(&snapshot);

        let line = with_json.sample().and_then(|mut now| now.event_json(&id));
        let line = line.expect("it never fails");
        assert_eq!(line, native_json(&snapshot, &id));
        let out = typed.sample().and_then(|mut now| now.event(&id));
        let (out, same) = (out.expect("it never fails"), native(&snapshot, &id));
        assert_eq!(out.container_usage, same.container_usage);
        assert_eq!((out.pids, out.memory), (same.pids, same.memory));
        let same = foreign.sample().and_then(|mut now| now.event_json(&id));
        assert_eq!(line, same.expect("it never fails"));
        let go = judge.as_ref().map(|judge| {
            assert_eq!(line, go_line(judge, &snapshot));
            go(judge, &snapshot)
        });

        let mut component_json = || {
            let line = with_json.sample().and_then(|mut now| now.event_json(&id));
            black_box(line.expect("it never fails"));
        };
        let mut native_line = || {
            black_box(native_json(black_box(&snapshot), &id));
        };
        let mut component = || {
            let out = typed.sample().and_then(|mut now| now.event(&id));
            black_box(out.expect("it never fails"));
        };
        let mut native_typed = || {
            black_box(native(black_box(&snapshot), &id));
        };
        let mut foreign_json = || {
            let line = foreign.sample().and_then(|mut now| now.event_json(&id));
            black_box(line.expect("it never fails"));
        };
        let best = race(&mut [
            ("component, JSON", &mut component_json),
            ("native, JSON", &mut native_line),
            ("component", &mut component),
            ("native", &mut native_typed),
            ("interruptible, JSON", &mut foreign_json),
        ]);
        let us = |ns: f64| format!("{:.2} µs", ns / 1000.0);
        let (go, by_go) = match go {
            Some(go) => (us(go), format!("{:.2}", best[0] / go)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!(
            "| {n} | {} | {} | {:.2} | {go} | {by_go} | {} | {} | {:.2} | {:.2} |",
            us(best[0]),
            us(best[1]),
            best[0] / best[1],
            us(best[2]),
            us(best[3]),
            best[2] / best[3],
            best[4] / best[0],
        );
    }
}

/// A call without a call of the host: no event can take less.
fn crossing() {
    let snapshot = Arc::new(sandbox(1));
    let id = snapshot.root_container.clone();
    let mut events = events(&snapshot);
    let line = events.oom_json(&id).expect("it never fails");
    assert_eq!(line, json::oom_event(&id));
    let mut component = || {
        black_box(events.oom_json(&id).expect("it never fails"));
    };
    let mut native = || {
        black_box(json::oom_event(black_box(&id)));
    };
    let best = race(&mut [("component", &mut component), ("native", &mut native)]);
    let [component, native] = [best[0], best[1]].map(|ns| ns / 1000.0);
    println!(
        "\n`oom-json`, which calls no host function: {component:.2} µs, natively {native:.2} µs"
    );
}

/// A line in runc's format with all that runc prints, and 40 entries of memory.stat.
fn full_line() {
    let goldens = root().join("tests/goldens");
    let scenario = SourceSpec::Scenario(goldens.join("every-field-of-runc.jsonl"));
    let golden = goldens.join("every-field-of-runc.runc");
    let golden = fs::read_to_string(golden).expect("it is committed");
    let component = Component::builtin(limits()).expect("it was compiled for this machine");
    let mut events = Monitor::new(&component, scenario.open().expect("it is valid"));
    let mut sample = events.sample().expect("it is valid");
    let mut line = || sample.stats_json("all", Format::Runc).expect("it exists");
    assert_eq!(line() + "\n", golden);
    let mut full = || {
        black_box(line());
    };
    let best = race(&mut [("full line", &mut full)])[0];
    let bytes = golden.len();
    println!(
        "\n`stats-json` in runc's format, {bytes} bytes: {:.1} µs",
        best / 1e3
    );
}

/// A line of each container of a sandbox, each by a call of its own.
fn all_containers() {
    println!("\n| containers | a line of each | for one |");
    println!("|---|---|---|");
    for n in [2, 20, 100] {
        let snapshot = Arc::new(sandbox(n));
        let ids: Vec<_> = snapshot.containers.iter().map(|c| c.id.clone()).collect();
        let mut events = events(&snapshot);
        let mut sample = events.sample().expect("it never fails");
        let mut all = || {
            for id in &ids {
                let line = sample.stats_json(id, Format::Gvisor);
                black_box(line.expect("it never fails"));
            }
        };
        let best = race(&mut [("all", &mut all)])[0];
        println!(
            "| {n} | {:.3} ms | {:.2} µs |",
            best / 1e6,
            best / 1e3 / n as f64
        );
    }
}

/// The fastest of so many runs of each command, in turns, in milliseconds. Each must print something.
fn processes(commands: &mut [Command]) -> Vec<f64> {
    const RUNS: usize = 60;
    let mut best = vec![f64::INFINITY; commands.len()];
    for _ in 0..RUNS {
        for (best, command) in best.iter_mut().zip(commands.iter_mut()) {
            let begun = Instant::now();
            let output = command.output().expect("it runs");
            *best = best.min(begun.elapsed().as_secs_f64() * 1e3);
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "{command:?}"
            );
        }
    }
    best
}

/// A container of runc or runsc, which goes when this does.
struct Started {
    runtime: PathBuf,
    state: PathBuf,
}

impl Started {
    fn new(runtime: &Path, options: &[&str], directory: &Path) -> Self {
        let bundle = directory.join("bundle");
        tests::bundle(runtime, &bundle, "sleep 1000", |spec| {
            spec["linux"]["cgroupsPath"] = "/eventout-speed".into();
        });
        let started = Self {
            runtime: runtime.to_owned(),
            state: directory.join("state"),
        };
        let mut command = started.command();
        command
            .args(options)
            .args(["run", "--detach", "--bundle"])
            .arg(&bundle)
            .arg("speed");
        detach(&mut command, directory);
        started
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(&self.state);
        command
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.command().args(["delete", "--force", "speed"]).output();
    }
}

/// Where the time goes until the first line, in this process, which has been started and linked already.
fn start_up() {
    const ROUNDS: usize = 200;
    let mut best = [f64::INFINITY; 5];
    for _ in 0..ROUNDS {
        let mut at = Instant::now();
        let mut lap = |step: usize| {
            let now = Instant::now();
            best[step] = best[step].min((now - at).as_secs_f64() * 1e6);
            at = now;
        };
        let source = SourceSpec::Demo.open().expect("there is a demo");
        lap(0);
        let component = Component::builtin(Limits::default()).expect("it was compiled");
        lap(1);
        let mut events = Monitor::new(&component, source);
        let mut line = || {
            let line = events
                .sample()
                .and_then(|mut now| now.stats_json("web", None));
            assert!(line.expect("it never fails").contains(r#""id":"web""#));
        };
        line();
        lap(2);
        line();
        lap(3);
        drop((events, component));
        lap(4);
    }
    println!("\n| start-up | fastest |");
    println!("|---|---|");
    for (step, time) in [
        "read the scenario",
        "make the component's code ready",
        "first line: a new instance, and its call",
        "second line",
        "free all that (the program leaves it to the kernel)",
    ]
    .iter()
    .zip(best)
    {
        println!("| {step} | {time:.0} µs |");
    }
}

/// A line of each of 100 containers a second: CPU time and memory.
fn stream() {
    const SECONDS: u64 = 10;
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("pod.jsonl");
    fs::write(&file, serde_json::to_vec(&sandbox(100)).expect("JSON")).expect("a file");
    let stream = Eventout::new().scenario(&file).events(["--all"]);
    let mut command = stream.interval("1s").into_command();
    command.stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    // Nanoseconds on a CPU stand first in it.
    let cpu = || -> u64 {
        let text = fs::read_to_string(proc.join("schedstat")).expect("it runs");
        let first = text.split_whitespace().next();
        first.and_then(|ns| ns.parse().ok()).expect("a number")
    };
    let mut lines = |count: u64| {
        for _ in 0..count {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it goes on");
            assert!(line.starts_with(r#"{"type":"stats","id":""#), "{line:?}");
        }
    };
    lines(100);
    let before = cpu();
    lines(100 * SECONDS);
    let percent = (cpu() - before) as f64 / (SECONDS as f64 * 1e9) * 100.0;
    let status = fs::read_to_string(proc.join("status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let _ = child.kill();
    let _ = child.wait();
    println!(
        "\n100 containers of a scenario, a line of each every second: {percent:.2} % of a core, at most"
    );
    println!("{} of memory.", peak.expect("Linux counts it").trim());
}

/// Cgroups of the v1 hierarchies of this machine, empty ones, which go when this does.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    /// The interface files that a line in runc's format is made of.
    const FILES: [(&str, &[&str]); 4] = [
        (
            "memory",
            &[
                "memory.stat",
                "memory.usage_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.failcnt",
                "memory.limit_in_bytes",
                "memory.memsw.usage_in_bytes",
                "memory.memsw.max_usage_in_bytes",
                "memory.memsw.failcnt",
                "memory.memsw.limit_in_bytes",
                "memory.kmem.usage_in_bytes",
                "memory.kmem.max_usage_in_bytes",
                "memory.kmem.failcnt",
                "memory.kmem.limit_in_bytes",
                "memory.kmem.tcp.usage_in_bytes",
                "memory.kmem.tcp.max_usage_in_bytes",
                "memory.kmem.tcp.failcnt",
                "memory.kmem.tcp.limit_in_bytes",
            ],
        ),
        ("pids", &["pids.current", "pids.max"]),
        (
            "cpuacct",
            &["cpuacct.usage_all", "cpuacct.usage_percpu", "cpuacct.stat"],
        ),
        ("cpu", &["cpu.stat"]),
    ];

    /// Makes so many cgroups below one parent. `None` if this machine has no v1 hierarchies, or refuses.
    fn new(count: usize) -> Option<Self> {
        let mut cgroups = Self(Vec::new());
        for (controller, _) in Self::FILES {
            let parent = Path::new("/sys/fs/cgroup")
                .join(controller)
                .join("eventout-speed");
            // cpu and cpuacct may be one hierarchy.
            if fs::create_dir(&parent).is_err() && !parent.is_dir() {
                return None;
            }
            for n in 0..count {
                let _ = fs::create_dir(parent.join(n.to_string()));
            }
            cgroups.0.push(parent);
        }
        Some(cgroups)
    }

    /// Reads the interface files of all of them once, one after the other.
    fn read_all(&self, count: usize) {
        for n in 0..count {
            for (parent, (_, files)) in self.0.iter().zip(Self::FILES) {
                for file in files {
                    // Kernels differ in the files that they have.
                    let _ = black_box(fs::read(parent.join(n.to_string()).join(file)));
                }
            }
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for parent in &self.0 {
            for child in fs::read_dir(parent).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(child.path());
            }
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Returns the CPU time of a process so far, in microseconds in user space and in the kernel.
fn cpu_time(process: &str) -> [f64; 2] {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let mut ticks = fields.split_whitespace().skip(11);
    // In ticks of 10 ms.
    let mut next = || {
        ticks
            .next()
            .and_then(|t| t.parse::<f64>().ok())
            .expect("a number")
            * 1e4
    };
    [next(), next()]
}

/// A stream of live cgroups, beside a loop that only reads the same files.
fn live_cgroups() {
    const SECONDS: usize = 20;
    println!("\n| live v1 cgroups, a line of each a second | user | kernel | total, a line |");
    println!("|---|---|---|---|");
    for count in [100, 1000] {
        let Some(cgroups) = Cgroups::new(count) else {
            return println!("| not run: no v1 hierarchies, or not root | | | |");
        };
        let row = |name: &str, before: [f64; 2], after: [f64; 2], lines: usize| {
            let [user, kernel] = [0, 1].map(|at| (after[at] - before[at]) / lines as f64);
            let total = user + kernel;
            println!("| {count}: {name} | {user:.0} µs | {kernel:.0} µs | {total:.0} µs |");
        };
        let mut command = Eventout::new().into_command();
        command
            .args(["--source", "cgroup:/sys/fs/cgroup/memory/eventout-speed"])
            .args(["events", "--all", "--interval=1s"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut lines = |count: usize| {
            for _ in 0..count {
                let line = stdout.next().expect("it goes on").expect("UTF-8");
                assert!(line.starts_with(r#"{"type":"stats","id":""#), "{line:?}");
            }
        };
        let process = child.id().to_string();
        lines(count);
        let before = cpu_time(&process);
        lines(count * SECONDS);
        row("eventout", before, cpu_time(&process), count * SECONDS);
        let _ = child.kill();
        let _ = child.wait();
        let rounds = 20_000 / count;
        cgroups.read_all(count);
        let before = cpu_time("self");
        for _ in 0..rounds {
            cgroups.read_all(count);
        }
        row(
            "open, read and close the files",
            before,
            cpu_time("self"),
            count * rounds,
        );
    }
}

/// A server, which goes when this does, and its address.
struct Server(Child, SocketAddr);

impl Server {
    fn start(source: &str) -> Self {
        let call = Eventout::new().source(source);
        let call = call.args(["serve", "--listen=127.0.0.1:0"]);
        let call = call.args(["--max-age=1ns", "--max-containers=10000"]);
        let mut command = call.into_command();
        command.stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let address = served_address(&mut stderr);
        Self(child, address)
    }

    /// Reads the metrics, and returns how many there are of tasks.
    fn scrape(&self) -> usize {
        let mut stream = TcpStream::connect(self.1).expect("it listens");
        let request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let lines = BufReader::new(stream)
            .lines()
            .map(|line| line.expect("UTF-8"));
        lines
            .filter(|line| line.starts_with("container_threads{"))
            .count()
    }

    /// Returns the CPU time of so many scrapes, in seconds for one.
    fn cost(&self, scrapes: usize, containers: usize, pause: Duration) -> f64 {
        let process = self.0.id().to_string();
        let seconds = || cpu_time(&process).iter().sum::<f64>() / 1e6;
        assert_eq!(self.scrape(), containers);
        let before = seconds();
        for _ in 0..scrapes {
            thread::sleep(pause);
            assert_eq!(self.scrape(), containers);
        }
        (seconds() - before) / scrapes as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Scrapes of the metrics: CPU time and memory.
fn scrapes() {
    const CONTAINERS: usize = 10_000;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("machine.jsonl");
    let machine: Vec<_> = (0..CONTAINERS / 10)
        .map(|at| {
            let mut sandbox = sandbox(10);
            for container in &mut sandbox.containers {
                container.id = format!("{at:04}{}", &container.id[4..]);
            }
            sandbox.root_container = sandbox.containers[0].id.clone();
            sandbox
        })
        .collect();
    fs::write(&file, serde_json::to_vec(&machine).expect("JSON")).expect("a file");
    let server = Server::start(&format!("scenario:{}", file.display()));
    let seconds = server.cost(5, CONTAINERS, Duration::ZERO);
    println!("\nA scrape of {CONTAINERS} containers of a scenario: {seconds:.2} s of CPU time.");
    let Some(_cgroups) = Cgroups::new(100) else {
        return println!("Scrapes of live cgroups: not run, no v1 hierarchies, or not root.");
    };
    let server = Server::start("cgroup:/sys/fs/cgroup/memory/eventout-speed");
    let seconds = server.cost(12, 100, Duration::from_secs(5));
    let percent = seconds / 5.0 * 100.0;
    println!("100 live cgroups, a scrape every 5 seconds: {percent:.2} % of a core.");
}

/// What this was measured on.
fn machine() {
    let run = |command: &str, args: &[&str]| {
        let output = Command::new(command).args(args).output();
        let text = output.map_or_else(
            |e| e.to_string(),
            |o| String::from_utf8_lossy(&o.stdout).into_owned(),
        );
        text.lines().next().unwrap_or("?").to_owned()
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    println!(
        "{}, on {} × {}, {}, {}, {}.\n",
        run("date", &["+%Y-%m-%d"]),
        info.matches("model name").count(),
        model.unwrap_or("?"),
        run("uname", &["-sr"]),
        run("go", &["version"]),
        run("runc", &["--version"]),
    );
}

/// Whole processes.
fn starts() {
    println!("\n| command | fastest run | ÷ |");
    println!("|---|---|---|");
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("one.jsonl");
    fs::write(&file, serde_json::to_vec(&sandbox(1)).expect("JSON")).expect("a file");
    let id = sandbox(1).root_container;
    // As it is installed: the linker writes its file in pieces, and pages of such a file take longer to map.
    let installed = directory.path().join("eventout");
    let built = Eventout::new().into_command();
    fs::copy(built.get_program(), &installed).expect("it can be copied");
    let installed = |call: Eventout| {
        let mut command = Command::new(&installed);
        command.args(call.into_command().get_args());
        command
    };
    let ours = Eventout::new().scenario(&file).events([&id]).stats();
    let mut cat = Command::new("cat");
    cat.arg(&file);
    let version = Eventout::new().arg("--version");
    let best = processes(&mut [installed(ours), cat, installed(version)]);
    println!("| `cat` of a scenario | {:.2} ms | 1 |", best[1]);
    println!(
        "| `eventout --version`: exec and link | {:.2} ms | {:.2} |",
        best[2],
        best[2] / best[1]
    );
    println!(
        "| `eventout events --stats` of it | {:.2} ms | {:.2} |",
        best[0],
        best[0] / best[1]
    );

    let runc = match missing(&["runc", "busybox"]) {
        absent if absent.is_empty() => Ok(PathBuf::from("runc")),
        absent => Err(absent),
    };
    let mut runtimes = vec![("runc".to_owned(), "runc", &[][..], runc)];
    runtimes.extend(RUNSC.map(|version| {
        let name = format!("runsc {version}");
        (name, "gvisor", &["--network=none"][..], runsc(version))
    }));
    for (name, source, options, runtime) in runtimes {
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(why) => {
                println!("| {name} | not run: {why} | |");
                continue;
            }
        };
        let directory = tempdir().expect("a directory");
        let container = Started::new(&runtime, options, directory.path());
        let mut theirs = container.command();
        theirs.args(["events", "--stats", "speed"]);
        let source = format!("{source}:{}", container.state.display());
        let ours = Eventout::new().source(source).events(["speed"]).stats();
        let best = processes(&mut [installed(ours), theirs]);
        println!("| `{name} events --stats` | {:.2} ms | 1 |", best[1]);
        println!(
            "| `eventout events --stats` of that container | {:.2} ms | {:.2} |",
            best[0],
            best[0] / best[1]
        );
    }
}

fn main() {
    let wanted: Vec<_> = env::args().skip(1).collect();
    // cargo adds flags of its own.
    let all = wanted.iter().all(|arg| arg.starts_with('-'));
    let wants = |part: &str| all || wanted.iter().any(|arg| arg == part);
    machine();
    if wants("calls") {
        calls();
        crossing();
        full_line();
        all_containers();
    }
    if wants("processes") {
        start_up();
        starts();
        stream();
    }
    if wants("scrapes") {
        scrapes();
    }
    if wants("cgroups") {
        live_cgroups();
    }
}
