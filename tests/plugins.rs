//! Components that are not ours, most of them hostile: each made of a core module in text.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use eventout::{
    Component, ErrorKind, Format, Formatter, Limits, Monitor, Plugin, Result, SourceSpec,
    StatsEvent,
};
use tests::{eventout, program, root, scratch};

/// The body of an `event` with CPU time of 1,500 containers, whose IDs are all the same 28,000 bytes.
const AVALANCHE: &str = "(local $at i32)
    (local.set $at (i32.const 32768))
    (loop $next
        (i32.store (local.get $at) (i32.const 4096))
        (i32.store offset=4 (local.get $at) (i32.const 28000))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 56768))))
    ;; The result at 128: ok, an event whose list of usage begins 40 bytes later.
    (i32.store (i32.const 168) (i32.const 32768))
    (i32.store (i32.const 172) (i32.const 1500))
    (i32.const 128)";

/// What a component can import, and with which parameters of core wasm.
const IMPORTS: [(&str, &str); 7] = [
    ("pids-count", "i32 i32 i32"),
    ("memory-usage", "i32"),
    ("container-count", "i32"),
    ("root-container", "i32"),
    ("cpu-usage", "i32"),
    ("cgroup-cpu-usage", "i32"),
    ("container-stats", "i32 i32 i32"),
];

/// The module of a component that exports our interface. Its function `stats-json` has `body`, which
/// leaves the address of the result; `items` stand beside the functions. The other functions trap.
fn module(body: &str, items: &str) -> String {
    let function = |name: &str, parameters: &str, body: &str| {
        format!(
            r#"(func (export "eventout:stats/events@0.1.0#{name}") (param {parameters}) (result i32)
                {body})"#
        )
    };
    format!(
        r#"(module
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 4096))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $next))
                (global.set $next (i32.and
                    (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7))
                    (i32.const -8)))
                (local.get $at))
            ;; The result at 64: ok, with the string at 80.
            (func $answer (param $length i32) (result i32)
                (i32.store8 (i32.const 64) (i32.const 0))
                (i32.store (i32.const 68) (i32.const 80))
                (i32.store (i32.const 72) (local.get $length))
                (i32.const 64))
            (data (i32.const 80) "hello")
            {}
            {}
            {}
            {}
            {}
            {items})"#,
        function("event", "i32 i32", "unreachable"),
        function("event-json", "i32 i32", "unreachable"),
        function("stats", "i32 i32", "unreachable"),
        function("stats-json", "i32 i32 i32", body),
        function("oom-json", "i32 i32", "unreachable"),
    )
}

/// The component made of the text of a module, which claims to be of that world.
fn component(module: &str, world: &str) -> Vec<u8> {
    let module = wat::parse_str(module).expect("it is a module");
    let others = "package other:other;
        world other { import nobody: func(); }
        world wasi { import wasi:cli/environment@0.2.0; }
        package wasi:cli@0.2.0 {
            interface environment { initial-cwd: func() -> option<string>; }
        }";
    tests::component(module, world, others)
}

/// A component of the world `formatter`. Its function has `body`, which leaves the address of the result.
fn formatter(directory: &Path, name: &str, body: &str) -> PathBuf {
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "eventout:stats/format@0.1.0#format") (param i32) (result i32)
                {body}
                (i32.const 64))
            ;; At 64 a result, with the string at 80.
            (data (i32.const 64) "\00\00\00\00\50\00\00\00\05\00\00\00\00\00\00\00hello"))"#
    );
    let file = directory.join(name).with_extension("wasm");
    fs::write(&file, component(&module, "formatter")).expect("it can be written");
    file
}

/// The component in a file that computes events.
fn load(file: &Path, limits: Limits) -> Result<Component> {
    match Plugin::from_file(file, limits)? {
        Plugin::Events(component) => Ok(component),
        Plugin::Formatter(_) => panic!("it is a formatter"),
    }
}

fn load_formatter(file: &Path) -> Formatter {
    match Plugin::from_file(file, Limits::default()) {
        Ok(Plugin::Formatter(formatter)) => formatter,
        Ok(Plugin::Events(_)) => panic!("it computes events"),
        Err(e) => panic!("{e:?}"),
    }
}

