//! The component against Go (`go/judge.go`) on inputs that nobody chose: the same bytes, always.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, fs, thread};

use eventout::{
    BlkioEntry, CmtStats, Component, Container, Dialect, Events, Hugetlb, IntelRdt, L3CacheInfo,
    Limits, Listed, MbmStats, MemBwInfo, NetworkInterface, Psi, PsiData, Result, Snapshot, Source,
    Stats,
};
use tests::{judge, root};

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

    /// A figure: small, of any magnitude, or at the edge of something.
    fn figure(&mut self) -> u64 {
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
        (!self.one_in(3)).then(|| self.figure())
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

    /// Of any characters but NUL, which stands between the IDs of `cpu-usage`.
    fn id(&mut self) -> String {
        let characters = (0..self.below(12)).map(|_| self.character());
        characters.filter(|&c| c != '\0').collect()
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
        usage.percpu = self.list(3, Self::figure);
        usage.percpu_kernel = self.list(2, Self::figure);
        usage.percpu_user = self.list(2, Self::figure);
        let throttling = &mut stats.cpu.throttling;
        throttling.periods = self.maybe();
        throttling.throttled_periods = self.maybe();
        throttling.throttled_time = self.maybe();
        stats.cpu.psi = self.psi();
        let cpuset = &mut stats.cpuset;
        for figure in [
            &mut cpuset.cpu_exclusive,
            &mut cpuset.mem_hardwall,
            &mut cpuset.mem_exclusive,
            &mut cpuset.memory_migrate,
            &mut cpuset.memory_spread_page,
            &mut cpuset.memory_spread_slab,
            &mut cpuset.memory_pressure,
            &mut cpuset.sched_load_balance,
        ] {
            *figure = self.maybe();
        }
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
        memory.raw = self.list(5, |random| (random.id(), random.figure()));
        memory.psi = self.psi();
        stats.pids.current = self.maybe();
        stats.pids.limit = self.maybe();
        stats.blkio.entries = self.list(4, |random| BlkioEntry {
            major: random.figure(),
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
        if self.one_in(3) {
            stats.intel_rdt = self.intel_rdt();
        }
        stats.network_interfaces = self.list(2, |random| NetworkInterface {
            name: random.id(),
            rx_bytes: random.figure(),
            rx_packets: random.figure(),
            rx_errors: random.figure(),
            rx_dropped: random.figure(),
            tx_bytes: random.figure(),
            tx_packets: random.figure(),
            tx_errors: random.figure(),
            tx_dropped: random.figure(),
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
                total: random.figure(),
            },
        };
        (!self.one_in(3)).then(|| Psi {
            some: data(self),
            full: data(self),
        })
    }

    fn intel_rdt(&mut self) -> IntelRdt {
        let text = |random: &mut Self| random.one_in(2).then(|| random.id());
        IntelRdt {
            l3_cache_info: self.one_in(2).then(|| L3CacheInfo {
                cbm_mask: self.id(),
                min_cbm_bits: self.below(3),
                num_closids: self.figure(),
            }),
            l3_cache_schema_root: text(self),
            l3_cache_schema: text(self),
            mem_bw_info: self.one_in(2).then(|| MemBwInfo {
                bandwidth_gran: self.figure(),
                delay_linear: self.below(2),
                min_bandwidth: self.figure(),
                num_closids: self.below(2),
            }),
            mem_bw_schema_root: text(self),
            mem_bw_schema: text(self),
            schemata: self.list(3, Self::id),
            mbm_stats: self.list(2, |random| MbmStats {
                mbm_total_bytes: random.figure(),
                mbm_local_bytes: random.figure(),
            }),
            cmt_stats: self.list(2, |random| CmtStats {
                llc_occupancy: random.figure(),
            }),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut ids = HashSet::new();
        let longest = if self.one_in(50) { 40 } else { 5 };
        let mut containers = self.list(longest, |random| Container {
            id: random.id(),
            pids: random.figure(),
            cpu_ns: random.maybe(),
            stats: random.one_in(3).then(|| Box::new(random.stats())),
            error: None,
        });
        containers.retain(|container| ids.insert(container.id.clone()));
        let root = self.below(containers.len().max(1) as u64) as usize;
        Snapshot {
            dialect: Dialect::Runsc,
            root: containers
                .get(root)
                .map(|root| root.id.clone())
                .unwrap_or_default(),
            memory_bytes: self.figure(),
            cgroup_cpu_ns: self.maybe(),
            containers,
            update_memory_error: self.one_in(9).then(|| self.id()),
        }
    }
}

/// Snapshots, one an instant.
struct Instants {
    snapshots: Vec<Arc<Snapshot>>,
    next: usize,
}

impl Source for Instants {
    fn containers(&mut self) -> Result<Vec<Listed>> {
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
    for mode in ["stats", "event-out", "runc", "sweep"] {
        let source = Instants {
            snapshots: snapshots.clone(),
            next: 0,
        };
        let mut events = Events::new(&builtin(), Box::new(source));
        let mut lines = Vec::with_capacity(events_in_all);
        for snapshot in &snapshots {
            let mut now = events.now().expect("it never fails");
            // Each alone, or all in one call.
            let ids: Vec<_> = snapshot.containers.iter().map(|c| c.id.clone()).collect();
            let each = ids.iter();
            match mode {
                "stats" => lines.extend(each.map(|id| now.stats_json(id, Dialect::Runsc))),
                "runc" => lines.extend(each.map(|id| now.stats_json(id, Dialect::Runc))),
                "sweep" => lines.extend(now.stats_lines(&ids, Dialect::Runsc)),
                _ => lines.extend(each.map(|id| now.event_json(id))),
            }
        }
        let mut lines = lines.into_iter().enumerate();
        let judge_mode = if mode == "sweep" { "stats" } else { mode };
        judged(&judge, judge_mode, input.clone(), |go| {
            let (at, line) = lines.next().expect("there is one for each");
            let line = line.unwrap_or_else(|e| panic!("{mode} {at}: {e:?}\nGo: {go}"));
            assert_eq!(line, go, "{mode} {at}");
        });
        assert_eq!(lines.next().map(|(at, _)| at), None, "Go printed less");
    }
}

/// What the component says of a container that is not there.
fn not_found(events: &mut Events, id: &str) -> String {
    let error = events
        .now()
        .expect("it never fails")
        .stats(id)
        .expect_err("it is not there");
    error.root_cause().to_string()
}

#[test]
fn every_character_is_quoted_as_go_1_20_quotes_it() {
    let Some(judge) = judge() else { return };
    let output = Command::new(&judge).arg("printable").output();
    let printable = output.expect("the judge runs").stdout;
    let table = fs::read(root().join("guest/src/printable.bin")).expect("it is there");
    // Go's table is of Unicode 13 up to 1.20, and of a later version since.
    let same = printable == table;
    let mut random = Random::new();
    let source = Instants {
        snapshots: vec![Arc::default(); 2_000_000],
        next: 0,
    };
    let mut events = Events::new(&builtin(), Box::new(source));

    // Alone, so that what comes before or after makes no difference to be missed.
    let characters: Vec<char> = ('\0'..=char::MAX).collect();
    let json = |text: &str| serde_json::to_string(text).expect("it has a form in JSON");
    let input: String = characters
        .iter()
        .map(|c| json(&c.to_string()) + "\n")
        .collect();
    let mut at = 0;
    let mut added = Vec::new();
    judged(&judge, "not-found", input, |go| {
        let c = characters[at];
        at += 1;
        let ours = not_found(&mut events, &c.to_string());
        if ours == go {
            return;
        }
        assert!(!same, "{:#x}: {ours} {go}", c as u32);
        // Assigned since Unicode 13: an escape then, printable now.
        let mut escape = String::from("container \"");
        let code = c as u32;
        let _ = match code {
            ..0x1_0000 => write!(escape, "\\u{code:04x}"),
            _ => write!(escape, "\\U{code:08x}"),
        };
        escape += "\" not found";
        assert_eq!(ours, escape, "{code:#x} {go}");
        assert_eq!(go, format!("container \"{c}\" not found"));
        added.push(c);
    });
    assert_eq!(at, characters.len());
    // Unicode 14 to 17 have added some 15,000 to the 143,859 characters of Unicode 13.
    assert!(added.len() < 20_000, "{} characters differ", added.len());

    // And in company.
    let added: HashSet<char> = added.into_iter().collect();
    let texts: Vec<String> = (0..20_000)
        .map(|_| random.id().replace(|c| added.contains(&c), "+"))
        .collect();
    let input: String = texts.iter().map(|text| json(text) + "\n").collect();
    let mut texts = texts.iter();
    judged(&judge, "not-found", input, |go| {
        let text = texts.next().expect("there is one for each");
        assert_eq!(not_found(&mut events, text), go);
    });
}

#[test]
fn a_kill_is_told_in_the_bytes_that_go_gives_it() {
    let Some(judge) = judge() else { return };
    let mut random = Random::new();
    let source = Instants {
        snapshots: Vec::new(),
        next: 0,
    };
    let mut events = Events::new(&builtin(), Box::new(source));
    let ids: Vec<String> = (0..1000).map(|_| random.id()).collect();
    let json = |id| serde_json::to_string(id).expect("it has a form in JSON") + "\n";
    let mut left = ids.iter();
    judged(&judge, "oom", ids.iter().map(json).collect(), |go| {
        let id = left.next().expect("there is one for each");
        assert_eq!(events.oom_json(id).expect("it never fails"), go);
    });
    assert_eq!(left.next(), None);
}
