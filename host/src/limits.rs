//! Limits of a component.

use std::time::Duration;

/// Limits of a component's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time of a call. A call is stopped after that time, at most a tenth of it later, and never before 10 ms.
    /// The limit is for components from files: the time of the built-in one grows with the number of containers,
    /// and with nothing else.
    pub time: Duration,
    /// The memory of an instance, its tables included, in bytes. The built-in component has 256 MiB at most.
    pub memory: usize,
    /// The size of a result, in bytes. A text is counted as the caller gets it. In other results, a list counts with
    /// the size of its elements in memory, and a text in them as the component holds it.
    pub output: usize,
    /// The largest number of core instances of a component; likewise of memories, and of tables.
    pub instances: usize,
}

impl Default for Limits {
    /// Returns 1 s, 64 MiB of memory, 32 MiB of output, and 100 instances: some 1,000 times the needs of an event of a
    /// pod, and enough for a component with an interpreter in it.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            memory: 64 << 20,
            output: 32 << 20,
            instances: 100,
        }
    }
}
