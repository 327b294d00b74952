//! gVisor's schema: the structs of runsc/boot/events.go, field by field, in their order.

use serde::Serialize;

use super::{is_zero, map, stats_type};
use crate::types;

#[derive(Serialize)]
pub(super) struct EventOut {
    #[serde(with = "Event")]
    event: types::StatsEvent,
    #[serde(rename = "containerUsage", serialize_with = "map")]
    container_usage: Vec<(String, u64)>,
}

impl From<types::EventOut> for EventOut {
    fn from(out: types::EventOut) -> Self {
        let mut data = types::Stats::default();
        data.pids.current = Some(out.pids);
        data.memory.usage.usage = out.memory;
        Self {
            event: types::StatsEvent { id: out.id, data },
            container_usage: out.container_usage,
        }
    }
}

#[derive(Serialize)]
#[serde(remote = "types::StatsEvent")]
pub(super) struct Event {
    #[serde(getter = "stats_type", rename = "type")]
    event_type: &'static str,
    id: String,
    #[serde(with = "Stats")]
    data: types::Stats,
}

#[derive(Serialize)]
#[serde(remote = "types::Stats")]
struct Stats {
    #[serde(with = "Cpu")]
    cpu: types::Cpu,
    #[serde(with = "Memory")]
    memory: types::Memory,
    pids: types::Pids,
}

#[derive(Serialize)]
#[serde(remote = "types::Cpu")]
struct Cpu {
    #[serde(with = "CpuUsage")]
    usage: types::CpuUsage,
}

#[derive(Serialize)]
#[serde(remote = "types::CpuUsage")]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    kernel: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    user: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
}

/// The entries have `omitempty` in gVisor, which never leaves out a struct.
#[derive(Serialize)]
#[serde(remote = "types::Memory")]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: Option<u64>,
    usage: types::MemoryEntry,
    swap: types::MemoryEntry,
    kernel: types::MemoryEntry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: types::MemoryEntry,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    raw: Vec<(String, u64)>,
}
