//! `top` beside what the kernel counts.

use std::fs;
use std::time::Instant;

use serde_json::json;
use tempfile::tempdir;
use tests::{Eventout, can_run, lock_machine, missing, wait_until};

use super::container::{Container, LOAD};

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn top_shows_the_cpu_time_and_the_throttling_that_the_kernel_counts() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let state = tempdir().expect("a directory");
    let container = Container::run("runc", Some(state.path()), "top", LOAD, |spec, _| {
        // A twentieth of a core, of which the load takes all.
        spec["linux"]["resources"]["cpu"] = json!({"quota": 5_000, "period": 100_000});
    });
    let stat = |name: &str| {
        let stat = container.cgroup("cpu").join("cpu.stat");
        let stat = fs::read_to_string(stat).expect("it is there");
        let value = stat.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.trim().parse::<u64>().ok());
        value.expect("it is a number") as f64
    };
    let read = || {
        let cpu = container.cpu() as f64;
        (cpu, stat("nr_periods "), stat("nr_throttled "))
    };
    wait_until("it is throttled", 60, || read().2 > 0.0);
    let (begin, before) = (Instant::now(), read());
    let call = Eventout::new().source(container.source()).arg("top");
    let row = call.arg("--once").interval("4s").format("json").line();
    let (took, after) = (begin.elapsed(), read());
    let value = |name: &str| {
        row[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {row}"))
    };

    let used = value("cpu_percent") / 100.0 * value("interval_ns");
    // The load may have begun a little later, but not used more; a percent is rounded.
    let most = after.0 - before.0;
    assert!(used <= most + 1e6, "{used} {most}: {row}");
    let percent = most / took.as_nanos() as f64 * 100.0;
    let close = |ours: f64, kernel: f64, by: f64| {
        assert!((ours - kernel).abs() < by, "{ours} {kernel}: {row}");
    };
    close(value("cpu_percent"), percent, 5.0);
    assert!(value("cpu_percent") < 10.0, "{row}");
    let throttled = (after.2 - before.2) / (after.1 - before.1) * 100.0;
    close(value("throttled_percent"), throttled, 20.0);
    assert!((before.0..=after.0).contains(&value("cpu_ns")), "{row}");
}
