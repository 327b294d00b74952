//! Limits of an instance's memory, tables and parts.

use std::fmt;

use wasmtime::{ResourceLimiter, Result, bail};

use crate::limits::Limits;

/// The error that stops an instance which needs more than it may have.
#[derive(Debug)]
pub(super) struct LimitExceeded(String);

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LimitExceeded {}

/// Keeps one instance within its limits.
pub(super) struct Limiter {
    /// The number of core modules, memories and tables that the instance may have, of each.
    instances: usize,
    /// The memory that the instance may have, in bytes.
    memory: usize,
    /// The part of it that the instance has not got yet.
    memory_left: usize,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            instances: limits.instances,
            memory: limits.memory,
            memory_left: limits.memory,
        }
    }

    /// Returns whether half of the memory is still left.
    pub(super) fn has_half_left(&self) -> bool {
        self.memory_left >= self.memory / 2
    }

    /// Takes so many bytes of the memory that is left.
    fn take(&mut self, bytes: usize) -> Result<bool> {
        let Some(left) = self.memory_left.checked_sub(bytes) else {
            bail!(LimitExceeded(format!(
                "it needs more than {} bytes of memory",
                self.memory
            )));
        };
        self.memory_left = left;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.take(desired - current)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        const ELEMENTS: usize = 1 << 16;
        /// What one takes of the host's memory, in bytes, at most.
        const ELEMENT: usize = 16;
        if desired > ELEMENTS {
            bail!(LimitExceeded(format!(
                "it needs a table of more than {ELEMENTS} elements"
            )));
        }
        self.take((desired - current) * ELEMENT)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
