//! Huge pages.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::dir::{CgroupDir, FsKind, at};
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
    /// v1's files of the highest usage and of the times that it hit the limit, or v2's events, which have the latter.
    max: Option<String>,
    failcnt: String,
}

/// Reads the usage of each size of huge pages that the cgroup has files of.
pub(super) fn read(dir: &mut CgroupDir) -> Vec<(String, Hugetlb)> {
    let files = list(dir).unwrap_or_else(|error| {
        dir.failure.get_or_insert(error);
        Arc::default()
    });
    let read = |files: &HugetlbFiles| {
        let hugetlb = Hugetlb {
            usage: dir.read(&files.usage, parse_u64),
            max: (files.max.as_ref()).and_then(|max| dir.read(max, parse_u64)),
            failcnt: match files.max {
                Some(_) => dir.read(&files.failcnt, parse_u64),
                None => {
                    let max = |text: &str| Ok(parse_value_of(text, "max"));
                    dir.read(&files.failcnt, max).flatten()
                }
            },
        };
        (hugetlb != Hugetlb::default()).then(|| (files.size.clone(), hugetlb))
    };
    files.iter().filter_map(read).collect()
}

/// Lists the files. The sizes of a kernel are fixed when it boots.
fn list(dir: &mut CgroupDir) -> Result<Arc<[HugetlbFiles]>> {
    if let Some(files) = &dir.hugetlb {
        return Ok(Arc::clone(files));
    }
    let names = at(&dir.path, names(dir.fd()))?;
    let files: Arc<[_]> = find(&names).into();
    if dir.kind != FsKind::Ordinary && !files.is_empty() {
        dir.hugetlb = Some(Arc::clone(&files));
    }
    Ok(files)
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
        let usage = files.find(|name| names.contains(name))?;
        let stem = usage.strip_suffix("usage_in_bytes");
        Some(HugetlbFiles {
            size: size.to_owned(),
            max: stem.map(|stem| format!("{stem}max_usage_in_bytes")),
            failcnt: match stem {
                Some(stem) => format!("{stem}failcnt"),
                None => format!("hugetlb.{size}.events"),
            },
            usage,
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
            let files = find(&given);
            let files = files.iter().map(|files| (&*files.size, &*files.usage));
            assert_eq!(files.collect::<Vec<_>>(), found);
        }
    }

    #[test]
    fn any_number_of_files_is_looked_through_once() {
        let many = (0..60_000).map(|size| format!("hugetlb.{size}KB.current"));
        assert_eq!(find(&many.collect()).len(), 60_000);
    }
}