/// What a command printed, and the most memory that it had, in KiB.
fn run(mut command: Command) -> (Output, u64) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("it is our child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let value = line.and_then(|line| line.split_whitespace().next());
        peak = peak.max(value.and_then(|kib| kib.parse().ok()).unwrap_or(0));
        thread::sleep(Duration::from_millis(1));
    }
    (child.wait_with_output().expect("it has ended"), peak)
}

fn plugin(directory: &Path, name: &str, body: &str, items: &str) -> PathBuf {
    let file = directory.join(name).with_extension("wasm");
    fs::write(&file, component(&module(body, items), "eventout")).expect("it can be written");
    file
}

/// Runs the program with that component: one clear error, soon and in little memory, that names the component,
/// the container and the reason.
#[track_caller]
fn fails(file: &Path, says: &str) {
    let path = file.display().to_string();
    let mut command = program();
    command
        .args(["--source", "demo", "events", "--component", &path])
        .args(["--stats", "web"]);
    let begun = Instant::now();
    let (output, peak) = run(command);
    let took = begun.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{path}: {stderr}");
    assert!(
        output.stdout.is_empty(),
        "{path} printed {:?}",
        output.stdout
    );
    assert!(stderr.starts_with("error: "), "{path}: {stderr}");
    assert!(!stderr.contains("panicked"), "{path}: {stderr}");
    assert!(!stderr.contains('\u{1b}'), "{path}: {stderr:?}");
    for text in [path.as_str(), says] {
        assert!(stderr.contains(text), "no {text:?} in {stderr}");
    }
    assert!(
        stderr.len() < 2000,
        "{} bytes: {}...",
        stderr.len(),
        &stderr[..1000]
    );
    // The limit is a second. The machine may be busy.
    assert!(took < Duration::from_secs(5), "{path} took {took:?}");
    assert!(peak < 256 << 10, "{path} took {peak} KiB");
}

#[test]
fn any_component_with_our_interface_runs() {
    let directory = scratch("hello");
    let file = plugin(&directory, "hello", "(call $answer (i32.const 5))", "");
    let path = file.display().to_string();
    let output = eventout([
        "--source",
        "demo",
        "events",
        "--component",
        &path,
        "--stats",
        "web",
    ]);
    assert_eq!(tests::printed(&output), "hello\n");
    let ours = root().join("guest/eventout.wasm").display().to_string();
    let args = ["--source", "demo", "events", "--all", "--stats"];
    let loaded = eventout(args.iter().copied().chain(["--component", &ours]));
    assert_eq!(tests::printed(&loaded), tests::printed(&eventout(args)));
}

#[test]
fn what_a_component_can_not_do_it_is_not_asked_again() {
    let directory = scratch("unsupported");
    let body = r"(drop (call $answer (i32.const 5)))
        (i32.store8 (i32.const 64) (i32.const 1))
        (i32.store8 (i32.const 68) (i32.const 3))
        (i32.store (i32.const 72) (i32.const 80))
        (i32.store (i32.const 76) (i32.const 5))
        (i32.const 64)";
    let file = plugin(&directory, "refuses", body, "")
        .display()
        .to_string();
    for (ids, errors) in [("web", 1), ("--all", 3)] {
        let events = ["events", "--component", &file, "--interval=1h", ids];
        let output = eventout(["--source", "demo"].iter().chain(&events));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.matches("0: hello\n").count(), errors, "{stderr}");
    }
}

