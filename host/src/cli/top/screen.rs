//! Drawing: the summary, and below it a page.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use eventout::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::{Sparkline, Widget as _};

use super::app::{App, Page};
use super::column::{Column, memory_percent, pressures};
use super::row::{Point, Row};
use super::text::{Symbols, bytes, count, duration, percent, wrap};

/// The style of the headings and of the selected row. Colours only repeat what values say, so none is needed.
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const ERROR: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Draws the screen as of `now`.
pub(super) fn draw(app: &mut App, now: Instant, frame: &mut Frame<'_>) {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [top, page, bottom] = parts.areas(frame.area());
    let (summary, style) = summary(app, now);
    line(
        frame,
        top,
        0,
        &app.symbols.cut(&summary, top.width.into()),
        style,
    );
    match app.page.clone() {
        Page::Table | Page::Filter => table(app, frame, page),
        Page::Container(id) => container(app, &id, frame, page),
        Page::Errors => {
            let lines = errors(app);
            text(app, &lines, frame, page);
        }
        Page::Help => text(app, &help(), frame, page),
    }
    hints(app, frame, bottom);
}

/// Prints a line of an area, if it is that high, from the left.
fn line(frame: &mut Frame<'_>, area: Rect, at: usize, text: &str, style: Style) {
    if at < area.height.into() {
        let y = area.y + at as u16;
        let buffer = frame.buffer_mut();
        buffer.set_stringn(area.x, y, text, area.width.into(), style);
    }
}

/// Returns the line about all containers.
fn summary(app: &App, now: Instant) -> (String, Style) {
    let symbols = app.symbols;
    let Some(_) = app.taken else {
        return match &app.failure {
            Some(e) => (
                format!("eventout  {}", symbols.clean(&format!("{e:#}"))),
                ERROR,
            ),
            None => ("eventout  waiting for the first sample".to_owned(), BOLD),
        };
    };
    let rows = || app.table.rows();
    let sources: BTreeSet<&str> = rows()
        .map(|row| row.container.info.source.as_str())
        .collect();
    let sources = match sources.len() {
        0 => String::new(),
        1 | 2 => {
            let names: Vec<_> = sources
                .into_iter()
                .map(|name| symbols.clean(name))
                .collect();
            format!(" of {}", names.join(", "))
        }
        n => format!(" of {n} sources"),
    };
    let containers = match rows().len() {
        1 => "1 container".to_owned(),
        n => format!("{n} containers"),
    };
    let sum = |value: fn(&Row) -> Option<u64>| {
        let known = rows().filter_map(value);
        known.reduce(u64::saturating_add)
    };
    let cpu = symbols.known(sum(|row| row.rates.cpu), |cpu| {
        format!("{}%", percent(cpu, 9))
    });
    let memory = symbols.known(sum(|row| row.container.usage.memory.working_set), bytes);
    let mut text = format!("eventout  {containers}{sources}  CPU {cpu}  MEM {memory}");
    match app.errors.len() {
        0 => {}
        1 => text += "  1 error (e)",
        n => text += &format!("  {n} errors (e)"),
    }
    if !app.table.filter().is_empty() {
        let filter = symbols.clean(app.table.filter());
        text += &format!("  {} with {filter:?}", app.table.shown().len());
    }
    let Some(age) = app.is_old(now) else {
        return (text, BOLD);
    };
    let age = duration(age.as_secs());
    let why = match &app.failure {
        Some(e) => symbols.clean(&format!("{e:#}")),
        None => "waiting for the source".to_owned(),
    };
    // In front, where it is never cut.
    (format!("STALE {age}: {why}  {text}"), ERROR)
}

fn hints(app: &App, frame: &mut Frame<'_>, area: Rect) {
    match &app.page {
        Page::Filter => {
            let filter = format!("filter: {}", app.symbols.clean(app.table.filter()));
            line(frame, area, 0, &filter, BOLD);
            let end = u16::try_from(Span::raw(&filter).width()).unwrap_or(u16::MAX);
            let x = area
                .x
                .saturating_add(end)
                .min(area.right().saturating_sub(1));
            if !area.is_empty() {
                frame.set_cursor_position(Position { x, y: area.y });
            }
        }
        Page::Table => {
            let hints =
                "h help  / filter  Enter details  a c m l % p t s n i sort  r reverse  q quit";
            line(frame, area, 0, hints, Style::new());
        }
        _ => line(frame, area, 0, "Esc back  q quit", Style::new()),
    }
}

