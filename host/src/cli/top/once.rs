//! `eventout top --once`: the values of one moment, as text.

use std::time::Instant;

use eventout::Result;
use ratatui::text::Span;
use serde_json::{Map, Value};

use super::super::args::{TopArgs, TopFormat};
use super::super::diagnostics::clean;
use super::super::output::{Output, WakeReason};
use super::super::view::Viewer;
use super::column::{PLAIN, memory_percent, pressures};
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
    for e in &view.errors {
        out.fail(e);
    }
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
    let heading = PLAIN.map(|column| column.heading().to_owned());
    let rows = table
        .shown()
        .map(|row| PLAIN.map(|column| column.text(row, symbols)));
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let width = |text: &String| Span::raw(text).width();
    let widths = std::array::from_fn::<_, { PLAIN.len() }, _>(|at| {
        rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)
    });
    rows.into_iter().map(move |row| {
        let cells = row.iter().enumerate().map(|(at, text)| {
            let padding = " ".repeat(widths[at] - width(text));
            match PLAIN[at].is_text() {
                true => format!("{text}{padding}"),
                false => format!("{padding}{text}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    })
}

/// Returns the values of a container with their names and units. `null` is not known.
fn fields(row: &Row) -> [(&'static str, Value); 22] {
    let (info, details) = (&row.container.info, &row.container.details);
    let (usage, rates) = (&row.container.usage, &row.rates);
    // Two decimals survive: a f64 has 15.
    let percent = |hundredths: Option<u64>| Value::from(hundredths.map(|n| n as f64 / 100.0));
    let interval = rates.interval.map(|interval| interval.as_nanos());
    let interval = interval.and_then(|nanos| u64::try_from(nanos).ok());
    let [cpu_pressure, memory_pressure, io_pressure] = pressures(usage).map(percent);
    [
        ("id", info.id.as_str().into()),
        ("name", row.container.name().into()),
        ("pod", details.pod.as_deref().into()),
        ("namespace", details.namespace.as_deref().into()),
        ("sandbox", info.sandbox.as_str().into()),
        ("source", info.source.as_str().into()),
        ("interval_ns", interval.into()),
        ("cpu_percent", percent(rates.cpu)),
        ("cpu_ns", usage.cpu.total.into()),
        ("throttled_percent", percent(rates.throttled)),
        ("memory_bytes", usage.memory.working_set.into()),
        ("memory_limit_bytes", usage.memory.limit.into()),
        ("memory_percent", percent(memory_percent(usage))),
        ("pids", usage.pids.into()),
        ("pids_limit", usage.pids_limit.into()),
        ("received_bytes_per_second", rates.received.into()),
        ("sent_bytes_per_second", rates.transmitted.into()),
        ("read_bytes_per_second", rates.read.into()),
        ("written_bytes_per_second", rates.written.into()),
        ("cpu_pressure_percent", cpu_pressure),
        ("memory_pressure_percent", memory_pressure),
        ("io_pressure_percent", io_pressure),
    ]
}

/// Returns what is known of a container as a line of JSON.
fn json(row: &Row) -> String {
    let known = fields(row)
        .into_iter()
        .filter(|(_, value)| !value.is_null());
    let members: Map<_, _> = known
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(members).to_string()
}

/// Returns the lines of CSV (RFC 4180), the first of which has the names. What is not known is empty.
fn csv(table: &Table) -> impl Iterator<Item = String> {
    let join = |cells: [String; 22]| cells.join(",");
    let mut rows = table.shown().map(fields).peekable();
    let names = rows
        .peek()
        .map(|row| row.each_ref().map(|(name, _)| (*name).to_owned()));
    let rows = rows.map(|row| {
        row.map(|(_, value)| match value {
            Value::Null => String::new(),
            Value::String(text) => quote(&clean(text)),
            value => value.to_string(),
        })
    });
    names.into_iter().chain(rows).map(join)
}

/// Quotes a cell of CSV that has a separator in it.
fn quote(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
