//! Control files of real containers, against what runc printed when they were read.
//!
//! `recorded/RUNC-VERSION-CGROUP-VERSION.json` holds the line of `runc events --stats` of a container,
//! and the container's control files just before and just after. They come from a v1 machine (Debian
//! 12, hybrid) and a v2 machine (a virtual one, so slow that seconds pass between the readings).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{eventout, printed, root, scratch};

type Files = BTreeMap<String, String>;

/// Puts control files where a machine of that kind has them, and asks the program for the container.
fn line(folder: &Path, files: &Files) -> Value {
    for (path, text) in files {
        let (controller, file) = path.split_once('/').expect("it is CONTROLLER/FILE");
        let group = folder.join(controller).join("web");
        fs::create_dir_all(&group).expect("a folder");
        fs::write(group.join(file), text).expect("a file");
    }
    let spec = format!("cgroup:{}", folder.display());
    let output = eventout(["--source", &spec, "events", "--stats", "web"]);
    serde_json::from_str(printed(&output)).expect("it is JSON")
}

/// The figures in the part of an event that the dialect runsc has, each by its path.
fn figures(event: &Value) -> BTreeMap<String, u64> {
    fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, u64>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    walk(&format!("{path}.{key}"), value, out);
                }
            }
            Value::Array(values) => {
                for (at, value) in values.iter().enumerate() {
                    walk(&format!("{path}.{at}"), value, out);
                }
            }
            Value::Number(number) => {
                out.insert(path.to_owned(), number.as_u64().expect("it is a u64"));
            }
            _ => {}
        }
    }
    let mut out = BTreeMap::new();
    for path in ["/cpu/usage", "/memory", "/pids"] {
        let part = event["data"].pointer(path).expect("every event has it");
        walk(path, part, &mut out);
    }
    // What runc has and gVisor's schema has not.
    out.retain(|path, _| !["percpu_", "psi"].iter().any(|other| path.contains(other)));
    out
}

#[test]
fn a_line_made_of_recorded_control_files_has_the_figures_that_runc_printed() {
    let mut fixed = 0;
    for entry in fs::read_dir(root().join("tests/recorded")).expect("there are recordings") {
        let path = entry.expect("it can be listed").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let recording: Value =
            serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
        let files = |when: &str| -> Files {
            serde_json::from_value(recording[when].clone()).expect("paths and texts")
        };
        let folder = scratch(&name);
        let before = figures(&line(&folder.join("before"), &files("before")));
        let after = figures(&line(&folder.join("after"), &files("after")));
        let runc = recording["printed"].as_str().expect("a line");
        let runc = figures(&serde_json::from_str(runc).expect("it is JSON"));

        for (figure, &runc) in &runc {
            // What is 0 may be left out.
            let ours = |line: &BTreeMap<String, u64>| line.get(figure).copied().unwrap_or(0);
            let (low, high) = (ours(&before), ours(&after));
            let (low, high) = (low.min(high), low.max(high));
            assert!(
                (low..=high).contains(&runc),
                "{name} {figure}: {low} {runc} {high}"
            );
            fixed += u32::from(low == high && runc > 0);
        }
        for figure in before.keys().filter(|figure| before[*figure] > 0) {
            // runc 1.1 doesn't read memory.peak.
            let newer = *figure == "/memory.usage.max" && name.contains("1.1.5-v2");
            assert!(
                runc.contains_key(figure) || newer,
                "{name}: runc has no {figure}"
            );
        }
        fs::remove_dir_all(&folder).expect("it goes");
    }
    // Most figures don't move in between.
    assert!(fixed > 150, "only {fixed} figures that say something");
}
