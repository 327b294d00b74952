//! Interface files of real containers, against what runc printed when they were read.
//!
//! `recorded/RUNC-VERSION-CGROUP-VERSION.json` holds the line of `runc events --stats` of a container, and the
//! container's interface files just before and just after. They come from a v1 machine (Debian 12, hybrid) and a v2
//! machine (a virtual one, so slow that seconds pass between the readings).

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use tempfile::tempdir;
use tests::{Eventout, between, root};

type Files = BTreeMap<String, String>;

/// Returns the event of a container with these interface files.
fn event(id: &str, files: &Files) -> Value {
    let directory = tempdir().expect("a directory");
    for (path, text) in files {
        let (controller, file) = path.split_once('/').expect("CONTROLLER/FILE");
        let cgroup = directory.path().join(controller).join(id);
        fs::create_dir_all(&cgroup).expect("a directory");
        fs::write(cgroup.join(file), text).expect("it can be written");
    }
    let source = Eventout::new().cgroup(directory.path());
    source.events([id]).stats().line()
}

#[test]
fn an_event_made_of_recorded_interface_files_is_the_one_that_runc_printed() {
    let mut fixed = 0;
    for entry in fs::read_dir(root().join("tests/recorded")).expect("a directory") {
        let path = entry.expect("it can be listed").path();
        let recording = fs::read(&path).expect("it can be read");
        let recording: Value = serde_json::from_slice(&recording).expect("it is JSON");
        let files = |when: &str| -> Files {
            serde_json::from_value(recording[when].clone()).expect("paths and texts")
        };
        let runc = recording["printed"].as_str().expect("a line");
        let runc: Value = serde_json::from_str(runc).expect("it is JSON");
        let id = runc["id"].as_str().expect("it has one");
        let before = event(id, &files("before"));
        let after = event(id, &files("after"));
        fixed += between(&before, &runc, &after).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    }
    // Most values do not move in between.
    assert!(
        fixed > 150,
        "only {fixed} values that are not 0 and did not move"
    );
}
