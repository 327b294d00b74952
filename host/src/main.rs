//! The program: stats events on the command line.

use std::collections::HashSet;
use std::io::{self, StdoutLock, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use eventout::{
    Component, Context as _, Dialect, Error, Events, Formatter, Limits, NotFound, Plugin, Refused,
    Result, Source, Spec,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Stats events of containers, computed by a WebAssembly component
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where the facts come from: scenario:FILE, demo, cgroup[:ROOT], runc[:ROOT], crun[:ROOT],
    /// gvisor[:ROOT] [default: the runtime that knows the container]
    #[arg(long, global = true, value_name = "SPEC")]
    source: Option<Spec>,

    /// The state folder of the runtime that knows the container, instead of the usual ones: runc's and
    /// runsc's own flag
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "source")]
    root: Option<PathBuf>,

    // Clients of runtimes, such as containerd's shims, pass these two. Errors go to standard error.
    #[arg(long, global = true, hide = true)]
    log: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    log_format: Option<String>,

    /// A component that computes the events, instead of the built-in one, or that gives them a form
    #[arg(long, global = true, value_name = "FILE")]
    component: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "What one call of that component may take")]
struct LimitArgs {
    /// Time [default: 1s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_interval)]
    limit_time: Option<Duration>,

    /// Memory, in bytes, KiB, MiB or GiB [default: 64MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    limit_memory: Option<usize>,

    /// An answer, in bytes, KiB, MiB or GiB [default: 32MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    limit_output: Option<usize>,

    /// Core modules, memories and tables, so many of each [default: 100]
    #[arg(long, global = true, value_name = "NUMBER")]
    limit_instances: Option<usize>,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            time: self.limit_time.unwrap_or(usual.time),
            memory: self.limit_memory.unwrap_or(usual.memory),
            output: self.limit_output.unwrap_or(usual.output),
            instances: self.limit_instances.unwrap_or(usual.instances),
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Print events of containers, as `runc events` does: one at once, then one per interval
    Events(EventsArgs),
    /// Print the containers that the source knows
    List,
    /// Print what the source reports of a container's sandbox, as lines of a scenario
    Record {
        /// The container
        #[arg(value_name = "ID")]
        container: String,
        #[command(flatten)]
        rhythm: Rhythm,
    },
}

#[derive(Args)]
struct EventsArgs {
    /// The containers
    #[arg(value_name = "ID", required_unless_present = "all")]
    containers: Vec<String>,

    /// All containers of the source, including those that come and go
    #[arg(long, conflicts_with = "containers")]
    all: bool,

    /// Whose format [default: that of the container's runtime; runc's for cgroups and crun]
    #[arg(long, value_enum)]
    dialect: Option<DialectArg>,

    /// Print gVisor's whole EventOut: the CPU time of each container too
    #[arg(long, conflicts_with = "dialect")]
    event_out: bool,

    #[command(flatten)]
    rhythm: Rhythm,
}

#[derive(Args, Clone, Copy)]
struct Rhythm {
    /// Print once and end
    #[arg(long)]
    stats: bool,

    /// The time from one event to the next: 1m30s, 500ms, or plain seconds
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_interval)]
    interval: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum DialectArg {
    Runsc,
    Runc,
}

fn main() -> ExitCode {
    // Ctrl-C ends the program at once, between two lines. Where the handler is refused, the signal
    // itself does.
    let _ = signal_hook::flag::register_conditional_shutdown(
        signal_hook::consts::SIGINT,
        130,
        Arc::new(AtomicBool::new(true)),
    );
    let cli = Cli::parse();
    let mut out = Output {
        stdout: io::stdout().lock(),
        lines: String::new(),
        closed: false,
        failed: false,
    };
    if let Err(e) = run(&cli, &mut out) {
        out.fail(&e);
    }
    ExitCode::from(u8::from(out.failed))
}

fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    let spec = match &cli.source {
        Some(spec) => spec,
        None => &Spec::Runtime(cli.root.clone()),
    };
    let mut source = spec.open()?;
    match &cli.command {
        Command::Events(args) => {
            let limits = cli.limits.limits();
            let plugin = cli.component.as_ref();
            let plugin = plugin.map(|file| Plugin::from_file(file, limits.clone()));
            let (component, formatter) = match plugin.transpose()? {
                Some(Plugin::Events(component)) => (component, None),
                Some(Plugin::Formatter(formatter)) => {
                    if args.event_out || args.dialect.is_some() {
                        let file = cli.component.as_deref().unwrap_or(Path::new(""));
                        return Err(Error::msg(format!(
                            "component {file:?} has a format of its own: neither --dialect nor --event-out goes with it"
                        )));
                    }
                    (Component::builtin(Limits::default())?, Some(formatter))
                }
                None => (Component::builtin(limits)?, None),
            };
            let mut events = Events::new(&component, source);
            let dialect = args.dialect.map(|dialect| match dialect {
                DialectArg::Runsc => Dialect::Runsc,
                DialectArg::Runc => Dialect::Runc,
            });
            if !args.rhythm.stats {
                raise_open_files();
            }
            // Once and for all: a stream does not go on with another container of a longer ID.
            let mut ids = Vec::new();
            for id in &args.containers {
                match events.resolve(id) {
                    Ok(id) => ids.push(id),
                    Err(e) => out.fail(&e),
                }
            }
            let ids = (!args.all).then_some(ids);
            // The process ends with it. It leaves to the kernel what there is to free, which is faster.
            let mut stream = ManuallyDrop::new(Stream {
                events,
                oom: !args.rhythm.stats && !args.event_out && formatter.is_none(),
                formatter,
                dialect,
                event_out: args.event_out,
                watched: HashSet::new(),
            });
            repeat(ids, args.rhythm, out, &mut *stream)
        }
        Command::List => {
            for listed in source.containers()? {
                out.line(&serde_json::to_string(&listed)?)?;
            }
            out.flush()
        }
        Command::Record { container, rhythm } => {
            let container = source
                .resolve(container)
                .with_context(|| format!("cannot record container {:?}", shorten(container)))?;
            repeat(Some(vec![container]), *rhythm, out, &mut Recording(source))
        }
    }
}

/// Has as many open files as this process may have: each control file of a container in a stream is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    // Without it, files are opened for each line.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}

/// What prints lines of containers.
trait Lines {
    /// A line of each of these containers, or of all there are, at one instant.
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>>;

    /// What is readable when there may be something between two instants.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// The lines of what has happened since the last call.
    fn between(&mut self) -> Vec<Result<String>>;
}

/// The events of containers.
struct Stream {
    events: Events,
    /// What gives them a form of its own.
    formatter: Option<Formatter>,
    dialect: Option<Dialect>,
    event_out: bool,
    /// Whether to tell of kills for want of memory.
    oom: bool,
    /// The containers that are watched for them, or can't be, which is told once.
    watched: HashSet<String>,
}

impl Lines for Stream {
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>> {
        let mut now = self.events.now()?;
        let ids = match ids {
            Some(ids) => ids.to_vec(),
            None => {
                let all = now.containers()?.into_iter();
                all.map(|listed| listed.id).collect()
            }
        };
        let lines = match &mut self.formatter {
            Some(formatter) => {
                let text = |id: &String| now.stats(id).and_then(|event| formatter.format(&event));
                ids.iter().map(text).collect()
            }
            None if self.event_out => ids.iter().map(|id| now.event_json(id)).collect(),
            None => now.stats_lines(&ids, self.dialect),
        };
        let mut lines: Vec<_> = ids.into_iter().zip(lines).collect();
        if self.oom {
            let alive = lines.iter().filter(|(_, line)| line.is_ok());
            let alive: HashSet<_> = alive.map(|(id, _)| id.clone()).collect();
            self.watched.retain(|id| alive.contains(id));
            for id in alive {
                if !self.watched.contains(&id) {
                    if let Err(e) = self.events.watch_oom(&id) {
                        lines.push((id.clone(), Err(e)));
                    }
                    self.watched.insert(id);
                }
            }
        }
        Ok(lines)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.oom_fd()
    }

    fn between(&mut self) -> Vec<Result<String>> {
        let kills = self.events.oom_kills().into_iter();
        kills.map(|id| self.events.oom_json(&id)).collect()
    }
}

/// What a source reports of a container's sandbox.
struct Recording(Box<dyn Source>);

