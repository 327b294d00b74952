//! A soak: streams and scrapes of cgroups that come and go, with OOM kills in them.
//!
//! It takes 20 s, or as long as `EVENTOUT_SOAK` says, and prints a table:
//!
//! ```sh
//! EVENTOUT_SOAK=1800 cargo test --release --workspace --test soak -- --ignored --nocapture
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::Value;
use tests::{Eventout, can_run, missing, run, served_address, wait_until};

/// The number of cgroups at any time.
const CGROUPS: u32 = 200;
/// The first of them stay. The streams of named containers are of those.
const PERMANENT: u32 = 20;
/// The one whose line is the first of each sample.
const FIRST: u32 = 0;
/// The permanent one with OOM kills.
const VICTIM: u32 = 1;

/// A cgroup, and those in it, in all hierarchies that account for something.
struct Hierarchies {
    is_v2: bool,
    /// The directories of the cgroup. The first is the one that accounts for memory.
    dirs: Vec<PathBuf>,
}

impl Hierarchies {
    fn new() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("eventout-soak-{}", std::process::id());
        let is_v2 = root.join("cgroup.controllers").exists();
        let mut hierarchies = Self {
            is_v2,
            dirs: Vec::new(),
        };
        if is_v2 {
            hierarchies.dirs.push(root.join(name));
        } else {
            let controllers = ["memory", "pids", "cpuacct", "cpu", "blkio"];
            let mounted = controllers.map(|controller| root.join(controller));
            let mounted = mounted.iter().filter(|dir| dir.join("tasks").exists());
            hierarchies.dirs.extend(mounted.map(|dir| dir.join(&name)));
        }
        for dir in &hierarchies.dirs {
            fs::create_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
            for controller in ["+memory", "+pids", "+cpu", "+io"] {
                for parent in [root, dir].into_iter().filter(|_| is_v2) {
                    // Not every kernel has all of them.
                    let _ = fs::write(parent.join("cgroup.subtree_control"), controller);
                }
            }
        }
        hierarchies
    }

    /// Returns the directories of a cgroup in this one.
    fn dirs(&self, number: u32) -> impl Iterator<Item = PathBuf> {
        self.dirs
            .iter()
            .map(move |dir| dir.join(format!("{number:07}")))
    }

    fn file(&self, number: u32, v1: &str, v2: &str) -> PathBuf {
        let memory = self.dirs(number).next().expect("there is one for memory");
        memory.join(if self.is_v2 { v2 } else { v1 })
    }

    fn create(&self, number: u32) {
        for dir in self.dirs(number) {
            fs::create_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        }
        let limit = self.file(number, "memory.limit_in_bytes", "memory.max");
        fs::write(limit, "8388608").expect("a limit");
        // Where there is swap.
        let swap = self.file(number, "memory.memsw.limit_in_bytes", "memory.swap.max");
        let _ = fs::write(swap, if self.is_v2 { "0" } else { "8388608" });
    }

    /// Runs a command in the cgroup.
    fn start(&self, number: u32, command: &str) -> Process {
        let enter = self
            .dirs(number)
            .map(|dir| format!("echo $$ >{}/cgroup.procs && ", dir.display()));
        let script = enter.collect::<String>() + "exec " + command;
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdout(Stdio::null());
        Process(shell.spawn().expect("a shell"))
    }

    fn oom_kills(&self, number: u32) -> u64 {
        let file = self.file(number, "memory.oom_control", "memory.events");
        let text = fs::read_to_string(file).expect("it exists");
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.expect("Linux 4.13").parse().expect("a number")
    }

    fn remove(&self, number: u32) {
        for dir in self.dirs(number) {
            remove(&dir);
        }
    }
}

impl Drop for Hierarchies {
    fn drop(&mut self) {
        for dir in &self.dirs {
            for child in fs::read_dir(dir).into_iter().flatten().flatten() {
                if child.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&child.path());
                }
            }
            remove(dir);
        }
    }
}

