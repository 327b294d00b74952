//! The questions that the component asks, one by one, on a host that notes them. It is a host without the
//! library: what a wasmtime embedder writes.

use std::fs;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

use bindings::eventout::stats::sandbox::{Error, Host, SandboxUsage};
use bindings::eventout::stats::types::{self, ContainerCpu, Stats};
use bindings::exports::eventout::stats::events::{Dialect, Error as EventError, Guest};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "eventout" });
}

/// A host of a pod of `containers`, in which the functions named `failing` fail.
struct Notes {
    asked: Vec<String>,
    failing: &'static str,
    containers: u64,
    root: Option<&'static str>,
    figures: Vec<u64>,
}

impl Notes {
    fn ask<T>(&mut self, question: &str, answer: T) -> Result<T, Error> {
        self.asked.push(question.to_owned());
        let name = question.split(' ').next().unwrap_or_default();
        if self.failing == "everything is gone" && name == "usage" {
            return Err(Error::ContainerNotFound);
        }
        if [name, question].contains(&self.failing) {
            return Err(match name {
                "pids-count" => Error::ContainerNotFound,
                name => Error::Unavailable(format!("no {name} today")),
            });
        }
        Ok(answer)
    }
}

impl types::Host for Notes {}

impl Host for Notes {
    fn pids_count(&mut self, container: String) -> Result<u64, Error> {
        self.ask(&format!("pids-count {container}"), 1)
    }

    fn update_memory_usage(&mut self) -> Result<(), Error> {
        self.ask("update-memory-usage", ())
    }

    fn usage(&mut self) -> Result<SandboxUsage, Error> {
        let usage = SandboxUsage {
            memory: 100,
            container_count: self.containers,
            root_container: self.root.map(str::to_owned),
            // Out of order, and one of them twice.
            cpu: ContainerCpu {
                containers: "web\0db\0pause\0db".to_owned(),
                usage: self.figures.clone(),
            },
        };
        self.ask("usage", usage)
    }

    fn cgroup_cpu_usage(&mut self) -> Result<Option<u64>, Error> {
        self.ask("cgroup-cpu-usage", Some(16))
    }

    fn container_stats(&mut self, container: String) -> Result<Option<Stats>, Error> {
        self.ask(&format!("container-stats {container}"), None)
    }
}

/// The CPU total that the component answers to `stats` of the container `web`, or the memory that it
/// answers to `event`, and what it asks.
fn call(stats: bool, containers: u64, failing: &'static str) -> (Result<u64, EventError>, String) {
    answer(containers, failing, |events, store| match stats {
        true => events
            .call_stats(store, "web")
            .expect("no trap")
            .map(|event| event.data.cpu.usage.total.expect("it is listed")),
        false => events
            .call_event(store, "web")
            .expect("no trap")
            .map(|out| out.memory),
    })
}

/// What the component answers to a call, and what it asks.
fn answer<T>(
    containers: u64,
    failing: &'static str,
    call: impl FnOnce(&Guest, &mut Store<Notes>) -> T,
) -> (T, String) {
    let engine = Engine::default();
    let wasm = fs::read(tests::root().join("guest/eventout.wasm")).expect("it is there");
    let component = Component::from_binary(&engine, &wasm).expect("it is a component");
    let mut linker = Linker::new(&engine);
    bindings::Eventout::add_to_linker::<_, HasSelf<Notes>>(&mut linker, |notes| notes)
        .expect("it has no other");
    let notes = Notes {
        asked: Vec::new(),
        failing,
        containers,
        root: (failing != "root").then_some("pause"),
        figures: match failing {
            "figures" => vec![1, 2, 3],
            _ => vec![1, 2, 3, 4],
        },
    };
    let mut store = Store::new(&engine, notes);
    let instance = bindings::Eventout::instantiate(&mut store, &component, &linker)
        .expect("it needs nothing else");
    let answer = call(instance.eventout_stats_events(), &mut store);
    (answer, store.into_data().asked.join(", "))
}

const FACTS: &str = "pids-count web, update-memory-usage, usage";

#[test]
fn each_question_is_asked_once_and_in_order() {
    let (event, asked) = call(false, 3, "");
    assert_eq!(asked, FACTS);
    assert_eq!(event.expect("no error"), 50);
    let (stats, asked) = call(true, 3, "");
    assert_eq!(
        asked,
        format!("{FACTS}, cgroup-cpu-usage, container-stats web")
    );
    // 1 of 1 + 4 + 3, scaled to 16.
    assert_eq!(stats.expect("no error"), 2);
}

