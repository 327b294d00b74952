//! A stream of many containers over a longer time.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use tempfile::tempdir;
use tests::{Eventout, can_run, lock_machine, missing};

use super::container::Container;

/// Returns the CPU time (user and system, in seconds) and the resident memory (in bytes) of a process.
fn used(pid: u32) -> (f64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("it has a name");
    let fields: Vec<u64> = fields
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // Fields 14, 15 and 24 of proc_pid_stat(5); the third is the first here.
    ((fields[11] + fields[12]) as f64 / 100.0, fields[21] * 4096)
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn fifty_containers_at_ten_lines_a_second_lose_none() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    const CONTAINERS: usize = 50;
    const WARM_UP: usize = 50;
    const SAMPLES: usize = 300;
    const ROUND: usize = 50;
    let _machine = lock_machine();
    let state = tempdir().expect("a directory");
    let start = |n| {
        let id = format!("n{n}");
        Container::run("runc", Some(state.path()), &id, "sleep 1000", |_, _| {})
    };
    let containers: Vec<_> = (0..CONTAINERS).map(start).collect();
    let all = Eventout::new().source(containers[0].source());
    let mut stream = all.events(["--all"]).interval("100ms").start();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = |samples: usize| {
        for _ in 0..CONTAINERS * samples {
            let event = stream.next_value();
            let id = event["id"].as_str().expect("an ID");
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        used(stream.id())
    };
    let (cpu, memory) = read(WARM_UP);
    let begun = Instant::now();
    // On time: what a sample takes does not add up. A busy machine may delay some, so that the fastest round counts.
    let rounds = (WARM_UP..SAMPLES).step_by(ROUND).map(|_| {
        let begun = Instant::now();
        (read(ROUND), begun.elapsed().as_secs_f64())
    });
    let rounds: Vec<_> = rounds.collect();
    let took = begun.elapsed().as_secs_f64();
    let (cpu_after, memory_after) = rounds[rounds.len() - 1].0;
    let fastest = rounds.iter().map(|round| round.1).fold(f64::MAX, f64::min);
    assert_eq!(stream.kill().stderr, "");
    // One of each for each sample.
    assert_eq!(counts.len(), CONTAINERS);
    assert!(counts.values().all(|n| *n == SAMPLES), "{counts:?}");
    println!(
        "{:.2} % of a core, {} KiB at first and {} KiB in the end",
        100.0 * (cpu_after - cpu) / took,
        memory >> 10,
        memory_after >> 10
    );
    assert!(memory_after < memory + (1 << 20), "{memory} {memory_after}");
    let due = ROUND as f64 / 10.0;
    assert!(
        (due - 0.5..due + 0.5).contains(&fastest),
        "{fastest} s for {due} s"
    );
}
