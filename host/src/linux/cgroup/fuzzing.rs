//! The entry points of the fuzzer.

use super::process::path_of_process;
use super::{CgroupPaths, STATISTICS, blkio, cpu, hugetlb, parse, psi};
use crate::linux::mountinfo::Mounts;

/// Parses an interface file as each of them.
pub(crate) fn interface_file(text: &str) {
    let _ = (parse::parse_u64(text), parse::parse_i64(text));
    let _ = (parse::parse_flag(text), parse::parse_max(text));
    let _ = (parse::parse_list(text), parse::parse_value_of(text, "max"));
    if let Ok(table) = parse::parse_flat_keyed(text) {
        assert!(table.is_sorted_by(|(a, _), (b, _)| a < b));
    }
    if let Ok(numbers) = parse::parse_ranges(text) {
        assert!(numbers.len() <= 1 << 16);
    }
    let _ = (cpu::cpuacct_stat(text), cpu::cpu_stat(text));
    let _ = cpu::cpu_max(text);
    if let Ok((user, system)) = cpu::usage_all(text) {
        assert_eq!(user.len(), system.len());
    }
    let _ = (psi::pressure(text), blkio::io_stat(text));
    if let Ok(values) = blkio::parse_blkio(text) {
        let rows = values.len();
        let mut entries = Vec::new();
        blkio::merge_rows(&mut entries, |row| &mut row.io_serviced, values);
        assert_eq!(entries.len(), rows);
    }
    let _ = hugetlb::find(&text.lines().map(str::to_owned).collect());
}

/// Parses a /proc/PID/cgroup.
pub(crate) fn process_cgroups(text: &[u8]) {
    for controller in ["memory", super::paths::UNIFIED] {
        if let Some(path) = path_of_process(text, controller) {
            let _ = CgroupPaths::of(&Mounts::default(), path, STATISTICS);
        }
    }
}