#[test]
fn nothing_is_asked_after_a_failed_pid_count() {
    for stats in [true, false] {
        let (answer, asked) = call(stats, 3, "pids-count");
        assert_eq!(asked, "pids-count web");
        let Err(EventError::ContainerNotFound(text)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(text, r#"container "web" not found"#);
    }
}

#[test]
fn the_error_of_update_memory_usage_is_ignored() {
    let (answer, asked) = call(false, 3, "update-memory-usage");
    assert_eq!(asked, FACTS);
    assert_eq!(answer.expect("no error"), 50);
}

#[test]
fn the_error_of_cgroup_cpu_usage_counts_as_none() {
    let (answer, asked) = call(true, 3, "cgroup-cpu-usage");
    assert!(
        asked.ends_with("cgroup-cpu-usage, container-stats web"),
        "{asked}"
    );
    assert_eq!(answer.expect("no error"), 1);
}

#[test]
fn any_other_error_ends_the_call_with_the_hosts_words() {
    for (failing, last) in [
        ("usage", "usage"),
        ("container-stats", "container-stats web"),
    ] {
        let (answer, asked) = call(true, 3, failing);
        assert!(asked.ends_with(last), "{asked}");
        let Err(EventError::Unavailable(text)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(text, format!("no {failing} today"));
    }
}

#[test]
fn usage_that_does_not_fit_together_is_an_error() {
    for (wrong, why) in [
        (
            "figures",
            "the host's usage has not one figure of CPU time for each ID",
        ),
        (
            "root",
            "the host's usage names no root container among several",
        ),
    ] {
        for stats in [true, false] {
            let (answer, _) = call(stats, 3, wrong);
            let Err(EventError::Unavailable(text)) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(text, why);
        }
        let (lines, _) = sweep(wrong);
        assert!(lines.iter().all(Result::is_err), "{lines:?}");
    }
}

#[test]
fn a_container_alone_needs_no_root() {
    let (answer, _) = call(false, 1, "root");
    assert_eq!(answer.expect("no error"), 100);
}

#[test]
fn an_empty_sandbox_is_an_error_and_nothing_more_is_asked() {
    let (answer, asked) = call(true, 0, "");
    assert_eq!(asked, FACTS);
    let Err(EventError::NoContainer(text)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(text, "no container was found");
}

/// The results of `sweep-json` of `web` and `db`: the figures of a line, or an error.
fn sweep(failing: &'static str) -> ([Result<String, EventError>; 2], String) {
    let ids = ["web", "db"].map(str::to_owned);
    let (lines, asked) = answer(3, failing, |events, store| {
        events
            .call_sweep_json(store, &ids, Dialect::Runsc)
            .expect("no trap")
    });
    (lines.try_into().expect("one for each"), asked)
}

#[test]
fn a_sweep_asks_once_for_what_is_shared() {
    let (lines, asked) = sweep("");
    assert_eq!(
        asked,
        "pids-count web, pids-count db, update-memory-usage, usage, cgroup-cpu-usage, \
        container-stats web, container-stats db"
    );
    for (line, total) in lines.iter().zip([2, 8]) {
        let line = line.as_ref().expect("no error");
        assert!(line.contains(&format!(r#""total":{total}}}"#)), "{line}");
    }
}

#[test]
fn in_a_sweep_the_error_of_one_container_is_its_own() {
    let (lines, _) = sweep("pids-count web");
    let Err(EventError::ContainerNotFound(text)) = &lines[0] else {
        panic!("{lines:?}");
    };
    assert_eq!(text, r#"container "web" not found"#);
    assert!(lines[1].is_ok(), "{lines:?}");
    let (lines, _) = sweep("container-stats db");
    assert!(lines[0].is_ok() && lines[1].is_err(), "{lines:?}");

    // Of what is shared, it is everyone's; and without anyone, nothing is asked.
    let (lines, _) = sweep("usage");
    assert!(lines.iter().all(Result::is_err), "{lines:?}");
    let (lines, asked) = sweep("pids-count");
    assert!(lines.iter().all(Result::is_err), "{lines:?}");
    assert_eq!(asked, "pids-count web, pids-count db");

    // It is about each of them, if it is about a container.
    let (lines, _) = sweep("everything is gone");
    for (line, id) in lines.iter().zip(["web", "db"]) {
        let Err(EventError::ContainerNotFound(text)) = line else {
            panic!("{lines:?}");
        };
        assert_eq!(*text, format!("container {id:?} not found"));
    }
}
