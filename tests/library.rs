//! The library, as an embedder uses it: sources of its own, typed events, IDs that no command line could carry.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use eventout::{
    Component, Container, ContainerInfo, ErrorKind, Format, Limits, Monitor, Result, Snapshot,
    Source, SourceSpec,
};
use tests::{root, run};

fn builtin() -> Component {
    Component::builtin(Limits::default()).expect("it was compiled for this machine")
}

/// A source that gives one snapshot, and records its calls.
struct Recorder {
    snapshot: Snapshot,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Source for Recorder {
    fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
        Ok(Vec::new())
    }

    fn advance(&mut self) -> Result<()> {
        self.calls
            .lock()
            .expect("no panic")
            .push("advance".to_owned());
        Ok(())
    }

    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>> {
        self.calls
            .lock()
            .expect("no panic")
            .push(container.to_owned());
        Ok(Arc::new(self.snapshot.clone()))
    }
}

fn pod() -> Snapshot {
    let container = |id: &str, pids_count, cpu_usage| Container {
        id: id.to_owned(),
        pids_count,
        cpu_usage,
        ..Container::default()
    };
    Snapshot {
        format: Format::Gvisor,
        root_container: "pause".to_owned(),
        memory_usage: Some(100),
        cgroup_cpu_usage: Some(60),
        containers: vec![
            container("pause", 1, Some(0)),
            container("web", 2, Some(10)),
            container("db", 3, Some(20)),
            container("job", 0, None),
        ],
    }
}

#[test]
fn typed_events_tell_zero_from_unknown() {
    let calls = Arc::default();
    let recorder = Recorder {
        snapshot: pod(),
        calls: Arc::clone(&calls),
    };
    let mut events = Monitor::new(&builtin(), Box::new(recorder));
    let mut sample = events.sample().expect("it never fails");

    let out = sample.event("web").expect("it is there");
    assert_eq!(out.id, "web");
    assert_eq!(out.pids, 2);
    assert_eq!(out.memory, Some(33));
    let usage = [("db", 20), ("pause", 0), ("web", 10)].map(|(id, ns)| (id.to_owned(), ns));
    assert_eq!(out.container_usage, usage);

    let event = sample.stats("db").expect("it is there");
    assert_eq!(event.data.cpu.usage.total, Some(40));
    assert_eq!(event.data.memory.usage.limit, None);
    assert_eq!(event.data.pids.limit, None);
    let event = sample.stats("job").expect("it is there");
    assert_eq!(event.data.cpu.usage.total, Some(0));
    assert_eq!(event.data.pids.current, Some(0));
    let event = sample.stats("pause").expect("it is there");
    assert_eq!(event.data.memory.usage.usage, Some(0));

    // One snapshot a call, one sample for all of them.
    assert_eq!(
        *calls.lock().expect("no panic"),
        ["advance", "web", "db", "job", "pause"]
    );
}

#[test]
fn errors_tell_what_can_be_tried_again() {
    let mut events = Monitor::new(
        &builtin(),
        SourceSpec::Demo.open().expect("there is a demo"),
    );
    let mut sample = events.sample().expect("a demo");
    let error = sample.stats("no").expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::ContainerNotFound, "{error:?}");
    assert_eq!(
        error.root_cause().to_string(),
        r#"container "no" not found"#
    );
    let error = sample.stats("a\"b\u{200b}").expect_err("it is not there");
    assert_eq!(
        error.root_cause().to_string(),
        r#"container "a\"b\u{200b}" not found"#
    );
    // A failed call leaves nothing behind.
    sample.stats("web").expect("it is there");
}

#[test]
fn no_id_leads_astray() {
    let (long, nul) = ("x".repeat(10 << 20), "a\0b");
    for source in ["demo", "cgroup:/", "runc", "crun"] {
        // The root directory may be no cgroup, but then it has no such child.
        let Ok(source) = source.parse::<SourceSpec>().expect("it is one").open() else {
            continue;
        };
        let mut events = Monitor::new(&builtin(), source);
        let mut sample = events.sample().expect("it is static");
        for id in [long.as_str(), nul, "../../etc", "/etc", "a/../..", ".", ""] {
            let error = sample.stats(id).expect_err("there is no such container");
            let kinds = [ErrorKind::ContainerNotFound, ErrorKind::InvalidRequest];
            assert!(kinds.contains(&error.kind()), "{error:#}");
            assert!(
                format!("{error:#}").len() < 500,
                "{} bytes",
                format!("{error:#}").len()
            );
        }
    }
}

#[test]
fn calls_leave_nothing_behind_in_the_instance() {
    let mut snapshot = pod();
    snapshot
        .containers
        .extend((0..10_000u64).map(|n| Container {
            id: format!("container-{:05}", n.wrapping_mul(7919) % 10_000),
            pids_count: 1,
            cpu_usage: Some(n),
            ..Container::default()
        }));
    // What 10,000 containers take at once fits in this, but not if a call left anything behind.
    let limits = Limits {
        memory: 8 << 20,
        ..Limits::default()
    };
    let component = Component::builtin(limits).expect("it was compiled for this machine");
    let recorder = |snapshot| Recorder {
        snapshot,
        calls: Arc::default(),
    };
    let mut events = Monitor::new(&component, Box::new(recorder(snapshot)));
    let first = events
        .sample()
        .expect("static")
        .event_json("web")
        .expect("it fits");
    for _ in 0..20 {
        let again = events
            .sample()
            .expect("static")
            .event_json("web")
            .expect("it fits");
        assert_eq!(first, again);
    }
    let limits = Limits {
        memory: 1 << 18,
        ..Limits::default()
    };
    let component = Component::builtin(limits).expect("it was compiled for this machine");
    let mut events = Monitor::new(&component, Box::new(recorder(pod())));
    let mut sample = events.sample().expect("static");
    for _ in 0..100_000 {
        sample.stats_json("web", Format::Gvisor).expect("it fits");
    }
}

#[test]
fn the_library_alone_needs_no_compiler_and_no_command_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let embedder = directory.path();
    fs::create_dir(embedder.join("src")).expect("a directory");
    fs::write(embedder.join("src/lib.rs"), "").expect("a file");
    fs::copy(root().join("Cargo.lock"), embedder.join("Cargo.lock")).expect("a copy");
    // Without build scripts and macros, which are not part of an embedder.
    let dependencies = |features: &str| {
        let manifest = format!(
            "[package]\nname = \"embedder\"\nedition = \"2024\"\n[workspace]\n[dependencies.eventout]\n\
             path = {:?}\ndefault-features = false\nfeatures = {features}\n",
            root().join("host")
        );
        fs::write(embedder.join("Cargo.toml"), manifest).expect("a file");
        let mut tree = Command::new(env!("CARGO"));
        tree.args([
            "tree",
            "--offline",
            "--prefix=none",
            "--edges=normal,no-proc-macro",
        ]);
        run(tree.current_dir(embedder))
    };
    let has = |dependencies: &str, name: &str| {
        let mut names = dependencies.lines().map(|line| line.split(' ').next());
        names.any(|other| other == Some(name))
    };
    let [alone, plugins, cli] = ["[]", r#"["plugins"]"#, r#"["cli"]"#].map(dependencies);
    assert!(has(&alone, "wasmtime"));
    for name in [
        "cranelift-codegen",
        "clap",
        "signal-hook",
        "hyper",
        "ratatui",
    ] {
        assert!(!has(&alone, name), "{name}");
        assert!(has(&cli, name), "{name}");
    }
    assert!(has(&plugins, "cranelift-codegen") && !has(&plugins, "clap"));
}
