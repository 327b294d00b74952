//! runc's own tests of `runc events`, with the program in runc's place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use tests::{Eventout, can_run, copy_dir, fixture, lock_machine, missing, root, run};

/// Makes the image of busybox that the suite would download.
fn make_image(file: &Path) {
    let directory = tempdir().expect("a directory");
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    fs::copy("/bin/busybox", bin.join("busybox")).expect("it can be copied");
    for tool in run(Command::new("/bin/busybox").arg("--list")).lines() {
        // It lists itself, too.
        let _ = symlink("busybox", bin.join(tool));
    }
    let mut tar = Command::new("tar");
    tar.arg("-cJf").arg(file).arg("-C").arg(directory.path());
    run(tar.arg("."));
}

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn the_program_passes_runcs_own_suite_of_runc_events() {
    let tools = ["runc", "busybox", "bats", "gawk", "go", "jq", "python3"];
    if !can_run(&missing(&tools)) {
        return;
    }
    let source = root().join("target/tools/runc");
    if !source.exists() {
        return assert!(!can_run("there is no source of runc (see tests/run)"));
    }
    let _machine = lock_machine();
    let directory = tempdir().expect("a directory");
    let directory = directory.path();
    let suite = directory.join("tests/integration");
    copy_dir(&source.join("tests/integration"), &suite);
    // What is there is not downloaded, and the test needs the first one alone.
    let architecture = run(Command::new("go").args(["env", "GOARCH"]));
    let image = |name| suite.join(format!("testdata/{name}-{}.tar.xz", architecture.trim()));
    make_image(&image("busybox"));
    fs::write(image("debian"), "").expect("it can be written");
    copy_dir(&fixture("runc"), &directory.join("contrib/cmd/recvtty"));

    // It has a second for a line. On a busy machine, that failed, and then it waited for its own logger for ever.
    let events = suite.join("events.bats");
    let script = fs::read_to_string(&events).expect("it is there");
    fs::write(&events, script.replace("retry 10 ", "retry 100 ")).expect("it can be written");
    let eventout = Eventout::new().into_command();
    let mut bats = Command::new("timeout");
    bats.args(["600", "bats", "--tap", "events.bats"])
        .current_dir(&suite)
        .env("EVENTOUT", eventout.get_program())
        .env("RUNC", fixture("runc/runc"));
    let results = run(&mut bats);
    let (plan, results) = results.split_once('\n').expect("a plan");
    assert_eq!(plan, "1..5");
    let passed = |result: &str| result.starts_with("ok ") && !result.contains("# skip");
    assert!(results.lines().all(passed), "{results}");
}