#[test]
fn whatever_a_component_does_is_one_error_within_a_bounded_time() {
    let directory = scratch("hostile");
    let plugin = |name: &str, body: &str, items: &str| plugin(&directory, name, body, items);
    let context = "cannot get stats of container \"web\"";

    let file = plugin("traps", "unreachable", "");
    fails(&file, context);
    fails(&file, "unreachable");
    let file = plugin("loops", "(loop (br 0)) unreachable", "");
    fails(&file, context);
    fails(&file, "took longer than 1s");
    let start = r"(func $forever (loop (br 0))) (start $forever)";
    fails(
        &plugin("loops-at-start", "unreachable", start),
        "took longer than 1s",
    );
    let body = "(call $down (i32.const 0))";
    let items =
        "(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))";
    fails(&plugin("recurses", body, items), "call stack exhausted");
    let body = "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable";
    fails(
        &plugin("eats-memory", body, ""),
        "it needs more than 67108864 bytes of memory",
    );
    let large = module("unreachable", "").replace("\"memory\") 1)", "\"memory\") 2000)");
    let file = directory.join("begins-large.wasm");
    fs::write(&file, component(&large, "eventout")).expect("it can be written");
    fails(&file, "it needs more than 67108864 bytes of memory");
    let items = "(table $t 1 funcref) (func $eat (result i32)
        (loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0)) unreachable)";
    fails(
        &plugin("eats-tables", "(call $eat)", items),
        "it needs a table of more than",
    );
    let body = "(call $answer (i32.const 1073741824))";
    fails(&plugin("answers-a-gigabyte", body, ""), "out of bounds");
    fails(
        &plugin("answers-from-nowhere", "(i32.const -4)", ""),
        "out of bounds",
    );
    // `event` is the first function.
    let many = module("unreachable", "").replacen("unreachable", AVALANCHE, 1);
    let file = directory.join("answers-an-avalanche.wasm");
    fs::write(&file, component(&many, "eventout")).expect("it can be written");
    let hostile = load(&file, Limits::default()).expect("it is a component");
    let source = SourceSpec::Demo.open().expect("there is a demo");
    let mut events = Monitor::new(&hostile, source);
    let mut sample = events.sample().expect("a demo");
    let error = sample.event("web").expect_err("it is too much");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    let error = format!("{error:#}");
    assert!(
        error.contains("returned more than 33554432 bytes"),
        "{error}"
    );
    // Each function of the host, ten million times if there were no end to its patience.
    let mut calls = String::new();
    for (at, (name, parameters)) in IMPORTS.iter().enumerate() {
        let arguments = "(i32.const 80) ".repeat(parameters.split_whitespace().count() - 1);
        let _ = writeln!(calls, "(call ${at} {arguments} (i32.const 1024)) ;; {name}");
    }
    let items = IMPORTS.iter().enumerate().map(|(at, (name, parameters))| {
        format!(
            "(import \"eventout:stats/sandbox@0.1.0\" \"{name}\" (func ${at} (param {parameters})))"
        )
    });
    let asks = module(
        &format!(
            "(local $left i32) (local.set $left (i32.const 10000000))
            (loop $again {calls}
                (global.set $next (i32.const 4096))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (call $answer (i32.const 5))"
        ),
        "",
    );
    let asks = asks.replacen(
        "(module",
        &format!("(module {}", items.collect::<String>()),
        1,
    );
    let file = directory.join("calls-a-million-times.wasm");
    fs::write(&file, component(&asks, "eventout")).expect("it can be written");
    fails(&file, "took longer than 1s");
    let name = "\u{1b}[2Jclears\nthe-screen";
    let file = plugin(name, "unreachable", "");
    let output = eventout([
        "--source".as_ref(),
        "demo".as_ref(),
        "events".as_ref(),
        "--component".as_ref(),
        file.as_os_str(),
        "web".as_ref(),
        "--stats".as_ref(),
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("\u{fffd}[2Jclears\u{fffd}the-screen"),
        "{stderr}"
    );
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
    let body = "(i32.store8 (i32.const 80) (i32.const 255)) (call $answer (i32.const 5))";
    fails(&plugin("answers-garbage", body, ""), "utf-8");
    let body = "(drop (call $answer (i32.const 5))) (i32.store8 (i32.const 64) (i32.const 7)) (i32.const 64)";
    fails(&plugin("answers-no-result", body, ""), "discriminant");
    let body = "(i32.store8 (i32.const 81) (i32.const 10)) (call $answer (i32.const 5))";
    fails(&plugin("answers-two-lines", body, ""), "more than one line");
    let body = "(i32.store8 (i32.const 81) (i32.const 27)) (call $answer (i32.const 5))";
    fails(&plugin("answers-an-escape", body, ""), "control characters");
    // The error of 60,000 letters, of which the program shows the first ones.
    let body = r"(memory.fill (i32.const 80) (i32.const 97) (i32.const 60000))
        (drop (call $answer (i32.const 60000)))
        (i32.store8 (i32.const 64) (i32.const 1))
        (i32.store8 (i32.const 68) (i32.const 2))
        (i32.store (i32.const 72) (i32.const 80))
        (i32.store (i32.const 76) (i32.const 60000))
        (i32.const 64)";
    let path = plugin("tells-a-long-story", body, "").display().to_string();
    let output = eventout([
        "--source",
        "demo",
        "events",
        "--component",
        &path,
        "--stats",
        "web",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("aaaaaaaa") && stderr.len() < 2000,
        "{} bytes",
        stderr.len()
    );
}

#[test]
fn a_component_gives_events_a_form_of_its_own() {
    let directory = scratch("formatters");
    let run = |file: &Path, more: &[&str]| {
        let file = file.display().to_string();
        let args = [
            "--source",
            "demo",
            "events",
            "--component",
            &file,
            "--stats",
        ];
        eventout(args.iter().chain(more))
    };
    let hello = formatter(&directory, "hello", "");
    assert_eq!(
        tests::printed(&run(&hello, &["--all"])),
        "hello\n".repeat(3)
    );
    let silent = formatter(
        &directory,
        "silent",
        "(i32.store (i32.const 72) (i32.const 0))",
    );
    assert_eq!(tests::printed(&run(&silent, &["--all"])), "");

    // Its own errors, and those of the container, for which it is not called.
    let refuses = formatter(
        &directory,
        "refuses",
        "(i32.store8 (i32.const 64) (i32.const 1))",
    );
    fails(&refuses, "0: hello\n");
    fails(&refuses, "cannot format stats of container \"web\"");
    fails(
        &formatter(&directory, "traps", "unreachable"),
        "unreachable",
    );
    fails(
        &formatter(&directory, "loops", "(loop (br 0))"),
        "took longer than 1s",
    );
    let output = run(&hello, &["nobody", "web"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("container \"nobody\" not found"),
        "{stderr}"
    );
    assert_eq!(output.stdout, b"hello\n");
    let output = run(&hello, &["web", "--format=runc"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("a format of its own"), "{stderr}");

    // After a failure, the next call has a new instance.
    let body = "(if (i32.load (i32.const 128)) (then unreachable))
        (i32.store (i32.const 128) (i32.const 1))";
    let mut once = load_formatter(&formatter(&directory, "once", body));
    for _ in 0..3 {
        let event = StatsEvent::default();
        assert_eq!(once.format(&event).expect("the first call works"), "hello");
        once.format(&event).expect_err("the second call fails");
    }
}

#[test]
fn a_component_that_never_frees_goes_on() {
    // Each call takes a MiB and keeps it.
    let body = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))";
    let file = formatter(&scratch("leaks"), "leaks", body);
    let mut leaks = load_formatter(&file);
    for _ in 0..200 {
        let text = leaks.format(&StatsEvent::default());
        assert_eq!(text.expect("64 MiB are enough"), "hello");
    }
}

#[test]
fn limits_have_flags() {
    let directory = scratch("limit-flags");
    let loops = plugin(&directory, "loops", "(loop (br 0)) unreachable", "");
    let body = "(drop (memory.grow (i32.const 100))) (call $answer (i32.const 5))";
    let grows = plugin(&directory, "grows", body, "");
    let long = "(memory.fill (i32.const 80) (i32.const 97) (i32.const 5000)) (call $answer (i32.const 5000))";
    let long = plugin(&directory, "long", long, "");
    let ours = root().join("guest/eventout.wasm");
    let run = |file: &Path, flags: &[&str]| {
        let file = file.display().to_string();
        let args = ["--source=demo", "events", "--component", &file];
        let events = ["web", "--stats"];
        eventout(args.iter().chain(&events).chain(flags))
    };
    for (file, flag, says) in [
        (&loops, "--limit-time=50ms", "took longer than 50ms"),
        (
            &grows,
            "--limit-memory=2MiB",
            "more than 2097152 bytes of memory",
        ),
        (
            &long,
            "--limit-output=4999",
            "returned more than 4999 bytes",
        ),
        (
            &ours,
            "--limit-instances=1",
            "more than 1 core modules, memories or tables",
        ),
    ] {
        let output = run(file, &[flag]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(says), "{says}: {stderr}");
        let file = file.display().to_string();
        assert!(stderr.contains(&file), "{stderr}");
    }
    for file in [&grows, &long, &ours] {
        tests::printed(&run(file, &[]));
    }
    for flag in [
        "--limit-memory=64MB",
        "--limit-memory=",
        "--limit-output=99999999999GiB",
        "--limit-time=0",
    ] {
        let output = eventout(["--source=demo", "events", "web", "--stats", flag]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
    }
}

#[test]
fn precompiled_code_is_kept_where_nobody_else_can_write() {
    let directory = scratch("compiled");
    let file = plugin(&directory, "hello", "(call $answer (i32.const 5))", "");
    let home = directory.join("home");
    fs::create_dir(&home).expect("a directory");
    let run = |file: &Path| {
        let mut command = program();
        command
            .env("HOME", &home)
            .env_remove("XDG_CACHE_HOME")
            .args(["--source=demo", "events", "web", "--stats", "--component"])
            .arg(file);
        let output = command.output().expect("the program runs");
        tests::printed(&output).to_owned()
    };
    let hello = || assert_eq!(run(&file), "hello\n");
    let cache = home.join(".cache/eventout");
    let kept = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&cache).expect("it is there");
        entries
            .map(|entry| entry.expect("it is read").path())
            .collect()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    hello();
    let first = kept();
    let [code] = &first[..] else {
        panic!("{first:?}");
    };
    let made = fs::read(code).expect("it is there");
    let identity = || fs::metadata(code).expect("it is there").ino();
    let then = identity();
    hello();
    assert_eq!(
        (kept(), identity()),
        (first.clone(), then),
        "it is used again"
    );

    // What is not precompiled code, or of which others may have written some, is made again.
    fs::write(code, b"hello").expect("it is ours");
    hello();
    assert_eq!(fs::read(code).expect("it is there"), made);
    mode(code, 0o620);
    hello();
    let now = fs::metadata(code).expect("it is there").mode();
    assert_eq!(now & 0o777, 0o600);
    let elsewhere = directory.join("elsewhere");
    fs::rename(code, &elsewhere).expect("it is ours");
    symlink(&elsewhere, code).expect("a link");
    hello();
    assert!(
        !fs::symlink_metadata(code)
            .expect("it is there")
            .is_symlink()
    );
    // Code under the name of other code is not believed, nor what is in a directory where others can write.
    let short = plugin(&directory, "short", "(call $answer (i32.const 4))", "");
    assert_eq!(run(&short), "hell\n");
    let other = kept().into_iter().find(|path| path != code);
    fs::rename(other.expect("it is kept too"), code).expect("it is ours");
    hello();
    mode(&cache, 0o770);
    hello();
    // Neither followed nor written to is what a link leads to.
    let away = directory.join("away");
    fs::rename(&cache, &away).expect("it is ours");
    mode(&away, 0o700);
    symlink(&away, &cache).expect("a link");
    hello();
}

#[test]
fn what_is_not_a_component_of_ours_is_an_error() {
    let directory = scratch("strangers");
    let write = |name: &str, bytes: &[u8]| {
        let file = directory.join(name);
        fs::write(&file, bytes).expect("it can be written");
        file
    };
    let ours = fs::read(root().join("guest/eventout.wasm")).expect("it is there");
    let core = wat::parse_str("(module)").expect("it is a module");
    let empty = wat::parse_str("(component)").expect("it is a component");
    let strange = "(module (import \"$root\" \"nobody\" (func)))";
    let wasi = "(module
        (import \"wasi:cli/environment@0.2.0\" \"initial-cwd\" (func (param i32)))
        (memory (export \"memory\") 1)
        (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable))";
    for (name, bytes, says) in [
        ("empty", Vec::new(), "cannot use component"),
        ("text", b"hello".to_vec(), "cannot use component"),
        ("truncated", ours[..1000].to_vec(), "cannot use component"),
        ("core", core, "cannot use component"),
        ("lacks-exports", empty, "eventout:stats/events@0.1.0"),
        (
            "imports-what-nobody-offers",
            component(strange, "other:other/other"),
            "nobody",
        ),
        // A name that a terminal would act on.
        (
            "clears-the-screen",
            wat::parse_str(
                r#"(component
                    (import "url=<\1b[2J>" (func))
                    (instance $events)
                    (export "eventout:stats/events@0.1.0" (instance $events)))"#,
            )
            .expect("it is one"),
            "[2J",
        ),
        // Neither files, nor the environment, nor a network.
        (
            "imports-wasi",
            component(wasi, "other:other/wasi"),
            "wasi:cli/environment@0.2.0",
        ),
    ] {
        fails(&write(name, &bytes), says);
    }
    fails(&directory.join("absent.wasm"), "No such file");
    fails(&directory, "Is a directory");
}

#[test]
fn after_a_failure_the_next_call_has_a_new_instance() {
    // Its second call of an instance traps.
    let body = r"(if (global.get $used) (then unreachable))
        (global.set $used (i32.const 1))
        (call $answer (i32.const 5))";
    let items = "(global $used (mut i32) (i32.const 0))";
    let file = plugin(&scratch("once"), "once", body, items);
    let component = load(&file, Limits::default()).expect("it is one");
    let source = SourceSpec::Demo.open().expect("there is a demo");
    let mut events = Monitor::new(&component, source);
    let mut call = || {
        events
            .sample()
            .expect("a demo")
            .stats_json("web", Format::Gvisor)
    };
    for _ in 0..3 {
        assert_eq!(call().expect("the first call works"), "hello");
        let error = call().expect_err("the second call fails");
        assert_eq!(error.kind(), ErrorKind::Component, "{error:?}");
        let error = format!("{error:#}");
        for text in [
            "container \"web\"",
            &file.display().to_string(),
            "unreachable",
        ] {
            assert!(error.contains(text), "no {text:?} in {error}");
        }
    }
}

#[test]
fn limits_are_the_embedders() {
    let directory = scratch("limits");
    let file = plugin(&directory, "loops", "(loop (br 0)) unreachable", "");
    let limits = Limits {
        time: Duration::from_millis(100),
        ..Limits::default()
    };
    let component = load(&file, limits).expect("it is one");
    let mut events = Monitor::new(&component, SourceSpec::Demo.open().expect("a demo"));
    let mut call = || {
        events
            .sample()
            .expect("a demo")
            .stats_json("web", Format::Gvisor)
    };
    for _ in 0..3 {
        let begun = Instant::now();
        let error = call().expect_err("it doesn't end");
        let took = begun.elapsed();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
        let error = format!("{error:#}");
        assert!(error.contains("took longer than 100ms"), "{error}");
        // Not before its time, and not long after: the machine may be busy.
        assert!(
            took >= Duration::from_millis(100) && took < Duration::from_secs(5),
            "{took:?}"
        );
    }

    let limits = Limits {
        memory: 1 << 18,
        ..Limits::default()
    };
    let component = Component::builtin(limits).expect("ours is small");
    let mut events = Monitor::new(&component, SourceSpec::Demo.open().expect("a demo"));
    events
        .sample()
        .expect("a demo")
        .stats("web")
        .expect("256 KiB are enough");
    let component = Component::builtin(Limits {
        memory: 1 << 16,
        ..Limits::default()
    });
    let mut events = Monitor::new(
        &component.expect("it compiles"),
        SourceSpec::Demo.open().expect("a demo"),
    );
    let error = events
        .sample()
        .expect("a demo")
        .stats("web")
        .expect_err("a page is not enough");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    assert!(
        format!("{error:#}").contains("more than 65536 bytes of memory"),
        "{error:#}"
    );
}