fn table(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let symbols = app.symbols;
    let sort = app.table.sort();
    let columns = Column::fit(area.width.into(), sort);
    let mark = match app.table.is_ascending() {
        true => symbols.ascending,
        false => symbols.descending,
    };
    let mut heading = String::new();
    for &(column, width) in &columns {
        let mark = if column == sort { mark } else { "" };
        let text = format!("{}{mark}", column.heading());
        push_cell(&mut heading, column, &text, width);
    }
    let width = usize::from(area.width);
    line(frame, area, 0, &format!("{heading:width$}"), REVERSED);

    let body = Rect {
        y: area.y.saturating_add(1),
        height: area.height.saturating_sub(1),
        ..area
    };
    app.height = body.height.into();
    if app.table.rows().len() == 0 && app.taken.is_some() {
        line(frame, body, 0, "no containers", Style::new());
    }
    for (at, (is_selected, row)) in app.table.on_screen(body.height.into()).enumerate() {
        let y = body.y + at as u16;
        let style = if is_selected { REVERSED } else { Style::new() };
        let mut text = String::new();
        let mut alarms = Vec::new();
        for &(column, width) in &columns {
            let cell = match column {
                Column::Name => symbols.cut(&row.name, width),
                Column::History => history(row, width, symbols),
                _ => column.text(row, symbols),
            };
            push_cell(&mut text, column, &cell, width);
            if let Some(color) = alarm(column, row) {
                let end = Span::raw(&text).width();
                alarms.push((end.saturating_sub(cell.len()), cell.len(), color));
            }
        }
        line(frame, body, at, &format!("{text:width$}"), style);
        for (x, width, color) in alarms {
            let cell = Rect::new(body.x + x as u16, y, width as u16, 1);
            let cell = cell.intersection(body);
            frame.buffer_mut().set_style(cell, Style::new().fg(color));
        }
    }
}

/// Appends a cell to a line. Numbers are flush on the right.
fn push_cell(line: &mut String, column: Column, text: &str, width: usize) {
    if !line.is_empty() {
        line.push(' ');
    }
    let padding = " ".repeat(width.saturating_sub(Span::raw(text).width()));
    let (before, after) = match column.is_text() {
        true => ("", padding.as_str()),
        false => (padding.as_str(), ""),
    };
    line.extend([before, text, after]);
}

/// Returns the CPU time of the last samples, one character each. One core is the highest bar, unless more were in use.
fn history(row: &Row, width: usize, symbols: &Symbols) -> String {
    const ONE_CORE: u64 = 10_000;
    let points = row.history.iter();
    let last: Vec<_> = points.rev().take(width).map(|point| point.cpu).collect();
    let full = last.iter().flatten().fold(ONE_CORE, |a, b| a.max(*b));
    let bar = |cpu: &Option<u64>| cpu.map_or(symbols.bars.empty, |cpu| symbols.bar(cpu, full));
    let bars: String = last.iter().rev().map(bar).collect();
    format!("{bars:>width$}")
}

/// Returns the colour of a value that asks for attention.
fn alarm(column: Column, row: &Row) -> Option<Color> {
    let (yellow, red) = match column {
        Column::MemoryPercent => (8000, 9500),
        Column::Throttled => (1, 2500),
        Column::Pressure => (1000, 4000),
        _ => return None,
    };
    match column.value(row)? {
        value if value >= red => Some(Color::Red),
        value if value >= yellow => Some(Color::Yellow),
        _ => None,
    }
}

/// Shows lines of text from `app.scroll` on, which it keeps within the text. Lines that are too long go on in the next.
fn text(app: &mut App, lines: &[String], frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<_> = lines
        .iter()
        .flat_map(|line| wrap(line, area.width.into()))
        .collect();
    app.height = area.height.into();
    app.scroll = app.scroll.min(lines.len().saturating_sub(app.height));
    for (at, text) in lines.iter().skip(app.scroll).take(app.height).enumerate() {
        line(frame, area, at, text, Style::new());
    }
}

