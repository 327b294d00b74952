//! Components: the built-in one and those from files, run within limits.

mod cache;
mod compiler;
mod engine;
mod epoch;
mod events;
mod formatter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host;
mod limiter;
mod plugin;
mod runtime;
mod world;

pub use compiler::compiler_process;
use engine::Origin;
pub use events::Component;
pub(crate) use events::Instance;
pub use formatter::Formatter;
pub use plugin::Plugin;
