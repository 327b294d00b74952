//! Limits of a component.

use std::time::Duration;

/// What one call of a component may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take. It is stopped after that time, at most a tenth of it later, and never
    /// before 10 ms. Only components from files are: what the built-in one takes grows with the number of
    /// containers, and with nothing else.
    pub time: Duration,
    /// How much memory the component may have, in bytes.
    pub memory: usize,
    /// How much it may answer, in bytes as the host holds it.
    pub output: usize,
    /// How many core modules it may be made of, and how many memories and how many tables it may have.
    pub instances: usize,
}

impl Default for Limits {
    /// One second, 64 MiB, of which 32 may be an answer, and 100 parts: some 1,000 times what an event of a pod
    /// takes, and enough for a component with an interpreter in it.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            memory: 64 << 20,
            output: 32 << 20,
            instances: 100,
        }
    }
}
