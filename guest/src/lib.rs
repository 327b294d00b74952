//! The component that computes stats events. Its contract stands in `../wit`.
//!
//! This file alone knows that it is a component: it asks the host ([`observe`]) and answers it. What
//! comes between is pure, so that it is tested natively.

#![no_std]

extern crate alloc;
// Natively, in tests and benches, `std` supplies the allocator and the panic handler.
#[cfg(not(target_family = "wasm"))]
extern crate std;

#[cfg(any(test, target_family = "wasm"))]
mod arena;
mod event;
mod json;

// The macro's code is not ours to document.
#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "eventout",
        additional_derives: [Default, PartialEq],
        additional_derives_ignore: ["error", "dialect"],
    });
}

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use bindings::eventout::stats::types::{EventOut, StatsEvent};
use bindings::eventout::stats::{sandbox, types};
use bindings::exports::eventout::stats::events::{self, Dialect, Error};

use event::Observation;

struct Component;

impl events::Guest for Component {
    fn event(container: String) -> Result<EventOut, Error> {
        Ok(event::event(&container, observe(&container)?))
    }

    fn event_json(container: String) -> Result<String, Error> {
        Self::event(container).map(|out| json::event_out(&out))
    }

    fn stats(container: String) -> Result<StatsEvent, Error> {
        let seen = observe(&container)?;
        // gVisor does without the figure where it can't be read.
        let cgroup = sandbox::cgroup_cpu_usage().unwrap_or(None);
        let own = sandbox::container_stats(&container).map_err(|e| blame(&container, e))?;
        Ok(event::stats(&container, &seen, cgroup, own))
    }

    fn stats_json(container: String, dialect: Dialect) -> Result<String, Error> {
        Self::stats(container).map(|event| json::stats_event(&event, dialect))
    }

    fn oom_json(container: String) -> String {
        json::oom_event(&container)
    }
}

/// Asks the host, in gVisor's order of evaluation: whether the container exists comes first, and no
/// question follows an error.
fn observe(container: &str) -> Result<Observation, Error> {
    let blame = |error| blame(container, error);
    let pids = sandbox::pids_count(container).map_err(blame)?;
    // Best effort, as in gVisor: a figure that is a little old beats none.
    let _ = sandbox::update_memory_usage();
    let memory = sandbox::memory_usage().map_err(blame)?;
    let containers = sandbox::container_count().map_err(blame)?;
    let is_root = match containers {
        0 => return Err(Error::NoContainer("no container was found".to_owned())),
        1 => false,
        _ => sandbox::root_container().map_err(blame)? == container,
    };
    let usage = event::map(sandbox::cpu_usage().map_err(blame)?);
    Ok(Observation {
        pids,
        memory,
        containers,
        is_root,
        usage,
    })
}

/// A host's error in the caller's terms. `container` is whom the call is about.
fn blame(container: &str, error: sandbox::Error) -> Error {
    match error {
        sandbox::Error::ContainerNotFound => Error::ContainerNotFound(json::not_found(container)),
        sandbox::Error::Unavailable(why) => Error::Unavailable(why),
    }
}

/// A panic is a bug of ours, and a trap all that it needs: without the message, the code that would
/// format it goes too.
#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(target_family = "wasm")]
bindings::export!(Component with_types_in bindings);
