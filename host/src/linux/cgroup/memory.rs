//! Memory.

use super::dir::CgroupDir;
use super::parse::{parse_flat_keyed, parse_max, parse_u64, value_in};
use super::psi;
use crate::bindings::types::{Memory, MemoryEntry};

/// Reads the memory controller of v1.
pub(super) fn read_v1(dir: &mut CgroupDir) -> Memory {
    let raw = dir.read("memory.stat", parse_flat_keyed);
    let raw = raw.unwrap_or_default();
    let mut entry = |[usage, max, failcnt, limit]: [&str; 4]| -> MemoryEntry {
        let usage = dir.try_read(usage, parse_u64);
        if usage == Ok(None) {
            return MemoryEntry::default();
        }
        MemoryEntry {
            usage: usage.unwrap_or_default(),
            max: dir.read(max, parse_u64),
            failcnt: dir.read(failcnt, parse_u64),
            limit: dir.read(limit, parse_u64),
        }
    };
    Memory {
        cache: value_in(&raw, "cache"),
        usage: entry([
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.failcnt",
            "memory.limit_in_bytes",
        ]),
        swap: entry([
            "memory.memsw.usage_in_bytes",
            "memory.memsw.max_usage_in_bytes",
            "memory.memsw.failcnt",
            "memory.memsw.limit_in_bytes",
        ]),
        kernel: entry([
            "memory.kmem.usage_in_bytes",
            "memory.kmem.max_usage_in_bytes",
            "memory.kmem.failcnt",
            "memory.kmem.limit_in_bytes",
        ]),
        kernel_tcp: entry([
            "memory.kmem.tcp.usage_in_bytes",
            "memory.kmem.tcp.max_usage_in_bytes",
            "memory.kmem.tcp.failcnt",
            "memory.kmem.tcp.limit_in_bytes",
        ]),
        raw,
        psi: None,
    }
}

/// Reads the memory controller of v2.
pub(super) fn read_v2(dir: &mut CgroupDir) -> Memory {
    let usage = dir.read("memory.current", parse_u64);
    let limit = dir.read("memory.max", parse_max);
    let raw = dir.read("memory.stat", parse_flat_keyed);
    let raw = raw.unwrap_or_default();
    // runc counts memory and swap together on v2 too, as v1 does, and swap that is not accounted as none.
    // Where memory has no limit, both together have none; runc lets the sum wrap.
    let swap = dir.try_read("memory.swap.current", parse_u64);
    let swap_limit = match swap {
        Ok(None) => Ok(None),
        _ => dir.try_read("memory.swap.max", parse_max),
    };
    let sum = |memory: Option<u64>, swap: Result<Option<u64>, _>| {
        Some(memory?.saturating_add(swap.ok()?.unwrap_or(0)))
    };
    Memory {
        cache: value_in(&raw, "file"),
        swap: MemoryEntry {
            limit: sum(limit, swap_limit),
            usage: sum(usage, swap),
            max: None,
            failcnt: None,
        },
        usage: MemoryEntry {
            limit,
            usage,
            max: dir.read("memory.peak", parse_u64),
            failcnt: None,
        },
        kernel: MemoryEntry::default(),
        kernel_tcp: MemoryEntry::default(),
        raw,
        // The kernel measures it without the controller, too.
        psi: psi::read(dir, "memory.pressure").filter(|_| usage.is_some()),
    }
}
