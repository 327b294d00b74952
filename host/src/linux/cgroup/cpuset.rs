//! CPUs and memory nodes that a cgroup may use (v1 alone: on v2, runc reads none of it).

use super::dir::CgroupDir;
use super::parse::{parse_flag, parse_i64, parse_ranges, parse_u64};
use crate::bindings::types::Cpuset;

/// Reads the settings of the cpuset controller.
pub(super) fn read(dir: &mut CgroupDir) -> Cpuset {
    Cpuset {
        cpus: dir.read("cpuset.cpus", parse_ranges).unwrap_or_default(),
        cpu_exclusive: dir.read("cpuset.cpu_exclusive", parse_flag),
        mems: dir.read("cpuset.mems", parse_ranges).unwrap_or_default(),
        mem_hardwall: dir.read("cpuset.mem_hardwall", parse_flag),
        mem_exclusive: dir.read("cpuset.mem_exclusive", parse_flag),
        memory_migrate: dir.read("cpuset.memory_migrate", parse_flag),
        memory_spread_page: dir.read("cpuset.memory_spread_page", parse_flag),
        memory_spread_slab: dir.read("cpuset.memory_spread_slab", parse_flag),
        memory_pressure: dir.read("cpuset.memory_pressure", parse_u64),
        sched_load_balance: dir.read("cpuset.sched_load_balance", parse_flag),
        sched_relax_domain_level: dir.read("cpuset.sched_relax_domain_level", parse_i64),
    }
}
