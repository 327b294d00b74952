//! The files of a release, as `tests/release` makes them: each is used as others get it, outside the checkout and
//! without anything from it, and what it computes is what Go does.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tests::{can_run, eventout, printed, root, run, scratch};
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{PackageId, Resolve};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The container of `goldens/one.jsonl`, as a host of one's own tells of it.
const PYTHON: &str = r#"
import eventout

class One:
    def pids_count(self, container):
        if container != "c1":
            raise eventout.ContainerNotFound
        return 3

    def memory_usage(self):
        return 10485760

    def container_count(self):
        return 1

    def root_container(self):
        return "c1"

    def cpu_usage(self):
        return [("c1", 120000000)]

    def cgroup_cpu_usage(self):
        return 123456789

    def container_stats(self, container):
        return None

events = eventout.Events()
print(events.event_json(One(), "c1"))
print(events.stats_json(One(), "c1", "gvisor"))
print(events.stats_json(One(), "c1", "runc"))
"#;

/// The same.
const JAVASCRIPT: &str = "
import { EventoutError, load } from 'eventout';

const events = await load({
  pidsCount(container) {
    if (container !== 'c1') throw new EventoutError('container-not-found');
    return 3n;
  },
  memoryUsage: () => 10485760n,
  containerCount: () => 1n,
  rootContainer: () => 'c1',
  cpuUsage: () => [['c1', 120000000n]],
  cgroupCpuUsage: () => 123456789n,
  containerStats: () => undefined,
});
console.log(events.eventJson('c1'));
console.log(events.statsJson('c1', 'gvisor'));
console.log(events.statsJson('c1', 'runc'));
";

/// What Go makes of that container: the lines that both print.
fn expected() -> String {
    let scenario = root().join("tests/goldens/one.jsonl");
    ["event-out", "stats", "runc"]
        .map(|kind| fs::read_to_string(scenario.with_extension(kind)).expect("it is there"))
        .concat()
}

/// What `tests/release` of that checkout does.
fn release(checkout: &Path, directory: &Path) -> Output {
    Command::new(checkout.join("tests/release"))
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .expect("bash is there")
}

/// The directory with the files. `None` where the machine lacks what it takes to make them.
fn files() -> Option<PathBuf> {
    static FILES: OnceLock<Option<PathBuf>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let directory = scratch("files");
        let output = release(&root(), &directory);
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(3) {
            can_run(stderr.trim_end());
            return None;
        }
        assert!(output.status.success(), "{}: {stderr}", output.status);
        Some(directory)
    });
    files.clone()
}

#[test]
fn the_files_are_those_of_the_checksums() {
    let Some(files) = files() else { return };
    let mut names: Vec<_> = fs::read_dir(&files)
        .expect("it is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .collect();
    names.sort();
    let expected = [
        "SHA256SUMS".to_owned(),
        format!("eventout-{VERSION}-py3-none-any.whl"),
        format!("eventout-{VERSION}.tgz"),
        format!("eventout-stats-{VERSION}.wasm"),
        format!("eventout-stats-{VERSION}.wit"),
        "eventout.wasm".to_owned(),
    ];
    assert_eq!(names, expected.clone().map(OsString::from));
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = run(check.current_dir(&files).env("LC_ALL", "C"));
    let good: String = expected[1..]
        .iter()
        .map(|name| format!("{name}: OK\n"))
        .collect();
    assert_eq!(checked, good);
    let ours = fs::read(root().join("guest/eventout.wasm")).expect("it is there");
    let copy = fs::read(files.join("eventout.wasm")).expect("it is there");
    assert!(copy == ours, "it is not the component");
}

#[test]
fn the_same_sources_make_the_same_bytes() {
    let Some(files) = files() else { return };
    let again = scratch("again");
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask 077 && exec "$0" "$1""#]);
    shell.arg(root().join("tests/release")).arg(&again);
    shell.env("TZ", "Asia/Tokyo");
    let sums = fs::read_to_string(files.join("SHA256SUMS")).expect("they are there");
    assert_eq!(run(&mut shell), sums);
}

/// The package as text, all docs included.
fn text(resolve: &Resolve, package: PackageId) -> String {
    let mut printer = WitPrinter::default();
    printer
        .print(resolve, package, &[])
        .expect("it can be printed");
    printer.output.into()
}

#[test]
fn the_packages_of_the_contract_are_the_contract() {
    let Some(files) = files() else { return };
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(root().join("wit"))
        .expect("the WIT is valid");
    let contract = text(&resolve, package);
    for world in ["world eventout {", "world formatter {"] {
        assert!(contract.contains(world), "no {world} in {contract}");
    }

    let file = files.join(format!("eventout-stats-{VERSION}.wasm"));
    let decoded = wit_component::decode(&fs::read(file).expect("it is there"));
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
    let Some(files) = files() else { return };
    let component = files.join("eventout.wasm").display().to_string();
    let scenario = root().join("tests/goldens/one.jsonl");
    let spec = format!("scenario:{}", scenario.display());
    let lines = [
        "--format=gvisor-event-out",
        "--format=gvisor",
        "--format=runc",
    ]
    .map(|flag| {
        let output = eventout([
            "--source",
            &spec,
            "events",
            "--component",
            &component,
            "--stats",
            flag,
            "c1",
        ]);
        printed(&output).to_owned()
    });
    assert_eq!(lines.concat(), expected());
}

#[test]
fn the_wheel_runs_where_it_is_installed() {
    let Some(files) = files() else { return };
    let venv = scratch("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    run(Command::new(venv.join("bin/pip"))
        .args(["--quiet", "--disable-pip-version-check", "install"])
        .arg(files.join(format!("eventout-{VERSION}-py3-none-any.whl"))));
    // Isolated: what is in this directory and in the environment counts for nothing.
    let mut python = Command::new(venv.join("bin/python"));
    assert_eq!(run(python.args(["-I", "-c", PYTHON])), expected());
    fs::remove_dir_all(venv).expect("it can be removed");
}

#[test]
fn the_tarball_runs_where_it_is_installed() {
    let Some(files) = files() else { return };
    let directory = scratch("npm");
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund"]);
    install.arg(files.join(format!("eventout-{VERSION}.tgz")));
    run(install.current_dir(&directory));
    fs::write(directory.join("user.mjs"), JAVASCRIPT).expect("it can be written");
    let mut node = Command::new("node");
    node.arg("user.mjs").current_dir(&directory);
    assert_eq!(run(node.env_remove("NODE_PATH")), expected());
    fs::remove_dir_all(directory).expect("it can be removed");
}

#[test]
fn a_version_that_differs_is_told_before_anything_is_made() {
    if files().is_none() {
        return;
    }
    // What the script reads until then, and what cargo wants to see of the workspace.
    let checkout = scratch("checkout");
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
    run(copy.args(&files[..3]).arg(&checkout).current_dir(root()));
    let directory = checkout.join("files");
    // As many bytes as before, so the component stays one.
    let other = VERSION.replace(|digit: char| digit.is_ascii_digit(), "9");
    for name in files {
        let mut sed = Command::new("sed");
        sed.arg("--in-place").arg(format!("s/{VERSION}/{other}/g"));
        run(sed.arg(name).current_dir(&checkout).env("LC_ALL", "C"));
        let output = release(&checkout, &directory);
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
    let target = scratch("package");
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
        .arg(&target)
        .current_dir(root());
    run(&mut package);
    let name = format!("eventout-{}", env!("CARGO_PKG_VERSION"));
    let packages = target.join("package");
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
        ("README.md", "README.md"),
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