impl Lines for Recording {
    fn read(&mut self, ids: Option<&[String]>) -> Result<Vec<(String, Result<String>)>> {
        self.0.advance()?;
        let ids = ids.unwrap_or_default().iter();
        Ok(ids
            .map(|id| (id.clone(), record(&mut *self.0, id)))
            .collect())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn between(&mut self) -> Vec<Result<String>> {
        Vec::new()
    }
}

/// The sandbox of a container as a line of a scenario.
fn record(source: &mut dyn Source, container: &str) -> Result<String> {
    let line = source.snapshot(container).and_then(|snapshot| {
        if snapshot
            .containers
            .iter()
            .all(|known| known.id != container)
        {
            return Err(NotFound("there is no such container".to_owned()).into());
        }
        Ok(serde_json::to_string(&*snapshot)?)
    });
    line.with_context(|| format!("cannot record container {:?}", shorten(container)))
}

/// An ID as errors show it.
fn shorten(container: &str) -> String {
    format!("{container:.64}")
}

/// Prints lines of containers, at once and then per interval, until all of them have ended, and in between
/// what happens then. A container that could not be read is asked again the next time. Without `ids`, it
/// is all there are at that time, and there is no end.
fn repeat(
    mut ids: Option<Vec<String>>,
    rhythm: Rhythm,
    out: &mut Output,
    lines: &mut impl Lines,
) -> Result<()> {
    let start = Instant::now();
    let mut seen = HashSet::new();
    loop {
        match lines.read(ids.as_deref()) {
            Err(e) if rhythm.stats => return Err(e),
            Err(e) => out.report(&e),
            Ok(lines) => {
                let asked = lines.len();
                let mut refused = 0;
                for (id, line) in lines {
                    let e = match line {
                        Ok(line) => {
                            out.line(&line)?;
                            if ids.is_some() {
                                seen.insert(id);
                            }
                            continue;
                        }
                        Err(e) => e,
                    };
                    let gone = e.is::<NotFound>();
                    let over = gone || e.is::<Refused>();
                    refused += usize::from(e.is::<Refused>());
                    if gone && (ids.is_none() || seen.contains(&id)) {
                        // What was there and is not any more has ended, as containers do.
                    } else {
                        out.report(&e);
                        out.failed |= over || rhythm.stats;
                    }
                    if over && let Some(ids) = &mut ids {
                        ids.retain(|other| *other != id);
                    }
                }
                if refused > 0 && refused == asked {
                    // It is not the containers that are refused.
                    return out.flush();
                }
            }
        }
        let next = Instant::now().checked_add(rhythm.rest(start.elapsed()));
        loop {
            for line in lines.between() {
                match line {
                    Ok(line) => out.line(&line)?,
                    Err(e) => out.report(&e),
                }
            }
            out.flush()?;
            if rhythm.stats || out.closed || ids.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            match out.wait(next, lines.fd()) {
                Woken::Time => break,
                Woken::Other => {}
                Woken::Closed => return Ok(()),
            }
        }
    }
}

impl Rhythm {
    /// What is left of the interval that it is now, so that lines don't drift.
    fn rest(self, elapsed: Duration) -> Duration {
        let interval = self.interval.as_nanos();
        let rest = interval - elapsed.as_nanos() % interval;
        Duration::from_nanos(rest.try_into().unwrap_or(u64::MAX))
    }
}

/// A duration as Go writes it (`1m30s`, `1.5h`, `500ms`), which is what runc takes, or a whole number
/// of seconds, which is what runsc takes.
fn parse_interval(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        // The micro sign and the Greek letter.
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let form = || "it is neither like 1m30s or 500ms nor a whole number of seconds".to_owned();
    let range = || "it is too long".to_owned();
    let positive = |ns: u64| match ns {
        0 => Err("it must be greater than 0".to_owned()),
        ns => Ok(Duration::from_nanos(ns)),
    };
    if text.starts_with('-') {
        return Err("it must be greater than 0".to_owned());
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse::<u64>().ok();
        return positive(
            seconds
                .and_then(|s| s.checked_mul(1_000_000_000))
                .ok_or_else(range)?,
        );
    }
    let mut total = 0u64;
    let mut rest = text;
    loop {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, behind) = rest.split_at(number);
        let unit = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let (_, unit) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(form)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(form());
        }
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| range())?
        };
        // Digits below a nanosecond count for nothing, so that no fraction is out of range.
        let mut part = 0;
        let mut scale = *unit;
        for digit in fraction.bytes() {
            scale /= 10;
            part += u64::from(digit - b'0') * scale;
        }
        total = whole
            .checked_mul(*unit)
            .and_then(|ns| ns.checked_add(part)?.checked_add(total))
            .ok_or_else(range)?;
        if behind.is_empty() {
            return positive(total);
        }
        rest = behind;
    }
}

/// A number of bytes, or of KiB, MiB or GiB.
fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit {
        "" | "B" => 1usize,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("it is not like 1048576, 64MiB or 1GiB".to_owned()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "it is not like 1048576, 64MiB or 1GiB".to_owned())?;
    let size = number.checked_mul(unit);
    size.ok_or_else(|| "it is too large".to_owned())
}

/// Where lines and errors go.
struct Output {
    stdout: StdoutLock<'static>,
    /// Lines that are not written yet.
    lines: String,
    /// Whether nobody reads standard output any more.
    closed: bool,
    /// Whether something went wrong that the exit code tells.
    failed: bool,
}

