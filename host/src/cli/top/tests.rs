//! The screens of some containers, and what keys do to them. The expected screens are the files in `screens`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use std::{env, fs};

use eventout::{ContainerInfo, Details, Error, ErrorKind, NetworkInterface, Status};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Modifier;
use rustix::time::{ClockId, clock_gettime};

use super::super::view::{Container, Device, Pressure, Usage, View};
use super::app::{Action, App, Page};
use super::column::Column;
use super::screen;
use super::text::{ASCII, Symbols, UNICODE};

const SECOND: u64 = 1_000_000_000;

/// A container of which nothing is known.
fn container(id: &str, instant: Instant) -> Container {
    Container {
        instant,
        info: ContainerInfo {
            id: id.to_owned(),
            sandbox: id.to_owned(),
            source: "runc".to_owned(),
        },
        details: Arc::default(),
        usage: Usage::default(),
    }
}

fn pressure(avg10: u32) -> Option<Pressure> {
    Some(Pressure {
        avg10,
        ..Pressure::default()
    })
}

/// A web server with limits, which uses a quarter of a core and is throttled in each third period.
fn web(second: u64, instant: Instant) -> Container {
    let mut web = container("4f0d9a63c1b2", instant);
    let mut details = Details::default();
    details.runtime = Some("runc".to_owned());
    details.name = Some("web".to_owned());
    details.pod = Some("shop".to_owned());
    details.namespace = Some("default".to_owned());
    details.image = Some("registry.example/web:1.2".to_owned());
    details.status = Some(Status::Running);
    details.started = Some(1_000_000 * SECOND);
    details.cpu_quota = Some(50_000);
    details.cpu_period = Some(100_000);
    let annotation = ("example.org/team".to_owned(), "shop".to_owned());
    details.annotations = [annotation].into();
    web.details = Arc::new(details);
    let usage = &mut web.usage;
    usage.cpu.total = Some(90 * SECOND + second * SECOND / 4);
    usage.cpu.user = Some(60 * SECOND);
    usage.cpu.system = Some(30 * SECOND);
    usage.cpu.periods = Some(1000 + second * 9);
    usage.cpu.throttled_periods = Some(20 + second * 3);
    usage.cpu.throttled_time = Some(SECOND / 2);
    usage.cpu.pressure = pressure(1234);
    usage.memory.usage = Some(120 << 20);
    usage.memory.working_set = Some(100 << 20);
    usage.memory.limit = Some(128 << 20);
    usage.memory.pressure = pressure(50);
    usage.io_pressure = pressure(0);
    usage.pids = Some(12);
    usage.pids_limit = Some(50);
    usage.interfaces = vec![NetworkInterface {
        name: "eth0".to_owned(),
        rx_bytes: 5000 + second * 2048,
        tx_bytes: 70_000 + second * (3 << 20),
        ..NetworkInterface::default()
    }];
    usage.devices = vec![Device {
        major: 8,
        minor: 0,
        read_bytes: Some(second * 512),
        written_bytes: Some(0),
        ..Device::default()
    }];
    web
}

/// The containers of that second, and one that could not be read.
fn view(begin: Instant, second: u64) -> View {
    let instant = begin + Duration::from_secs(second);
    let time = UNIX_EPOCH + Duration::from_secs(1_007_384 + second);
    // Busy in waves, on up to four cores, without a limit.
    let mut batch = container(&"ba7c".repeat(16), instant);
    let cpu = (0..second).map(|second| second % 5 * SECOND).sum();
    batch.usage.cpu.total = Some(cpu);
    batch.usage.memory.working_set = Some(3 << 30);
    batch.usage.pids = Some(4_194_304);
    // Names come from outside.
    let mut hostile = container("\u{1b}[2J容器", instant);
    hostile.usage.pids = Some(1);
    // A share of a gVisor sandbox that has fallen.
    let mut idle = container("idle", instant);
    idle.usage.cpu.total = Some(100 * SECOND - second);
    let errors = ["stalled", "broken"].map(|id| {
        let why = "sentry: it took longer than 2s";
        Error::new(ErrorKind::Source, why).context(format!("cannot get stats of container {id:?}"))
    });
    View {
        instant,
        time,
        took: Duration::from_millis(1),
        containers: vec![idle, web(second, instant), batch, hostile],
        errors: errors.into(),
        warnings: Vec::new(),
        dropped: 0,
    }
}

