//! runc's schema: the structs of types/events.go, and of opencontainers/cgroups for pressure, field by field,
//! in their order. `omitzero`, which leaves out a struct of zeros, is that of runc 1.4.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{implement_serialize, is_zero, map, or_zero, stats_type};
use crate::types;

#[derive(Serialize)]
#[serde(remote = "types::StatsEvent")]
pub(super) struct Event {
    #[serde(getter = "stats_type", rename = "type")]
    event_type: &'static str,
    id: String,
    #[serde(with = "Stats")]
    data: types::Stats,
}

/// An `Event` without data.
#[derive(Serialize)]
pub(super) struct OomEvent<'a> {
    #[serde(rename = "type")]
    pub(super) event_type: &'static str,
    pub(super) id: &'a str,
}

#[derive(Serialize)]
#[serde(remote = "types::Stats")]
struct Stats {
    #[serde(with = "Cpu")]
    cpu: types::Cpu,
    #[serde(with = "CpuSet")]
    cpuset: types::Cpuset,
    #[serde(with = "Memory")]
    memory: types::Memory,
    pids: types::Pids,
    #[serde(serialize_with = "blkio")]
    blkio: types::Blkio,
    #[serde(serialize_with = "map")]
    hugetlb: Vec<(String, types::Hugetlb)>,
    #[serde(getter = "IntelRdt::new")]
    intel_rdt: IntelRdt,
    #[serde(serialize_with = "null_if_empty")]
    network_interfaces: Vec<types::NetworkInterface>,
}

#[derive(Serialize)]
#[serde(remote = "types::Cpu")]
struct Cpu {
    #[serde(skip_serializing_if = "CpuUsage::is_zero", with = "CpuUsage")]
    usage: types::CpuUsage,
    #[serde(skip_serializing_if = "Throttling::is_zero", with = "Throttling")]
    throttling: types::Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<types::Psi>,
}

#[derive(Serialize)]
#[serde(remote = "types::CpuUsage")]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    #[serde(serialize_with = "or_zero")]
    kernel: Option<u64>,
    #[serde(serialize_with = "or_zero")]
    user: Option<u64>,
}

impl CpuUsage {
    fn is_zero(usage: &types::CpuUsage) -> bool {
        [usage.total, usage.kernel, usage.user].iter().all(is_zero)
            && [&usage.percpu, &usage.percpu_kernel, &usage.percpu_user]
                .iter()
                .all(|list| list.is_empty())
    }
}

#[derive(Serialize)]
#[serde(remote = "types::Throttling", rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: Option<u64>,
}

impl Throttling {
    fn is_zero(it: &types::Throttling) -> bool {
        [it.periods, it.throttled_periods, it.throttled_time]
            .iter()
            .all(is_zero)
    }
}

implement_serialize!(Psi);

/// `PSIStats` of opencontainers/cgroups.
#[derive(Serialize)]
#[serde(remote = "types::Psi")]
struct Psi {
    #[serde(skip_serializing_if = "is_default", with = "PsiData")]
    some: types::PsiData,
    #[serde(skip_serializing_if = "is_default", with = "PsiData")]
    full: types::PsiData,
}

/// `PSIData` of opencontainers/cgroups.
#[derive(Serialize)]
#[serde(remote = "types::PsiData")]
struct PsiData {
    #[serde(serialize_with = "percent")]
    avg10: u32,
    #[serde(serialize_with = "percent")]
    avg60: u32,
    #[serde(serialize_with = "percent")]
    avg300: u32,
    total: u64,
}