impl Output {
    /// Prints a line of data, when [`Output::flush`] is called at the latest.
    fn line(&mut self, line: &str) -> Result<()> {
        const LARGE: usize = 1 << 16;
        if line.is_empty() {
            // A formatter has nothing to say of it.
            return Ok(());
        }
        self.lines.push_str(line);
        self.lines.push('\n');
        match self.lines.len() {
            LARGE.. => self.flush(),
            _ => Ok(()),
        }
    }

    /// Writes what there is of lines, all at once. That nobody reads them is no error.
    fn flush(&mut self) -> Result<()> {
        let written = self.stdout.write_all(self.lines.as_bytes());
        self.lines.clear();
        match written.and_then(|()| self.stdout.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(e) => return Err(Error::from(e).context("cannot write to standard output")),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Prints an error.
    fn report(&mut self, error: &Error) {
        let mut text = format!("error: {error}\n");
        let causes: Vec<_> = error.chain().skip(1).collect();
        if !causes.is_empty() {
            text.push_str("Caused by:\n");
        }
        for (at, cause) in causes.iter().enumerate() {
            text.push_str(&format!("    {at}: {cause}\n"));
        }
        // There is nobody left to tell that this failed.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints an error that the exit code tells too.
    fn fail(&mut self, error: &Error) {
        self.report(error);
        self.failed = true;
    }

    /// Waits until that time, which may never come, or until something comes before.
    fn wait(&self, end: Option<Instant>, other: Option<BorrowedFd<'_>>) -> Woken {
        loop {
            let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Woken::Time;
            }
            let timeout = rest.and_then(|rest| Timespec::try_from(rest).ok());
            // Errors and hang-ups are told without being asked for.
            let stdout = PollFd::new(&self.stdout, PollFlags::empty());
            let other = other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN));
            let mut fds: Vec<_> = [stdout].into_iter().chain(other).collect();
            if poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
                return match fds[0].revents().is_empty() {
                    true => Woken::Other,
                    false => Woken::Closed,
                };
            }
        }
    }
}

/// What ends a wait.
enum Woken {
    /// The time has come.
    Time,
    /// There is something to read.
    Other,
    /// Nobody reads standard output any more.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_hour_there_are_3600_lines_however_long_each_takes() {
        let rhythm = Rhythm {
            stats: false,
            interval: Duration::from_secs(1),
        };
        let hour = Duration::from_secs(3600);
        // How long lines and waking up take, in microseconds: little, much, and now and then nearly all.
        for (line, waking, lines) in [(500, 60, 3600), (900_000, 60, 3600), (0, 0, 3600)] {
            let mut clock = Duration::ZERO;
            let mut printed = 0;
            while clock < hour {
                printed += 1;
                clock += Duration::from_micros(line + 97 * (printed % 900));
                clock += rhythm.rest(clock) + Duration::from_micros(waking);
            }
            assert_eq!(printed, lines, "{line} {waking}");
        }
        // A line that takes longer than the interval costs the ones that it left no time for.
        assert_eq!(
            rhythm.rest(Duration::from_millis(2300)),
            Duration::from_millis(700)
        );
    }

    #[test]
    fn intervals_are_durations_of_go_or_whole_seconds() {
        for (text, ns) in [
            ("5", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("2.s", 2_000_000_000),
            ("1.0000000009s", 1_000_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("18446744073709551615ns", u64::MAX),
        ] {
            assert_eq!(parse_interval(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "-5",
            "-5s",
            "+5s",
            "s",
            ".",
            ".s",
            "5x",
            "1.5",
            "1..5s",
            "1 s",
            "1s ",
            "1d",
            "1e3s",
            "0.1ns",
            "18446744073709551616ns",
            "18446744073709551615",
            "\u{661}s",
        ] {
            assert!(parse_interval(text).is_err(), "{text:?}");
        }
    }

    /// A stream whose reading takes its time, and sometimes longer than the interval: the lines keep to
    /// the multiples of the interval, and after an hour of seconds there are 3600.
    #[test]
    fn lines_do_not_drift() {
        let interval = Duration::from_secs(1);
        let rhythm = Rhythm {
            stats: false,
            interval,
        };
        let (mut clock, mut lines) = (Duration::ZERO, 0);
        while clock < Duration::from_secs(3600) {
            assert_eq!(clock.as_nanos() % interval.as_nanos(), 0);
            lines += 1;
            clock += Duration::from_millis(if lines == 7 { 2500 } else { 300 });
            clock += rhythm.rest(clock);
        }
        assert_eq!(lines, 3600 - 2);
    }
}
