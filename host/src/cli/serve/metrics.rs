//! Metrics in Prometheus' text formats, under the names that cAdvisor gives them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use eventout::NetworkInterface;
use hyper::header::HeaderMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel as _,
    EncodeLabelSet, GaugeValueEncoder, LabelSetEncoder, MetricEncoder, NoLabelSet, prometheus_text,
    text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::super::label::Label;
use super::super::view::{Container, Device, Hugetlb, Pressure, View};
use super::http::quality;
use super::sampler::Sample;

/// The longest value of a label, in bytes.
const LONGEST_VALUE: usize = 4096;

/// The text formats of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Returns the format that a client likes best. A client that says nothing gets Prometheus' own.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let open_metrics = quality(headers, "application/openmetrics-text", "1.0.0");
        if open_metrics > quality(headers, "text/plain", "0.0.4") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The values of a scrape.
pub(super) struct Scrape {
    pub(super) sample: Arc<Sample>,
    pub(super) labels: Arc<[Label]>,
    pub(super) connections: usize,
    /// When this process began.
    pub(super) started: SystemTime,
}

impl Scrape {
    /// Writes all metrics.
    pub(super) fn encode(self, format: Format, writer: &mut impl fmt::Write) -> fmt::Result {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        match format {
            Format::Prometheus => prometheus_text::encode(writer, &registry),
            Format::OpenMetrics => text::encode(writer, &registry),
        }
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.encode_own(encoder)?;
        encode_process(encoder, self.started)?;
        if let Ok(view) = &self.sample.view {
            self.encode_containers(encoder, view)?;
        }
        Ok(())
    }
}

impl Scrape {
    /// Encodes the metrics of this server.
    fn encode_own(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sample = &self.sample;
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor(
                "eventout_build",
                "The version of eventout",
                None,
                MetricType::Info,
            )?
            .encode_info(&build)?;
        let view = sample.view.as_ref().ok();
        for (name, help, value) in [
            (
                "eventout_source_up",
                "1 if the source can be read, else 0",
                Some(u64::from(view.is_some()).into()),
            ),
            (
                "eventout_containers",
                "Containers that were read",
                view.map(|v| v.containers.len().into()),
            ),
            (
                "eventout_containers_dropped",
                "Containers that were not read, as there are too many",
                view.map(|v| v.dropped.into()),
            ),
            (
                "eventout_sample_duration_seconds",
                "Time that reading the source took",
                view.map(|v| v.took.as_secs_f64().into()),
            ),
            (
                "eventout_sample_timestamp_seconds",
                "When the source was read, since 1970",
                view.map(|v| seconds_since_1970(v.time)),
            ),
            (
                "eventout_sample_errors_total",
                "Containers, and whole samples, that could not be read",
                Some(sample.errors.into()),
            ),
            (
                "eventout_values_held_total",
                "Values of counters that would have gone backwards, and were held",
                Some(sample.held.into()),
            ),
            (
                "eventout_http_connections",
                "Open connections",
                Some(self.connections.into()),
            ),
        ] {
            encode_one(encoder, name, help, value)?;
        }
        Ok(())
    }

    fn encode_containers(&self, encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
        let names = Names::new(view);
        let labels = |container| Labels {
            container,
            custom: &self.labels,
            more: &[],
        };
        if !view.containers.is_empty() {
            let help = "Where a container is from";
            let mut metric =
                encoder.encode_descriptor("eventout_container", help, None, MetricType::Info)?;
            for container in &view.containers {
                let Container { info, details, .. } = container;
                let cgroup = details
                    .cgroup
                    .as_ref()
                    .map(|cgroup| cgroup.to_string_lossy());
                let more = [
                    ("sandbox", &*info.sandbox),
                    ("source", &*info.source),
                    ("runtime", details.runtime.as_deref().unwrap_or_default()),
                    ("cgroup", cgroup.as_deref().unwrap_or_default()),
                ];
                let labels = Labels {
                    more: &more,
                    ..labels(container)
                };
                metric.encode_info(&labels)?;
            }
        }
        for family in FAMILIES {
            // A family is begun only if there is a value.
            let has_value = |(at, container): (usize, &Container)| {
                let found = &mut |_: &[(&str, &str)], _| Err(fmt::Error);
                family.values.each(at, container, &names, found).is_err()
            };
            let mut containers = view.containers.iter().enumerate();
            let Some(first) = containers.position(has_value) else {
                continue;
            };
            let (name, unit, kind) = split(family.name);
            let mut metric = encoder.encode_descriptor(name, family.help, unit, kind)?;
            for (at, container) in view.containers.iter().enumerate().skip(first) {
                family
                    .values
                    .each(at, container, &names, &mut |more, value| {
                        let labels = Labels {
                            more,
                            ..labels(container)
                        };
                        encode_value(metric.encode_family(&labels)?, kind, value)
                    })?;
            }
        }
        Ok(())
    }
}

