//! The command line.

pub(crate) mod args;
mod duration;
pub(crate) mod events;
pub(crate) mod output;
pub(crate) mod record;
mod stream;
