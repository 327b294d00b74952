//! Third-party components, most of them hostile: whatever one does is one clear error, within limits.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use eventout::{
    Component, ErrorKind, Format, Formatter, Limits, Monitor, Plugin, SourceSpec, StatsEvent,
};
use tempfile::tempdir;
use tests::{Eventout, Finished, artifact, component, formatter, stranger};

fn demo() -> Eventout {
    Eventout::new().source("demo")
}

/// A call for an event of one container, formatted or computed by that component.
fn stats(component: &Path) -> Eventout {
    demo().events(["web"]).component(component).stats()
}

/// Runs the program with that component, which must fail with one error that names the component, soon and in
/// little memory.
#[track_caller]
fn fails(component: &Path) -> Finished {
    let begun = Instant::now();
    let mut call = stats(component).start();
    let status = format!("/proc/{}/status", call.id());
    let mut peak = 0;
    while call.is_running() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        peak = peak.max(kib.and_then(|kib| kib.parse().ok()).unwrap_or(0));
        thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    let end = call.wait();
    end.fails(1);
    // The limit is a second. The machine may be busy.
    assert!(took < Duration::from_secs(20), "{took:?}: {end:?}");
    assert!(peak < 256 << 10, "{peak} KiB: {end:?}");
    end
}

/// Loads a component that computes events.
fn load(file: &Path, limits: Limits) -> Component {
    match Plugin::from_file(file, limits) {
        Ok(Plugin::Events(component)) => component,
        Ok(Plugin::Formatter(_)) => panic!("it is a formatter"),
        Err(e) => panic!("{e:?}"),
    }
}

fn load_formatter(file: &Path) -> Formatter {
    match Plugin::from_file(file, Limits::default()) {
        Ok(Plugin::Formatter(formatter)) => formatter,
        Ok(Plugin::Events(_)) => panic!("it computes events"),
        Err(e) => panic!("{e:?}"),
    }
}

/// A monitor of the demo.
fn monitor(component: &Component) -> Monitor {
    Monitor::new(component, SourceSpec::Demo.open().expect("there is a demo"))
}

#[test]
fn any_component_with_the_interface_of_the_contract_computes_events() {
    assert_eq!(stats(&component("hello")).stdout(), "hello\n");
    let all = || demo().events(["--all"]).stats();
    assert_eq!(
        all().component(artifact::path()).stdout(),
        all().stdout(),
        "the built-in one gives the same from a file"
    );
}

#[test]
fn a_call_that_a_component_does_not_support_is_not_repeated() {
    let unsupported = component("unsupported");
    for (ids, errors) in [("web", 1), ("--all", 3)] {
        let stream = demo().events([ids]).component(&unsupported);
        let end = stream.interval("1h").run();
        assert_eq!(end.code(), Some(1), "{end:?}");
        assert_eq!(end.stderr.matches("0: hello\n").count(), errors, "{end:?}");
    }
}

#[test]
fn whatever_a_component_does_is_one_error_within_a_bounded_time() {
    for (name, says) in [
        ("traps", "unreachable"),
        ("loops", "took longer than 1s"),
        ("loops-at-start", "took longer than 1s"),
        ("recurses", "call stack exhausted"),
        (
            "grows-memory",
            "it needs more than 67108864 bytes of memory",
        ),
        (
            "starts-large",
            "it needs more than 67108864 bytes of memory",
        ),
        ("grows-table", "it needs a table of more than"),
        ("calls-without-end", "took longer than 1s"),
        ("returns-a-gigabyte", "out of bounds"),
        ("returns-no-address", "out of bounds"),
        ("returns-no-result", "discriminant"),
        ("returns-invalid-utf8", "utf-8"),
        ("returns-two-lines", "more than one line"),
        ("returns-an-escape", "control characters"),
    ] {
        let file = component(name);
        let end = fails(&file);
        end.says(&file.display().to_string());
        end.says("cannot get stats of container \"web\"");
        end.says(says);
    }
}

