//! The component that computes stats events. Its contract is in `wit/`.
//!
//! This file connects [`accounting`], the policy, and [`json`], the encoding, to the host and the
//! caller. Both are pure, so they are tested and benchmarked natively.

pub mod accounting;
pub mod json;

// The documentation of generated items is that of `wit/`.
#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "eventout",
        additional_derives: [Clone, Default, PartialEq],
        additional_derives_ignore: ["error", "format"],
    });
}

pub use bindings::eventout::stats::types;
pub use bindings::exports::eventout::stats::events::{Error, Format};

use accounting::{CgroupCpuUsage, Sandbox};
use bindings::eventout::stats::sandbox;
use bindings::exports::eventout::stats::events::Guest;
use types::{EventOut, StatsEvent};

struct Component;

impl Guest for Component {
    fn event(container: String) -> Result<EventOut, Error> {
        let (pids, sandbox) = sample(&container)?;
        Ok(sandbox.event(container, pids))
    }

    fn event_json(container: String) -> Result<String, Error> {
        Self::event(container).map(json::event_out)
    }

    fn stats(container: String) -> Result<StatsEvent, Error> {
        let (pids, sandbox) = sample(&container)?;
        // gVisor goes on without the value if it cannot be read.
        let cgroup: CgroupCpuUsage = sandbox::cgroup_cpu_usage().unwrap_or_default();
        let measured = sandbox::container_stats(&container).map_err(|e| error(&container, e))?;
        Ok(sandbox.stats_event(container, pids, cgroup, measured.unwrap_or_default()))
    }

    fn stats_json(container: String, format: Format) -> Result<String, Error> {
        Self::stats(container).map(|event| json::stats_event(&event, format))
    }

    fn oom_json(container: String) -> String {
        json::oom_event(&container)
    }
}

/// Returns the number of live tasks of `container`, and the facts about its sandbox.
fn sample(container: &str) -> Result<(u64, Sandbox), Error> {
    let error = |e| error(container, e);
    // The pid count comes first: it tells whether the container exists.
    let pids = sandbox::pids_count(container).map_err(error)?;
    let memory_usage = sandbox::memory_usage().map_err(error)?;
    let container_count = sandbox::container_count().map_err(error)?;
    let root_container = match container_count {
        0 => return Err(Error::NoContainer("no container was found".to_owned())),
        1 => None,
        _ => Some(sandbox::root_container().map_err(error)?),
    };
    let cpu_usage = sandbox::cpu_usage().map_err(error)?;
    let sandbox = Sandbox::new(memory_usage, container_count, root_container, cpu_usage);
    Ok((pids, sandbox))
}

/// Converts an error of the host to one for the caller, with the message of gVisor's
/// runsc/boot/loader.go (`pidsCount`).
fn error(container: &str, error: sandbox::Error) -> Error {
    match error {
        sandbox::Error::ContainerNotFound => {
            Error::ContainerNotFound(format!("container {container:?} not found"))
        }
        sandbox::Error::Unavailable(why) => Error::Unavailable(why),
    }
}

#[cfg(target_family = "wasm")]
mod component {
    use super::Component;

    #[global_allocator]
    static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

    super::bindings::export!(Component with_types_in super::bindings);
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