/// The screen after that many samples, one a second.
fn app(begin: Instant, symbols: &'static Symbols, samples: u64) -> App {
    let mut app = App::new(symbols, Column::Cpu, Duration::from_secs(1));
    for second in 0..samples {
        app.update(Ok(view(begin, second)));
    }
    app
}

fn press(app: &mut App, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '⇟' => KeyCode::PageDown,
            '⇤' => KeyCode::Home,
            '⇥' => KeyCode::End,
            key => KeyCode::Char(key),
        };
        assert_eq!(app.press(code.into()), Action::Draw, "{key:?}");
    }
}

/// The text on a screen of that size, and the lines that are reversed.
fn draw(app: &mut App, now: Instant, width: u16, height: u16) -> (Vec<String>, Vec<usize>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it never fails");
    let drawn = terminal.draw(|frame| screen::draw(app, now, frame));
    let buffer = drawn.expect("it never fails").buffer;
    let rows = || buffer.content().chunks(usize::from(width).max(1));
    let text = |row: &[ratatui::buffer::Cell]| {
        let mut text = String::new();
        let mut skip = 0;
        for cell in row {
            if skip == 0 {
                text += cell.symbol();
                skip = ratatui::text::Span::raw(cell.symbol()).width();
            }
            skip = skip.saturating_sub(1);
        }
        text.trim_end().to_owned()
    };
    let reversed = rows().enumerate().filter_map(|(at, row)| {
        let is_reversed = row.first()?.modifier.contains(Modifier::REVERSED);
        is_reversed.then_some(at)
    });
    (rows().map(text).collect(), reversed.collect())
}

/// Compares a screen with the file of that name. With `BLESS=1` in the environment, the file is written.
#[track_caller]
fn expect(name: &str, app: &mut App, now: Instant, width: u16, height: u16) {
    let (lines, _) = draw(app, now, width, height);
    let screen = lines.join("\n") + "\n";
    let file = format!("src/cli/top/screens/{name}.txt");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&file, &screen).expect("it can be written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == screen,
        "{name} is now\n{screen}\nand was\n{expected}"
    );
}

#[test]
fn screens_are_as_expected() {
    let begin = Instant::now();
    let now = begin + Duration::from_secs(30);
    let mut app = app(begin, &UNICODE, 30);
    expect("table-80x24", &mut app, now, 80, 24);
    expect("table-120x24", &mut app, now, 120, 24);
    expect("table-200x60", &mut app, now, 200, 60);
    press(&mut app, "n");
    expect("sorted-by-network-80x24", &mut app, now, 80, 24);
    press(&mut app, "?");
    expect("help-80x24", &mut app, now, 80, 24);
    press(&mut app, "\u{1b}e");
    expect("errors-80x24", &mut app, now, 80, 24);
    press(&mut app, "\u{1b}/SHOP");
    expect("filter-80x24", &mut app, now, 80, 24);
    press(&mut app, "\n\n");
    expect("container-80x24", &mut app, now, 80, 24);
    expect("container-200x60", &mut app, now, 200, 60);
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let begin = Instant::now();
    let now = begin + Duration::from_secs(30);
    let mut app = app(begin, &ASCII, 30);
    expect("ascii-80x24", &mut app, now, 80, 24);
    press(&mut app, "f4f\n\n");
    let (lines, _) = draw(&mut app, now, 200, 60);
    assert!(lines.concat().is_ascii(), "{lines:?}");
}

