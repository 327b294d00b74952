//! `Stats` in the JSON of scenarios, with runc's names, units and shapes: the `data` of a line that runc
//! printed is valid here. A figure that is absent is not known.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize as Read, Serialize as Write};

use crate::bindings::types::{
    Blkio, CmtStats, Cpu, CpuUsage, Cpuset, Hugetlb, IntelRdt, L3CacheInfo, MbmStats, MemBwInfo,
    Memory, MemoryEntry, NetworkInterface, Pids, Psi, PsiData, Stats, Throttling,
};
use crate::linux::cgroup::{Account, Column, join};

/// The type of the contract in the form that the description of that name gives it, so that an `Option`,
/// a list or a map can hold it.
pub(super) struct Json<T>(T);

macro_rules! json {
    ($($type:ident as $description:ident),*) => { $(
        impl Serialize for Json<&$type> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $description::serialize(self.0, to)
            }
        }

        impl<'de> Deserialize<'de> for Json<$type> {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $description::deserialize(from).map(Self)
            }
        }
    )* };
}

json!(
    Stats as StatsJson,
    Psi as PsiJson,
    Hugetlb as HugetlbJson,
    L3CacheInfo as L3CacheInfoJson,
    MemBwInfo as MemBwInfoJson,
    MbmStats as MbmStatsJson,
    CmtStats as CmtStatsJson,
    NetworkInterface as NetworkInterfaceJson
);

#[derive(Write, Read)]
#[serde(remote = "Stats", deny_unknown_fields)]
struct StatsJson {
    #[serde(default, with = "CpuJson", skip_serializing_if = "is_default")]
    cpu: Cpu,
    #[serde(default, with = "CpusetJson", skip_serializing_if = "is_default")]
    cpuset: Cpuset,
    #[serde(default, with = "MemoryJson", skip_serializing_if = "is_default")]
    memory: Memory,
    #[serde(default, with = "PidsJson", skip_serializing_if = "is_default")]
    pids: Pids,
    #[serde(default, with = "blkio", skip_serializing_if = "is_default")]
    blkio: Blkio,
    #[serde(default, with = "map_of_json", skip_serializing_if = "is_default")]
    hugetlb: Vec<(String, Hugetlb)>,
    #[serde(default, with = "IntelRdtJson", skip_serializing_if = "is_default")]
    intel_rdt: IntelRdt,
    #[serde(default, with = "list", skip_serializing_if = "is_default")]
    network_interfaces: Vec<NetworkInterface>,
}

#[derive(Write, Read)]
#[serde(remote = "Cpu", deny_unknown_fields)]
struct CpuJson {
    #[serde(default, with = "CpuUsageJson", skip_serializing_if = "is_default")]
    usage: CpuUsage,
    #[serde(default, with = "ThrottlingJson", skip_serializing_if = "is_default")]
    throttling: Throttling,
    #[serde(default, with = "option", skip_serializing_if = "is_default")]
    psi: Option<Psi>,
}

#[derive(Write, Read)]
#[serde(remote = "CpuUsage", deny_unknown_fields)]
struct CpuUsageJson {
    #[serde(default, skip_serializing_if = "is_default")]
    kernel: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    user: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    percpu: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    percpu_kernel: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    percpu_user: Vec<u64>,
}

#[derive(Write, Read)]
#[serde(remote = "Throttling", deny_unknown_fields, rename_all = "camelCase")]
struct ThrottlingJson {
    #[serde(default, skip_serializing_if = "is_default")]
    periods: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    throttled_periods: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    throttled_time: Option<u64>,
}

#[derive(Write, Read)]
#[serde(remote = "Psi", deny_unknown_fields)]
struct PsiJson {
    #[serde(default, with = "PsiDataJson")]
    some: PsiData,
    #[serde(default, with = "PsiDataJson")]
    full: PsiData,
}

#[derive(Write, Read)]
#[serde(remote = "PsiData", deny_unknown_fields)]
struct PsiDataJson {
    #[serde(default, with = "percent")]
    avg10: u32,
    #[serde(default, with = "percent")]
    avg60: u32,
    #[serde(default, with = "percent")]
    avg300: u32,
    #[serde(default)]
    total: u64,
}

