//! CPUs and memory nodes that a group may use (v1 alone: on v2, runc reads none of it).

use super::dir::Folder;
use super::parse::{flag, number, ranges, signed};
use crate::bindings::types::Cpuset;
use crate::error::Result;

/// The settings of a cpuset.
pub(super) fn read(folder: &mut Folder) -> Result<Cpuset> {
    Ok(Cpuset {
        cpus: folder.get("cpuset.cpus", ranges)?.unwrap_or_default(),
        cpu_exclusive: folder.get("cpuset.cpu_exclusive", flag)?,
        mems: folder.get("cpuset.mems", ranges)?.unwrap_or_default(),
        mem_hardwall: folder.get("cpuset.mem_hardwall", flag)?,
        mem_exclusive: folder.get("cpuset.mem_exclusive", flag)?,
        memory_migrate: folder.get("cpuset.memory_migrate", flag)?,
        memory_spread_page: folder.get("cpuset.memory_spread_page", flag)?,
        memory_spread_slab: folder.get("cpuset.memory_spread_slab", flag)?,
        memory_pressure: folder.get("cpuset.memory_pressure", number)?,
        sched_load_balance: folder.get("cpuset.sched_load_balance", flag)?,
        sched_relax_domain_level: folder.get("cpuset.sched_relax_domain_level", signed)?,
    })
}
