//! Components that are not ours, most of them hostile: each made of a core module in text.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eventout::{Component, Dialect, Events, Limits, Spec};
use tests::{eventout, root, scratch};

/// A list of as many errors as there are containers, at 32768, and at 64 where and how long it is.
const SWEEP: &str = "(local $at i32) (local $left i32)
    (local.set $at (i32.const 32768))
    (local.set $left (local.get 1))
    (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i32.store8 (local.get $at) (i32.const 1))
        (i32.store8 offset=4 (local.get $at) (i32.const 3))
        (i32.store offset=8 (local.get $at) (i32.const 80))
        (i32.store offset=12 (local.get $at) (i32.const 5))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 64) (i32.const 32768))
    (i32.store (i32.const 68) (local.get 1))
    (i32.const 64)";

/// The module of a component that exports our interface. Its function `stats-json` has `body`, which
/// leaves the address of the result; `items` stand beside the functions. `sweep-json` answers
/// `unsupported("hello")` for each container. The other functions trap.
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
                (global.set $next (i32.add (global.get $next) (local.get 3)))
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
            {}
            {items})"#,
        function("event", "i32 i32", "unreachable"),
        function("event-json", "i32 i32", "unreachable"),
        function("stats", "i32 i32", "unreachable"),
        function("stats-json", "i32 i32 i32", body),
        function("sweep-json", "i32 i32 i32", SWEEP),
        function("oom-json", "i32 i32", "unreachable"),
    )
}

/// The component made of the text of a module, which claims to be of that world.
fn component(module: &str, world: &str) -> Vec<u8> {
    let module = wat::parse_str(module).expect("it is a module");
    let others = "package other:other; world other { import nobody: func(); }";
    tests::component(module, world, others)
}

fn plugin(folder: &Path, name: &str, body: &str, items: &str) -> PathBuf {
    let file = folder.join(name).with_extension("wasm");
    fs::write(&file, component(&module(body, items), "eventout")).expect("it can be written");
    file
}

/// Runs the program with that component: one clear error, soon, that names the component, the container
/// and the reason.
#[track_caller]
fn fails(file: &Path, says: &str) {
    let path = file.display().to_string();
    let begun = Instant::now();
    let output = eventout([
        "--source",
        "demo",
        "--component",
        &path,
        "events",
        "--stats",
        "web",
    ]);
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
    for text in [path.as_str(), says] {
        assert!(stderr.contains(text), "no {text:?} in {stderr}");
    }
    assert!(
        stderr.len() < 2000,
        "{} bytes: {}...",
        stderr.len(),
        &stderr[..1000]
    );
    assert!(took < Duration::from_secs(10), "{path} took {took:?}");
}

#[test]
fn any_component_with_our_interface_runs() {
    let folder = scratch("hello");
    let file = plugin(&folder, "hello", "(call $answer (i32.const 5))", "");
    let path = file.display().to_string();
    let output = eventout([
        "--source",
        "demo",
        "--component",
        &path,
        "events",
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
    let folder = scratch("unsupported");
    let body = r"(drop (call $answer (i32.const 5)))
        (i32.store8 (i32.const 64) (i32.const 1))
        (i32.store8 (i32.const 68) (i32.const 3))
        (i32.store (i32.const 72) (i32.const 80))
        (i32.store (i32.const 76) (i32.const 5))
        (i32.const 64)";
    let file = plugin(&folder, "refuses", body, "").display().to_string();
    for (ids, errors) in [("web", 1), ("--all", 3)] {
        let events = ["--component", &file, "events", "--interval=1h", ids];
        let output = eventout(["--source", "demo"].iter().chain(&events));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.matches("0: hello\n").count(), errors, "{stderr}");
    }
}

#[test]
fn whatever_a_component_does_is_one_error_within_a_bounded_time() {
    let folder = scratch("hostile");
    let plugin = |name: &str, body: &str, items: &str| plugin(&folder, name, body, items);
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
    let file = folder.join("begins-large.wasm");
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
    let body = "(i32.store8 (i32.const 80) (i32.const 255)) (call $answer (i32.const 5))";
    fails(&plugin("answers-garbage", body, ""), "utf-8");
    let body = "(drop (call $answer (i32.const 5))) (i32.store8 (i32.const 64) (i32.const 7)) (i32.const 64)";
    fails(&plugin("answers-no-result", body, ""), "discriminant");
    let body = "(i32.store8 (i32.const 81) (i32.const 10)) (call $answer (i32.const 5))";
    fails(&plugin("answers-two-lines", body, ""), "more than one line");
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
        "--component",
        &path,
        "events",
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
fn what_is_not_a_component_of_ours_is_an_error() {
    let folder = scratch("strangers");
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).expect("it can be written");
        file
    };
    let ours = fs::read(root().join("guest/eventout.wasm")).expect("it is there");
    let core = wat::parse_str("(module)").expect("it is a module");
    let empty = wat::parse_str("(component)").expect("it is a component");
    let strange = "(module (import \"$root\" \"nobody\" (func)))";
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
    ] {
        fails(&write(name, &bytes), says);
    }
    fails(&folder.join("absent.wasm"), "No such file");
    fails(&folder, "Is a directory");
}

#[test]
fn after_a_failure_the_next_call_has_a_new_instance() {
    // Its second call of an instance traps.
    let body = r"(if (global.get $used) (then unreachable))
        (global.set $used (i32.const 1))
        (call $answer (i32.const 5))";
    let items = "(global $used (mut i32) (i32.const 0))";
    let file = plugin(&scratch("once"), "once", body, items);
    let component = Component::from_file(&file, Limits::default()).expect("it is one");
    let source = Spec::Demo.open().expect("there is a demo");
    let mut events = Events::new(&component, source);
    let mut call = || {
        events
            .now()
            .expect("a demo")
            .stats_json("web", Dialect::Runsc)
    };
    for _ in 0..3 {
        assert_eq!(call().expect("the first call works"), "hello");
        let error = call().expect_err("the second call fails");
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
    let folder = scratch("limits");
    let file = plugin(&folder, "loops", "(loop (br 0)) unreachable", "");
    let limits = Limits {
        time: Duration::from_millis(100),
        ..Limits::default()
    };
    let component = Component::from_file(&file, limits).expect("it is one");
    let mut events = Events::new(&component, Spec::Demo.open().expect("a demo"));
    let mut call = || {
        events
            .now()
            .expect("a demo")
            .stats_json("web", Dialect::Runsc)
    };
    for _ in 0..3 {
        let begun = Instant::now();
        let error = format!("{:#}", call().expect_err("it doesn't end"));
        let took = begun.elapsed();
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
    let mut events = Events::new(&component, Spec::Demo.open().expect("a demo"));
    events
        .now()
        .expect("a demo")
        .stats("web")
        .expect("256 KiB are enough");
    let component = Component::builtin(Limits {
        memory: 1 << 16,
        ..Limits::default()
    });
    let mut events = Events::new(
        &component.expect("it compiles"),
        Spec::Demo.open().expect("a demo"),
    );
    let error = events
        .now()
        .expect("a demo")
        .stats("web")
        .expect_err("a page is not enough");
    assert!(
        format!("{error:#}").contains("more than 65536 bytes of memory"),
        "{error:#}"
    );
}