/// Encodes the metrics that Prometheus' clients have of their own process.
fn encode_process(encoder: &mut DescriptorEncoder<'_>, started: SystemTime) -> fmt::Result {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    // Both are positive, and the second is below 10^9.
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let number: u64 = line
            .trim_start_matches(':')
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()?;
        Some((number * 1024).into())
    };
    let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count);
    for (name, help, value) in [
        (
            "process_cpu_seconds_total",
            "User and system CPU time",
            Some(cpu.into()),
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory",
            kibibytes("VmRSS"),
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory",
            kibibytes("VmSize"),
        ),
        (
            "process_open_fds",
            "Open file descriptors",
            descriptors.ok().map(Number::from),
        ),
        (
            "process_max_fds",
            "Limit of open file descriptors",
            getrlimit(Resource::Nofile).current.map(Number::from),
        ),
        (
            "process_start_time_seconds",
            "When the process began, since 1970",
            Some(seconds_since_1970(started)),
        ),
    ] {
        encode_one(encoder, name, help, value)?;
    }
    Ok(())
}

/// Encodes a metric without labels, if it has a value.
fn encode_one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<Number>,
) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    let (name, unit, kind) = split(name);
    encode_value(
        encoder.encode_descriptor(name, help, unit, kind)?,
        kind,
        value,
    )
}

fn encode_value(mut metric: MetricEncoder<'_>, kind: MetricType, value: Number) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// Splits the name of a metric as the encoder wants it, and returns its type.
fn split(name: &str) -> (&str, Option<&'static Unit>, MetricType) {
    let (name, kind) = match name.strip_suffix("_total") {
        Some(name) => (name, MetricType::Counter),
        // promtool and OpenMetrics have it that a counter's name ends with `_total`, which these of cAdvisor's do not.
        None if name.ends_with("_failcnt") => (name, MetricType::Unknown),
        None => (name, MetricType::Gauge),
    };
    for (suffix, unit) in [("_seconds", &Unit::Seconds), ("_bytes", &Unit::Bytes)] {
        if let Some(name) = name.strip_suffix(suffix) {
            return (name, Some(unit), kind);
        }
    }
    (name, None, kind)
}

fn seconds_since_1970(time: SystemTime) -> Number {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Number::Float(time.as_millis() as f64 / 1e3)
}

/// A value: whole where it can be, since not every u64 is a float.
#[derive(Clone, Copy)]
enum Number {
    Whole(u64),
    Float(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeGaugeValue::encode(number, encoder),
            Self::Float(number) => EncodeGaugeValue::encode(number, encoder),
        }
    }
}

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeCounterValue::encode(number, encoder),
            Self::Float(number) => EncodeCounterValue::encode(number, encoder),
        }
    }
}

/// The labels of a series.
struct Labels<'a> {
    container: &'a Container,
    custom: &'a [Label],
    more: &'a [(&'a str, &'a str)],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Container { info, details, .. } = self.container;
        let mut label = |name: &str, value: &str| match value {
            // The same as none.
            "" => Ok(()),
            value => (name, &value[..value.floor_char_boundary(LONGEST_VALUE)])
                .encode(encoder.encode_label()),
        };
        label("id", &info.id)?;
        label("name", self.container.name())?;
        if let Some(pod) = &details.pod {
            label("pod", pod)?;
            label("container", details.name.as_deref().unwrap_or_default())?;
        }
        label(
            "namespace",
            details.namespace.as_deref().unwrap_or_default(),
        )?;
        label("image", details.image.as_deref().unwrap_or_default())?;
        for Label { name, annotation } in self.custom {
            label(
                name,
                details
                    .annotations
                    .get(annotation)
                    .map_or("", |value| value),
            )?;
        }
        self.more
            .iter()
            .try_for_each(|(name, value)| label(name, value))
    }
}

/// The values of a view as a whole.
struct Names {
    time: Number,
    /// The names of block devices of this machine.
    devices: HashMap<(u64, u64), String>,
    /// The containers, by their positions, that report network interfaces: one of those that share them, so that they
    /// can be added up.
    networks: HashSet<usize>,
}

