//! The files of a release, as `tests/release` makes them: each is used as others get it, outside of the checkout and
//! without anything from it, and what it computes is what Go does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::tempdir;
use tests::{Eventout, can_run, fixture, lock_machine, root, run};
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{PackageId, Resolve};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the lines of a container in all formats, as Go prints them.
fn expected() -> String {
    let scenario = root().join("tests/goldens/one.jsonl");
    ["event-out", "stats", "runc"]
        .map(|kind| fs::read_to_string(scenario.with_extension(kind)).expect("a golden"))
        .concat()
}

/// Runs `tests/release` of that checkout.
fn release(checkout: &Path, directory: Option<&Path>) -> Output {
    Command::new(checkout.join("tests/release"))
        .args(directory)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs")
}

/// The directory with the files, for as long as the lock is held. `None` if the machine lacks something.
fn files() -> Option<(PathBuf, File)> {
    static MADE: OnceLock<bool> = OnceLock::new();
    let lock = lock_machine();
    let made = MADE.get_or_init(|| {
        let output = release(&root(), None);
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(3) {
            can_run(stderr.trim_end());
            return false;
        }
        assert!(output.status.success(), "{}: {stderr}", output.status);
        true
    });
    made.then(|| (root().join("target/dist"), lock))
}

/// Returns the name of the archive with the program, without its extension.
fn archive(files: &Path) -> String {
    let names = fs::read_dir(files).expect("a directory");
    let names = names.map(|entry| entry.expect("it can be listed").file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    names
        .find_map(|name| name.strip_suffix(".tar.gz").map(str::to_owned))
        .expect("an archive")
}

#[test]
fn the_files_are_those_of_the_checksums() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let entries = fs::read_dir(&files).expect("a directory");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    let expected = [
        "SHA256SUMS".to_owned(),
        format!("eventout-{VERSION}-py3-none-any.whl"),
        format!("{}.tar.gz", archive(&files)),
        format!("eventout-{VERSION}.tgz"),
        format!("eventout-stats-{VERSION}.wasm"),
        format!("eventout-stats-{VERSION}.wit"),
        "eventout.wasm".to_owned(),
    ];
    assert_eq!(names, expected);
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = run(check.current_dir(&files).env("LC_ALL", "C"));
    let good: String = expected[1..]
        .iter()
        .map(|name| format!("{name}: OK\n"))
        .collect();
    assert_eq!(checked, good);
    let committed = fs::read(root().join("guest/eventout.wasm")).expect("it is committed");
    let copy = fs::read(files.join("eventout.wasm")).expect("it can be read");
    assert!(copy == committed, "it is not the component");
}

#[test]
fn the_same_sources_make_the_same_bytes() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let again = tempdir().expect("a directory");
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask 077 && exec "$0" "$1""#]);
    shell.arg(root().join("tests/release")).arg(again.path());
    shell.env("TZ", "Asia/Tokyo");
    let sums = fs::read_to_string(files.join("SHA256SUMS")).expect("it can be read");
    assert_eq!(run(&mut shell), sums);
}

#[test]
fn the_archive_has_the_program_with_its_manual_pages_and_completions() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let directory = tempdir().expect("a directory");
    let name = archive(&files);
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(files.join(format!("{name}.tar.gz")));
    run(unpack.current_dir(directory.path()));
    let unpacked = directory.path().join(name);

    let version = run(Command::new(unpacked.join("eventout")).arg("-V"));
    assert_eq!(version, format!("eventout {VERSION}\n"));
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        let copy = fs::read(unpacked.join(file)).expect("it is in the archive");
        assert!(copy == fs::read(root().join(file)).expect("it is committed"));
    }

    // Each command has a page, and each page names the program.
    let page = |name: &str| {
        let page = fs::read_to_string(unpacked.join("man/man1").join(name));
        page.unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let overview = page("eventout.1");
    assert!(overview.contains(".SH EXAMPLES") || overview.contains("Examples:"));
    for command in ["events", "list", "record", "completions"] {
        assert!(
            overview.contains(&format!("eventout\\-{command}(1)")),
            "{overview}"
        );
        let page = page(&format!("eventout-{command}.1"));
        assert!(
            page.starts_with(".ie \\n(.g") && page.contains(".SH SYNOPSIS"),
            "{page}"
        );
    }

    // Each script completes the commands.
    for file in ["eventout.bash", "eventout.fish", "_eventout"] {
        let script = fs::read_to_string(unpacked.join("completions").join(file));
        let script = script.expect("it is in the archive");
        for word in ["events", "record", "gvisor-event-out"] {
            assert!(script.contains(word), "no {word} in {file}");
        }
    }
    let script = r#"source "$0" && COMP_WORDS=(eventout ev) COMP_CWORD=1 && _eventout eventout ev eventout &&
        echo "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script]);
    bash.arg(unpacked.join("completions/eventout.bash"));
    assert_eq!(run(&mut bash), "events\n");
}

/// Prints a package, with all documentation.
fn text(resolve: &Resolve, package: PackageId) -> String {
    let mut printer = WitPrinter::default();
    printer
        .print(resolve, package, &[])
        .expect("it can be printed");
    printer.output.into()
}

