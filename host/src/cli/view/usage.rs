//! The values of a stats event that people look at.

use eventout::{MemoryEntry, NetworkInterface, Psi, Stats};
use serde::Serialize;

/// The usage of a container. `None` means that a value is not known, and of a limit also that there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids_limit: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) io_pressure: Option<Pressure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) interfaces: Vec<NetworkInterface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hugetlb: Vec<Hugetlb>,
}

/// CPU time in nanoseconds, and periods of the quota.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttled_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pressure: Option<Pressure>,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// Usage without the page cache that has not been used lately, as cAdvisor and the kubelet compute it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_set: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mapped_file: Option<u64>,
    /// Swap alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<u64>,
    /// The limit of memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<u64>,
    /// The number of times that usage hit the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failcnt: Option<u64>,
    /// Since the container is watched. `None` if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_kills: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page_faults: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) major_page_faults: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pressure: Option<Pressure>,
}

/// Pressure stall information.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Pressure {
    /// The time that some task waited, in microseconds.
    pub(crate) waiting: u64,
    /// The time that all tasks waited at once, in microseconds.
    pub(crate) stalled: u64,
    /// The part of the last 10 seconds that some task waited, in hundredths of a percent.
    pub(crate) avg10: u32,
}

/// I/O with a block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Device {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reads: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) writes: Option<u64>,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Hugetlb {
    pub(crate) page_size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failcnt: Option<u64>,
}

/// The smallest limit that means that there is none: cgroup v1 prints the largest number of whole pages, which depends
/// on the size of pages. cAdvisor draws the line there, too.
const UNLIMITED: u64 = 1 << 62;

impl From<Stats> for Usage {
    fn from(stats: Stats) -> Self {
        let Stats {
            cpu, memory, blkio, ..
        } = stats;
        let devices = devices(&blkio.entries);
        Self {
            cpu: Cpu {
                total: cpu.usage.total,
                user: cpu.usage.user,
                system: cpu.usage.kernel,
                periods: cpu.throttling.periods,
                throttled_periods: cpu.throttling.throttled_periods,
                throttled_time: cpu.throttling.throttled_time,
                pressure: cpu.psi.as_ref().map(Pressure::from),
            },
            memory: Memory::from(memory),
            pids: stats.pids.current,
            pids_limit: stats.pids.limit.filter(|limit| *limit < UNLIMITED),
            devices,
            io_pressure: blkio.psi.as_ref().map(Pressure::from),
            interfaces: stats.network_interfaces,
            hugetlb: hugetlb(stats.hugetlb),
        }
    }
}

impl From<eventout::Memory> for Memory {
    fn from(memory: eventout::Memory) -> Self {
        let raw = |v1: &str, v2: &str| {
            let find = |name: &str| memory.raw.iter().find(|(n, _)| n == name);
            // With a hierarchy below, the entries that count it are those with `total_`.
            find(v1).or_else(|| find(v2)).map(|(_, value)| *value)
        };
        let limit = |entry: &MemoryEntry| entry.limit.filter(|limit| *limit < UNLIMITED);
        let usage = memory.usage.usage;
        let inactive = raw("total_inactive_file", "inactive_file");
        Self {
            usage,
            max: memory.usage.max,
            limit: limit(&memory.usage),
            working_set: usage.map(|usage| usage.saturating_sub(inactive.unwrap_or(0))),
            rss: raw("total_rss", "anon"),
            cache: memory.cache,
            mapped_file: raw("total_mapped_file", "file_mapped"),
            swap: raw("total_swap", "").or_else(|| {
                let both = memory.swap.usage?;
                Some(both.saturating_sub(usage?))
            }),
            swap_limit: limit(&memory.swap),
            kernel: memory.kernel.usage,
            failcnt: memory.usage.failcnt,
            oom_kills: None,
            page_faults: raw("total_pgfault", "pgfault"),
            major_page_faults: raw("total_pgmajfault", "pgmajfault"),
            pressure: memory.psi.as_ref().map(Pressure::from),
        }
    }
}

impl From<&Psi> for Pressure {
    fn from(psi: &Psi) -> Self {
        Self {
            waiting: psi.some.total,
            stalled: psi.full.total,
            avg10: psi.some.avg10,
        }
    }
}

/// Returns the I/O of each device, in the order in which the kernel names them.
fn devices(entries: &[eventout::BlkioEntry]) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for entry in entries {
        let is_read = match entry.op.as_str() {
            "Read" => true,
            "Write" => false,
            _ => continue,
        };
        let known = devices
            .iter()
            .position(|d| (d.major, d.minor) == (entry.major, entry.minor));
        let at = known.unwrap_or_else(|| {
            devices.push(Device {
                major: entry.major,
                minor: entry.minor,
                ..Device::default()
            });
            devices.len() - 1
        });
        let device = &mut devices[at];
        let (bytes, requests) = match is_read {
            true => (&mut device.read_bytes, &mut device.reads),
            false => (&mut device.written_bytes, &mut device.writes),
        };
        *bytes = entry.io_service_bytes.or(*bytes);
        *requests = entry.io_serviced.or(*requests);
    }
    devices.shrink_to_fit();
    devices
}

/// Returns the page sizes that are in use, or were: every machine has several that are not.
fn hugetlb(sizes: Vec<(String, eventout::Hugetlb)>) -> Vec<Hugetlb> {
    let used = sizes.into_iter().map(|(page_size, hugetlb)| Hugetlb {
        page_size,
        usage: hugetlb.usage,
        max: hugetlb.max,
        failcnt: hugetlb.failcnt,
    });
    used.filter(|h| {
        [h.usage, h.max, h.failcnt]
            .iter()
            .any(|v| v.is_some_and(|v| v > 0))
    })
    .collect()
}
