//! Pressure: how long tasks waited for a resource.

use super::dir::CgroupDir;
use super::parse::lines;
use crate::bindings::types::{Psi, PsiData};
use crate::error::{Result, error};

/// Reads pressure. `None` if the kernel does not measure it, or not for this cgroup.
pub(super) fn read(dir: &mut CgroupDir, name: &str) -> Option<Psi> {
    dir.read(name, pressure)
}

/// Parses a v2 `*.pressure`. Its two records are of use as a whole only.
pub(super) fn pressure(text: &str) -> Result<Psi> {
    let mut psi = Psi::default();
    let mut found = false;
    for (at, line) in (1..).zip(lines(text)?) {
        let mut words = line.split_ascii_whitespace();
        let field = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        let data = pressure_data(words);
        *field = data.ok_or_else(|| error!(Source, "line {at} is not a pressure"))?;
        found = true;
    }
    match found {
        true => Ok(psi),
        false => Err(error!(Source, "it has no line of pressure")),
    }
}

/// Parses the values of a line. `None` if one that is known cannot be understood.
fn pressure_data<'a>(words: impl Iterator<Item = &'a str>) -> Option<PsiData> {
    let mut data = PsiData::default();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => data.avg10 = hundredths_of_percent(value)?,
            "avg60" => data.avg60 = hundredths_of_percent(value)?,
            "avg300" => data.avg300 = hundredths_of_percent(value)?,
            "total" => data.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(data)
}

/// Parses a percentage with up to two decimal places, as the kernel prints it, and returns hundredths.
fn hundredths_of_percent(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(100)?
        .checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_hundredths_of_a_percent_and_microseconds() {
        let text = "some avg10=29.35 avg60=6.83 avg300=0.00 total=4503692\n\
            full avg10=100.00 avg60=0.07 avg300=1 total=18446744073709551615\n";
        let psi = pressure(text).expect("it is one");
        let data = |data: PsiData| (data.avg10, data.avg60, data.avg300, data.total);
        assert_eq!(data(psi.some), (2935, 683, 0, 4_503_692));
        assert_eq!(data(psi.full), (10_000, 7, 100, u64::MAX));
        // Kernels before 5.13 report nothing more of CPUs, and those to come may report more.
        let psi = pressure("some avg10=1.50 new=x new total=1\nnew 1\n\n").expect("it is one");
        assert_eq!(data(psi.some), (150, 0, 0, 1));
        assert_eq!(data(psi.full), (0, 0, 0, 0));
        for broken in [
            "some avg10=x\n",
            "some avg10=-1\n",
            "some avg10=1.\n",
            "some avg10=1.234\n",
            "some avg10=42949672.96\n",
            "some total=\n",
        ] {
            let error = pressure(broken).expect_err(broken);
            assert!(format!("{error:#}").starts_with("line 1 "), "{error:#}");
        }
    }
}