#[test]
fn before_the_second_sample_rates_are_not_known() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    let (lines, _) = draw(&mut app, begin, 80, 24);
    assert_eq!(lines[0], "eventout  waiting for the first sample");
    app.update(Ok(view(begin, 0)));
    expect("first-sample-80x24", &mut app, begin, 80, 24);
}

#[test]
fn a_source_that_fails_leaves_the_last_view_marked_as_old_and_recovers() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    let fail = |app: &mut App| {
        let e = Error::new(ErrorKind::Source, "no such directory");
        app.update(Err(e.context("cannot list runc:/x\u{1b}")));
    };
    fail(&mut app);
    let (lines, _) = draw(&mut app, begin, 80, 24);
    assert_eq!(
        lines[0],
        "eventout  cannot list runc:/x\\u{1b}: no such directory"
    );
    app.update(Ok(view(begin, 0)));
    fail(&mut app);
    let now = begin + Duration::from_secs(7);
    let (lines, _) = draw(&mut app, now, 120, 24);
    let old = "STALE 7s: cannot list runc:/x\\u{1b}: no such directory  eventout  4 containers";
    assert!(lines[0].starts_with(old), "{}", lines[0]);
    assert!(lines.iter().any(|line| line.starts_with("shop/web")));
    app.update(Ok(view(begin, 8)));
    let (lines, _) = draw(&mut app, begin + Duration::from_secs(8), 80, 24);
    assert!(
        lines[0].starts_with("eventout  4 containers"),
        "{}",
        lines[0]
    );
    // One that stalls is as old.
    let (lines, _) = draw(&mut app, begin + Duration::from_secs(14), 80, 24);
    assert!(
        lines[0].starts_with("STALE 6s: waiting for the source"),
        "{}",
        lines[0]
    );
}

/// The names on the screen, from the top.
fn names(app: &mut App, height: u16) -> Vec<String> {
    let (lines, _) = draw(app, Instant::now(), 80, height);
    let rows = &lines[2..lines.len() - 1];
    let name = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    rows.iter()
        .map(name)
        .filter(|name| !name.is_empty())
        .collect()
}

/// The name in the reversed row.
fn selected(app: &mut App, height: u16) -> String {
    let (lines, reversed) = draw(app, Instant::now(), 80, height);
    let row = *reversed.last().expect("a row is reversed");
    lines[row].split(' ').next().unwrap_or_default().to_owned()
}

/// A view of containers with these IDs and CPU times, in milliseconds.
fn cpu_view(begin: Instant, second: u64, containers: &[(&str, u64)]) -> View {
    let instant = begin + Duration::from_secs(second);
    let containers = containers.iter().map(|(id, milliseconds)| {
        let mut container = container(id, instant);
        container.usage.cpu.total = Some(milliseconds * 1_000_000);
        container
    });
    View {
        instant,
        time: UNIX_EPOCH,
        took: Duration::ZERO,
        containers: containers.collect(),
        errors: Vec::new(),
        warnings: Vec::new(),
        dropped: 0,
    }
}

#[test]
fn the_largest_comes_first_and_what_is_not_known_last() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    app.update(Ok(cpu_view(
        begin,
        0,
        &[("a", 0), ("b", 0), ("c", 500), ("d", 0)],
    )));
    // c falls, and e was not there before.
    let containers = [("a", 10), ("b", 30), ("c", 0), ("d", 10), ("e", 9)];
    app.update(Ok(cpu_view(begin, 1, &containers)));
    assert_eq!(names(&mut app, 24), ["b", "a", "d", "c", "e"]);
    press(&mut app, "r");
    assert_eq!(names(&mut app, 24), ["a", "d", "b", "c", "e"]);
    press(&mut app, "a");
    assert_eq!(names(&mut app, 24), ["a", "b", "c", "d", "e"]);
    press(&mut app, "r");
    assert_eq!(names(&mut app, 24), ["e", "d", "c", "b", "a"]);
    press(&mut app, "c");
    assert_eq!(names(&mut app, 24), ["b", "a", "d", "c", "e"]);
}

