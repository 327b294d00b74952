//! Values in interface files.
//!
//! A file that holds a single value, or a list that is of no use in parts, is understood or not. Of a table, a
//! line of another form is skipped: kernels to come may have more of them.

use crate::error::{Result, bail, error};
use crate::text::shorten;

/// The largest number of lines of a table that are parsed: many times what any kernel has.
pub(super) const MOST_LINES: usize = 10_000;

/// Parses a number. The kernel may print counters that should be above zero as negative for a moment: they
/// count as 0, as they do in runc (`fscommon.ParseUint`).
pub(super) fn parse_u64(text: &str) -> Result<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(0),
        _ => text
            .parse()
            .map_err(|e| error!(Source, "{} is not a number: {e}", shorten(text))),
    }
}

/// Parses a flag, which the kernel prints as 0 or 1.
pub(super) fn parse_flag(text: &str) -> Result<bool> {
    parse_u64(text).map(|number| number != 0)
}

/// Parses a number that may be negative.
pub(super) fn parse_i64(text: &str) -> Result<i64> {
    let text = text.trim_ascii();
    text.parse()
        .map_err(|e| error!(Source, "{} is not a number: {e}", shorten(text)))
}

/// Parses a limit of v2, or of pids: a number, or `max`, which counts as the largest one.
pub(super) fn parse_max(text: &str) -> Result<u64> {
    match text.trim_ascii() {
        "max" => Ok(u64::MAX),
        text => parse_u64(text),
    }
}

/// Parses numbers with white space between them.
pub(super) fn parse_list(text: &str) -> Result<Vec<u64>> {
    let numbers: Result<Vec<_>> = text
        .split_ascii_whitespace()
        .take(MOST_LINES + 1)
        .map(parse_u64)
        .collect();
    match numbers {
        Ok(numbers) if numbers.len() > MOST_LINES => {
            bail!(Source, "it has more than {MOST_LINES} numbers")
        }
        numbers => numbers,
    }
}

/// Parses a list of numbers and ranges: `0-3,8`.
pub(super) fn parse_ranges(text: &str) -> Result<Vec<u16>> {
    let text = text.trim_ascii();
    let mut all = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = match (from.parse::<u16>(), to.parse::<u16>()) {
            (Ok(from), Ok(to)) if from <= to => (from, to),
            _ => bail!(Source, "{} is not a range of numbers", shorten(part)),
        };
        all.extend(from..=to);
        if all.len() > 1 << 16 {
            bail!(Source, "it lists more numbers than there are");
        }
    }
    Ok(all)
}

/// Parses a line of a name, white space and a number. Names of the kernel are ASCII.
pub(super) fn parse_pair(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.trim_ascii().split_once([' ', '\t'])?;
    name.is_ascii().then_some((name, parse_u64(value).ok()?))
}

/// Parses a flat keyed file: lines of a name and a number. They are returned in the order of the names, each
/// once: the last one counts.
pub(super) fn parse_flat_keyed(text: &str) -> Result<Vec<(String, u64)>> {
    let mut rows: Vec<_> = lines(text)?.filter_map(parse_pair).collect();
    rows.reverse();
    rows.sort_by_key(|(name, _)| *name);
    rows.dedup_by_key(|(name, _)| *name);
    let rows = rows.into_iter();
    Ok(rows.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Returns the value of that name in a table.
pub(super) fn value_in(table: &[(String, u64)], name: &str) -> Option<u64> {
    let mut rows = table.iter();
    rows.find(|(key, _)| key == name).map(|&(_, value)| value)
}

/// Parses a flat keyed file, of which only the value of that name is of interest. `None` if it is missing.
pub(super) fn parse_value_of(text: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(parse_pair);
    rows.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the lines of a table, unless they are too many.
pub(super) fn lines(text: &str) -> Result<std::str::Lines<'_>> {
    if text.len() > MOST_LINES && text.lines().nth(MOST_LINES).is_some() {
        bail!(Source, "it has more than {MOST_LINES} lines");
    }
    Ok(text.lines())
}

/// Parses the two numbers of a device.
pub(super) fn parse_device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_u64_and_negative_ones_count_as_zero() {
        for (text, value) in [
            ("0\n", Some(0)),
            ("18446744073709551615\n", Some(u64::MAX)),
            ("-4096\n", Some(0)),
            ("-99999999999999999999999\n", Some(0)),
            (" 1 \n", Some(1)),
            ("18446744073709551616\n", None),
            ("", None),
            ("\n", None),
            ("-", None),
            ("--1", None),
            ("-x", None),
            ("1 2", None),
            ("1.5", None),
            ("max", None),
            ("\u{661}", None),
        ] {
            assert_eq!(parse_u64(text).ok(), value, "{text:?}");
        }
        assert_eq!(parse_max("max\n").ok(), Some(u64::MAX));
        assert_eq!(parse_max("7\n").ok(), Some(7));
        assert!(parse_max("maximum\n").is_err());
    }

    #[test]
    fn tables_keep_unknown_names_and_skip_lines_of_another_form() {
        let entry = |name: &str, value| (name.to_owned(), value);
        let table = parse_flat_keyed("cache 1\nnew_in_linux_9 2\nnegative -3\n");
        assert_eq!(
            table.expect("it is a table"),
            [
                entry("cache", 1),
                entry("negative", 0),
                entry("new_in_linux_9", 2)
            ]
        );
        assert_eq!(parse_flat_keyed("").expect("it is empty"), []);
        for broken in [
            "cache",
            "",
            "rss  x",
            "rss 1 2",
            "rss ?",
            "\u{fffd} 3",
            "rss",
        ] {
            let text = format!("{broken}\ncache 1\n{broken}\nswap\t2\n{broken}");
            let table = parse_flat_keyed(&text).expect(broken);
            assert_eq!(table, [entry("cache", 1), entry("swap", 2)], "{broken:?}");
            assert_eq!(parse_value_of(&text, "swap"), Some(2), "{broken:?}");
            assert_eq!(parse_value_of(&text, "rss"), None, "{broken:?}");
        }
        let table = parse_flat_keyed("cache 1\ncache 2\n").expect("it is a table");
        assert_eq!(table, [entry("cache", 2)]);
        assert!(parse_flat_keyed(&"a 1\n".repeat(MOST_LINES)).is_ok());
        assert!(parse_flat_keyed(&"a 1\n".repeat(MOST_LINES + 1)).is_err());
    }

    #[test]
    fn ranges_are_spelled_out() {
        for (text, numbers) in [
            ("0-3,8\n", Some(vec![0, 1, 2, 3, 8])),
            ("65535", Some(vec![65535])),
            // As in a v1 group that nobody has set up.
            ("\n", Some(vec![])),
            ("", Some(vec![])),
            ("3-1", None),
            ("0-65536", None),
            ("1,,2", None),
            ("1-", None),
            ("-1", None),
            ("a", None),
            // Short, and yet long.
            ("0-65535,0-65535", None),
        ] {
            assert_eq!(parse_ranges(text).ok(), numbers, "{text:?}");
        }
        assert_eq!(parse_i64("-1\n").ok(), Some(-1));
        assert!(parse_i64("9223372036854775808").is_err());
    }
}
