//! `eventout top --once`: the values of one moment, as text.

use std::time::Instant;

use clap::ValueEnum as _;
use eventout::Result;
use ratatui::text::Span;
use serde_json::Value;

use super::super::args::{TopArgs, TopFormat};
use super::super::diagnostics::clean;
use super::super::output::{Output, WakeReason};
use super::super::view::Viewer;
use super::column::{Column, memory_percent, pressures};
use super::row::Row;
use super::table::Table;
use super::text::Symbols;

/// Takes two samples, and prints what is known then.
pub(super) fn run(args: &TopArgs, mut viewer: Viewer, out: &mut Output) -> Result<()> {
    let symbols = Symbols::of_locale();
    let mut table = Table::new(symbols, args.sort);
    table.update(viewer.view()?.containers);
    let next = Instant::now().checked_add(args.interval);
    if let WakeReason::StdoutClosed = out.wait(next, None) {
        return Ok(());
    }
    let view = viewer.view()?;
    view.errors.iter().for_each(|e| out.fail(e));
    view.warnings.iter().for_each(|e| out.report(e));
    table.update(view.containers);
    match args.format.unwrap_or(TopFormat::Table) {
        TopFormat::Table => plain(&table, symbols).for_each(|line| out.line(&line)),
        TopFormat::Json => table.shown().for_each(|row| out.line(&json(row))),
        TopFormat::Csv => csv(&table).for_each(|line| out.line(&line)),
    }
    out.flush()
}

/// Returns the lines of a table.
fn plain(table: &Table, symbols: &Symbols) -> impl Iterator<Item = String> {
    let columns = Column::value_variants();
    let heading = columns.iter().map(|column| column.heading().to_owned());
    let cells = |row| columns.iter().map(move |column| column.text(row, symbols));
    let rows = table.shown().map(|row| cells(row).collect());
    let rows: Vec<Vec<_>> = [heading.collect()].into_iter().chain(rows).collect();
    let width = |text: &String| Span::raw(text).width();
    let widest = |at| rows.iter().map(|row: &Vec<_>| width(&row[at])).max();
    let widths: Vec<_> = (0..columns.len())
        .map(|at| widest(at).unwrap_or(0))
        .collect();
    rows.into_iter().map(move |row| {
        let cells = row.iter().enumerate().map(|(at, text)| {
            let padding = " ".repeat(widths[at] - width(text));
            match columns[at].is_text() {
                true => format!("{text}{padding}"),
                false => format!("{padding}{text}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    })
}

/// A value of a container: its name, which ends in its unit, and how it is found. `null` is not known.
type Field = (&'static str, fn(&Row) -> Value);

const FIELDS: [Field; 22] = [
    ("id", |row| row.container.info.id.as_str().into()),
    ("name", |row| row.container.name().into()),
    ("pod", |row| row.container.details.pod.as_deref().into()),
    ("namespace", |row| {
        row.container.details.namespace.as_deref().into()
    }),
    ("sandbox", |row| row.container.info.sandbox.as_str().into()),
    ("source", |row| row.container.info.source.as_str().into()),
    ("interval_ns", |row| {
        let interval = row.rates.interval.map(|interval| interval.as_nanos());
        interval.and_then(|nanos| u64::try_from(nanos).ok()).into()
    }),
    ("cpu_percent", |row| percent(row.rates.cpu)),
    ("cpu_ns", |row| row.container.usage.cpu.total.into()),
    ("throttled_percent", |row| percent(row.rates.throttled)),
    ("memory_bytes", |row| {
        row.container.usage.memory.working_set.into()
    }),
    ("memory_limit_bytes", |row| {
        row.container.usage.memory.limit.into()
    }),
    ("memory_percent", |row| {
        percent(memory_percent(&row.container.usage))
    }),
    ("pids", |row| row.container.usage.pids.into()),
    ("pids_limit", |row| row.container.usage.pids_limit.into()),
    ("received_bytes_per_second", |row| row.rates.received.into()),
    ("sent_bytes_per_second", |row| row.rates.transmitted.into()),
    ("read_bytes_per_second", |row| row.rates.read.into()),
    ("written_bytes_per_second", |row| row.rates.written.into()),
    ("cpu_pressure_percent", |row| {
        percent(pressures(&row.container.usage)[0])
    }),
    ("memory_pressure_percent", |row| {
        percent(pressures(&row.container.usage)[1])
    }),
    ("io_pressure_percent", |row| {
        percent(pressures(&row.container.usage)[2])
    }),
];

/// Returns hundredths of a percent as percent. Two decimals survive: a f64 has 15.
fn percent(hundredths: Option<u64>) -> Value {
    hundredths.map(|n| n as f64 / 100.0).into()
}

/// Returns what is known of a container as a line of JSON.
fn json(row: &Row) -> String {
    let members = FIELDS.map(|(name, value)| (name.to_owned(), value(row)));
    let known = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.collect()).to_string()
}

/// Returns the lines of CSV (RFC 4180), the first of which has the names. What is not known is empty.
fn csv(table: &Table) -> impl Iterator<Item = String> {
    let rows = table.shown().map(|row| {
        let cells = FIELDS.map(|(_, value)| match value(row) {
            Value::Null => String::new(),
            Value::String(text) => quote(&clean(text)),
            value => value.to_string(),
        });
        cells.join(",")
    });
    [FIELDS.map(|(name, _)| name).join(",")]
        .into_iter()
        .chain(rows)
}

/// Quotes a cell of CSV that has a separator in it.
fn quote(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