#[derive(Write, Read)]
#[serde(remote = "Cpuset", deny_unknown_fields)]
struct CpusetJson {
    #[serde(default, skip_serializing_if = "is_default")]
    cpus: Vec<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    cpu_exclusive: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    mems: Vec<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    mem_hardwall: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    mem_exclusive: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    memory_migrate: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    memory_spread_page: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    memory_spread_slab: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    memory_pressure: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    sched_load_balance: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    sched_relax_domain_level: Option<i64>,
}

#[derive(Write, Read)]
#[serde(remote = "Memory", deny_unknown_fields)]
struct MemoryJson {
    #[serde(default, skip_serializing_if = "is_default")]
    cache: Option<u64>,
    #[serde(default, with = "MemoryEntryJson", skip_serializing_if = "is_default")]
    usage: MemoryEntry,
    #[serde(default, with = "MemoryEntryJson", skip_serializing_if = "is_default")]
    swap: MemoryEntry,
    #[serde(default, with = "MemoryEntryJson", skip_serializing_if = "is_default")]
    kernel: MemoryEntry,
    #[serde(
        default,
        rename = "kernelTCP",
        with = "MemoryEntryJson",
        skip_serializing_if = "is_default"
    )]
    kernel_tcp: MemoryEntry,
    #[serde(default, with = "map", skip_serializing_if = "is_default")]
    raw: Vec<(String, u64)>,
    #[serde(default, with = "option", skip_serializing_if = "is_default")]
    psi: Option<Psi>,
}

#[derive(Write, Read)]
#[serde(remote = "MemoryEntry", deny_unknown_fields)]
struct MemoryEntryJson {
    #[serde(default, skip_serializing_if = "is_default")]
    limit: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    usage: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    max: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    failcnt: Option<u64>,
}

#[derive(Write, Read)]
#[serde(remote = "Pids", deny_unknown_fields)]
struct PidsJson {
    #[serde(default, skip_serializing_if = "is_default")]
    current: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    limit: Option<u64>,
}

#[derive(Write, Read)]
#[serde(remote = "Hugetlb", deny_unknown_fields)]
struct HugetlbJson {
    #[serde(default, skip_serializing_if = "is_default")]
    usage: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    max: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    failcnt: Option<u64>,
}

#[derive(Write, Read)]
#[serde(remote = "IntelRdt", deny_unknown_fields)]
struct IntelRdtJson {
    #[serde(default, with = "option", skip_serializing_if = "is_default")]
    l3_cache_info: Option<L3CacheInfo>,
    #[serde(default, skip_serializing_if = "is_default")]
    l3_cache_schema_root: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    l3_cache_schema: Option<String>,
    #[serde(default, with = "option", skip_serializing_if = "is_default")]
    mem_bw_info: Option<MemBwInfo>,
    #[serde(default, skip_serializing_if = "is_default")]
    mem_bw_schema_root: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    mem_bw_schema: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    schemata: Vec<String>,
    #[serde(default, with = "list", skip_serializing_if = "is_default")]
    mbm_stats: Vec<MbmStats>,
    #[serde(default, with = "list", skip_serializing_if = "is_default")]
    cmt_stats: Vec<CmtStats>,
}

#[derive(Write, Read)]
#[serde(remote = "L3CacheInfo", deny_unknown_fields)]
struct L3CacheInfoJson {
    #[serde(default)]
    cbm_mask: String,
    #[serde(default)]
    min_cbm_bits: u64,
    #[serde(default)]
    num_closids: u64,
}

#[derive(Write, Read)]
#[serde(remote = "MemBwInfo", deny_unknown_fields)]
struct MemBwInfoJson {
    #[serde(default)]
    bandwidth_gran: u64,
    #[serde(default)]
    delay_linear: u64,
    #[serde(default)]
    min_bandwidth: u64,
    #[serde(default)]
    num_closids: u64,
}

#[derive(Write, Read)]
#[serde(remote = "MbmStats", deny_unknown_fields)]
struct MbmStatsJson {
    #[serde(default)]
    mbm_total_bytes: u64,
    #[serde(default)]
    mbm_local_bytes: u64,
}

#[derive(Write, Read)]
#[serde(remote = "CmtStats", deny_unknown_fields)]
struct CmtStatsJson {
    #[serde(default)]
    llc_occupancy: u64,
}

