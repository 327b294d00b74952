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
    usage: String,
    counters: Counters,
}

/// The counters besides usage.
#[derive(Debug, PartialEq)]
enum Counters {
    V1 { max: String, failcnt: String },
    V2 { events: String },
}

/// Reads the usage of each size of huge pages that the cgroup has files of.
pub(super) fn read(dir: &mut CgroupDir) -> Vec<(String, Hugetlb)> {
    let files = list(dir).unwrap_or_else(|error| {
        dir.failure.get_or_insert(error);
        Vec::new()
    });
    let mut all = Vec::new();
    for HugetlbFiles {
        size,
        usage,
        counters,
    } in files
    {
        let usage = dir.read(&usage, parse_u64);
        let hugetlb = match counters {
            Counters::V1 { max, failcnt } => Hugetlb {
                usage,
                max: dir.read(&max, parse_u64),
                failcnt: dir.read(&failcnt, parse_u64),
            },
            Counters::V2 { events } => Hugetlb {
                usage,
                max: None,
                failcnt: dir
                    .read(&events, |text| Ok(parse_value_of(text, "max")))
                    .flatten(),
            },
        };
        if hugetlb != Hugetlb::default() {
            all.push((size, hugetlb));
        }
    }
    all
}

fn list(dir: &CgroupDir) -> Result<Vec<HugetlbFiles>> {
    let names = at(&dir.path, names(dir.fd()))?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let names = names.filter(|name| name.starts_with("hugetlb."));
    Ok(find(&names.collect()))
}

/// Finds the sizes that there are files of. Like runc, this prefers the files of reservations, if the kernel has
/// them.
pub(super) fn find(names: &HashSet<String>) -> Vec<HugetlbFiles> {
    let sizes: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("hugetlb.")?.split('.').next())
        .collect();
    let files = sizes.into_iter().filter_map(|size| {
        let first = |suffixes: [&str; 2]| {
            let files = suffixes.map(|suffix| format!("hugetlb.{size}{suffix}"));
            files.into_iter().find(|name| names.contains(name))
        };
        let (usage, counters) = match first([".rsvd.current", ".current"]) {
            Some(usage) => {
                let events = format!("hugetlb.{size}.events");
                (usage, Counters::V2 { events })
            }
            None => {
                let usage = first([".rsvd.usage_in_bytes", ".usage_in_bytes"])?;
                let stem = usage.strip_suffix("usage_in_bytes")?;
                let max = format!("{stem}max_usage_in_bytes");
                let failcnt = format!("{stem}failcnt");
                (usage, Counters::V1 { max, failcnt })
            }
        };
        Some(HugetlbFiles {
            size: size.to_owned(),
            usage,
            counters,
        })
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> HashSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn sizes_of_huge_pages_are_found_by_their_files() {
        let v2 = |size: &str, usage: &str| HugetlbFiles {
            size: size.to_owned(),
            usage: usage.to_owned(),
            counters: Counters::V2 {
                events: format!("hugetlb.{size}.events"),
            },
        };
        assert_eq!(
            find(&names(&[
                "hugetlb.2MB.current",
                "hugetlb.2MB.rsvd.current",
                "hugetlb.1GB.current"
            ])),
            [
                v2("1GB", "hugetlb.1GB.current"),
                v2("2MB", "hugetlb.2MB.rsvd.current"),
            ]
        );
        assert_eq!(
            find(&names(&[
                "hugetlb.2MB.usage_in_bytes",
                "tasks",
                "hugetlb.",
                "hugetlb.x"
            ])),
            [HugetlbFiles {
                size: "2MB".to_owned(),
                usage: "hugetlb.2MB.usage_in_bytes".to_owned(),
                counters: Counters::V1 {
                    max: "hugetlb.2MB.max_usage_in_bytes".to_owned(),
                    failcnt: "hugetlb.2MB.failcnt".to_owned(),
                },
            }]
        );
    }

    #[test]
    fn any_number_of_files_is_looked_through_once() {
        let many = (0..60_000).map(|size| format!("hugetlb.{size}KB.current"));
        assert_eq!(find(&many.collect()).len(), 60_000);
    }
}