#[derive(Serialize)]
#[serde(remote = "types::Cpuset")]
struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    #[serde(serialize_with = "flag")]
    cpu_exclusive: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    #[serde(serialize_with = "flag")]
    mem_hardwall: Option<bool>,
    #[serde(serialize_with = "flag")]
    mem_exclusive: Option<bool>,
    #[serde(serialize_with = "flag")]
    memory_migrate: Option<bool>,
    #[serde(serialize_with = "flag")]
    memory_spread_page: Option<bool>,
    #[serde(serialize_with = "flag")]
    memory_spread_slab: Option<bool>,
    #[serde(serialize_with = "or_zero")]
    memory_pressure: Option<u64>,
    #[serde(serialize_with = "flag")]
    sched_load_balance: Option<bool>,
    #[serde(serialize_with = "or_zero")]
    sched_relax_domain_level: Option<i64>,
}

#[derive(Serialize)]
#[serde(remote = "types::Memory")]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: Option<u64>,
    #[serde(skip_serializing_if = "is_zero_entry")]
    usage: types::MemoryEntry,
    #[serde(skip_serializing_if = "is_zero_entry")]
    swap: types::MemoryEntry,
    #[serde(skip_serializing_if = "is_zero_entry")]
    kernel: types::MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_zero_entry")]
    kernel_tcp: types::MemoryEntry,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    raw: Vec<(String, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<types::Psi>,
}

fn is_zero_entry(entry: &types::MemoryEntry) -> bool {
    [entry.limit, entry.usage, entry.max, entry.failcnt]
        .iter()
        .all(is_zero)
}

/// Encodes one list for each kind of value, where the contract has one record for each device and operation.
fn blkio<S: Serializer>(blkio: &types::Blkio, to: S) -> Result<S::Ok, S::Error> {
    type Value = fn(&types::BlkioEntry) -> Option<u64>;
    const LISTS: [(&str, Value); 8] = [
        ("ioServiceBytesRecursive", |entry| entry.io_service_bytes),
        ("ioServicedRecursive", |entry| entry.io_serviced),
        ("ioQueueRecursive", |entry| entry.io_queued),
        ("ioServiceTimeRecursive", |entry| entry.io_service_time),
        ("ioWaitTimeRecursive", |entry| entry.io_wait_time),
        ("ioMergedRecursive", |entry| entry.io_merged),
        ("ioTimeRecursive", |entry| entry.io_time),
        ("sectorsRecursive", |entry| entry.sectors),
    ];
    let mut map = to.serialize_map(None)?;
    for (name, value) in LISTS {
        let entries = blkio.entries.iter().filter_map(|entry| {
            Some(BlkioEntry {
                major: entry.major,
                minor: entry.minor,
                op: &entry.op,
                value: value(entry)?,
            })
        });
        let entries: Vec<_> = entries.collect();
        if !entries.is_empty() {
            map.serialize_entry(name, &entries)?;
        }
    }
    if let Some(psi) = &blkio.psi {
        map.serialize_entry("psi", psi)?;
    }
    map.end()
}

#[derive(Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "is_default")]
    major: u64,
    #[serde(skip_serializing_if = "is_default")]
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    value: u64,
}

implement_serialize!(Hugetlb);

#[derive(Serialize)]
#[serde(remote = "types::Hugetlb")]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    max: Option<u64>,
    #[serde(serialize_with = "or_zero")]
    failcnt: Option<u64>,
}

/// All fields have `omitempty`, and the contract has none of them.
#[derive(Serialize)]
struct IntelRdt {}

impl IntelRdt {
    fn new(_: &types::Stats) -> Self {
        Self {}
    }
}

implement_serialize!(NetworkInterface);

#[derive(Serialize)]
#[serde(remote = "types::NetworkInterface", rename_all = "PascalCase")]
struct NetworkInterface {
    name: String,
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// Encodes a slice without `omitempty`. In runc, an empty one is nil.
fn null_if_empty<T: Serialize, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
    (!list.is_empty()).then_some(list).serialize(to)
}

/// Encodes hundredths of a percent as a percentage, which is a `float64` in runc.
fn percent<S: Serializer>(hundredths: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(f64::from(*hundredths) / 100.0)
}

/// Encodes a flag as the number that the kernel prints.
fn flag<S: Serializer>(flag: &Option<bool>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(flag.unwrap_or_default().into())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
