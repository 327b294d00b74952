//! Components: the built-in one and those from files, run within limits.

mod engine;
mod epoch;
mod events;
mod host;
mod limiter;
#[cfg(feature = "plugins")]
mod plugin;
mod runtime;

pub use events::Component;
pub(crate) use events::Instance;
#[cfg(feature = "plugins")]
pub use plugin::{CompileLimits, Formatter, Plugin, compiler_process};
