//! The dependencies of the packages, by the rules of `deny.toml`.

use std::path::Path;
use std::process::Command;

use tests::{installed, root};

#[test]
fn licences_and_registries_of_all_dependencies_are_allowed() {
    let Some(cargo_deny) = installed("target/tools/cargo-deny/bin/cargo-deny") else {
        return;
    };
    let check = |directory: &Path| {
        // Advisories are news: `.github/workflows/ci.yml` looks for them, each week too.
        let mut check = Command::new(&cargo_deny);
        check.args(["--locked", "--log-level=error", "check"]);
        check.args(["bans", "licenses", "sources"]);
        check.current_dir(directory).output().expect("it runs")
    };
    let output = check(&root());
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{says}");

    // It finds what is there.
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("deny.toml", include_str!("../deny.toml")),
        ("src/lib.rs", ""),
        (
            "Cargo.toml",
            "[package]\nname = \"copyleft\"\nversion = \"1.0.0\"\nedition = \"2024\"\nlicense = \"GPL-3.0-only\"\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"copyleft\"\nversion = \"1.0.0\"\n",
        ),
    ] {
        let file = directory.path().join(name);
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        std::fs::write(file, text).expect("a file");
    }
    let output = check(directory.path());
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && says.contains("GPL-3.0-only"),
        "{says}"
    );
}