fn help() -> Vec<String> {
    let mut lines = vec![
        "Keys".to_owned(),
        "  Up Down PgUp PgDn Home End j k   select a container".to_owned(),
        "  Enter   details of the selected container    Esc   back, no filter".to_owned(),
        "  / f     filter by name or ID                 e     errors of the last sample".to_owned(),
        "  r       reverse the order                    q     quit (Ctrl-Z suspends)".to_owned(),
        String::new(),
        "Columns, and the keys that sort by them; columns that do not fit are hidden".to_owned(),
    ];
    let columns = super::column::ORDER.into_iter().map(|column| {
        let key = column.key().unwrap_or(' ');
        format!("  {key}  {:14}  {}", column.heading(), column.meaning())
    });
    lines.extend(columns);
    lines.push(
        "K, M, G, ... are powers of 1024. A dash is a value that is not known (yet).".to_owned(),
    );
    lines
}

fn errors(app: &App) -> Vec<String> {
    let all = app.failure.iter().chain(&app.errors);
    let mut lines: Vec<_> = all.map(|e| app.symbols.clean(&format!("{e:#}"))).collect();
    if lines.is_empty() {
        lines.push("no errors in the last sample".to_owned());
    }
    lines
}

fn container(app: &mut App, id: &str, frame: &mut Frame<'_>, area: Rect) {
    /// The height of the two diagrams, each with its title, and the least that the text has beside them.
    const DIAGRAM: u16 = 5;
    const TEXT: u16 = 6;
    let Some(row) = app.table.row(id) else {
        let gone = format!("{} is not there any more", app.symbols.clean(id));
        return line(frame, area, 0, &gone, BOLD);
    };
    let diagram = match area.height >= 2 * DIAGRAM + TEXT {
        true => DIAGRAM,
        false => 0,
    };
    let parts = [
        Constraint::Length(diagram),
        Constraint::Length(diagram),
        Constraint::Fill(1),
    ];
    let [cpu, memory, rest] = Layout::vertical(parts).areas(area);
    let now = app
        .symbols
        .known(row.rates.cpu, |cpu| format!("{}%", percent(cpu, 9)));
    let title = format!("CPU {now} of one core");
    draw_history(
        row,
        |point| point.cpu,
        10_000,
        &title,
        app.symbols,
        frame,
        cpu,
    );
    let usage = &row.container.usage.memory;
    let now = app.symbols.known(usage.working_set, bytes);
    let title = match usage.limit {
        Some(limit) => format!("MEM {now} of {}", bytes(limit)),
        None => format!("MEM {now}"),
    };
    let full = usage.limit.unwrap_or(1);
    draw_history(
        row,
        |point| point.memory,
        full,
        &title,
        app.symbols,
        frame,
        memory,
    );
    let lines = values(app, row);
    text(app, &lines, frame, rest);
}

/// Draws the last samples with their title. The highest bar is `full`, unless one was more.
fn draw_history(
    row: &Row,
    value: fn(&Point) -> Option<u64>,
    full: u64,
    title: &str,
    symbols: &Symbols,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    line(frame, area, 0, &symbols.cut(title, area.width.into()), BOLD);
    let area = Rect {
        y: area.y.saturating_add(1),
        height: area.height.saturating_sub(1),
        ..area
    };
    let width = usize::from(area.width);
    let skipped = row.history.len().saturating_sub(width);
    let mut data = vec![None; width.saturating_sub(row.history.len())];
    data.extend(row.history.iter().skip(skipped).map(value));
    let full = data.iter().flatten().fold(full, |a, b| a.max(*b));
    Sparkline::default()
        .data(data)
        .max(full)
        .bar_set(symbols.bars.clone())
        .absent_value_symbol(symbols.bars.empty)
        .render(area, frame.buffer_mut());
}

