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
    let form =
        || "expected a duration such as 1m30s or 500ms, or a whole number of seconds".to_owned();
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

/// Parses a number of bytes, KiB, MiB or GiB.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit {
        "" | "B" => 1usize,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size such as 1048576, 64MiB or 1GiB".to_owned()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "expected a size such as 1048576, 64MiB or 1GiB".to_owned())?;
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
}
