//! The command line.

pub(crate) mod args;
pub(crate) mod compat;
mod diagnostics;
mod duration;
pub(crate) mod events;
pub(crate) mod generate;
mod label;
pub(crate) mod list;
pub(crate) mod output;
pub(crate) mod record;
mod repeats;
pub(crate) mod serve;
mod signals;
mod stream;
mod too_large;
pub(crate) mod top;
pub(crate) mod view;
