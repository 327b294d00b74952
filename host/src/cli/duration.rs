//! Durations and sizes on the command line.

use std::time::Duration;

/// Parses a duration as Go writes it (`1m30s`, `1.5h`, `500ms`), which is what runc takes, or a whole number
/// of seconds, which is what runsc takes.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
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
    const FORM: &str = "expected a duration such as 1m30s or 500ms, or a whole number of seconds";
    const RANGE: &str = "it is too long";
    const POSITIVE: &str = "it must be greater than 0";
    if text.starts_with('-') {
        return Err(POSITIVE.to_owned());
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let in_seconds = format!("{text}s");
    let is_whole = text.bytes().all(|b| b.is_ascii_digit());
    let mut rest = if is_whole { &*in_seconds } else { text };
    let mut total = 0u64;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c)).ok_or(FORM)?);
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(FORM)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(FORM.to_owned());
        }
        let whole: u64 = match whole {
            "" => 0,
            digits => digits.parse().map_err(|_| RANGE)?,
        };
        // Digits below a nanosecond count for nothing, so that no fraction is out of range.
        let mut part = 0;
        let mut scale = *unit;
        for digit in fraction.bytes() {
            scale /= 10;
            part += u64::from(digit - b'0') * scale;
        }
        let ns = whole.checked_mul(*unit).and_then(|ns| ns.checked_add(part));
        total = ns.and_then(|ns| ns.checked_add(total)).ok_or(RANGE)?;
        rest = behind;
    }
    match total {
        0 => Err(POSITIVE.to_owned()),
        ns => Ok(Duration::from_nanos(ns)),
    }
}

/// Parses a number of bytes, KiB, MiB or GiB.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    const FORM: &str = "expected a size such as 1048576, 64MiB or 1GiB";
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = match unit {
        "" | "B" => 1usize,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(FORM.to_owned()),
    };
    let number: usize = number.parse().map_err(|_| FORM)?;
    let size = number.checked_mul(unit);
    size.ok_or_else(|| "it is too large".to_owned())
}

/// Checks what holds of any text, for the fuzzer: its target `argument`.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(text: &str) {
    if let Ok(interval) = parse_interval(text) {
        let ns = format!("{}ns", interval.as_nanos());
        assert_eq!(parse_interval(&ns), Ok(interval), "{text:?}");
    }
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&size.to_string()), Ok(size), "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn any_text_is_a_duration_and_a_size_or_not() {
        let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/inputs/argument");
        for input in fs::read_dir(inputs).expect("there are some") {
            let input = fs::read(input.expect("it can be listed").path());
            check(&String::from_utf8_lossy(&input.expect("it can be read")));
        }
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
        let wrong = "|0|0s|-5|-5s|+5s|s|.|.s|5x|1.5|1..5s|1 s|1s |1d|1e3s|0.1ns|18446744073709551616ns|\
            18446744073709551615|\u{661}s";
        for text in wrong.split('|') {
            assert!(parse_interval(text).is_err(), "{text:?}");
        }
    }
}
