//! The columns of the table.

use clap::ValueEnum;

use super::super::view::Usage;
use super::row::Row;
use super::text::{Symbols, bytes, count, percent};

/// A column of the table. In this order, all but those that are skipped are in text output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// The pod and the name, or the ID.
    Name,
    /// CPU time, in percent of one core.
    Cpu,
    /// CPU time of the last samples, as bars.
    #[value(skip)]
    History,
    /// Memory without the page cache that has not been used lately.
    Memory,
    /// The limit of memory.
    Limit,
    /// Memory in percent of its limit.
    MemoryPercent,
    /// Tasks.
    Pids,
    /// Periods of the CPU quota in which it was used up.
    Throttled,
    /// Time that tasks waited for CPU, memory or I/O.
    Pressure,
    /// Network traffic.
    Network,
    /// Block I/O.
    Io,
    /// Pressure for each of the three.
    #[value(skip)]
    Pressures,
}

use Column::{
    Cpu, History, Io, Limit, Memory, MemoryPercent, Name, Network, Pids, Pressure, Pressures,
    Throttled,
};

/// The columns from left to right.
pub(super) const ORDER: [Column; 12] = [
    Name,
    Cpu,
    History,
    Memory,
    Limit,
    MemoryPercent,
    Pids,
    Throttled,
    Pressure,
    Network,
    Io,
    Pressures,
];

/// The columns but for the name, from the first to the last that gets room.
const PRIORITY: [Column; 11] = [
    Cpu,
    Memory,
    Pids,
    MemoryPercent,
    Throttled,
    Pressure,
    Limit,
    History,
    Network,
    Io,
    Pressures,
];

impl Column {
    /// Returns the column that a key sorts by.
    pub(super) fn from_key(key: char) -> Option<Self> {
        ORDER.into_iter().find(|column| column.key() == Some(key))
    }

    /// Returns the key that sorts by this column.
    pub(super) fn key(self) -> Option<char> {
        Some(match self {
            Name => 'a',
            Cpu => 'c',
            Memory => 'm',
            Limit => 'l',
            MemoryPercent => '%',
            Pids => 'p',
            Network => 'n',
            Io => 'i',
            Throttled => 't',
            Pressure => 's',
            History | Pressures => return None,
        })
    }

