//! Errors.

use std::fmt;

/// An error with its chain of causes, and a result with it.
pub use wasmtime::{Error, Result};

/// There is no such container, or it has ended. [`Error::downcast_ref`](Error::downcast_ref)
/// finds it in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound(pub String);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// What was asked for can't be had, now or at any instant. [`Error::downcast_ref`](Error::downcast_ref)
/// finds it in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
