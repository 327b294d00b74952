//! The component against Go (`go/judge.go`) on inputs that nobody chose: the same bytes, always.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, thread};

use eventout::{
    BlkioEntry, Component, Container, ContainerInfo, Format, Hugetlb, Limits, Monitor,
    NetworkInterface, Psi, PsiData, Result, Snapshot, Source, Stats,
};
use tests::judge;

/// Numbers without a pattern (xorshift64*), the same for the same seed.
struct Random(u64);

impl Random {
    /// A seed of its own, or `EVENTOUT_SEED`. It is printed where the test fails.
    fn new() -> Self {
        let seed = match env::var("EVENTOUT_SEED") {
            Ok(seed) => seed.parse().expect("EVENTOUT_SEED is a number"),
            Err(_) => RandomState::new().hash_one("eventout"),
        };
        println!("EVENTOUT_SEED={seed}");
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A value: small, of any magnitude, or at the edge of something.
    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(100),
            1 => self.next() >> self.below(64),
            2 => self.below(1 << 40),
            _ => {
                let edge = [0, 1, 1 << 32, 1 << 53, 1 << 63, u64::MAX];
                let edge = edge[self.below(edge.len() as u64) as usize];
                edge.wrapping_add(self.below(3)).wrapping_sub(1)
            }
        }
    }

    fn maybe(&mut self) -> Option<u64> {
        (!self.one_in(3)).then(|| self.value())
    }

    fn character(&mut self) -> char {
        let code = match self.below(6) {
            0 => self.below(0x20),
            1 => u64::from(
                *b"\"\\<>&'/"
                    .get(self.below(7) as usize)
                    .expect("there are 7"),
            ),
            2 => [
                0x7f, 0x2027, 0x2028, 0x2029, 0x202a, 0xfeff, 0xfffd, 0xffff, 0x1_0000, 0x10_ffff,
            ][self.below(10) as usize],
            3 => self.below(0x11_0000),
            _ => 0x20 + self.below(0x5f),
        };
        // Surrogates are no characters.
        u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('x')
    }

    fn id(&mut self) -> String {
        (0..self.below(12)).map(|_| self.character()).collect()
    }

    fn list<T>(&mut self, longest: u64, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(longest + 1)).map(|_| item(self)).collect()
    }

    fn stats(&mut self) -> Stats {
        let mut stats = Stats::default();
        let usage = &mut stats.cpu.usage;
        usage.kernel = self.maybe();
        usage.user = self.maybe();
        usage.total = self.maybe();
        usage.percpu = self.list(3, Self::value);
        usage.percpu_kernel = self.list(2, Self::value);
        usage.percpu_user = self.list(2, Self::value);
        let throttling = &mut stats.cpu.throttling;
        throttling.periods = self.maybe();
        throttling.throttled_periods = self.maybe();
        throttling.throttled_time = self.maybe();
        stats.cpu.psi = self.psi();
        let cpuset = &mut stats.cpuset;
        for flag in [
            &mut cpuset.cpu_exclusive,
            &mut cpuset.mem_hardwall,
            &mut cpuset.mem_exclusive,
            &mut cpuset.memory_migrate,
            &mut cpuset.memory_spread_page,
            &mut cpuset.memory_spread_slab,
            &mut cpuset.sched_load_balance,
        ] {
            *flag = (!self.one_in(3)).then(|| self.one_in(2));
        }
        cpuset.memory_pressure = self.maybe();
        cpuset.cpus = self.list(3, |random| random.next() as u16);
        cpuset.mems = self.list(3, |random| random.next() as u16);
        let level = self.maybe().map(u64::cast_signed);
        cpuset.sched_relax_domain_level = level;
        let memory = &mut stats.memory;
        memory.cache = self.maybe();
        for entry in [
            &mut memory.usage,
            &mut memory.swap,
            &mut memory.kernel,
            &mut memory.kernel_tcp,
        ] {
            entry.limit = self.maybe();
            entry.usage = self.maybe();
            entry.max = self.maybe();
            entry.failcnt = self.maybe();
        }
        memory.raw = self.list(5, |random| (random.id(), random.value()));
        memory.psi = self.psi();
        stats.pids.current = self.maybe();
        stats.pids.limit = self.maybe();
        stats.blkio.entries = self.list(4, |random| BlkioEntry {
            major: random.value(),
            minor: random.below(2),
            op: random.id(),
            io_service_bytes: random.maybe(),
            io_serviced: random.maybe(),
            io_queued: random.maybe(),
            io_service_time: random.maybe(),
            io_wait_time: random.maybe(),
            io_merged: random.maybe(),
            io_time: random.maybe(),
            sectors: random.maybe(),
        });
        stats.blkio.psi = self.psi();
        stats.hugetlb = self.list(3, |random| {
            let hugetlb = Hugetlb {
                usage: random.maybe(),
                max: random.maybe(),
                failcnt: random.maybe(),
            };
            (random.id(), hugetlb)
        });
        stats.network_interfaces = self.list(2, |random| NetworkInterface {
            name: random.id(),
            rx_bytes: random.value(),
            rx_packets: random.value(),
            rx_errors: random.value(),
            rx_dropped: random.value(),
            tx_bytes: random.value(),
            tx_packets: random.value(),
            tx_errors: random.value(),
            tx_dropped: random.value(),
        });
        stats
    }

    fn psi(&mut self) -> Option<Psi> {
        let data = |random: &mut Self| match random.one_in(3) {
            true => PsiData::default(),
            false => PsiData {
                avg10: random.below(10_001) as u32,
                avg60: random.next() as u32,
                avg300: (100 * random.below(3) + 10 * random.below(2)) as u32,
                total: random.value(),
            },
        };
        (!self.one_in(3)).then(|| Psi {
            some: data(self),
            full: data(self),
        })
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut ids = HashSet::new();
        let longest = if self.one_in(50) { 40 } else { 5 };
        let mut containers = self.list(longest, |random| Container {
            id: random.id(),
            pids_count: random.value(),
            cpu_usage: random.maybe(),
            stats: random.one_in(3).then(|| Box::new(random.stats())),
            ..Container::default()
        });
        containers.retain(|container| ids.insert(container.id.clone()));
        let root = self.below(containers.len().max(1) as u64) as usize;
        Snapshot {
            format: Format::Gvisor,
            root_container: containers
                .get(root)
                .map(|root| root.id.clone())
                .unwrap_or_default(),
            memory_usage: self.maybe(),
            cgroup_cpu_usage: self.maybe(),
            containers,
        }
    }
}

