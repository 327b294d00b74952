//! Components: the built-in one and those from files, run within limits.

mod cache;
mod engine;
mod epoch;
mod events;
mod formatter;
mod host;
mod limiter;
mod plugin;
mod runtime;

pub use events::Component;
pub(crate) use events::Instance;
pub use formatter::Formatter;
pub use plugin::Plugin;