/// Returns all that is known of a container, a line each.
fn values(app: &App, row: &Row) -> Vec<String> {
    let symbols = app.symbols;
    let (info, details) = (&row.container.info, &row.container.details);
    let (usage, rates) = (&row.container.usage, &row.rates);
    let mut lines = Vec::new();
    let mut text = |name: &str, value: Option<&str>| {
        lines.extend(value.map(|value| format!("{name:14} {}", symbols.clean(value))));
    };
    text("name", Some(&row.name));
    text("ID", Some(&info.id));
    text("sandbox", Some(&info.sandbox));
    text("source", Some(&info.source));
    text("runtime", details.runtime.as_deref());
    text("pod", details.pod.as_deref());
    text("namespace", details.namespace.as_deref());
    text("image", details.image.as_deref());
    text("status", details.status.map(Status::as_str));
    let age = details
        .started
        .zip(app.taken)
        .and_then(|(started, (_, time))| {
            let started = UNIX_EPOCH.checked_add(Duration::from_nanos(started))?;
            time.duration_since(started).ok()
        });
    text("up for", age.map(|age| duration(age.as_secs())).as_deref());
    let cgroup = details.cgroup.as_ref().map(|path| path.to_string_lossy());
    text("cgroup", cgroup.as_deref());

    let hundredths = |value| symbols.known(value, |value| format!("{}%", percent(value, 9)));
    let time = |nanos| {
        symbols.known(nanos, |ns| {
            format!("{}.{:03}s", ns / 1_000_000_000, ns / 1_000_000 % 1000)
        })
    };
    let size = |value| symbols.known(value, bytes);
    let number = |value| symbols.known(value, |n| n.to_string());
    let cpu = &usage.cpu;
    let mut add = |name: &str, value: String| lines.push(format!("{name:14} {value}"));
    add(
        "CPU time",
        format!(
            "{}, user {}, system {}",
            time(cpu.total),
            time(cpu.user),
            time(cpu.system)
        ),
    );
    if let Some((quota, period)) = details.cpu_quota.zip(details.cpu_period.filter(|p| *p > 0)) {
        let percentage = u128::from(quota) * 10_000 / u128::from(period);
        let percentage = u64::try_from(percentage).ok();
        add(
            "CPU quota",
            format!("{} of one core", hundredths(percentage)),
        );
    }
    if let Some(shares) = details.cpu_shares {
        add("CPU shares", shares.to_string());
    }
    add(
        "throttled",
        format!(
            "{}, {} of {} periods, {}",
            hundredths(rates.throttled),
            number(cpu.throttled_periods),
            number(cpu.periods),
            time(cpu.throttled_time)
        ),
    );
    let memory = &usage.memory;
    add(
        "memory",
        format!(
            "{} working set, {} usage, {} peak, {} limit ({})",
            size(memory.working_set),
            size(memory.usage),
            size(memory.max),
            size(memory.limit),
            hundredths(memory_percent(usage))
        ),
    );
    add(
        "",
        format!(
            "{} anonymous, {} cache, {} mapped, {} kernel, {} swap",
            size(memory.rss),
            size(memory.cache),
            size(memory.mapped_file),
            size(memory.kernel),
            size(memory.swap)
        ),
    );
    add(
        "",
        format!(
            "{} times at the limit, {} page faults, {} of them major",
            number(memory.failcnt),
            number(memory.page_faults),
            number(memory.major_page_faults)
        ),
    );
    add("pids", symbols.pair(usage.pids, usage.pids_limit, count));
    let [cpu, memory, io] = pressures(usage).map(hundredths);
    add("pressure", format!("CPU {cpu}, memory {memory}, I/O {io}"));
    let per_second = symbols.pair(rates.received, rates.transmitted, bytes);
    add("network", format!("{per_second} received/sent per second"));
    for interface in &usage.interfaces {
        let name = symbols.clean(&interface.name);
        let (received, sent) = (bytes(interface.rx_bytes), bytes(interface.tx_bytes));
        add("", format!("{name} {received}/{sent}"));
    }
    let per_second = symbols.pair(rates.read, rates.written, bytes);
    add("block I/O", format!("{per_second} read/written per second"));
    for device in &usage.devices {
        let (major, minor) = (device.major, device.minor);
        let total = symbols.pair(device.read_bytes, device.written_bytes, bytes);
        add("", format!("{major}:{minor} {total}"));
    }
    for pages in &usage.hugetlb {
        let size = symbols.clean(&pages.page_size);
        add(
            "huge pages",
            format!("{size}: {}", symbols.known(pages.usage, bytes)),
        );
    }
    for (key, value) in &details.annotations {
        let (key, value) = (symbols.clean(key), symbols.clean(value));
        add("annotation", format!("{key}={value}"));
    }
    lines
}
