//! Huge pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::dir::Folder;
use super::parse::{number, value_of};
use crate::bindings::types::Hugetlb;
use crate::error::Result;

/// The control files of one size of huge pages.
pub(super) struct HugetlbFiles {
    /// As the kernel names it: `2MB`.
    size: String,
    /// Usage, highest usage, and the count of failures.
    names: [String; 3],
}

impl HugetlbFiles {
    /// Those in the folder of a group.
    pub(super) fn list(folder: &Path) -> Result<Vec<Self>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(Self::find(&names))
    }

    /// The sizes of which a group with these files has an account. Like runc, this prefers the account of
    /// reservations, where the kernel has one.
    fn find(names: &[String]) -> Vec<Self> {
        let sizes: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("hugetlb.")?.split('.').next())
            .collect();
        let files = sizes.into_iter().filter_map(|size| {
            let there = |name: String| names.contains(&name).then_some(name);
            let of = |rest: &str| there(format!("hugetlb.{size}{rest}"));
            let [v2_usage, v1_usage] = [
                of(".rsvd.current").or_else(|| of(".current")),
                of(".rsvd.usage_in_bytes").or_else(|| of(".usage_in_bytes")),
            ];
            let names = match (v2_usage, v1_usage) {
                (Some(usage), _) => [usage, String::new(), format!("hugetlb.{size}.events")],
                (None, Some(usage)) => {
                    let stem = usage.strip_suffix("usage_in_bytes")?.to_owned();
                    let max = format!("{stem}max_usage_in_bytes");
                    [usage, max, format!("{stem}failcnt")]
                }
                (None, None) => return None,
            };
            Some(Self {
                size: size.to_owned(),
                names,
            })
        });
        files.collect()
    }
}

/// Reads the account of each size that the group has one of.
pub(super) fn read(
    folder: &mut Folder,
    sizes: &[HugetlbFiles],
    v2: bool,
) -> Result<Vec<(String, Hugetlb)>> {
    let mut all = Vec::new();
    for files in sizes {
        let [usage, max, failcnt] = &files.names;
        let usage = folder.get(usage, number)?;
        if usage.is_none() {
            continue;
        }
        let hugetlb = match v2 {
            true => Hugetlb {
                usage,
                max: None,
                failcnt: folder.get(failcnt, |text| value_of(text, "max"))?,
            },
            false => Hugetlb {
                usage,
                max: folder.get(max, number)?,
                failcnt: folder.get(failcnt, number)?,
            },
        };
        all.push((files.size.clone(), hugetlb));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_huge_pages_are_found_by_their_files() {
        let find = |names: &[&str]| -> Vec<(String, [String; 3])> {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let found = HugetlbFiles::find(&names).into_iter();
            found.map(|files| (files.size, files.names)).collect()
        };
        let size = |size: &str, names: [&str; 3]| (size.to_owned(), names.map(str::to_owned));
        assert_eq!(
            find(&[
                "hugetlb.2MB.current",
                "hugetlb.2MB.rsvd.current",
                "hugetlb.1GB.current"
            ]),
            [
                size("1GB", ["hugetlb.1GB.current", "", "hugetlb.1GB.events"]),
                size(
                    "2MB",
                    ["hugetlb.2MB.rsvd.current", "", "hugetlb.2MB.events"]
                ),
            ]
        );
        assert_eq!(
            find(&[
                "hugetlb.2MB.usage_in_bytes",
                "tasks",
                "hugetlb.",
                "hugetlb.x"
            ]),
            [size(
                "2MB",
                [
                    "hugetlb.2MB.usage_in_bytes",
                    "hugetlb.2MB.max_usage_in_bytes",
                    "hugetlb.2MB.failcnt"
                ]
            )]
        );
    }

    #[test]
    fn any_names_have_sizes_or_not() {
        let sample = "hugetlb.2MB.usage_in_bytes\nhugetlb.1GB.rsvd.current\ntasks\n";
        crate::fuzz::survives_anything(&[sample], |text| {
            let names: Vec<_> = text.lines().map(str::to_owned).collect();
            drop(HugetlbFiles::find(&names));
        });
    }
}
