//! Stats events of containers, computed by a WebAssembly component.
//!
//! The component holds the accounting and the format; see `wit/` for its contract. This library
//! gives it a [`Source`] of facts, keeps it within [`Limits`], and hands on its results:
//!
//! ```
//! use eventout::{Component, Format, Limits, Monitor, SourceSpec};
//!
//! # fn main() -> eventout::Result<()> {
//! let component = Component::builtin(Limits::default())?;
//! let source = "demo".parse::<SourceSpec>()?.open()?;
//! let mut monitor = Monitor::new(&component, source);
//!
//! let event = monitor.sample()?.stats("web")?;
//! assert_eq!(event.data.pids.current, Some(3));
//! assert_eq!(event.data.memory.usage.usage, Some(61_728_394)); // bytes
//!
//! let line = monitor.sample()?.stats_json("web", Format::Gvisor)?;
//! assert!(line.starts_with(r#"{"type":"stats","id":"web","data":{"cpu":"#));
//! # Ok(())
//! # }
//! ```
//!
//! An [`Error`] says what was attempted, where and why, as a chain of causes. Its [`ErrorKind`] tells whether
//! the container has ended, the request can never be granted, or a later call may succeed.
//!
//! # Features
//!
//! - `plugins`: third-party components ([`Plugin`]), and the compiler that they need.
//! - `cli`, on by default: the program, and `plugins`.

#[cfg(not(target_os = "linux"))]
compile_error!("eventout reads cgroups and /proc, so it works on Linux only");

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod bindings;
mod component;
mod details;
mod error;
#[cfg(test)]
mod fuzzing;
mod limits;
mod linux;
mod monitor;
mod snapshot;
mod source;
mod text;

pub use bindings::types::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, EventOut, Hugetlb, Memory, MemoryEntry,
    NetworkInterface, Pids, Psi, PsiData, Stats, StatsEvent, Throttling,
};
pub use component::Component;
#[cfg(feature = "plugins")]
pub use component::{CompileLimits, Formatter, Plugin, compiler_process};
pub use details::{Details, Status};
pub use error::{Error, ErrorKind, Result};
pub use limits::Limits;
pub use monitor::{Monitor, Sample};
pub use snapshot::{Container, Format, Snapshot};
pub use source::{ContainerInfo, OomEvents, Source, SourceSpec};
