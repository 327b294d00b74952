//! Texts of values, short enough for columns.

use std::env;

use ratatui::symbols::bar::{NINE_LEVELS, Set};
use unicode_width::UnicodeWidthChar as _;

use super::super::diagnostics::{clean, cut};

/// The characters that the terminal can show.
#[derive(Debug)]
pub(super) struct Symbols {
    /// In place of a value that is not known.
    pub(super) unknown: &'static str,
    /// The order of the column that rows are sorted by.
    pub(super) ascending: &'static str,
    pub(super) descending: &'static str,
    /// In place of what has no room.
    cut: &'static str,
    pub(super) bars: Set<'static>,
    is_ascii: bool,
}

pub(super) const UNICODE: Symbols = Symbols {
    unknown: "–",
    ascending: "▲",
    descending: "▼",
    cut: "…",
    bars: NINE_LEVELS,
    is_ascii: false,
};

pub(super) const ASCII: Symbols = Symbols {
    unknown: "-",
    ascending: "^",
    descending: "v",
    cut: "~",
    bars: Set {
        full: "@",
        seven_eighths: "#",
        three_quarters: "*",
        five_eighths: "+",
        half: "=",
        three_eighths: "-",
        one_quarter: ".",
        one_eighth: "_",
        empty: " ",
    },
    is_ascii: true,
};

impl Symbols {
    /// Returns the characters of the locale that the environment chooses.
    pub(super) fn of_locale() -> &'static Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os);
        let locale = set.into_iter().flatten().find(|value| !value.is_empty());
        let name = locale.unwrap_or_default().to_string_lossy().to_lowercase();
        match name.contains("utf-8") || name.contains("utf8") {
            true => &UNICODE,
            false => &ASCII,
        }
    }

    /// Returns the beginning of a text from outside, fit for the terminal.
    pub(super) fn clean(&self, text: &str) -> String {
        // Nearly every name, of which there may be thousands.
        if text.len() < 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return text.to_owned();
        }
        let clean = clean(text);
        match self.is_ascii {
            true => clean.replace(|c: char| !c.is_ascii(), "?"),
            false => clean,
        }
    }

    /// Cuts a text to so many cells of the terminal.
    pub(super) fn cut(&self, text: &str, width: usize) -> String {
        match width {
            0 => String::new(),
            _ => cut(text, width, self.cut),
        }
    }

    /// Returns a value as text.
    pub(super) fn known(&self, value: Option<u64>, text: impl Fn(u64) -> String) -> String {
        value.map_or_else(|| self.unknown.to_owned(), text)
    }

    /// Returns two values as text, once if neither is known.
    pub(super) fn pair(&self, a: Option<u64>, b: Option<u64>, text: fn(u64) -> String) -> String {
        match (a, b) {
            (None, None) => self.unknown.to_owned(),
            _ => format!("{}/{}", self.known(a, text), self.known(b, text)),
        }
    }

    /// Returns the bar of a part of `full`, which is higher than nothing for 0 already.
    pub(super) fn bar(&self, part: u64, full: u64) -> &'static str {
        let bars = [
            self.bars.one_eighth,
            self.bars.one_quarter,
            self.bars.three_eighths,
            self.bars.half,
            self.bars.five_eighths,
            self.bars.three_quarters,
            self.bars.seven_eighths,
            self.bars.full,
        ];
        let level = u128::from(part) * 8 / u128::from(full.max(1));
        bars[usize::try_from(level)
            .unwrap_or(usize::MAX)
            .min(bars.len() - 1)]
    }
}

/// Returns a number of bytes in at most 5 characters; the units are powers of 1024.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut unit = 1024u128;
    let bytes = u128::from(bytes);
    for name in ["K", "M", "G", "T", "P"] {
        let tenths = (bytes * 10 + unit / 2) / unit;
        let whole = (bytes + unit / 2) / unit;
        if tenths < 1000 {
            return format!("{}.{}{name}", tenths / 10, tenths % 10);
        }
        if whole < 1024 {
            return format!("{whole}{name}");
        }
        unit *= 1024;
    }
    let tenths = (bytes * 10 + unit / 2) / unit;
    format!("{}.{}E", tenths / 10, tenths % 10)
}