/// Snapshots, one a sample.
struct Samples {
    snapshots: Vec<Arc<Snapshot>>,
    next: usize,
}

impl Source for Samples {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        Ok(Vec::new())
    }

    fn advance(&mut self) -> Result<()> {
        self.next += 1;
        Ok(())
    }

    fn snapshot(&mut self, _container: &str) -> Result<Arc<Snapshot>> {
        Ok(Arc::clone(&self.snapshots[self.next - 1]))
    }
}

/// Calls `check` with each line that the judge makes of `input`.
fn judged(judge: &Path, mode: &str, input: String, mut check: impl FnMut(&str)) {
    let mut child = Command::new(judge)
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judge runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).expect("it reads"));
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        check(&line.expect("it prints UTF-8"));
    }
    writer.join().expect("it wrote");
    assert!(child.wait().expect("it ends").success());
}

fn builtin() -> Component {
    Component::builtin(Limits::default()).expect("it was compiled for this machine")
}

#[test]
fn twenty_thousand_random_events_have_the_bytes_that_go_gives_them() {
    let Some(judge) = judge() else { return };
    let mut random = Random::new();
    let mut snapshots = Vec::new();
    let mut input = String::new();
    let mut events_in_all = 0;
    while events_in_all < 20_000 {
        let snapshot = random.snapshot();
        events_in_all += snapshot.containers.len();
        input += &serde_json::to_string(&snapshot).expect("it has a form in JSON");
        input.push('\n');
        snapshots.push(Arc::new(snapshot));
    }
    for mode in ["stats", "event-out", "runc"] {
        let source = Samples {
            snapshots: snapshots.clone(),
            next: 0,
        };
        let mut events = Monitor::new(&builtin(), Box::new(source));
        let mut lines = Vec::with_capacity(events_in_all);
        for snapshot in &snapshots {
            let mut now = events.sample().expect("it never fails");
            let each = snapshot.containers.iter().map(|container| &container.id);
            match mode {
                "stats" => lines.extend(each.map(|id| now.stats_json(id, Format::Gvisor))),
                "runc" => lines.extend(each.map(|id| now.stats_json(id, Format::Runc))),
                _ => lines.extend(each.map(|id| now.event_json(id))),
            }
        }
        let mut lines = lines.into_iter().enumerate();
        judged(&judge, mode, input.clone(), |go| {
            let (at, line) = lines.next().expect("there is one for each");
            let line = line.unwrap_or_else(|e| panic!("{mode} {at}: {e:?}\nGo: {go}"));
            assert_eq!(line, go, "{mode} {at}");
        });
        assert_eq!(lines.next().map(|(at, _)| at), None, "Go printed less");
    }
}

/// Returns the component's message about a container that does not exist.
fn not_found(events: &mut Monitor, id: &str) -> String {
    let mut sample = events.sample().expect("it never fails");
    let error = sample.stats(id).expect_err("it does not exist");
    error.root_cause().to_string()
}

/// Runtimes accept these characters in IDs (`^[\w+\.-]+$` in runc and runsc). Rust and Go quote other printable
/// ASCII characters alike, too, and differ in control characters and those that Unicode added of late.
#[test]
fn an_id_that_runtimes_accept_is_quoted_as_go_quotes_it() {
    let Some(judge) = judge() else { return };
    let mut random = Random::new();
    let source = Samples {
        snapshots: vec![Arc::default(); 30_000],
        next: 0,
    };
    let mut events = Monitor::new(&builtin(), Box::new(source));
    let printable: Vec<char> = (' '..='~').collect();
    let alone = printable.iter().map(char::to_string);
    let together = (0..20_000).map(|_| {
        let characters = random.list(40, |random| printable[random.below(95) as usize]);
        characters.into_iter().collect::<String>()
    });
    let ids: Vec<String> = alone.chain(together).collect();
    let json = |id| serde_json::to_string(id).expect("it has a form in JSON") + "\n";
    let mut left = ids.iter();
    judged(&judge, "not-found", ids.iter().map(json).collect(), |go| {
        let id = left.next().expect("there is one for each");
        assert_eq!(not_found(&mut events, id), go);
    });
    assert_eq!(left.next(), None);
}

#[test]
fn an_oom_kill_has_the_bytes_that_go_gives_it() {
    let Some(judge) = judge() else { return };
    let mut random = Random::new();
    let source = Samples {
        snapshots: Vec::new(),
        next: 0,
    };
    let mut events = Monitor::new(&builtin(), Box::new(source));
    let ids: Vec<String> = (0..1000).map(|_| random.id()).collect();
    let json = |id| serde_json::to_string(id).expect("it has a form in JSON") + "\n";
    let mut left = ids.iter();
    judged(&judge, "oom", ids.iter().map(json).collect(), |go| {
        let id = left.next().expect("there is one for each");
        assert_eq!(events.oom_json(id).expect("it never fails"), go);
    });
    assert_eq!(left.next(), None);
}