/// Removes a cgroup, whose last process may be about to end.
fn remove(dir: &Path) {
    for _ in 0..1000 {
        if fs::remove_dir(dir).is_ok() || !dir.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process, which is killed when this goes.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The time from the first moment at which a cgroup was complete to the last one.
struct Life {
    start: Instant,
    end: Option<Instant>,
}

/// The lines of a sample.
struct Sample {
    numbers: HashSet<u32>,
    /// When the last one was read.
    read: Instant,
}

/// The lines of a program.
#[derive(Default)]
struct Log {
    samples: Vec<Sample>,
    lines: usize,
    oom_kills: BTreeMap<u32, u64>,
}

impl Log {
    fn add(&mut self, line: &str) {
        let number = |id: &Value| -> u32 {
            let id = id.as_str().expect("an ID");
            id.parse().expect("a number")
        };
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        self.lines += 1;
        let listed = match &line {
            Value::Array(sandboxes) => {
                let sandboxes = sandboxes.iter();
                sandboxes.map(|s| number(&s["root_container"])).collect()
            }
            event if event["type"] == "oom" => {
                *self.oom_kills.entry(number(&event["id"])).or_default() += 1;
                return;
            }
            event => vec![number(&event["id"])],
        };
        let read = Instant::now();
        if listed.contains(&FIRST) {
            let numbers = HashSet::new();
            self.samples.push(Sample { numbers, read });
        }
        let sample = self.samples.last_mut().expect("the first is the first");
        sample.numbers.extend(listed);
        sample.read = read;
    }

    /// Returns whether both of the last two samples have that line: then OOM kills are watched for.
    fn is_watched(&self, number: u32) -> bool {
        let mut last = self.samples.iter().rev().take(2);
        self.samples.len() > 1 && last.all(|sample| sample.numbers.contains(&number))
    }
}

/// A program that runs.
struct Stream {
    name: &'static str,
    process: Process,
    /// The code that it exits with after SIGTERM.
    code: i32,
    log: Arc<Mutex<Log>>,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<String>,
    /// Resident memory in KiB, and open descriptors, once a second.
    memory: Vec<u64>,
    descriptors: Vec<u64>,
}

impl Stream {
    fn start(name: &'static str, parent: &Path, args: &[&str]) -> Self {
        let source = format!("cgroup:{}", parent.display());
        let mut command = Eventout::new().into_command();
        command
            .args(["--source", &source])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Self::read(name, Process(child), 143, stdout, stderr)
    }

    /// Starts a server. Its lines are those of `/events`. Returns its address, too.
    fn serve(parent: &Path) -> (Self, SocketAddr) {
        let source = format!("cgroup:{}", parent.display());
        let mut command = Eventout::new().into_command();
        command
            .args(["--source", &source, "serve", "--listen", "127.0.0.1:0"])
            .args(["--interval", "500ms"])
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let address = served_address(&mut stderr);
        let mut lines = BufReader::new(request(address, "/events").expect("it listens"));
        // The head.
        let mut line = "head".to_owned();
        while line.trim() != "" {
            line.clear();
            lines.read_line(&mut line).expect("it prints UTF-8");
        }
        let name = "serve: /events --all";
        let stream = Self::read(name, Process(child), 0, lines, stderr);
        (stream, address)
    }

    fn read(
        name: &'static str,
        process: Process,
        code: i32,
        stdout: impl BufRead + Send + 'static,
        mut stderr: impl BufRead + Send + 'static,
    ) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Arc::clone(&log);
        Self {
            name,
            process,
            code,
            log,
            stdout: thread::spawn(move || {
                for line in stdout.lines() {
                    let line = line.expect("it prints UTF-8");
                    shared.lock().expect("it goes on").add(&line);
                }
            }),
            stderr: thread::spawn(move || {
                let mut text = String::new();
                stderr.read_to_string(&mut text).expect("it prints UTF-8");
                text
            }),
            memory: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// Measures the process.
    fn measure(&mut self) {
        let proc = PathBuf::from(format!("/proc/{}", self.process.0.id()));
        let status = fs::read_to_string(proc.join("status")).expect("it runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|kib| kib.split_whitespace().next()?.parse().ok());
        self.memory.push(memory.expect("it runs"));
        let descriptors = fs::read_dir(proc.join("fd")).expect("it runs");
        self.descriptors.push(descriptors.count() as u64);
    }

    /// Ends the program, and checks what it printed and what it took.
    fn finish(mut self, lives: &[Life]) {
        let name = self.name;
        run(Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]));
        let status = self.process.0.wait().expect("it ends");
        assert_eq!(
            (status.code(), status.signal()),
            (Some(self.code), None),
            "{name}"
        );
        self.stdout.join().expect("it read all lines");
        let stderr = self.stderr.join().expect("it read all errors");
        assert_eq!(stderr, "", "{name}");

        let log = self.log.lock().expect("it goes on");
        // What exists at the end of a sample is in the next one, and the reader may be late by one.
        for at in 2..log.samples.len().saturating_sub(1) {
            let (start, sample) = (log.samples[at - 2].read, &log.samples[at]);
            for (number, life) in (0..).zip(lives) {
                let expected = name.ends_with("--all") || number < PERMANENT;
                let alive = life.start < start && life.end.is_none_or(|end| end > sample.read);
                assert!(
                    !(expected && alive) || sample.numbers.contains(&number),
                    "{name}: sample {at} lacks {number}"
                );
            }
        }
        let (memory, descriptors) = (Trend::of(&self.memory), Trend::of(&self.descriptors));
        println!(
            "| `{name}` | {} | {} | {} | {} → {} | {} → {} |",
            log.samples.len(),
            log.lines,
            log.oom_kills.values().sum::<u64>(),
            memory.first,
            memory.last,
            descriptors.first,
            descriptors.last,
        );
        // One that leaked 40 bytes for each cgroup would exceed it within half an hour.
        assert!(memory.last <= memory.first + 1024, "{name}: KiB");
        assert!(descriptors.last <= descriptors.first * 11 / 10, "{name}");
    }
}

/// Sends a request.
fn request(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    Ok(stream)
}

/// Scrapes a server, and checks that no CPU time is below the one of the scrape before.
fn scrape(address: SocketAddr, cpu_times: &mut BTreeMap<u32, f64>) {
    let mut text = String::new();
    // On a busy machine, the source may take longer than a scrape waits.
    wait_until("the source is read in time", 120, || {
        text.clear();
        let response = request(address, "/metrics").and_then(|mut s| s.read_to_string(&mut text));
        response.expect("it responds");
        text.contains("\neventout_source_up 1\n")
    });
    // All that stay are there, whatever comes and goes meanwhile.
    for number in 0..PERMANENT {
        let series = format!("container_threads{{id=\"{number:07}\"");
        assert!(text.contains(&series), "{number}: {text}");
    }
    let totals = text
        .lines()
        .filter_map(|line| line.strip_prefix("container_cpu_usage_seconds_total{id=\""));
    let mut now = BTreeMap::new();
    for total in totals {
        let (id, _) = total.split_once('"').expect("an ID");
        let (_, seconds) = total.rsplit_once(' ').expect("a value");
        let number = id.parse().expect("a number");
        let seconds: f64 = seconds.parse().expect("a number");
        let before = cpu_times.get(&number).copied().unwrap_or(0.0);
        assert!(seconds >= before, "{number}: {seconds} after {before}");
        assert_eq!(now.insert(number, seconds), None, "{number}");
    }
    // Those that have gone are not among them, but for some that went during the sample.
    assert!(now.len() <= CGROUPS as usize * 11 / 10, "{}", now.len());
    *cpu_times = now;
}

/// The means of values at the beginning, after a tenth of the time, and at the end.
struct Trend {
    first: u64,
    last: u64,
}

impl Trend {
    fn of(values: &[u64]) -> Self {
        let tenth = values.len().div_ceil(10);
        let mean = |values: &[u64]| values.iter().sum::<u64>() / values.len() as u64;
        Self {
            first: mean(&values[tenth..3 * tenth]),
            last: mean(&values[values.len() - 2 * tenth..]),
        }
    }
}

/// A cgroup that exists.
struct Cgroup {
    number: u32,
    end: Instant,
    process: Option<Process>,
}

#[test]
#[ignore = "creates cgroups: tests/run runs it"]
fn streams_of_cgroups_that_come_and_go_lose_nothing_and_take_no_more() {
    if !can_run(&missing(&[])) {
        return;
    }
    let seconds = env::var("EVENTOUT_SOAK").map_or(20, |s| s.parse().expect("seconds"));
    let duration = Duration::from_secs(seconds);
    let hierarchies = Hierarchies::new();
    let mut lives: Vec<Life> = Vec::new();
    let mut kills: BTreeMap<u32, u64> = BTreeMap::new();
    let mut cgroups: Vec<Cgroup> = Vec::new();
    let create = |lives: &mut Vec<Life>| {
        let number = lives.len() as u32;
        hierarchies.create(number);
        let now = Instant::now();
        lives.push(Life {
            start: now,
            end: None,
        });
        // From 2 to 20 s, in no order.
        let life = Duration::from_millis(2000 + u64::from(number) * 7919 % 18_000);
        let process = number.is_multiple_of(4);
        Cgroup {
            number,
            end: now + life,
            process: process.then(|| hierarchies.start(number, "sleep 1000")),
        }
    };
    while cgroups.len() < CGROUPS as usize {
        cgroups.push(create(&mut lives));
    }

    let named: Vec<String> = (0..PERMANENT).map(|n| format!("{n:07}")).collect();
    let mut ids = vec!["events", "--interval", "500ms"];
    ids.extend(named.iter().map(String::as_str));
    let all = ["events", "--interval", "500ms", "--all"];
    let record = ["record", "--interval", "1s", "--all"];
    let parent = &hierarchies.dirs[0];
    let (server, address) = Stream::serve(parent);
    let mut streams = [
        Stream::start("events --all", parent, &all),
        Stream::start("events ID...", parent, &ids),
        Stream::start("record --all", parent, &record),
        server,
    ];
    let start = Instant::now();
    let mut cpu_times = BTreeMap::new();
    let mut last_victim = VICTIM;
    // A busy machine has less to show in that time, and gets more.
    let longest = duration + Duration::from_secs(300);
    while start.elapsed() < duration
        || (start.elapsed() < longest
            && (!kills.contains_key(&VICTIM) || streams[0].memory.len() < 10))
    {
        // In turns in a permanent cgroup and in one that goes, every other time at once.
        let is_watched = |number| {
            let watch = |stream: &Stream| stream.log.lock().expect("it goes on").is_watched(number);
            let [all, some, _, server] = &streams;
            watch(all) && watch(server) && (number >= PERMANENT || watch(some))
        };
        let victim = cgroups.iter_mut().find(|cgroup| {
            let number = cgroup.number;
            let is_turn = (number == VICTIM) != (last_victim == VICTIM)
                && (number == VICTIM || number >= PERMANENT && !kills.contains_key(&number));
            is_turn && is_watched(number)
        });
        if let Some(victim) = victim {
            last_victim = victim.number;
            let mut process = hierarchies.start(victim.number, "tail /dev/zero");
            process.0.wait().expect("it runs");
            kills.insert(victim.number, hierarchies.oom_kills(victim.number));
            if victim.number >= PERMANENT && kills.len().is_multiple_of(2) {
                victim.end = Instant::now();
            }
        }
        for cgroup in &mut cgroups {
            let now = Instant::now();
            if cgroup.number >= PERMANENT && cgroup.end <= now {
                lives[cgroup.number as usize].end = Some(now);
                drop(cgroup.process.take());
                hierarchies.remove(cgroup.number);
                *cgroup = create(&mut lives);
            }
        }
        scrape(address, &mut cpu_times);
        for stream in &mut streams {
            stream.measure();
        }
        thread::sleep(Duration::from_secs(1));
    }

    let reported = |stream: &Stream| stream.log.lock().expect("it goes on").oom_kills.clone();
    for stream in [&streams[0], &streams[3]] {
        wait_until("all OOM kills are reported", 120, || {
            reported(stream).values().sum::<u64>() >= kills.values().sum()
        });
        assert_eq!(reported(stream), kills, "{}", stream.name);
    }
    let named = BTreeMap::from([(VICTIM, kills[&VICTIM])]);
    assert_eq!(reported(&streams[1]), named);
    println!(
        "{} s, {} cgroups, {} at a time, {} OOM kills",
        start.elapsed().as_secs(),
        lives.len(),
        CGROUPS,
        kills.values().sum::<u64>()
    );
    println!("| program | samples | lines | OOM kills | KiB of memory | descriptors |");
    println!("|---|---|---|---|---|---|");
    for stream in streams {
        stream.finish(&lives);
    }
}
