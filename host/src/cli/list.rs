//! `eventout list`.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventout::{ContainerInfo, Details, Result, Source, Status};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::args::ListFormat;
use super::diagnostics::{clean, cut};
use super::output::Output;

/// A container, and what is known of it besides its usage.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    info: ContainerInfo,
    #[serde(flatten)]
    details: Details,
}

/// Prints the containers of a source.
pub(crate) fn run(
    mut source: Box<dyn Source>,
    format: Option<ListFormat>,
    out: &mut Output,
) -> Result<()> {
    let containers = source.containers()?.into_iter().map(|info| Listed {
        // What is not known is left out.
        details: Arc::unwrap_or_clone(source.details(&info.id).unwrap_or_default()),
        info,
    });
    let containers: Vec<_> = containers.collect();
    for warning in source.warnings() {
        out.report(&warning);
    }
    let is_terminal = io::stdout().is_terminal();
    let format = format.unwrap_or(match is_terminal {
        true => ListFormat::Table,
        false => ListFormat::Json,
    });
    match format {
        ListFormat::Json => {
            for container in &containers {
                out.line(&serde_json::to_string(container).map_err(io::Error::from)?);
            }
        }
        ListFormat::Table => {
            // Some terminals report a width of 0.
            let size = tcgetwinsize(io::stdout()).ok().filter(|s| s.ws_col > 0);
            let width = size.map_or(usize::MAX, |size| size.ws_col.into());
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default();
            let rows = containers.iter();
            let rows = rows.map(|container| container.row(now));
            table(rows, width).iter().for_each(|row| out.line(row));
        }
    }
    out.flush()
}

/// The number of columns, and those that can be narrower than what is in them: the name, and the pod.
const COLUMNS: usize = 6;
const FLEXIBLE: [usize; 2] = [0, 2];

const HEADING: [&str; COLUMNS] = ["NAME", "ID", "POD/SANDBOX", "RUNTIME", "STATUS", "AGE"];

impl Listed {
    /// Returns the cells of a table.
    fn row(&self, now: Duration) -> [String; COLUMNS] {
        let Self { info, details } = self;
        let unknown = || "-".to_owned();
        let group = match (&details.namespace, &details.pod) {
            (Some(namespace), Some(pod)) => clean(format_args!("{namespace}/{pod}")),
            (None, Some(pod)) => clean(pod),
            (_, None) if info.sandbox != info.id => short(&info.sandbox),
            (_, None) => unknown(),
        };
        let status = details.status.map(Status::as_str);
        // An ID that is not a random one is a name.
        let is_random = info.id.len() == 64 && info.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let no_name = || match is_random {
            true => unknown(),
            false => clean(&info.id),
        };
        let age = |started| age(now.saturating_sub(Duration::from_nanos(started)));
        [
            details.name.as_ref().map_or_else(no_name, clean),
            short(&info.id),
            group,
            details.runtime.as_ref().map_or_else(unknown, clean),
            status.unwrap_or("-").to_owned(),
            details.started.map_or_else(unknown, age),
        ]
    }
}

/// Returns the beginning of an ID, as long as Docker and Podman show it.
fn short(id: &str) -> String {
    clean(id.chars().take(12).collect::<String>())
}

/// Returns a time in its largest unit.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns the lines of a table, which are no wider than `width`.
fn table(rows: impl Iterator<Item = [String; COLUMNS]>, width: usize) -> Vec<String> {
    const GAP: &str = "  ";
    /// A column is not made narrower than that.
    const NARROWEST: usize = 12;
    let rows: Vec<_> = [HEADING.map(String::from)]
        .into_iter()
        .chain(rows)
        .collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = cell.width().max(*widest);
        }
    }
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * (COLUMNS - 1);
    while total(&widths) > width {
        let flexible = FLEXIBLE.into_iter().filter(|&at| widths[at] > NARROWEST);
        let Some(widest) = flexible.max_by_key(|&at| widths[at]) else {
            break;
        };
        widths[widest] -= 1;
    }
    let line = |row: &[String; COLUMNS]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let cell = cut(cell, width, "…");
            let padding = " ".repeat(width - cell.width());
            line += &format!("{cell}{padding}{GAP}");
        }
        cut(line.trim_end(), width, "…")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, details: Details) -> [String; COLUMNS] {
        let listed = Listed {
            info: ContainerInfo {
                id: id.to_owned(),
                sandbox: id.to_owned(),
                source: "demo".to_owned(),
            },
            details,
        };
        listed.row(Duration::from_secs(100_000))
    }

    fn named(name: &str, pod: &str) -> Details {
        let mut details = Details::default();
        details.name = Some(name.to_owned());
        details.pod = Some(pod.to_owned());
        details.namespace = Some("shop".to_owned());
        details.runtime = Some("crun".to_owned());
        details.status = Some(Status::Running);
        details.started = Some(1_000_000_000);
        details
    }

    #[test]
    fn columns_are_aligned_and_clean() {
        let rows = [
            row("0123456789abcdef", named("データ", "db-1")),
            row("web", Details::default()),
            row(&"0123456789abcdef".repeat(4), Details::default()),
            row("\x1b[2J", Details::default()),
        ];
        let expected = "\
NAME       ID            POD/SANDBOX  RUNTIME  STATUS   AGE
データ     0123456789ab  shop/db-1    crun     running  1d
web        web           -            -        -        -
-          0123456789ab  -            -        -        -
\\u{1b}[2J  \\u{1b}[2J     -            -        -        -";
        assert_eq!(table(rows.into_iter(), usize::MAX).join("\n"), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_names_first() {
        let long = "a-name-that-is-longer-than-others";
        let rows = || [row("0123456789abcdef", named(long, &long[2..]))].into_iter();
        let expected = "\
NAME                ID            POD/SANDBOX         RUNTIME  STATUS   AGE
a-name-that-is-lo…  0123456789ab  shop/name-that-is…  crun     running  1d";
        assert_eq!(table(rows(), 75).join("\n"), expected);
        for width in 0..200 {
            for line in table(rows(), width) {
                assert!(line.width() <= width.max(1), "{width}: {line}");
            }
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (86_399, "23h"),
            (8_640_000, "100d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