impl Names {
    fn new(view: &View) -> Self {
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
            time: seconds_since_1970(view.time),
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
struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
}

/// Takes the labels and the value of a series.
type Emit<'a> = dyn FnMut(&[(&str, &str)], Number) -> fmt::Result + 'a;

type Value<T> = fn(&T) -> Option<Number>;

/// A value with labels of its own.
type Labelled = (&'static [(&'static str, &'static str)], Value<Container>);

/// The source of the values of a family.
enum Values {
    /// The time of the view.
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
    fn each(
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
            Self::Time => emit(&[], Some(names.time)),
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

/// Returns a value as it is.
fn whole(value: Option<u64>) -> Option<Number> {
    value.map(Number::Whole)
}

/// Returns a value of nanoseconds as seconds.
fn nanoseconds(value: Option<u64>) -> Option<Number> {
    value.map(|value| Number::Float(value as f64 / 1e9))
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
static FAMILIES: &[Family] = families! {
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

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::{ContainerInfo, Details};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    fn container(id: &str, sandbox: &str, change: impl FnOnce(&mut Details)) -> Container {
        let mut details = Details::default();
        change(&mut details);
        let mut container = Container {
            instant: Instant::now(),
            info: ContainerInfo {
                id: id.to_owned(),
                sandbox: sandbox.to_owned(),
                source: "runc:/run/runc".to_owned(),
            },
            details: Arc::new(details),
            usage: Default::default(),
        };
        container.usage.interfaces = vec![NetworkInterface {
            name: "eth0".to_owned(),
            ..NetworkInterface::default()
        }];
        container
    }

    fn encode(containers: Vec<Container>, labels: &[&str]) -> String {
        let time = UNIX_EPOCH + Duration::from_millis(1_234_567);
        let sample = Sample {
            number: 1,
            began: Instant::now(),
            view: Ok(View {
                instant: Instant::now(),
                time,
                took: Duration::from_millis(5),
                containers,
                errors: Vec::new(),
                dropped: 0,
            }),
            lines: None,
            errors: 0,
            held: 0,
            json: OnceLock::new(),
        };
        let labels: Vec<Label> = labels
            .iter()
            .map(|label| label.parse().expect("it is one"))
            .collect();
        let scrape = Scrape {
            sample: Arc::new(sample),
            labels: labels.into(),
            connections: 1,
            started: time,
        };
        let mut text = String::new();
        scrape
            .encode(Format::Prometheus, &mut text)
            .expect("a string takes all");
        text
    }

    #[test]
    fn labels_are_those_that_are_known_and_wanted() {
        let web = container("0a1b", "pause", |details| {
            details.runtime = Some("gvisor".to_owned());
            details.name = Some("web".to_owned());
            details.pod = Some("web-1".to_owned());
            details.namespace = Some("shop".to_owned());
            details.image = Some("nginx:1".to_owned());
            details.cgroup = Some("/kubepods/web".into());
            details.started = Some(1_000_500_000_000);
            details.cpu_quota = Some(50_000);
            for (name, value) in [("com.example/team", "a\"b\\c\nd"), ("secret", "x")] {
                details
                    .annotations
                    .insert(name.to_owned(), value.to_owned());
            }
        });
        let text = encode(vec![web], &["team=com.example/team", "absent=y"]);
        let labels = concat!(
            r#"id="0a1b",name="web",pod="web-1",container="web",namespace="shop",image="nginx:1","#,
            r#"team="a\"b\\c\nd""#
        );
        for line in [
            format!("container_last_seen{{{labels}}} 1234.567"),
            format!("container_start_time_seconds{{{labels}}} 1000.5"),
            format!("container_spec_cpu_quota{{{labels}}} 50000"),
            format!(
                "eventout_container_info{{{labels},sandbox=\"pause\",source=\"runc:/run/runc\",runtime=\"gvisor\",\
                cgroup=\"/kubepods/web\"}} 1"
            ),
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line} in {text}"
            );
        }
        assert!(!text.contains("secret"));
    }

    #[test]
    fn a_network_namespace_is_reported_once() {
        let in_namespace =
            |namespace| move |details: &mut Details| details.network_namespace = Some(namespace);
        let containers = vec![
            // A pod whose root container comes last, an own namespace, and one that two of its kind share.
            container("a", "pod", in_namespace(1)),
            container("pod", "pod", in_namespace(1)),
            container("own", "own", in_namespace(2)),
            container("joined", "joined", in_namespace(2)),
            container("unknown", "unknown", |_| {}),
        ];
        let text = encode(containers, &[]);
        let reported = text.lines().filter_map(|line| {
            let (id, _) = line
                .strip_prefix("container_network_receive_bytes_total{id=\"")?
                .split_once('"')?;
            Some(id)
        });
        assert_eq!(reported.collect::<Vec<_>>(), ["pod", "own", "unknown"]);
    }
}
