//! The metrics of containers: names, units, and which value of a view each has.

use std::collections::{HashMap, HashSet};
use std::time::{Instant, SystemTime};
use std::{fmt, fs};

use eventout::NetworkInterface;

use super::number::{Number, nanoseconds, seconds_since_1970, whole};
use crate::cli::view::{Container, Device, Hugetlb, Pressure, View};

/// The values of a view as a whole.
pub(super) struct Names {
    /// When the view began, by two clocks.
    time: SystemTime,
    instant: Instant,
    /// The names of block devices of this machine.
    devices: HashMap<(u64, u64), String>,
    /// The containers, by their positions, that report network interfaces: one of those that share them, so that they
    /// can be added up.
    networks: HashSet<usize>,
}

impl Names {
    pub(super) fn new(view: &View) -> Self {
        let containers = &view.containers;
        // The devices of a scenario are those of another machine, or of none.
        let is_here = containers.first().is_some_and(|c| {
            let source = &c.info.source;
            source != "demo" && !source.starts_with("scenario:")
        });
        let mut devices = HashMap::new();
        let mut networks: HashMap<_, usize> = HashMap::new();
        for (at, container) in containers.iter().enumerate() {
            for device in &container.usage.devices {
                let number = (device.major, device.minor);
                devices
                    .entry(number)
                    .or_insert_with(|| device_name(device, is_here));
            }
            if container.usage.interfaces.is_empty() {
                continue;
            }
            let is_root = container.info.id == container.info.sandbox;
            let key = match container.details.network_namespace {
                Some(namespace) => Ok(namespace),
                None => Err(&container.info.sandbox),
            };
            let owner = networks.entry(key).or_insert(at);
            if is_root && containers[*owner].info.id != containers[*owner].info.sandbox {
                *owner = at;
            }
        }
        Self {
            time: view.time,
            instant: view.instant,
            devices,
            networks: networks.into_values().collect(),
        }
    }
}

/// Returns the path of a block device of this machine, or the numbers of another.
fn device_name(device: &Device, is_here: bool) -> String {
    let number = format!("{}:{}", device.major, device.minor);
    if !is_here {
        return number;
    }
    let link = fs::read_link(format!("/sys/dev/block/{number}"));
    let name = link
        .ok()
        .and_then(|link| Some(link.file_name()?.to_str()?.replace('!', "/")));
    name.map_or(number, |name| format!("/dev/{name}"))
}

/// A family of metrics of containers.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) values: Values,
}

/// Takes the labels and the value of a series.
pub(super) type Emit<'a> = dyn FnMut(&[(&str, &str)], Number) -> fmt::Result + 'a;

pub(super) type Value<T> = fn(&T) -> Option<Number>;