#[derive(Write, Read)]
#[serde(
    remote = "NetworkInterface",
    deny_unknown_fields,
    rename_all = "PascalCase"
)]
struct NetworkInterfaceJson {
    name: String,
    #[serde(default)]
    rx_bytes: u64,
    #[serde(default)]
    rx_packets: u64,
    #[serde(default)]
    rx_errors: u64,
    #[serde(default)]
    rx_dropped: u64,
    #[serde(default)]
    tx_bytes: u64,
    #[serde(default)]
    tx_packets: u64,
    #[serde(default)]
    tx_errors: u64,
    #[serde(default)]
    tx_dropped: u64,
}

/// An entry of a list in runc's block I/O.
#[derive(PartialEq, Write, Read)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "is_default")]
    major: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    minor: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    op: String,
    #[serde(default, skip_serializing_if = "is_default")]
    value: u64,
}

impl From<Entry> for Account {
    fn from(entry: Entry) -> Self {
        Self {
            major: entry.major,
            minor: entry.minor,
            op: entry.op,
            value: entry.value,
        }
    }
}

mod blkio {
    use super::*;

    #[derive(Default, Write, Read)]
    #[serde(deny_unknown_fields, default)]
    struct Lists {
        #[serde(rename = "ioServiceBytesRecursive", skip_serializing_if = "is_default")]
        service_bytes: Vec<Entry>,
        #[serde(rename = "ioServicedRecursive", skip_serializing_if = "is_default")]
        serviced: Vec<Entry>,
        #[serde(rename = "ioQueueRecursive", skip_serializing_if = "is_default")]
        queued: Vec<Entry>,
        #[serde(rename = "ioServiceTimeRecursive", skip_serializing_if = "is_default")]
        service_time: Vec<Entry>,
        #[serde(rename = "ioWaitTimeRecursive", skip_serializing_if = "is_default")]
        wait_time: Vec<Entry>,
        #[serde(rename = "ioMergedRecursive", skip_serializing_if = "is_default")]
        merged: Vec<Entry>,
        #[serde(rename = "ioTimeRecursive", skip_serializing_if = "is_default")]
        time: Vec<Entry>,
        #[serde(rename = "sectorsRecursive", skip_serializing_if = "is_default")]
        sectors: Vec<Entry>,
        #[serde(with = "option", skip_serializing_if = "is_default")]
        psi: Option<Psi>,
    }

    impl Lists {
        fn columns(&mut self) -> [(&mut Vec<Entry>, Column); 8] {
            [
                (&mut self.service_bytes, |row| &mut row.io_service_bytes),
                (&mut self.serviced, |row| &mut row.io_serviced),
                (&mut self.queued, |row| &mut row.io_queued),
                (&mut self.service_time, |row| &mut row.io_service_time),
                (&mut self.wait_time, |row| &mut row.io_wait_time),
                (&mut self.merged, |row| &mut row.io_merged),
                (&mut self.time, |row| &mut row.io_time),
                (&mut self.sectors, |row| &mut row.sectors),
            ]
        }
    }

    pub(super) fn serialize<S: Serializer>(blkio: &Blkio, to: S) -> Result<S::Ok, S::Error> {
        let mut lists = Lists {
            psi: blkio.psi,
            ..Lists::default()
        };
        let mut entries = blkio.entries.clone();
        for (list, column) in lists.columns() {
            for row in &mut entries {
                if let Some(value) = *column(row) {
                    list.push(Entry {
                        major: row.major,
                        minor: row.minor,
                        op: row.op.clone(),
                        value,
                    });
                }
            }
        }
        lists.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Blkio, D::Error> {
        let mut lists = Lists::deserialize(from)?;
        let mut entries = Vec::new();
        for (list, column) in lists.columns() {
            let list = std::mem::take(list).into_iter().map(Account::from);
            join(&mut entries, column, list.collect());
        }
        Ok(Blkio {
            entries,
            psi: lists.psi,
        })
    }
}

/// Hundredths of a per cent, as a per cent.
mod percent {
    use super::*;

    pub(super) fn serialize<S: Serializer>(hundredths: &u32, to: S) -> Result<S::Ok, S::Error> {
        (f64::from(*hundredths) / 100.0).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        let percent = f64::deserialize(from)?;
        let hundredths = (percent * 100.0).round();
        if hundredths < 0.0 || hundredths > f64::from(u32::MAX) || hundredths / 100.0 != percent {
            return Err(D::Error::custom(format_args!(
                "{percent} is not a per cent with up to two decimal places"
            )));
        }
        Ok(hundredths as u32)
    }
}

pub(super) mod option {
    use super::*;

