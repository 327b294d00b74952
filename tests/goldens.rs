//! The program against Go: events of scenarios, byte for byte.
//!
//! `goldens/NAME.jsonl` is a scenario; `NAME.stats`, `NAME.event-out` and `NAME.runc` are what
//! `go/judge.go`, a Go program with the types of gVisor and runc, makes of it. `BLESS=1` has Go write them anew.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use tests::{check_golden, eventout, judge, root};

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
                .stdin(File::open(&scenario).expect("it is there"))
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
        let spec = format!("scenario:{}", scenario.display());
        for (kind, flag) in [
            ("stats", "--format=gvisor"),
            ("event-out", "--format=gvisor-event-out"),
            ("runc", "--format=runc"),
        ] {
            let output = eventout(["--source", &spec, "events", "--all", "--stats", flag]);
            let golden = scenario.with_extension(kind);
            let expected =
                fs::read(&golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.stdout == expected,
                "{}\n--- expected\n{}\n--- printed\n{}\n{stderr}",
                golden.display(),
                String::from_utf8_lossy(&expected),
                String::from_utf8_lossy(&output.stdout),
            );
            // Containers that play a failure are the judge's business no more than ours.
            let fails = fs::read_to_string(&scenario)
                .expect("UTF-8")
                .contains(r#""error":"#);
            assert_eq!(output.status.code(), Some(fails.into()), "{stderr}");
            assert_ne!(stderr.is_empty(), fails, "{stderr}");
        }
    }
}

#[test]
fn one_id_after_the_other_gives_the_lines_of_all_at_once() {
    let scenario = root().join("tests/goldens/remainders.jsonl");
    let spec = format!("scenario:{}", scenario.display());
    let expected = fs::read_to_string(scenario.with_extension("stats")).expect("it is there");
    let output = eventout([
        "--source", &spec, "events", "--stats", "pause", "a", "b", "c",
    ]);
    assert_eq!(tests::printed(&output), expected);
}
