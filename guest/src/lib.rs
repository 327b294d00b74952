//! The component that computes stats events. Its contract stands in `../wit`.
//!
//! This file alone knows that it is a component: it asks the host ([`observe`]) and answers it. What
//! comes between is pure, so that it is tested, and raced against, natively.

#![no_std]

extern crate alloc;
// Natively, in tests and benches, `std` supplies the allocator and the panic handler.
#[cfg(not(target_family = "wasm"))]
extern crate std;

#[cfg(any(test, target_family = "wasm"))]
mod arena;
pub mod event;
pub mod json;

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
use alloc::vec::Vec;

use bindings::eventout::stats::sandbox;
use bindings::eventout::stats::types::{EventOut, Stats, StatsEvent};
use bindings::exports::eventout::stats::events::{self, Error};

pub use bindings::eventout::stats::types;
pub use bindings::exports::eventout::stats::events::Dialect;

use event::{Facts, Sandbox};

struct Component;

impl events::Guest for Component {
    fn event(container: String) -> Result<EventOut, Error> {
        let pids = pids(&container)?;
        let facts = observe(&container)?;
        Ok(event::event(&container, pids, sandbox(&facts)?).into())
    }

    fn event_json(container: String) -> Result<String, Error> {
        let pids = pids(&container)?;
        let facts = observe(&container)?;
        let event = event::event(&container, pids, sandbox(&facts)?);
        Ok(json::event_out(&event))
    }

    fn stats(container: String) -> Result<StatsEvent, Error> {
        let data = stats_alone(&container)?;
        Ok(StatsEvent {
            id: container,
            data,
        })
    }

    fn stats_json(container: String, dialect: Dialect) -> Result<String, Error> {
        let data = stats_alone(&container)?;
        Ok(json::stats_event(&container, &data, dialect))
    }

    fn sweep_json(containers: Vec<String>, dialect: Dialect) -> Vec<Result<String, Error>> {
        let pids: Vec<_> = containers.iter().map(|container| pids(container)).collect();
        let there = pids.iter().position(|pids| pids.is_ok());
        let facts = there
            .and_then(|at| containers.get(at))
            .map_or(Ok(Facts::default()), |container| observe(container));
        let shared = facts
            .as_ref()
            .map_err(Error::clone)
            .and_then(|facts| Ok((sandbox(facts)?, there.and_then(|_| cgroup()))));
        let lines = containers.iter().zip(pids).map(|(container, pids)| {
            let (sandbox, cgroup) = shared.as_ref().map_err(Error::clone)?;
            let data = stats(container, pids?, sandbox, *cgroup)?;
            let mut line = json::stats_event(container, &data, dialect);
            // All lines are held until the end, so none should hold more than it needs.
            line.shrink_to_fit();
            Ok(line)
        });
        lines.collect()
    }

    fn oom_json(container: String) -> String {
        json::oom_event(&container)
    }
}

/// The live tasks of a container: whether it exists comes first, and no question follows an error.
fn pids(container: &str) -> Result<u64, Error> {
    sandbox::pids_count(container).map_err(|e| blame(container, e))
}

/// Asks the host about a container's sandbox, in gVisor's order of evaluation.
#[inline(never)]
fn observe(container: &str) -> Result<Facts, Error> {
    let blame = |error| blame(container, error);
    // Best effort, as in gVisor: a figure that is a little old beats none.
    let _ = sandbox::update_memory_usage();
    let memory = sandbox::memory_usage().map_err(blame)?;
    let containers = sandbox::container_count().map_err(blame)?;
    let root = match containers {
        0 => return Err(Error::NoContainer("no container was found".to_owned())),
        1 => None,
        _ => Some(sandbox::root_container().map_err(blame)?),
    };
    let cpu = sandbox::cpu_usage().map_err(blame)?;
    Ok(Facts {
        memory,
        containers,
        root,
        listed: cpu.containers,
        usage: cpu.usage,
    })
}

/// What the host told, where it goes together.
#[inline(never)]
fn sandbox(facts: &Facts) -> Result<Sandbox<'_>, Error> {
    Sandbox::new(facts).ok_or_else(|| {
        Error::Unavailable("the host's cpu-usage has not one figure for each ID".to_owned())
    })
}

/// The CPU time of the sandbox by the host's account. gVisor does without the figure where it can't be
/// read.
fn cgroup() -> Option<u64> {
    sandbox::cgroup_cpu_usage().unwrap_or(None)
}

/// The data of the stats event of one container.
#[inline(never)]
fn stats_alone(container: &str) -> Result<Stats, Error> {
    let pids = pids(container)?;
    let facts = observe(container)?;
    stats(container, pids, &sandbox(&facts)?, cgroup())
}

/// The same, where what is shared is known.
fn stats(
    container: &str,
    pids: u64,
    sandbox: &Sandbox<'_>,
    cgroup: Option<u64>,
) -> Result<Stats, Error> {
    let own = sandbox::container_stats(container).map_err(|e| blame(container, e))?;
    let mut data = own.unwrap_or_default();
    event::complete(&mut data, container, pids, sandbox, cgroup);
    Ok(data)
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
