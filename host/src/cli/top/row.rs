//! A row of the table.

use std::collections::VecDeque;

use super::super::view::{Container, Rates};

/// A container with its rates and its history.
pub(super) struct Row {
    /// The name, fit for the terminal.
    pub(super) name: String,
    pub(super) container: Container,
    pub(super) rates: Rates,
    /// The last samples, the newest at the end.
    pub(super) history: VecDeque<Point>,
}

/// A sample in the history of a container.
#[derive(Clone, Copy)]
pub(super) struct Point {
    /// CPU time, in hundredths of a percent of one core.
    pub(super) cpu: Option<u64>,
    /// Memory in bytes.
    pub(super) memory: Option<u64>,
}