    /// Returns the heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Name => "NAME",
            Cpu => "CPU%",
            History => "CPU HIST",
            Memory => "MEM",
            Limit => "LIMIT",
            MemoryPercent => "MEM%",
            Pids => "PIDS/LIMIT",
            Throttled => "THR%",
            Pressure => "PSI%",
            Network => "NET RX/TX",
            Io => "I/O R/W",
            Pressures => "PSI CPU/MEM/IO",
        }
    }

    /// Returns what the column shows, for the help.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Name => "pod and name, or the ID",
            Cpu => "CPU time in percent of one core",
            History => "CPU% of the last samples",
            Memory => "working set: usage without inactive page cache",
            Limit => "limit of memory",
            MemoryPercent => "working set in percent of the limit",
            Pids => "tasks, and their limit",
            Throttled => "throttled periods of the CPU quota, in percent",
            Pressure => "time in which tasks waited, of the last 10 s, in percent",
            Network => "bytes received and sent per second",
            Io => "bytes read from and written to block devices per second",
            Pressures => "PSI% for CPU, memory and I/O each",
        }
    }

    /// Returns whether the column has texts, which begin on the left.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Name | History)
    }

    /// Returns the number of cells that the column needs: that of its longest value, and one for the mark of the order.
    fn width(self) -> usize {
        match self {
            Name => 16,
            Cpu => 7,
            History => 10,
            Memory | Limit => 6,
            MemoryPercent | Throttled | Pressure => 5,
            Pids | Network | Io => 11,
            Pressures => 17,
        }
    }

    /// Returns the columns that fit into that many cells, and their widths. The column that rows are sorted by is always
    /// there.
    pub(super) fn fit(cells: usize, sort: Self) -> Vec<(Self, usize)> {
        /// The length of an ID, and of the history of as many samples as are worth to be shown in a line.
        const LONGEST_NAME: usize = 64;
        const LONGEST_HISTORY: usize = 60;
        let mut rest = cells.saturating_sub(Name.width());
        let mut fitting = vec![Name];
        for column in [sort].into_iter().chain(PRIORITY) {
            // With a space before it.
            let needed = column.width() + 1;
            if !fitting.contains(&column) && needed <= rest {
                rest -= needed;
                fitting.push(column);
            }
        }
        let name = (Name.width() + rest).min(LONGEST_NAME).min(cells);
        let rest = (Name.width() + rest).saturating_sub(name);
        let columns = ORDER.into_iter().filter(|column| fitting.contains(column));
        columns
            .map(|column| match column {
                Name => (column, name),
                History => (column, (column.width() + rest).min(LONGEST_HISTORY)),
                _ => (column, column.width()),
            })
            .collect()
    }

    /// Returns the value of a row that rows are sorted by. Names are sorted as texts.
    pub(super) fn value(self, row: &Row) -> Option<u64> {
        let usage = &row.container.usage;
        let rates = &row.rates;
        let both = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            _ => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        match self {
            Name | History | Pressures => None,
            Cpu => rates.cpu,
            Memory => usage.memory.working_set,
            Limit => usage.memory.limit,
            MemoryPercent => memory_percent(usage),
            Pids => usage.pids,
            Network => both(rates.received, rates.transmitted),
            Io => both(rates.read, rates.written),
            Throttled => rates.throttled,
            Pressure => pressure(usage),
        }
    }

    /// Returns the text of a row.
    pub(super) fn text(self, row: &Row, symbols: &Symbols) -> String {
        let usage = &row.container.usage;
        let rates = &row.rates;
        let hundredths = |value, width| symbols.known(value, |value| percent(value, width));
        match self {
            Name => row.name.clone(),
            History => String::new(),
            Cpu => hundredths(rates.cpu, 7),
            Memory => symbols.known(usage.memory.working_set, bytes),
            Limit => symbols.known(usage.memory.limit, bytes),
            MemoryPercent | Throttled | Pressure => hundredths(self.value(row), 5),
            Pids => symbols.pair(usage.pids, usage.pids_limit, count),
            Network => symbols.pair(rates.received, rates.transmitted, bytes),
            Io => symbols.pair(rates.read, rates.written, bytes),
            Pressures => {
                let all = pressures(usage);
                let known = all.iter().any(Option::is_some);
                let all = all.map(|value| hundredths(value, 5));
                match known {
                    true => all.join("/"),
                    false => symbols.unknown.to_owned(),
                }
            }
        }
    }
}

/// Returns the working set in hundredths of a percent of the limit.
pub(super) fn memory_percent(usage: &Usage) -> Option<u64> {
    let limit = usage.memory.limit.filter(|limit| *limit > 0)?;
    let part = u128::from(usage.memory.working_set?) * 10_000;
    u64::try_from((part + u128::from(limit / 2)) / u128::from(limit)).ok()
}

/// Returns the pressure of CPU, memory and I/O in the last 10 seconds, in hundredths of a percent.
pub(super) fn pressures(usage: &Usage) -> [Option<u64>; 3] {
    let all = [
        &usage.cpu.pressure,
        &usage.memory.pressure,
        &usage.io_pressure,
    ];
    all.map(|pressure| pressure.as_ref().map(|each| u64::from(each.avg10)))
}

/// Returns the highest pressure.
fn pressure(usage: &Usage) -> Option<u64> {
    pressures(usage).into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_into_the_width_and_the_one_of_the_order_is_there() {
        for cells in 0..300 {
            for sort in PRIORITY {
                let columns = Column::fit(cells, sort);
                let width: usize = columns.iter().map(|(_, width)| width + 1).sum();
                assert!(width <= cells + 1, "{cells} {sort:?}: {columns:?}");
                let is_there = columns.iter().any(|(column, _)| *column == sort);
                assert_eq!(
                    is_there,
                    cells > Name.width() + sort.width(),
                    "{cells} {sort:?}"
                );
            }
        }
    }

    #[test]
    fn each_heading_leaves_room_for_the_mark_of_the_order() {
        for column in ORDER {
            assert!(column.heading().len() < column.width(), "{column:?}");
            assert!(PRIORITY.contains(&column) || column == Name);
        }
    }

    #[test]
    fn each_column_with_values_has_a_key_of_its_own() {
        for column in Column::value_variants() {
            let key = column.key().expect("one that can be typed");
            assert_eq!(Column::from_key(key), Some(*column));
        }
    }
}
