//! Limits of an instance's memory, tables and number of parts.

use std::fmt;

use wasmtime::{ResourceLimiter, Result, bail};

use super::engine::{BUILTIN_MEMORY, Origin};
use crate::limits::Limits;

/// The largest number of elements of a table.
const TABLE_ELEMENTS: usize = 1 << 16;
/// The largest size of an element in the host's memory, in bytes.
const TABLE_ELEMENT_SIZE: usize = 16;

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
    /// The largest number of core instances that the instance may have; likewise of memories, and of tables.
    instances: usize,
    /// The memory that the instance may have, in bytes.
    memory: usize,
    /// The part of it that the instance has not got yet.
    memory_left: usize,
}

impl Limiter {
    pub(super) fn new(origin: Origin, limits: &Limits) -> Self {
        let memory = match origin {
            Origin::Builtin => limits.memory.min(BUILTIN_MEMORY),
            Origin::Plugin => limits.memory,
        };
        Self {
            instances: limits.instances,
            memory,
            memory_left: memory,
        }
    }

    /// Returns whether half of the memory is still left.
    pub(super) fn has_half_left(&self) -> bool {
        self.memory_left >= self.memory / 2
    }

    /// Takes some bytes of the memory that is left.
    fn reserve(&mut self, bytes: usize) -> Result<bool> {
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
        self.reserve(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > TABLE_ELEMENTS {
            bail!(LimitExceeded(format!(
                "it needs a table of more than {TABLE_ELEMENTS} elements"
            )));
        }
        self.reserve(desired.saturating_sub(current) * TABLE_ELEMENT_SIZE)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(origin: Origin, memory: usize) -> Limiter {
        let limits = Limits {
            memory,
            ..Limits::default()
        };
        Limiter::new(origin, &limits)
    }

    #[test]
    fn all_memories_and_tables_share_one_limit() {
        let mut limiter = limiter(Origin::Plugin, 1000);
        assert!(limiter.memory_growing(0, 400, None).is_ok());
        assert!(limiter.memory_growing(0, 100, None).is_ok());
        assert!(limiter.has_half_left());
        assert!(limiter.table_growing(0, 1, None).is_ok());
        assert!(!limiter.has_half_left());
        assert!(limiter.memory_growing(400, 884, None).is_ok());
        for error in [
            limiter.memory_growing(884, 885, None),
            limiter.table_growing(1, 2, None),
        ] {
            let error = error.expect_err("too much");
            assert!(error.is::<LimitExceeded>());
            assert_eq!(error.to_string(), "it needs more than 1000 bytes of memory");
        }
        assert!(limiter.memory_growing(884, 884, None).is_ok());
    }

    #[test]
    fn tables_have_a_limit_of_their_own() {
        let mut limiter = limiter(Origin::Plugin, usize::MAX);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).is_ok());
        let error = limiter.table_growing(0, TABLE_ELEMENTS + 1, None);
        assert!(error.expect_err("too large").is::<LimitExceeded>());
    }

    #[test]
    fn the_builtin_component_has_no_more_than_its_reservation() {
        let mut limiter = limiter(Origin::Builtin, usize::MAX);
        assert!(limiter.memory_growing(0, BUILTIN_MEMORY, None).is_ok());
        let more = limiter.memory_growing(BUILTIN_MEMORY, BUILTIN_MEMORY + 1, None);
        assert!(more.expect_err("too much").is::<LimitExceeded>());
    }
}
