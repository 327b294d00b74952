//! Memory.

use super::dir::Folder;
use super::parse::{figure, maximum, number, table};
use super::psi;
use crate::bindings::types::{Memory, MemoryEntry};
use crate::error::Result;

pub(super) fn read_v1(folder: &mut Folder) -> Result<Memory> {
    let raw = folder.get("memory.stat", table)?.unwrap_or_default();
    // The one that must be there is read last: see `Group::snapshot`.
    let mut entry = |[usage, max, failcnt, limit]: [&'static str; 4]| -> Result<MemoryEntry> {
        let Some(usage) = folder.get(usage, number)? else {
            return Ok(MemoryEntry::default());
        };
        Ok(MemoryEntry {
            usage: Some(usage),
            max: folder.get(max, number)?,
            failcnt: folder.get(failcnt, number)?,
            limit: folder.limit(limit, number)?,
        })
    };
    let swap = entry([
        "memory.memsw.usage_in_bytes",
        "memory.memsw.max_usage_in_bytes",
        "memory.memsw.failcnt",
        "memory.memsw.limit_in_bytes",
    ])?;
    let kernel = entry([
        "memory.kmem.usage_in_bytes",
        "memory.kmem.max_usage_in_bytes",
        "memory.kmem.failcnt",
        "memory.kmem.limit_in_bytes",
    ])?;
    let kernel_tcp = entry([
        "memory.kmem.tcp.usage_in_bytes",
        "memory.kmem.tcp.max_usage_in_bytes",
        "memory.kmem.tcp.failcnt",
        "memory.kmem.tcp.limit_in_bytes",
    ])?;
    let usage = entry([
        "memory.usage_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.failcnt",
        "memory.limit_in_bytes",
    ])?;
    Ok(Memory {
        cache: figure(&raw, "cache"),
        usage,
        swap,
        kernel,
        kernel_tcp,
        raw,
        psi: None,
    })
}

pub(super) fn read_v2(folder: &mut Folder) -> Result<Memory> {
    let limit = folder.limit("memory.max", maximum)?;
    let raw = folder.get("memory.stat", table)?.unwrap_or_default();
    // runc counts memory and swap together on v2 too, as v1 does.
    let swap = folder.get("memory.swap.current", number)?;
    let swap_limit = folder.limit("memory.swap.max", maximum)?;
    let max = folder.get("memory.peak", number)?;
    let psi = psi::read(folder, "memory.pressure")?;
    // The one that must be there is read last: see `Group::snapshot`.
    let usage = folder.get("memory.current", number)?;
    // Where memory has no limit, both together have none. runc lets the sum wrap.
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    Ok(Memory {
        cache: figure(&raw, "file"),
        usage: MemoryEntry {
            limit,
            usage,
            max,
            failcnt: None,
        },
        swap: MemoryEntry {
            limit: sum(swap_limit, limit),
            usage: sum(swap, usage),
            max: None,
            failcnt: None,
        },
        kernel: MemoryEntry::default(),
        kernel_tcp: MemoryEntry::default(),
        raw,
        psi: psi.filter(|_| usage.is_some()),
    })
}
