//! Cgroup v2 with every controller: a virtual machine that has nothing else, for the tests beside this.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;
use tests::{Eventout, RUNSC, can_run, fixture, judge, missing, root, run, runsc};

/// Copies a program into the root directory of a machine as /usr/bin/NAME, with its libraries.
fn install(root: &Path, name: &str, program: &Path) {
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().expect("it has one")).expect("a directory");
        fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    };
    copy(program, &root.join("usr/bin").join(name));
    // It fails for a program without any.
    let libraries = Command::new("ldd").arg(program).output().expect("it runs");
    let libraries = String::from_utf8(libraries.stdout).expect("it prints UTF-8");
    for library in libraries.split_ascii_whitespace() {
        if let Some(to) = library.strip_prefix('/') {
            copy(Path::new(library), &root.join(to));
        }
    }
}

/// A virtual machine of two processors, emulated: Linux with the tests beside this, whose only cgroup hierarchy is
/// v2, with every controller, pressure and huge pages, and with a disk.
#[test]
#[ignore = "starts a virtual machine: tests/run runs it"]
fn on_a_machine_of_pure_v2_all_this_holds_too() {
    let programs = ["runc", "crun", "busybox", "jq", "ip", "nsenter", "timeout"];
    let emulator = "qemu-system-x86_64";
    let needed = [&programs[..], &[emulator, "cpio"]].concat();
    if !can_run(&missing(&needed)) {
        return;
    }
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let boot = fs::read_dir(root().join("target/tools/kernel/boot"));
    let files = boot.into_iter().flatten().filter_map(Result::ok);
    let Some(kernel) = files
        .map(|file| file.path())
        .find(|file| file.to_string_lossy().contains("/vmlinuz-"))
    else {
        return assert!(!can_run("there is no kernel (see tests/run)"));
    };
    let Some(judge) = judge() else { return };

    let temporary = tempdir().expect("a directory");
    let directory = temporary.path();
    let machine = directory.join("initial/machine");
    let made = "bin dev proc sys run tmp usr/bin".split(' ');
    for made in made {
        fs::create_dir_all(machine.join(made)).expect("a directory");
    }
    for name in programs {
        let path = run(Command::new("sh").args(["-c", "command -v \"$0\"", name]));
        install(&machine, name, Path::new(path.trim()));
    }
    let live = std::env::current_exe().expect("it runs");
    install(&machine, "live", &live);
    let eventout = Eventout::new().into_command();
    // The tests find these in the machine by `EVENTOUT_TOOLS`.
    let runsc_name = format!("runsc-{}", RUNSC[1]);
    for (name, program) in [
        ("judge", judge.as_path()),
        ("eventout", Path::new(eventout.get_program())),
        (&runsc_name, &runsc),
    ] {
        install(&machine, name, program);
    }
    fs::copy("/bin/busybox", machine.join("bin/busybox")).expect("it can be copied");
    fs::copy("/bin/busybox", directory.join("initial/busybox")).expect("it can be copied");
    fs::create_dir(directory.join("initial/new")).expect("a directory");
    for (script, to) in [
        ("machine/unpack", directory.join("initial/init")),
        ("machine/init", machine.join("init")),
    ] {
        fs::copy(fixture(script), to).expect("it can be copied");
    }
    run(Command::new("sh")
        .args(["-c", "find . | cpio --quiet -o -H newc >../image"])
        .current_dir(directory.join("initial")));
    let disk = fs::File::create(directory.join("disk")).expect("a file");
    disk.set_len(512 << 20).expect("it grows");

    let status = Command::new("timeout")
        // It takes three minutes. The machine may be busy.
        .args(["--signal=KILL", "2400", emulator])
        // One thread for both CPUs. With one each, a CPU executes an old translation of code that the other one has patched
        // (static keys, as of the first CPU quota), and once in some runs the kernel crashes.
        // Kernels crash early, more often than not, where QEMU 7.2 emulates their CMPXCHG16B.
        .args([
            "-M",
            "q35",
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max,cx16=off",
        ])
        .args(["-smp", "2", "-m", "2500"])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-serial", "file:console", "-serial", "file:output"])
        .args(["-drive", "file=disk,format=raw,if=none,id=disk"])
        .args(["-device", "nvme,drive=disk,serial=disk"])
        .arg("-kernel")
        .arg(kernel)
        .args(["-initrd", "image", "-append"])
        .arg("console=ttyS0 quiet panic=1 mitigations=off nokaslr")
        .current_dir(directory)
        .stdin(Stdio::null())
        .status()
        .expect("it runs");
    let read = |name: &str| {
        let text = fs::read(directory.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\r', "")
    };
    let (console, output) = (read("console"), read("output"));
    let console: Vec<&str> = console.lines().collect();
    let console = console[console.len().saturating_sub(30)..].join("\n");
    println!("{output}");
    assert!(
        output.contains("exit code 0 "),
        "the machine ended with {status}; its console's last lines:\n{console}"
    );
    assert!(output.contains("test result: ok. 10 passed"));
    assert!(!output.contains("NOT RUN"));
}
