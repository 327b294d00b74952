//! Values in interface files.

use crate::error::{Context as _, Result, bail, error};
use crate::text::shorten;

/// A number. The kernel may print counters that should be above zero as negative for a moment: they
/// count as 0, as they do in runc (`fscommon.ParseUint`).
pub(super) fn number(text: &str) -> Result<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(0),
        _ => text
            .parse()
            .map_err(|e| error!(Source, "{} is not a figure: {e}", shorten(text))),
    }
}

/// Parses a flag, which the kernel prints as 0 or 1.
pub(super) fn flag(text: &str) -> Result<bool> {
    number(text).map(|number| number != 0)
}

/// A number that may be negative.
pub(super) fn signed(text: &str) -> Result<i64> {
    let text = text.trim_ascii();
    text.parse()
        .map_err(|e| error!(Source, "{} is not a figure: {e}", shorten(text)))
}

/// A limit of v2, or of pids: a number, or `max`, which counts as the largest one.
pub(super) fn maximum(text: &str) -> Result<u64> {
    match text.trim_ascii() {
        "max" => Ok(u64::MAX),
        text => number(text),
    }
}

/// Numbers with white space between them.
pub(super) fn numbers(text: &str) -> Result<Vec<u64>> {
    text.split_ascii_whitespace().map(number).collect()
}

/// A list of numbers and ranges: `0-3,8`.
pub(super) fn ranges(text: &str) -> Result<Vec<u16>> {
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

/// The lines of a text, of which `parse` makes something; an error says in which one it is.
pub(super) fn lines<'a, T>(
    text: &'a str,
    mut parse: impl FnMut(&'a str) -> Result<T>,
) -> impl Iterator<Item = Result<T>> {
    (1..)
        .zip(text.lines())
        .map(move |(at, line)| parse(line).with_context(|| format!("line {at}")))
}

/// A line of a name, a space and a number.
pub(super) fn entry(line: &str) -> Result<(&str, u64)> {
    let (name, figure) = line
        .split_once(' ')
        .ok_or_else(|| error!(Source, "{} is not a name and a figure", shorten(line)))?;
    Ok((name, number(figure)?))
}

/// Lines of a name, a space and a number, by their names: the component need not sort them then.
pub(super) fn table(text: &str) -> Result<Vec<(String, u64)>> {
    let rows: Result<Vec<_>> = lines(text, entry).collect();
    let mut rows = rows?;
    rows.sort_by_key(|(name, _)| *name);
    let rows = rows.into_iter();
    Ok(rows
        .map(|(name, figure)| (name.to_owned(), figure))
        .collect())
}

/// The figure of that name in a table.
pub(super) fn figure(table: &[(String, u64)], name: &str) -> Option<u64> {
    table
        .iter()
        .find(|(key, _)| key == name)
        .map(|&(_, figure)| figure)
}

/// The figure of that name in the text of a table. 0 where it is missing, as in runc
/// (`fscommon.GetValueByKey`).
pub(super) fn value_of(text: &str, name: &str) -> Result<u64> {
    let all: Result<Vec<_>> = lines(text, entry).collect();
    let found = all?.into_iter().find(|(key, _)| *key == name);
    Ok(found.map_or(0, |(_, figure)| figure))
}

/// A time in another unit, in nanoseconds.
pub(super) fn nanoseconds(name: &str, figure: u64, factor: u64) -> Result<u64> {
    figure
        .checked_mul(factor)
        .ok_or_else(|| error!(Source, "{name} {figure} is out of range"))
}

/// The two numbers of a device.
pub(super) fn device(text: &str) -> Result<(u64, u64)> {
    let numbers = text
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.ok_or_else(|| error!(Source, "{} is not the number of a device", shorten(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_u64_and_negative_ones_count_as_zero() {
        for (text, figure) in [
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
            assert_eq!(number(text).ok(), figure, "{text:?}");
        }
        assert_eq!(maximum("max\n").ok(), Some(u64::MAX));
        assert_eq!(maximum("7\n").ok(), Some(7));
        assert!(maximum("maximum\n").is_err());
    }

    #[test]
    fn tables_keep_unknown_lines_and_refuse_broken_ones() {
        let entries = table("cache 1\nnew_in_linux_9 2\nnegative -3\n").expect("it is one");
        let entry = |name: &str, figure| (name.to_owned(), figure);
        assert_eq!(
            entries,
            [
                entry("cache", 1),
                entry("negative", 0),
                entry("new_in_linux_9", 2)
            ]
        );
        assert_eq!(table("").expect("it is empty"), []);
        for broken in [
            "cache",
            "cache 1\n\ncache 2",
            "cache  x",
            "cache 1 2",
            "cache\t1",
        ] {
            assert!(table(broken).is_err(), "{broken:?}");
        }
        let error = table("cache 1\nrss ?\n").expect_err("? is no figure");
        assert!(format!("{error:#}").starts_with("line 2: "), "{error:#}");
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
            assert_eq!(ranges(text).ok(), numbers, "{text:?}");
        }
        assert_eq!(signed("-1\n").ok(), Some(-1));
        assert!(signed("9223372036854775808").is_err());
    }

    #[test]
    fn any_text_is_a_value_or_an_error() {
        let samples = ["user 122\nsystem 358\n", "0-3,8\n", "-4096\n", "max 7\n"];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (number(text), signed(text), maximum(text), numbers(text));
            let _ = (
                ranges(text),
                table(text),
                value_of(text, "max"),
                device(text),
            );
        });
    }
}