#[test]
fn a_container_that_is_read_again_has_its_history() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    let mut shown = Vec::new();
    for (second, cpu) in [
        (0, Some(0)),
        (1, None),
        (2, Some(500)),
        (3, None),
        (63, Some(600)),
    ] {
        let containers = cpu.map(|cpu| ("a", cpu));
        app.update(Ok(cpu_view(begin, second, containers.as_slice())));
        let row = app.table.row("a");
        shown.push(row.map(|row| (row.history.len(), row.rates.cpu)));
    }
    // The rate is that of two seconds, and after a minute nothing is remembered.
    let again = Some((2, Some(2500)));
    assert_eq!(shown, [Some((1, None)), None, again, None, Some((1, None))]);
}

#[test]
fn the_selection_stays_with_its_container() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    app.update(Ok(cpu_view(begin, 0, &[("a", 0), ("b", 0), ("c", 0)])));
    app.update(Ok(cpu_view(begin, 1, &[("a", 30), ("b", 20), ("c", 10)])));
    // Without one, it is the first row, whoever that is.
    assert_eq!(selected(&mut app, 24), "a");
    press(&mut app, "↓");
    assert_eq!(selected(&mut app, 24), "b");
    app.update(Ok(cpu_view(begin, 2, &[("a", 31), ("b", 90), ("c", 30)])));
    assert_eq!(
        (selected(&mut app, 24), &*names(&mut app, 24)[0]),
        ("b".to_owned(), "b")
    );
    // It has gone: the row stays selected.
    app.update(Ok(cpu_view(begin, 3, &[("a", 32), ("c", 50)])));
    assert_eq!(selected(&mut app, 24), "c");
    press(&mut app, "⇥");
    assert_eq!(selected(&mut app, 24), "a");
    app.update(Ok(cpu_view(begin, 4, &[])));
    press(&mut app, "↓⇥\n");
    assert_eq!(app.page, Page::Table);
    let (lines, _) = draw(&mut app, Instant::now(), 80, 24);
    assert_eq!(lines[2], "no containers");
}

#[test]
fn a_long_list_scrolls_with_the_selection() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Name, Duration::from_secs(1));
    let ids: Vec<_> = (0..1000).map(|n| format!("{n:03}")).collect();
    let containers: Vec<_> = ids.iter().map(|id| (id.as_str(), 0)).collect();
    app.update(Ok(cpu_view(begin, 0, &containers)));
    // Ten rows: the summary, the headings and the hints are around them.
    assert_eq!(names(&mut app, 13).len(), 10);
    press(&mut app, "jjjk↓↓↓↓↓↓↓↓↓");
    assert_eq!(selected(&mut app, 13), "011");
    assert_eq!(names(&mut app, 13)[0], "002");
    press(&mut app, "⇟");
    assert_eq!(selected(&mut app, 13), "021");
    press(&mut app, "⇥");
    assert_eq!(
        (selected(&mut app, 13), &*names(&mut app, 13)[0]),
        ("999".to_owned(), "990")
    );
    // A larger screen has no empty rows at its end.
    assert_eq!(names(&mut app, 23)[0], "980");
    press(&mut app, "⇤");
    assert_eq!(
        (selected(&mut app, 13), &*names(&mut app, 13)[0]),
        ("000".to_owned(), "000")
    );
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Name, Duration::from_secs(1));
    app.update(Ok(cpu_view(
        begin,
        0,
        &[("web-1", 0), ("web-2", 0), ("db", 0)],
    )));
    press(&mut app, "/WEBq");
    assert_eq!(names(&mut app, 24), [""; 0]);
    press(&mut app, "\u{8}");
    assert_eq!(names(&mut app, 24), ["web-1", "web-2"]);
    press(&mut app, "\n");
    assert_eq!(names(&mut app, 24), ["web-1", "web-2"]);
    let (lines, _) = draw(&mut app, begin, 80, 24);
    assert!(lines[0].ends_with("2 with \"WEB\""), "{}", lines[0]);
    press(&mut app, "\u{1b}");
    assert_eq!(names(&mut app, 24), ["db", "web-1", "web-2"]);
    press(&mut app, "f2\u{1b}");
    assert_eq!((names(&mut app, 24).len(), &app.page), (3, &Page::Table));
}

