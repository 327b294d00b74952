//! The host functions that the component calls, one by one, on a host that records them. It is a host without
//! the library: what an embedder of wasmtime writes.

use std::fs;

use tests::artifact;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

use bindings::eventout::stats::sandbox::{Error, Host};
use bindings::eventout::stats::types::{self, Stats};
use bindings::exports::eventout::stats::events::{Error as EventError, Guest};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "eventout" });
}

/// A host of a pod of several containers that records its calls.
struct Recorder {
    calls: Vec<String>,
    /// The function that fails.
    failing: Option<&'static str>,
    containers: u64,
    memory: Option<u64>,
}

impl Recorder {
    fn record<T>(&mut self, function: &'static str, argument: &str, result: T) -> Result<T, Error> {
        let call = format!("{function} {argument}");
        self.calls.push(call.trim_end().to_owned());
        match (self.failing == Some(function), function) {
            (false, _) => Ok(result),
            (true, "pids-count") => Err(Error::ContainerNotFound),
            (true, _) => Err(Error::Unavailable(format!("no {function} today"))),
        }
    }
}

impl types::Host for Recorder {}

impl Host for Recorder {
    fn pids_count(&mut self, container: String) -> Result<u64, Error> {
        self.record("pids-count", &container, 1)
    }

    fn memory_usage(&mut self) -> Result<Option<u64>, Error> {
        self.record("memory-usage", "", self.memory)
    }

    fn container_count(&mut self) -> Result<u64, Error> {
        self.record("container-count", "", self.containers)
    }

    fn root_container(&mut self) -> Result<String, Error> {
        self.record("root-container", "", "pause".to_owned())
    }

    fn cpu_usage(&mut self) -> Result<Vec<(String, u64)>, Error> {
        // Out of order, and one of them twice.
        let usage = [("web", 1), ("db", 2), ("pause", 3), ("db", 4)];
        let usage = usage.map(|(id, ns)| (id.to_owned(), ns)).to_vec();
        self.record("cpu-usage", "", usage)
    }

    fn cgroup_cpu_usage(&mut self) -> Result<Option<u64>, Error> {
        self.record("cgroup-cpu-usage", "", Some(16))
    }

    fn container_stats(&mut self, container: String) -> Result<Option<Stats>, Error> {
        self.record("container-stats", &container, None)
    }
}

const POD: Recorder = Recorder {
    calls: Vec::new(),
    failing: None,
    containers: 3,
    memory: Some(100),
};

fn failing(function: &'static str) -> Recorder {
    Recorder {
        failing: Some(function),
        ..POD
    }
}

/// Calls the component, and returns its result and the calls of the host functions.
fn call<T>(
    host: Recorder,
    call: impl FnOnce(&Guest, &mut Store<Recorder>) -> wasmtime::Result<T>,
) -> (T, String) {
    let engine = Engine::default();
    let wasm = fs::read(artifact::path()).expect("the component is committed");
    let component = Component::from_binary(&engine, &wasm).expect("it is a component");
    let mut linker = Linker::new(&engine);
    bindings::Eventout::add_to_linker::<_, HasSelf<Recorder>>(&mut linker, |host| host)
        .expect("the names differ");
    let mut store = Store::new(&engine, host);
    let instance = bindings::Eventout::instantiate(&mut store, &component, &linker)
        .expect("it imports nothing else");
    let result = call(instance.eventout_stats_events(), &mut store).expect("it does not trap");
    (result, store.into_data().calls.join(", "))
}

/// Returns the memory in `event` of the container `web`, and the calls.
fn event(host: Recorder) -> (Result<Option<u64>, EventError>, String) {
    let (out, calls) = call(host, |events, store| events.call_event(store, "web"));
    (out.map(|out| out.memory), calls)
}

/// Returns the CPU total in `stats` of the container `web`, and the calls.
fn stats(host: Recorder) -> (Result<Option<u64>, EventError>, String) {
    let (event, calls) = call(host, |events, store| events.call_stats(store, "web"));
    (event.map(|event| event.data.cpu.usage.total), calls)
}

const FACTS: &str = "pids-count web, memory-usage, container-count, root-container, cpu-usage";

#[test]
fn each_function_is_called_once_and_in_order() {
    let (memory, calls) = event(POD);
    assert_eq!(calls, FACTS);
    assert_eq!(memory.expect("no error"), Some(50));
    let (total, calls) = stats(POD);
    assert_eq!(
        calls,
        format!("{FACTS}, cgroup-cpu-usage, container-stats web")
    );
    // 1 of 1 + 4 + 3, scaled to 16.
    assert_eq!(total.expect("no error"), Some(2));
}

#[test]
fn entries_are_ordered_and_the_last_of_an_id_counts() {
    let (out, _) = call(POD, |events, store| events.call_event(store, "web"));
    let usage = [("db", 4), ("pause", 3), ("web", 1)].map(|(id, ns)| (id.to_owned(), ns));
    assert_eq!(out.expect("no error").container_usage, usage);
}

#[test]
fn nothing_is_called_after_a_failed_pid_count() {
    for call in [event, stats] {
        let (result, calls) = call(failing("pids-count"));
        assert_eq!(calls, "pids-count web");
        let Err(EventError::ContainerNotFound(text)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(text, r#"container "web" not found"#);
    }
}

#[test]
fn the_error_of_cgroup_cpu_usage_counts_as_none() {
    let (total, calls) = stats(failing("cgroup-cpu-usage"));
    assert!(
        calls.ends_with("cgroup-cpu-usage, container-stats web"),
        "{calls}"
    );
    assert_eq!(total.expect("no error"), Some(1));
}

#[test]
fn any_other_error_ends_the_call_with_the_text_of_the_host() {
    for (function, last) in [
        ("memory-usage", "memory-usage"),
        ("container-count", "container-count"),
        ("root-container", "root-container"),
        ("cpu-usage", "cpu-usage"),
        ("container-stats", "container-stats web"),
    ] {
        let (result, calls) = stats(failing(function));
        assert!(calls.ends_with(last), "{calls}");
        let Err(EventError::Unavailable(text)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(text, format!("no {function} today"));
    }
}

#[test]
fn the_root_is_only_requested_among_several() {
    let alone = Recorder {
        containers: 1,
        ..failing("root-container")
    };
    let (memory, calls) = event(alone);
    assert_eq!(
        calls,
        "pids-count web, memory-usage, container-count, cpu-usage"
    );
    assert_eq!(memory.expect("no error"), Some(100));
}

#[test]
fn memory_that_is_not_accounted_stays_unknown() {
    let (memory, _) = event(Recorder {
        memory: None,
        ..POD
    });
    assert_eq!(memory.expect("no error"), None);
}

#[test]
fn an_empty_sandbox_is_an_error_and_nothing_more_is_called() {
    let (result, calls) = stats(Recorder {
        containers: 0,
        ..POD
    });
    assert_eq!(calls, "pids-count web, memory-usage, container-count");
    let Err(EventError::NoContainer(text)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(text, "no container was found");
}