    pub(in crate::snapshot) fn serialize<T, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error>
    where
        for<'a> Json<&'a T>: Serialize,
    {
        value.as_ref().map(Json).serialize(to)
    }

    pub(in crate::snapshot) fn deserialize<'de, T, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error>
    where
        Json<T>: Deserialize<'de>,
    {
        Ok(Option::<Json<T>>::deserialize(from)?.map(|json| json.0))
    }
}

impl Serialize for Json<&Box<Stats>> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Json::<&Stats>(self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json<Box<Stats>> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Json::<Stats>::deserialize(from).map(|json| Self(Box::new(json.0)))
    }
}

/// A list, or null, which is what Go makes of an empty one.
mod list {
    use super::*;

    pub(super) fn serialize<T, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error>
    where
        for<'a> Json<&'a T>: Serialize,
    {
        to.collect_seq(list.iter().map(Json))
    }

    pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error>
    where
        Json<T>: Deserialize<'de>,
    {
        let list: Option<Vec<Json<T>>> = Option::deserialize(from)?;
        Ok(list
            .unwrap_or_default()
            .into_iter()
            .map(|json| json.0)
            .collect())
    }
}

/// An object of any keys, in their order.
mod map {
    use super::*;

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &[(String, V)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut out = to.serialize_map(Some(map.len()))?;
        for (key, value) in map {
            out.serialize_entry(key, value)?;
        }
        out.end()
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, V)>, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(String, V)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        from.deserialize_map(Entries(PhantomData))
    }
}

/// The same, of types of the contract.
mod map_of_json {
    use super::*;

    pub(super) fn serialize<V, S: Serializer>(map: &[(String, V)], to: S) -> Result<S::Ok, S::Error>
    where
        for<'a> Json<&'a V>: Serialize,
    {
        to.collect_map(map.iter().map(|(key, value)| (key, Json(value))))
    }

    pub(super) fn deserialize<'de, V, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, V)>, D::Error>
    where
        Json<V>: Deserialize<'de>,
    {
        let map = map::deserialize(from)?;
        Ok(map
            .into_iter()
            .map(|(key, Json(value))| (key, value))
            .collect())
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Stats, serde_json::Error> {
        serde_json::from_str(text).map(|Json(stats)| stats)
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for text in [
            "{}",
            r#"{"blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":5},{"major":8,"op":"Write"}],"ioServicedRecursive":[{"major":8,"op":"Write","value":1},{"major":8,"op":"Read","value":2},{"major":8,"op":"Read","value":3}],"psi":{"some":{"avg10":29.35,"avg60":0.0,"avg300":0.01,"total":7},"full":{"avg10":100.0,"avg60":0.0,"avg300":0.0,"total":0}}}}"#,
            r#"{"hugetlb":{"2MB":{"usage":1,"max":2,"failcnt":0},"1GB":{}},"network_interfaces":[{"Name":"eth0","RxBytes":1,"RxPackets":2,"RxErrors":3,"RxDropped":4,"TxBytes":5,"TxPackets":6,"TxErrors":7,"TxDropped":8}]}"#,
        ] {
            let stats = read(text).expect("it is valid");
            let written = serde_json::to_string(&Json(&stats)).expect("it can be written");
            assert_eq!(written, text);
        }
    }

    #[test]
    fn a_per_cent_has_two_decimal_places() {
        let avg = |percent: &str| {
            let text = format!(r#"{{"cpu":{{"psi":{{"some":{{"avg10":{percent}}}}}}}}}"#);
            let psi = read(&text).ok()?.cpu.psi?;
            Some(psi.some.avg10)
        };
        for (percent, hundredths) in [
            ("0", Some(0)),
            ("29.35", Some(2935)),
            ("0.07", Some(7)),
            ("100", Some(10_000)),
            ("42949672.95", Some(u32::MAX)),
            ("42949672.96", None),
            ("29.355", None),
            ("-0.01", None),
            ("1e300", None),
            ("\"1\"", None),
        ] {
            assert_eq!(avg(percent), hundredths, "{percent}");
        }
    }
}