#[test]
fn an_error_of_a_component_is_shown_as_far_as_a_person_reads_it() {
    let end = fails(&component("returns-a-long-error"));
    end.says("cannot get stats of container \"web\"")
        .says("aaaaaaaa");
}

#[test]
fn a_list_that_would_take_too_much_memory_is_an_error() {
    let component = load(&component("returns-large-list"), Limits::default());
    let mut monitor = monitor(&component);
    let mut sample = monitor.sample().expect("a demo");
    let error = sample.event("web").expect_err("it is too much");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    let error = format!("{error:#}");
    assert!(
        error.contains("returned more than 33554432 bytes"),
        "{error}"
    );
}

#[test]
fn the_name_of_a_component_cannot_control_a_terminal() {
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("\u{1b}[2Jclears\nthe-screen.wasm");
    fs::copy(component("traps"), &file).expect("it can be copied");
    fails(&file).says("\u{fffd}[2Jclears\u{fffd}the-screen");
}

#[test]
fn what_is_not_a_component_of_the_contract_is_an_error() {
    for (name, says) in [
        ("core-module", "cannot use component"),
        ("without-exports", "eventout:stats/events@0.1.0"),
        ("imports-nobody", "nobody"),
        // Neither files, nor the environment, nor a network.
        ("imports-wasi", "wasi:cli/environment@0.2.0"),
        ("clears-the-screen", "[2J"),
    ] {
        fails(&stranger(name)).says(says);
    }
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("file.wasm");
    let builtin = fs::read(artifact::path()).expect("the component is committed");
    for bytes in [&b""[..], b"hello", &builtin[..1000]] {
        fs::write(&file, bytes).expect("it can be written");
        fails(&file).says("cannot use component");
    }
    fails(&directory.path().join("absent.wasm")).says("No such file");
    fails(directory.path()).says("Is a directory");
}

#[test]
fn a_formatter_gives_events_a_form_of_its_own() {
    let all = |file: &Path| demo().events(["--all"]).component(file).stats();
    let hello = formatter("hello");
    assert_eq!(all(&hello).stdout(), "hello\n".repeat(3));
    assert_eq!(all(&formatter("empty")).stdout(), "");
    let with_format = stats(&hello).format("runc").run();
    with_format.says("a format of its own");
}

#[test]
fn a_formatter_fails_like_any_other_component() {
    let error = fails(&formatter("fails"));
    error.says("0: hello\n");
    error.says("cannot format stats of container \"web\"");
    fails(&formatter("traps")).says("unreachable");
    fails(&formatter("loops")).says("took longer than 1s");
    // It is not called for a container that has no event.
    let both = demo().events(["nobody", "web"]).stats();
    let end = both.component(formatter("hello")).run();
    end.says("container \"nobody\" not found");
    assert_eq!(end.stdout, "hello\n");
}

#[test]
fn a_formatter_that_never_frees_goes_on() {
    let mut leaks = load_formatter(&formatter("leaks"));
    for _ in 0..200 {
        let text = leaks.format(&StatsEvent::default());
        assert_eq!(text.expect("64 MiB are enough"), "hello");
    }
}

