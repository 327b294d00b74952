//! Metrics in Prometheus' text formats, under the names that cAdvisor gives them.

mod families;
mod number;

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::HeaderMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder,
    NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::http::quality;
use super::sampler::Sample;
use crate::cli::label::Label;
use crate::cli::view::{Container, View};
use families::{FAMILIES, Names};
use number::{Number, seconds_since_1970};

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
    /// `None` if reading the source takes too long.
    pub(super) sample: Option<Arc<Sample>>,
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
        match self.view() {
            Some(view) => self.encode_containers(encoder, view),
            None => Ok(()),
        }
    }
}

impl Scrape {
    /// Returns the view, if the source could be read.
    fn view(&self) -> Option<&View> {
        self.sample.as_ref()?.view.as_ref().ok()
    }

    /// Encodes the metrics of this server.
    fn encode_own(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sample = self.sample.as_ref();
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor(
                "eventout_build",
                "The version of eventout",
                None,
                MetricType::Info,
            )?
            .encode_info(&build)?;
        let view = self.view();
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
                "Samples and containers that could not be read",
                sample.map(|s| s.errors.into()),
            ),
            (
                "eventout_values_held_total",
                "Values of counters that would have gone backwards, and were held",
                sample.map(|s| s.held.into()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::{ContainerInfo, Details, NetworkInterface};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant, UNIX_EPOCH};

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
            origin: Instant::now(),
            view: Ok(View {
                instant: Instant::now(),
                time,
                took: Duration::from_millis(5),
                containers,
                errors: Vec::new(),
                warnings: Vec::new(),
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
        encode_scrape(Scrape {
            sample: Some(Arc::new(sample)),
            labels: labels.into(),
            connections: 1,
            started: time,
        })
    }

    fn encode_scrape(scrape: Scrape) -> String {
        let mut text = String::new();
        scrape
            .encode(Format::Prometheus, &mut text)
            .expect("a string takes all");
        text
    }

    #[test]
    fn a_source_that_takes_too_long_is_down() {
        let text = encode_scrape(Scrape {
            sample: None,
            labels: Arc::default(),
            connections: 1,
            started: UNIX_EPOCH,
        });
        assert!(text.contains("\neventout_source_up 0\n"), "{text}");
        assert!(text.contains("\neventout_http_connections 1\n"), "{text}");
        assert!(!text.contains("eventout_sample"), "{text}");
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
