//! Memory.

use super::dir::CgroupDir;
use super::parse::{parse_flat_keyed, parse_max, parse_u64, value_in};
use crate::bindings::types::{Memory, MemoryEntry};

/// Reads the memory controller of v1.
pub(super) fn read_v1(dir: &mut CgroupDir) -> Memory {
    let raw = dir.read("memory.stat", parse_flat_keyed);
    let raw = raw.unwrap_or_default();
    let mut entry = |prefix: &str| -> MemoryEntry {
        let usage = dir.try_read(&format!("{prefix}.usage_in_bytes"), parse_u64);
        if usage == Ok(None) {
            return MemoryEntry::default();
        }
        let mut read = |name: &str| dir.read(&format!("{prefix}.{name}"), parse_u64);
        MemoryEntry {
            usage: usage.unwrap_or_default(),
            max: read("max_usage_in_bytes"),
            failcnt: read("failcnt"),
            limit: read("limit_in_bytes"),
        }
    };
    Memory {
        cache: value_in(&raw, "cache"),
        usage: entry("memory"),
        swap: entry("memory.memsw"),
        kernel: entry("memory.kmem"),
        kernel_tcp: entry("memory.kmem.tcp"),
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
        psi: None,
    }
}