#[test]
fn keys_open_and_close_pages_and_end_the_program() {
    let begin = Instant::now();
    let mut app = app(begin, &UNICODE, 2);
    for (keys, page) in [
        ("h", Page::Help),
        ("e", Page::Errors),
        ("\u{1b}", Page::Table),
        ("?", Page::Help),
        ("\u{8}", Page::Table),
        ("f", Page::Filter),
        ("shop\n", Page::Table),
        ("\n", Page::Container("4f0d9a63c1b2".to_owned())),
        ("\u{1b}", Page::Table),
    ] {
        press(&mut app, keys);
        assert_eq!(app.page, page, "{keys:?}");
    }
    assert_eq!(app.press(KeyCode::Char('q').into()), Action::Quit);
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    press(&mut app, "/");
    assert_eq!(app.press(control('c')), Action::Interrupt);
    assert_eq!(app.press(control('z')), Action::Suspend);
}

#[test]
fn a_container_that_has_gone_is_said_to_be_and_text_scrolls_no_further_than_its_end() {
    let begin = Instant::now();
    let mut app = app(begin, &UNICODE, 3);
    press(&mut app, "/shop\n\n⇥");
    let (lines, _) = draw(&mut app, begin, 80, 24);
    assert_eq!(lines[22], "annotation     example.org/team=shop");
    app.update(Ok(cpu_view(begin, 4, &[])));
    let (lines, _) = draw(&mut app, begin, 80, 24);
    assert_eq!(lines[1], "4f0d9a63c1b2 is not there any more");
}

#[test]
fn any_size_of_the_terminal_will_do() {
    let begin = Instant::now();
    let mut app = app(begin, &UNICODE, 5);
    for keys in ["", "n", "h", "\u{1b}e", "\u{1b}f", "\u{1b}↓\n"] {
        press(&mut app, keys);
        for width in (0..40).chain([79, 500]) {
            for height in (0..20).chain([200]) {
                draw(&mut app, begin, width, height);
            }
        }
    }
}

/// Prints the CPU time that it takes: `cargo test --release --bins -- ten_thousand --nocapture`.
#[test]
fn ten_thousand_containers_fit_a_screen() {
    let begin = Instant::now();
    let mut app = App::new(&UNICODE, Column::Cpu, Duration::from_secs(1));
    let ids: Vec<_> = (0..10_000u64)
        .map(|n| format!("{:064x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let cpu = |n: u64, second: u64| second * (n * 7919 % 1000);
    let view = |second| {
        let containers = ids.iter().zip(0..);
        let containers: Vec<_> = containers
            .map(|(id, n)| (id.as_str(), cpu(n, second)))
            .collect();
        cpu_view(begin, second, &containers)
    };
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let clock = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        let start = clock().expect("a time");
        work();
        println!("{what} {:?}", clock().expect("a time") - start);
    };
    let mut terminal = Terminal::new(TestBackend::new(200, 60)).expect("it never fails");
    let mut draw = |app: &mut App| {
        timed("draw", &mut || {
            let drawn = terminal.draw(|frame| screen::draw(app, begin, frame));
            drawn.expect("it never fails");
        });
    };
    for second in 0..5 {
        let mut view = Some(view(second));
        timed("update", &mut || app.update(Ok(view.take().expect("one"))));
        draw(&mut app);
    }
    timed("sort", &mut || press(&mut app, "a"));
    draw(&mut app);
    assert_eq!(names(&mut app, 60).len(), 57);
    assert!(selected(&mut app, 60).starts_with("000000"));
}
