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

/// The names and units of the values of a container.
const NAMES: [&str; 22] = [
    "id",
    "name",
    "pod",
    "namespace",
    "sandbox",
    "source",
    "interval_ns",
    "cpu_percent",
    "cpu_ns",
    "throttled_percent",
    "memory_bytes",
    "memory_limit_bytes",
    "memory_percent",
    "pids",
    "pids_limit",
    "received_bytes_per_second",
    "sent_bytes_per_second",
    "read_bytes_per_second",
    "written_bytes_per_second",
    "cpu_pressure_percent",
    "memory_pressure_percent",
    "io_pressure_percent",
];

/// Returns the values of a container. `null` is not known.
fn values(row: &Row) -> [Value; NAMES.len()] {
    let (info, details) = (&row.container.info, &row.container.details);
    let (usage, rates) = (&row.container.usage, &row.rates);
    // Two decimals survive: a f64 has 15.
    let percent = |hundredths: Option<u64>| Value::from(hundredths.map(|n| n as f64 / 100.0));
    let interval = rates.interval.map(|interval| interval.as_nanos());
    let interval = interval.and_then(|nanos| u64::try_from(nanos).ok());
    let [cpu_pressure, memory_pressure, io_pressure] = pressures(usage).map(percent);
    [
        info.id.as_str().into(),
        row.container.name().into(),
        details.pod.as_deref().into(),
        details.namespace.as_deref().into(),
        info.sandbox.as_str().into(),
        info.source.as_str().into(),
        interval.into(),
        percent(rates.cpu),
        usage.cpu.total.into(),
        percent(rates.throttled),
        usage.memory.working_set.into(),
        usage.memory.limit.into(),
        percent(memory_percent(usage)),
        usage.pids.into(),
        usage.pids_limit.into(),
        rates.received.into(),
        rates.transmitted.into(),
        rates.read.into(),
        rates.written.into(),
        cpu_pressure,
        memory_pressure,
        io_pressure,
    ]
}

/// Returns what is known of a container as a line of JSON.
fn json(row: &Row) -> String {
    let members = NAMES.map(str::to_owned).into_iter().zip(values(row));
    let known = members.filter(|(_, value)| !value.is_null());
    Value::Object(known.collect()).to_string()
}

/// Returns the lines of CSV (RFC 4180), the first of which has the names. What is not known is empty.
fn csv(table: &Table) -> impl Iterator<Item = String> {
    let rows = table.shown().map(|row| {
        let cells = values(row).map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => quote(&clean(text)),
            value => value.to_string(),
        });
        cells.join(",")
    });
    [NAMES.join(",")].into_iter().chain(rows)
}

/// Quotes a cell of CSV that has a separator in it.
fn quote(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