/// Returns a number in at most 5 characters.
pub(super) fn count(count: u64) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    let mut unit = 1000;
    for name in ["k", "M", "G", "T", "P"] {
        if count / unit < 10_000 {
            return format!("{}{name}", count / unit);
        }
        unit *= 1000;
    }
    format!("{}E", count / unit)
}

/// Returns hundredths of a percent as a percentage with one decimal, in at most so many characters.
pub(super) fn percent(hundredths: u64, width: usize) -> String {
    let tenths = hundredths / 10 + u64::from(hundredths % 10 >= 5);
    let text = format!("{}.{}", tenths / 10, tenths % 10);
    match text.len() > width {
        true => format!(">{}", "9".repeat(width - 1)),
        false => text,
    }
}

/// Returns the lines, no wider than so many cells of the terminal, that a text takes.
pub(super) fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut begin, mut used) = (0, 0);
    for (at, c) in text.char_indices() {
        let cells = c.width().unwrap_or(0);
        if used + cells > width && at > begin {
            lines.push(&text[begin..at]);
            (begin, used) = (at, 0);
        }
        used += cells;
    }
    lines.push(&text[begin..]);
    lines
}

/// Returns a duration in its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_five_characters_at_most() {
        for (number, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (61_728_394, "58.9M"),
            (102_348, "99.9K"),
            (102_349, "100K"),
            (1_048_063, "1023K"),
            (1_048_064, "1.0M"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
        for shift in 0..64 {
            for number in [(1 << shift) - 1, 1 << shift, 999 << shift >> 10] {
                assert!(bytes(number).len() <= 5, "{number}: {}", bytes(number));
                assert!(count(number).len() <= 5, "{number}: {}", count(number));
            }
        }
    }

    #[test]
    fn percentages_have_one_decimal_and_never_lose_a_digit() {
        assert_eq!(percent(0, 5), "0.0");
        assert_eq!(percent(5, 5), "0.1");
        assert_eq!(percent(10_000, 5), "100.0");
        assert_eq!(percent(1_276_912, 7), "12769.1");
        assert_eq!(percent(u64::MAX, 7), ">999999");
    }

    #[test]
    fn counts_and_durations_are_short() {
        assert_eq!(count(99_999), "99999");
        assert_eq!(count(4_194_304), "4194k");
        assert_eq!(count(u64::MAX), "18E");
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(3600 + 120), "1h 2m");
        assert_eq!(duration(2 * 86_400 + 3 * 3600), "2d 3h");
    }

    #[test]
    fn texts_are_cut_by_their_width_on_the_terminal() {
        assert_eq!(UNICODE.cut("web", 3), "web");
        assert_eq!(UNICODE.cut("website", 4), "web…");
        // Each of these takes two cells.
        assert_eq!(UNICODE.cut("容器容器", 6), "容器…");
        assert_eq!(UNICODE.cut("容器容器", 8), "容器容器");
        assert_eq!(UNICODE.cut("web", 0), "");
        assert_eq!(ASCII.clean("größe\u{1b}[2J"), "gr??e\\u{1b}[2J");
    }

    #[test]
    fn long_texts_go_on_in_the_next_line() {
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("website", 4), ["webs", "ite"]);
        assert_eq!(wrap("web", 3), ["web"]);
        assert_eq!(wrap("容器容器", 5), ["容器", "容器"]);
        // There is no room for any.
        assert_eq!(wrap("容器", 1), ["容", "器"]);
    }

    #[test]
    fn bars_rise_from_the_first_for_nothing_to_the_last_for_all() {
        let bars: Vec<_> = (0..=8).map(|part| UNICODE.bar(part * 12, 96)).collect();
        assert_eq!(bars.concat(), "▁▂▃▄▅▆▇██");
        assert_eq!(ASCII.bar(u64::MAX, 0), "@");
    }
}
