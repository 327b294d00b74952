//! Pressure: how long tasks waited for a resource.

use rustix::io::Errno;

use super::dir::Folder;
use super::parse::{lines, number};
use crate::bindings::types::{Psi, PsiData};
use crate::error::{Result, error};
use crate::text::shorten;

/// Reads pressure. `None` where the kernel doesn't measure it, or not for this group.
pub(super) fn read(folder: &mut Folder, name: &str) -> Result<Option<Psi>> {
    match folder.get(name, pressure) {
        Err(e) => match e.find().and_then(Errno::from_io_error) {
            Some(Errno::OPNOTSUPP) => Ok(None),
            _ => Err(e),
        },
        pressure => pressure,
    }
}

/// A v2 `*.pressure`.
fn pressure(text: &str) -> Result<Psi> {
    let mut psi = Psi::default();
    for line in lines(text, |line| {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut data = PsiData::default();
        if !matches!(kind, "some" | "full") {
            return Ok((kind, data));
        }
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| error!(Source, "{} is not a name and a figure", shorten(word)))?;
            match key {
                "avg10" => data.avg10 = basis_points(value)?,
                "avg60" => data.avg60 = basis_points(value)?,
                "avg300" => data.avg300 = basis_points(value)?,
                "total" => data.total = number(value)?,
                _ => {}
            }
        }
        Ok((kind, data))
    }) {
        match line? {
            ("some", data) => psi.some = data,
            ("full", data) => psi.full = data,
            _ => {}
        }
    }
    Ok(psi)
}

/// A per cent with up to two decimal places, as the kernel prints it, in hundredths.
fn basis_points(text: &str) -> Result<u32> {
    let points = || {
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
    };
    points().ok_or_else(|| error!(Source, "{} is not a per cent", shorten(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_hundredths_of_a_per_cent_and_microseconds() {
        let text = "some avg10=29.35 avg60=6.83 avg300=0.00 total=4503692\n\
            full avg10=100.00 avg60=0.07 avg300=1 total=18446744073709551615\n";
        let psi = pressure(text).expect("it is one");
        let data = |data: PsiData| (data.avg10, data.avg60, data.avg300, data.total);
        assert_eq!(data(psi.some), (2935, 683, 0, 4_503_692));
        assert_eq!(data(psi.full), (10_000, 7, 100, u64::MAX));
        // Kernels before 5.13 tell nothing more of CPUs, and those to come may tell more.
        let psi = pressure("some avg10=1.50 new=x total=1\nnew 1\n\n").expect("it is one");
        assert_eq!(data(psi.some), (150, 0, 0, 1));
        assert_eq!(data(psi.full), (0, 0, 0, 0));
        for broken in [
            "some avg10\n",
            "some avg10=x\n",
            "some avg10=-1\n",
            "some avg10=1.\n",
            "some avg10=1.234\n",
            "some avg10=42949672.96\n",
            "some total=\n",
        ] {
            let error = pressure(broken).expect_err(broken);
            assert!(format!("{error:#}").starts_with("line 1: "), "{error:#}");
        }
    }

    #[test]
    fn any_text_is_pressure_or_an_error() {
        let sample =
            "some avg10=29.35 avg60=6.83 avg300=1.49 total=4503692\nfull avg10=0.00 total=0\n";
        crate::fuzz::survives_anything(&[sample], |text| drop(pressure(text)));
    }
}