#[test]
fn after_a_failure_the_next_call_has_a_new_instance() {
    let file = component("works-once");
    let component = load(&file, Limits::default());
    let mut monitor = monitor(&component);
    let mut call = || {
        let mut sample = monitor.sample().expect("a demo");
        sample.stats_json("web", Format::Gvisor)
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
    let mut once = load_formatter(&formatter("works-once"));
    for _ in 0..3 {
        let event = StatsEvent::default();
        assert_eq!(once.format(&event).expect("the first call works"), "hello");
        once.format(&event).expect_err("the second call fails");
    }
}

#[test]
fn limits_have_flags() {
    for (file, flag, says) in [
        (
            component("loops"),
            "--limit-time=50ms",
            "took longer than 50ms",
        ),
        (
            component("grows-by-100-pages"),
            "--limit-memory=2MiB",
            "more than 2097152 bytes of memory",
        ),
        (
            component("returns-5000-bytes"),
            "--limit-output=4999",
            "returned more than 4999 bytes",
        ),
        (
            artifact::path(),
            "--limit-instances=1",
            "more than 1 core instances, memories or tables",
        ),
    ] {
        let end = stats(&file).arg(flag).fails(1);
        end.says(says).says(&file.display().to_string());
        if flag != "--limit-time=50ms" {
            stats(&file).stdout();
        }
    }
    for flag in [
        "--limit-memory=64MB",
        "--limit-memory=",
        "--limit-output=99999999999GiB",
        "--limit-time=0",
    ] {
        let usage = demo().events(["web"]).stats().arg(flag).run();
        assert_eq!(usage.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn limits_are_the_embedders() {
    let time = Duration::from_millis(100);
    let limits = Limits {
        time,
        ..Limits::default()
    };
    let loops = load(&component("loops"), limits);
    let mut loops = monitor(&loops);
    for _ in 0..3 {
        let begun = Instant::now();
        let mut sample = loops.sample().expect("a demo");
        let error = sample.stats_json("web", Format::Gvisor);
        let error = error.expect_err("it does not end");
        let took = begun.elapsed();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
        let error = format!("{error:#}");
        assert!(error.contains("took longer than 100ms"), "{error}");
        // The machine may be busy.
        assert!(took >= time && took < Duration::from_secs(20), "{took:?}");
    }

    let with_memory = |memory| {
        let limits = Limits {
            memory,
            ..Limits::default()
        };
        let component = Component::builtin(limits).expect("it was compiled for this machine");
        let mut monitor = monitor(&component);
        monitor.sample().expect("a demo").stats("web")
    };
    with_memory(1 << 18).expect("256 KiB are enough");
    let error = with_memory(1 << 16).expect_err("a page is not enough");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    let error = format!("{error:#}");
    assert!(error.contains("more than 65536 bytes of memory"), "{error}");
}

#[test]
fn precompiled_code_is_kept_where_nobody_else_can_write() {
    let home = tempdir().expect("a directory");
    let run = |name: &str| {
        let mut call = stats(&component(name)).into_command();
        call.env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
        let output = call.output().expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    };
    let hello = || assert_eq!(run("hello"), "hello\n");
    let cache = home.path().join(".cache/eventout");
    let kept = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&cache).expect("it exists");
        entries
            .map(|entry| entry.expect("it can be listed").path())
            .collect()
    };
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test owns it");
    };
    hello();
    let first = kept();
    let [code] = &first[..] else {
        panic!("{first:?}");
    };
    let compiled = fs::read(code).expect("it can be read");
    let inode = || fs::metadata(code).expect("it exists").ino();
    let before = inode();
    hello();
    assert_eq!(
        (kept(), inode()),
        (first.clone(), before),
        "it is used again"
    );

    // What is not precompiled code, or of which others may have written some, is compiled again.
    fs::write(code, b"hello").expect("the test owns it");
    hello();
    assert_eq!(fs::read(code).expect("it can be read"), compiled);
    set_mode(code, 0o620);
    hello();
    let now = fs::metadata(code).expect("it exists").mode();
    assert_eq!(now & 0o777, 0o600);
    let elsewhere = home.path().join("elsewhere");
    fs::rename(code, &elsewhere).expect("the test owns it");
    symlink(&elsewhere, code).expect("a link");
    hello();
    let now = fs::symlink_metadata(code).expect("it exists");
    assert!(!now.is_symlink());
    // Code under the name of other code is not used, nor what is in a directory where others can write.
    assert_eq!(run("short"), "hell\n");
    let other = kept().into_iter().find(|path| path != code);
    fs::rename(other.expect("it is kept too"), code).expect("the test owns it");
    hello();
    set_mode(&cache, 0o770);
    hello();
    // A link is not followed, and nothing is written where it leads.
    let away = home.path().join("away");
    fs::rename(&cache, &away).expect("the test owns it");
    set_mode(&away, 0o700);
    symlink(&away, &cache).expect("a link");
    hello();
}
