//! The program against Go: events of scenarios, byte for byte.
//!
//! `goldens/NAME.jsonl` is a scenario; `NAME.stats`, `NAME.event-out` and `NAME.runc` are what
//! `go/judge.go`, a Go program with the types of gVisor and runc, makes of it. `BLESS=1` has Go write them anew.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use tests::{Eventout, check_golden, judge, root};

fn scenarios() -> Vec<PathBuf> {
    let directory = root().join("tests/goldens");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} scenarios", files.len());
    files
}

#[test]
fn the_goldens_are_what_go_makes_of_the_scenarios() {
    let Some(judge) = judge() else { return };
    for scenario in scenarios() {
        for kind in ["stats", "event-out", "runc"] {
            let judged = Command::new(&judge)
                .arg(kind)
                .stdin(File::open(&scenario).expect("a scenario"))
                .output()
                .expect("the judge runs");
            assert!(judged.status.success(), "{judged:?}");
            let golden = scenario.with_extension(kind);
            check_golden(&golden, &judged.stdout, "BLESS=1 has Go write it anew");
        }
    }
}

#[test]
fn the_program_prints_what_go_prints() {
    for scenario in scenarios() {
        for (kind, format) in [
            ("stats", "gvisor"),
            ("event-out", "gvisor-event-out"),
            ("runc", "runc"),
        ] {
            let all = Eventout::new().scenario(&scenario).events(["--all"]);
            let end = all.stats().format(format).run();
            let golden = scenario.with_extension(kind);
            let expected =
                fs::read_to_string(&golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
            assert!(
                end.stdout == expected,
                "{}\n--- expected\n{expected}\n--- printed\n{}\n{}",
                golden.display(),
                end.stdout,
                end.stderr,
            );
            // Go skips containers that play a failure.
            let fails = fs::read_to_string(&scenario)
                .expect("UTF-8")
                .contains(r#""error":"#);
            assert_eq!(end.code(), Some(fails.into()), "{end:?}");
            assert_ne!(end.stderr.is_empty(), fails, "{end:?}");
        }
    }
}

#[test]
fn named_containers_have_the_lines_that_all_have() {
    let scenario = root().join("tests/goldens/remainders.jsonl");
    let expected = fs::read_to_string(scenario.with_extension("stats")).expect("a golden");
    let named = Eventout::new()
        .scenario(&scenario)
        .events(["pause", "a", "b", "c"]);
    assert_eq!(named.stats().stdout(), expected);
}