/// A value with labels of its own.
pub(super) type Labelled = (&'static [(&'static str, &'static str)], Value<Container>);

/// The source of the values of a family.
pub(super) enum Values {
    /// The time when the container was read.
    Time,
    Container(Value<Container>),
    /// Several series, with labels of their own.
    Labelled(&'static [Labelled]),
    Devices(Value<Device>),
    Interfaces(fn(&NetworkInterface) -> u64),
    Hugetlb(Value<Hugetlb>),
}

impl Values {
    /// Emits the values of a container.
    pub(super) fn each(
        &self,
        at: usize,
        container: &Container,
        names: &Names,
        emit: &mut Emit<'_>,
    ) -> fmt::Result {
        let usage = &container.usage;
        let mut emit = |labels: &[(&str, &str)], value: Option<Number>| match value {
            Some(value) => emit(labels, value),
            None => Ok(()),
        };
        match self {
            Self::Time => {
                let later = container.instant.saturating_duration_since(names.instant);
                emit(&[], Some(seconds_since_1970(names.time + later)))
            }
            Self::Container(value) => emit(&[], value(container)),
            Self::Labelled(series) => series
                .iter()
                .try_for_each(|(labels, value)| emit(labels, value(container))),
            Self::Devices(value) => usage.devices.iter().try_for_each(|device| {
                let name = names.devices.get(&(device.major, device.minor));
                emit(&[("device", name.map_or("", |name| name))], value(device))
            }),
            Self::Interfaces(_) if !names.networks.contains(&at) => Ok(()),
            Self::Interfaces(value) => usage.interfaces.iter().try_for_each(|interface| {
                emit(
                    &[("interface", &interface.name)],
                    whole(Some(value(interface))),
                )
            }),
            Self::Hugetlb(value) => usage
                .hugetlb
                .iter()
                .try_for_each(|hugetlb| emit(&[("pagesize", &hugetlb.page_size)], value(hugetlb))),
        }
    }
}

/// Returns the time that some task waited, in seconds.
fn waiting(pressure: &Option<Pressure>) -> Option<Number> {
    let pressure = pressure.as_ref()?;
    Some(Number::Float(pressure.waiting as f64 / 1e6))
}

/// Returns the time that all tasks waited at once, in seconds.
fn stalled(pressure: &Option<Pressure>) -> Option<Number> {
    let pressure = pressure.as_ref()?;
    Some(Number::Float(pressure.stalled as f64 / 1e6))
}

/// Returns a value of containers that have a quota of CPU time: only there, the kernel counts periods.
fn with_quota(container: &Container, value: Option<Number>) -> Option<Number> {
    value.filter(|_| container.usage.cpu.periods > Some(0))
}

/// Makes the table of families.
macro_rules! families {
    ($($name:ident: $values:ident($($value:expr)?), $help:literal;)*) => {
        &[$(Family {
            name: stringify!($name),
            help: $help,
            values: Values::$values$(($value))?,
        }),*]
    };
}

/// The families of metrics of containers, in the order in which they are written.
pub(super) static FAMILIES: &[Family] = families! {
    container_last_seen: Time(), "When the container was read, in seconds since 1970";
    container_start_time_seconds: Container(|c| nanoseconds(c.details.started)), "When the container began, since 1970";

    container_cpu_usage_seconds_total:
        Labelled(&[(&[("cpu", "total")], |c| nanoseconds(c.usage.cpu.total))]), "CPU time, user and system";
    container_cpu_user_seconds_total: Container(|c| nanoseconds(c.usage.cpu.user)), "User CPU time";
    container_cpu_system_seconds_total: Container(|c| nanoseconds(c.usage.cpu.system)), "System CPU time";
    container_cpu_cfs_periods_total:
        Container(|c| with_quota(c, whole(c.usage.cpu.periods))), "Periods in which there was a quota of CPU time";
    container_cpu_cfs_throttled_periods_total:
        Container(|c| with_quota(c, whole(c.usage.cpu.throttled_periods))), "Periods in which the quota was used up";
    container_cpu_cfs_throttled_seconds_total:
        Container(|c| with_quota(c, nanoseconds(c.usage.cpu.throttled_time))), "Time that the container was throttled";

    container_pressure_cpu_waiting_seconds_total:
        Container(|c| waiting(&c.usage.cpu.pressure)), "Time that some task waited for the CPU";
    container_pressure_cpu_stalled_seconds_total:
        Container(|c| stalled(&c.usage.cpu.pressure)), "Time that all tasks waited for the CPU";
    container_pressure_memory_waiting_seconds_total:
        Container(|c| waiting(&c.usage.memory.pressure)), "Time that some task waited for memory";
    container_pressure_memory_stalled_seconds_total:
        Container(|c| stalled(&c.usage.memory.pressure)), "Time that all tasks waited for memory";
    container_pressure_io_waiting_seconds_total:
        Container(|c| waiting(&c.usage.io_pressure)), "Time that some task waited for I/O";
    container_pressure_io_stalled_seconds_total:
        Container(|c| stalled(&c.usage.io_pressure)), "Time that all tasks waited for I/O";

    container_memory_usage_bytes: Container(|c| whole(c.usage.memory.usage)), "Memory, page cache included";
    container_memory_max_usage_bytes: Container(|c| whole(c.usage.memory.max)), "Highest memory usage so far";
    container_memory_working_set_bytes:
        Container(|c| whole(c.usage.memory.working_set)), "Memory without inactive page cache";
    container_memory_rss: Container(|c| whole(c.usage.memory.rss)), "Anonymous memory, in bytes";
    container_memory_cache: Container(|c| whole(c.usage.memory.cache)), "Page cache, in bytes";
    container_memory_mapped_file: Container(|c| whole(c.usage.memory.mapped_file)), "Memory-mapped files, in bytes";
    container_memory_swap: Container(|c| whole(c.usage.memory.swap)), "Swap, in bytes";
    container_memory_kernel_usage:
        Container(|c| whole(c.usage.memory.kernel)), "Memory of the kernel for the container, in bytes";
    container_memory_failcnt: Container(|c| whole(c.usage.memory.failcnt)), "Times that memory usage hit the limit";
    container_memory_failures_total: Labelled(&[
        (&[("failure_type", "pgfault"), ("scope", "container")], |c| whole(c.usage.memory.page_faults)),
        (&[("failure_type", "pgmajfault"), ("scope", "container")], |c| whole(c.usage.memory.major_page_faults)),
    ]), "Page faults";
    container_oom_events_total:
        Container(|c| whole(c.usage.memory.oom_kills)), "OOM kills since this server watches the container";

    container_threads: Container(|c| whole(c.usage.pids)), "Tasks (threads)";
    container_threads_max: Container(|c| whole(c.usage.pids_limit)), "Limit of tasks";

    container_spec_memory_limit_bytes: Container(|c| whole(c.usage.memory.limit)), "Limit of memory";
    container_spec_memory_swap_limit_bytes:
        Container(|c| whole(c.usage.memory.swap_limit)), "Limit of memory and swap together";
    container_spec_cpu_quota:
        Container(|c| whole(c.details.cpu_quota)), "CPU time that may be used in each period, in microseconds";
    container_spec_cpu_period:
        Container(|c| whole(c.details.cpu_period)), "Period of the quota of CPU time, in microseconds";
    container_spec_cpu_shares:
        Container(|c| whole(c.details.cpu_shares)), "Weight in the distribution of CPU time";

    container_fs_reads_bytes_total: Devices(|d| whole(d.read_bytes)), "Bytes read from a block device";
    container_fs_writes_bytes_total: Devices(|d| whole(d.written_bytes)), "Bytes written to a block device";
    container_fs_reads_total: Devices(|d| whole(d.reads)), "Reads from a block device";
    container_fs_writes_total: Devices(|d| whole(d.writes)), "Writes to a block device";

    container_network_receive_bytes_total: Interfaces(|i| i.rx_bytes), "Bytes received";
    container_network_receive_packets_total: Interfaces(|i| i.rx_packets), "Packets received";
    container_network_receive_errors_total: Interfaces(|i| i.rx_errors), "Packets received with errors";
    container_network_receive_packets_dropped_total: Interfaces(|i| i.rx_dropped), "Packets received and dropped";
    container_network_transmit_bytes_total: Interfaces(|i| i.tx_bytes), "Bytes sent";
    container_network_transmit_packets_total: Interfaces(|i| i.tx_packets), "Packets sent";
    container_network_transmit_errors_total: Interfaces(|i| i.tx_errors), "Packets that could not be sent";
    container_network_transmit_packets_dropped_total: Interfaces(|i| i.tx_dropped), "Packets dropped, not sent";

    container_hugetlb_usage_bytes: Hugetlb(|h| whole(h.usage)), "Huge pages";
    container_hugetlb_max_usage_bytes: Hugetlb(|h| whole(h.max)), "Highest usage of huge pages so far";
    container_hugetlb_failcnt: Hugetlb(|h| whole(h.failcnt)), "Times that usage of huge pages hit the limit";
};
