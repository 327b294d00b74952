//! Huge pages.

use std::collections::{BTreeSet, HashSet};

use super::dir::{CgroupDir, at};
use super::parse::{parse_u64, parse_value_of};
use crate::bindings::types::Hugetlb;
use crate::error::Result;
use crate::linux::file::names;

/// The interface files of one size of huge pages.
#[derive(Debug, PartialEq)]
pub(super) struct HugetlbFiles {
    /// The size as the kernel names it: `2MB`.
    size: String,
    /// The file of the usage.
    usage: String,
}

/// Reads the usage of each size of huge pages that the cgroup has files of.
pub(super) fn read(dir: &mut CgroupDir) -> Vec<(String, Hugetlb)> {
    let files = list(dir).unwrap_or_else(|error| {
        dir.failure.get_or_insert(error);
        Vec::new()
    });
    let read = |HugetlbFiles { size, usage }| {
        let hugetlb = match usage.strip_suffix("usage_in_bytes") {
            Some(stem) => Hugetlb {
                usage: dir.read(&usage, parse_u64),
                max: dir.read(&format!("{stem}max_usage_in_bytes"), parse_u64),
                failcnt: dir.read(&format!("{stem}failcnt"), parse_u64),
            },
            None => {
                let events = format!("hugetlb.{size}.events");
                let failcnt = dir.read(&events, |text| Ok(parse_value_of(text, "max")));
                Hugetlb {
                    usage: dir.read(&usage, parse_u64),
                    max: None,
                    failcnt: failcnt.flatten(),
                }
            }
        };
        (hugetlb != Hugetlb::default()).then_some((size, hugetlb))
    };
    files.into_iter().filter_map(read).collect()
}

fn list(dir: &CgroupDir) -> Result<Vec<HugetlbFiles>> {
    let names = at(&dir.path, names(dir.fd()))?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(find(&names.collect()))
}

/// Finds the sizes that there are files of: those of v2, or else those of v1. Like runc, this prefers the files of
/// reservations, if the kernel has them.
pub(super) fn find(names: &HashSet<String>) -> Vec<HugetlbFiles> {
    const USAGE: [&str; 4] = [
        "rsvd.current",
        "current",
        "rsvd.usage_in_bytes",
        "usage_in_bytes",
    ];
    let sizes: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("hugetlb.")?.split('.').next())
        .collect();
    let files = sizes.into_iter().filter_map(|size| {
        let mut files = USAGE.iter().map(|usage| format!("hugetlb.{size}.{usage}"));
        Some(HugetlbFiles {
            size: size.to_owned(),
            usage: files.find(|name| names.contains(name))?,
        })
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_huge_pages_are_found_by_their_files() {
        for (given, found) in [
            (
                &[
                    "hugetlb.2MB.current",
                    "hugetlb.2MB.rsvd.current",
                    "hugetlb.1GB.current",
                ][..],
                &[
                    ("1GB", "hugetlb.1GB.current"),
                    ("2MB", "hugetlb.2MB.rsvd.current"),
                ][..],
            ),
            (
                &[
                    "hugetlb.2MB.usage_in_bytes",
                    "tasks",
                    "hugetlb.",
                    "hugetlb.x",
                ],
                &[("2MB", "hugetlb.2MB.usage_in_bytes")],
            ),
        ] {
            let given = given.iter().map(|&name| name.to_owned()).collect();
            let found = found.iter().map(|&(size, usage)| HugetlbFiles {
                size: size.to_owned(),
                usage: usage.to_owned(),
            });
            assert_eq!(find(&given), found.collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_number_of_files_is_looked_through_once() {
        let many = (0..60_000).map(|size| format!("hugetlb.{size}KB.current"));
        assert_eq!(find(&many.collect()).len(), 60_000);
    }
}