#[test]
fn the_packages_of_the_contract_are_the_contract() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(root().join("wit"))
        .expect("the WIT is valid");
    let contract = text(&resolve, package);
    for world in ["world eventout {", "world formatter {"] {
        assert!(contract.contains(world), "no {world} in {contract}");
    }

    let file = files.join(format!("eventout-stats-{VERSION}.wasm"));
    let decoded = wit_component::decode(&fs::read(file).expect("it can be read"));
    match decoded.expect("it is a component") {
        DecodedWasm::WitPackage(resolve, package) => assert_eq!(text(&resolve, package), contract),
        DecodedWasm::Component(..) => panic!("it is a component with code"),
    }

    let file = files.join(format!("eventout-stats-{VERSION}.wit"));
    let mut resolve = Resolve::default();
    let package = resolve.push_file(file).expect("it is valid");
    assert_eq!(text(&resolve, package), contract);
}

#[test]
fn the_component_runs() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let scenario = root().join("tests/goldens/one.jsonl");
    let lines = ["gvisor-event-out", "gvisor", "runc"].map(|format| {
        let call = Eventout::new().scenario(&scenario).events(["c1"]);
        let call = call.component(files.join("eventout.wasm")).stats();
        call.format(format).stdout()
    });
    assert_eq!(lines.concat(), expected());
}

#[test]
fn the_wheel_runs_where_it_is_installed() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let directory = tempdir().expect("a directory");
    let venv = directory.path();
    run(Command::new("python3").args(["-m", "venv"]).arg(venv));
    run(Command::new(venv.join("bin/pip"))
        .args(["--quiet", "--disable-pip-version-check", "install"])
        .arg(files.join(format!("eventout-{VERSION}-py3-none-any.whl"))));
    let program = fs::read_to_string(fixture("release/host.py")).expect("a fixture");
    // Isolated: what is in this directory and in the environment does not count.
    let mut python = Command::new(venv.join("bin/python"));
    assert_eq!(run(python.args(["-I", "-c", &program])), expected());
}

#[test]
fn the_tarball_runs_where_it_is_installed() {
    let Some((files, _lock)) = files() else {
        return;
    };
    let directory = tempdir().expect("a directory");
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund"]);
    install.arg(files.join(format!("eventout-{VERSION}.tgz")));
    run(install.current_dir(&directory));
    let program = directory.path().join("host.mjs");
    fs::copy(fixture("release/host.mjs"), &program).expect("it can be copied");
    let mut node = Command::new("node");
    node.arg(program).env_remove("NODE_PATH");
    assert_eq!(run(&mut node), expected());
}

#[test]
fn a_version_that_differs_is_an_error_before_anything_is_made() {
    let Some((_, _lock)) = files() else {
        return;
    };
    // What the script reads until then, and what cargo wants to see of the workspace.
    let temporary = tempdir().expect("a directory");
    let checkout = temporary.path();
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--parents"]);
    copy.args(["Cargo.toml", "Cargo.lock", "guest", "host", "tests", "wit"]);
    let files = [
        "examples/javascript/package-lock.json",
        "examples/javascript/package.json",
        "examples/python/pyproject.toml",
        "guest/eventout.wasm",
        "wit/types.wit",
    ];
    run(copy.args(&files[..3]).arg(checkout).current_dir(root()));
    let directory = checkout.join("files");
    // As many bytes as before, so the component stays one.
    let other = VERSION.replace(|digit: char| digit.is_ascii_digit(), "9");
    for name in files {
        let mut sed = Command::new("sed");
        sed.arg("--in-place").arg(format!("s/{VERSION}/{other}/g"));
        run(sed.arg(name).current_dir(checkout).env("LC_ALL", "C"));
        let output = release(checkout, Some(&directory));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            stderr,
            format!(
                "release: the version is {VERSION} in Cargo.toml, and in {name} it is {other}\n"
            )
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(!directory.exists(), "{}", directory.display());
        fs::copy(root().join(name), checkout.join(name)).expect("it can be copied");
    }
}

#[test]
fn the_crate_for_crates_io_has_the_contract_and_the_component_in_it() {
    let target = tempdir().expect("a directory");
    let mut package = Command::new(env!("CARGO"));
    package
        .args([
            "package",
            "--quiet",
            "--locked",
            "--no-verify",
            "--allow-dirty",
        ])
        .args(["--package", "eventout", "--target-dir"])
        .arg(target.path())
        .current_dir(root());
    run(&mut package);
    let name = format!("eventout-{}", env!("CARGO_PKG_VERSION"));
    let packages = target.path().join("package");
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(format!("{name}.crate"));
    run(unpack.current_dir(&packages));
    // They are links to outside of the package.
    for (inside, outside) in [
        ("eventout.wasm", "guest/eventout.wasm"),
        ("wit/world.wit", "wit/world.wit"),
        ("wit/types.wit", "wit/types.wit"),
        ("wit/sandbox.wit", "wit/sandbox.wit"),
        ("wit/events.wit", "wit/events.wit"),
        ("wit/format.wit", "wit/format.wit"),
        ("README.md", "host/README.md"),
        ("LICENSE", "LICENSE"),
    ] {
        let packed = fs::read(packages.join(&name).join(inside)).expect(inside);
        let original = fs::read(root().join(outside)).expect(outside);
        assert!(packed == original, "{inside} is not {outside}");
    }
    let manifest = fs::read_to_string(packages.join(&name).join("Cargo.toml"));
    let manifest = manifest.expect("a package has one");
    assert!(!manifest.contains("path = \".."), "{manifest}");
}
