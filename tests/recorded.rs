//! Control files of real containers, against what runc printed when they were read.
//!
//! `recorded/RUNC-VERSION-CGROUP-VERSION.json` holds the line of `runc events --stats` of a container,
//! and the container's interface files just before and just after. They come from a v1 machine (Debian
//! 12, hybrid) and a v2 machine (a virtual one, so slow that seconds pass between the readings).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{between, eventout, printed, root, scratch};

type Files = BTreeMap<String, String>;

/// Puts interface files where a machine of that kind has them, and runs the program on the container.
fn line(directory: &Path, id: &str, files: &Files) -> Value {
    for (path, text) in files {
        let (controller, file) = path.split_once('/').expect("it is CONTROLLER/FILE");
        let group = directory.join(controller).join(id);
        fs::create_dir_all(&group).expect("a directory");
        fs::write(group.join(file), text).expect("a file");
    }
    let spec = format!("cgroup:{}", directory.display());
    let output = eventout(["--source", &spec, "events", "--stats", id]);
    serde_json::from_str(printed(&output)).expect("it is JSON")
}

#[test]
fn a_line_made_of_recorded_control_files_is_the_line_that_runc_printed() {
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
        let runc = recording["printed"].as_str().expect("a line");
        let runc: Value = serde_json::from_str(runc).expect("it is JSON");
        let id = runc["id"].as_str().expect("it has one");
        let directory = scratch(&name);
        let before = line(&directory.join("before"), id, &files("before"));
        let after = line(&directory.join("after"), id, &files("after"));
        fixed += between(&before, &runc, &after).unwrap_or_else(|e| panic!("{name}: {e}"));
        fs::remove_dir_all(&directory).expect("it goes");
    }
    // Most values don't move in between.
    assert!(
        fixed > 150,
        "only {fixed} values that are not 0 and stood still"
    );
}
