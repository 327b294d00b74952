//! `eventout serve`: what it serves, to whom, and what it withstands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Eventout, RUNSC, can_run, detach, installed, lock_machine, missing, root, runsc,
    served_address, wait_until,
};

/// A server, which goes when this does.
struct Server {
    child: Child,
    address: SocketAddr,
    /// What it has printed on standard error after its address.
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(source: &str, args: &[&str]) -> Self {
        Self::spawn(
            Eventout::new()
                .into_command()
                .args(["--source", source, "serve"])
                .args(args),
        )
    }

    fn spawn(command: &mut Command) -> Self {
        Self::listen(command, "127.0.0.1:0")
    }

    fn listen(command: &mut Command, address: &str) -> Self {
        let mut child = command
            .args(["--listen", address])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let address = served_address(&mut stderr);
        let log: Arc<Mutex<String>> = Arc::default();
        let copy = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = copy.lock().expect("nobody panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            address,
            log,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it accepts connections");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("it can be set");
        stream
    }

    /// Sends a request of HTTP/1.0, to which the response has no chunks and ends with the connection.
    fn request(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = self.connect();
        let host = if headers.contains("Host:") {
            ""
        } else {
            "Host: localhost\r\n"
        };
        write!(stream, "GET {path} HTTP/1.0\r\n{host}{headers}\r\n").expect("it is read");
        stream
    }

    fn get_with(&self, path: &str, headers: &str) -> Response {
        let mut text = Vec::new();
        let mut stream = self.request(path, headers);
        stream.read_to_end(&mut text).expect("it responds");
        Response::parse(&text)
    }

    fn get(&self, path: &str) -> Response {
        self.get_with(path, "")
    }

    /// The samples of the metrics in Prometheus' format: by name and labels.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.body);
        let lines = response.body.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        samples.collect()
    }

    fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{}", response.body);
        serde_json::from_str(&response.body).expect("it is JSON")
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("sh runs").success());
    }

    /// Sends a signal, and returns how and after what time the server ended.
    fn end(&mut self, signal: &str) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        (self.child.wait().expect("it ends"), begun.elapsed())
    }

    /// A value of `/proc/PID/status`, in KiB.
    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn parse(text: &[u8]) -> Self {
        let text = str::from_utf8(text).expect("it is UTF-8");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{text:?}"));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("{head}")),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }
}

/// A scenario in a file, as `--source` takes it, and the directory that holds it.
fn scenario(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    fs::write(&file, text).expect("it can be written");
    let spec = format!("scenario:{}", file.display());
    (directory, spec)
}

/// A scenario of samples of one container `web`, which has as many tasks as there were samples.
fn counting(samples: usize) -> (TempDir, String) {
    let mut text = String::new();
    for sample in 1..=samples {
        let line =
            json!({"root_container": "web", "containers": [{"id": "web", "pids_count": sample}]});
        let _ = writeln!(text, "{line}");
    }
    scenario(&text)
}

/// A container with everything in it that a scenario can have.
fn full() -> Value {
    json!({
        "id": "web", "pids_count": 3, "cpu_usage": 123456789,
        "stats": {
            "cpu": {
                "usage": {"total": 123456789, "kernel": 23456789, "user": 100000000},
                "throttling": {"periods": 10, "throttled_periods": 3, "throttled_time": 1500000000},
                "psi": {"some": {"avg10": 150, "avg60": 0, "avg300": 0, "total": 2500000},
                    "full": {"avg10": 0, "avg60": 0, "avg300": 0, "total": 500000}},
            },
            "memory": {
                "cache": 4096,
                "usage": {"limit": 1073741824, "usage": 61728394, "max": 70000000, "failcnt": 7},
                "swap": {"limit": 9223372036854771712_u64, "usage": 61730000, "failcnt": 0},
                "kernel": {"usage": 1000},
                "raw": [["anon", 50000000], ["inactive_file", 1728394], ["file_mapped", 8192], ["pgfault", 100], ["pgmajfault", 2]],
            },
            "pids": {"current": 3, "limit": 18446744073709551615_u64},
            "blkio": {"entries": [
                {"major": 8, "minor": 0, "op": "Read", "io_service_bytes": 1024, "io_serviced": 2},
                {"major": 8, "minor": 0, "op": "Write", "io_service_bytes": 2048, "io_serviced": 4},
            ]},
            "hugetlb": [["2MB", {"usage": 2097152, "max": 4194304, "failcnt": 1}], ["1GB", {"usage": 0, "max": 0, "failcnt": 0}]],
            "network_interfaces": [{"name": "eth0", "rx_bytes": 1, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4,
                "tx_bytes": 5, "tx_packets": 6, "tx_errors": 7, "tx_dropped": 8}],
        },
    })
}

fn full_scenario() -> (TempDir, String) {
    let sample = json!({"format": "runc", "root_container": "web", "memory_usage": 61728394, "containers": [full()]});
    scenario(&sample.to_string())
}

#[test]
fn metrics_have_the_names_and_units_of_cadvisor() {
    let (_directory, spec) = full_scenario();
    let server = Server::start(&spec, &[]);
    let metrics = server.metrics();
    let values: BTreeMap<_, _> = metrics
        .iter()
        .filter(|(name, _)| {
            name.starts_with("container_") && !name.starts_with("container_last_seen")
        })
        .map(|(name, value)| (name.replace(r#"id="web",name="web""#, "*"), *value))
        .collect();
    let expected = [
        ("container_cpu_cfs_periods_total{*}", 10.0),
        ("container_cpu_cfs_throttled_periods_total{*}", 3.0),
        ("container_cpu_cfs_throttled_seconds_total{*}", 1.5),
        ("container_cpu_system_seconds_total{*}", 0.023456789),
        (
            r#"container_cpu_usage_seconds_total{*,cpu="total"}"#,
            0.123456789,
        ),
        ("container_cpu_user_seconds_total{*}", 0.1),
        (r#"container_fs_reads_bytes_total{*,device="8:0"}"#, 1024.0),
        (r#"container_fs_reads_total{*,device="8:0"}"#, 2.0),
        (r#"container_fs_writes_bytes_total{*,device="8:0"}"#, 2048.0),
        (r#"container_fs_writes_total{*,device="8:0"}"#, 4.0),
        (r#"container_hugetlb_failcnt{*,pagesize="2MB"}"#, 1.0),
        (
            r#"container_hugetlb_max_usage_bytes{*,pagesize="2MB"}"#,
            4194304.0,
        ),
        (
            r#"container_hugetlb_usage_bytes{*,pagesize="2MB"}"#,
            2097152.0,
        ),
        ("container_memory_cache{*}", 4096.0),
        ("container_memory_failcnt{*}", 7.0),
        (
            r#"container_memory_failures_total{*,failure_type="pgfault",scope="container"}"#,
            100.0,
        ),
        (
            r#"container_memory_failures_total{*,failure_type="pgmajfault",scope="container"}"#,
            2.0,
        ),
        ("container_memory_kernel_usage{*}", 1000.0),
        ("container_memory_mapped_file{*}", 8192.0),
        ("container_memory_max_usage_bytes{*}", 70000000.0),
        ("container_memory_rss{*}", 50000000.0),
        ("container_memory_swap{*}", 1606.0),
        ("container_memory_usage_bytes{*}", 61728394.0),
        ("container_memory_working_set_bytes{*}", 60000000.0),
        (
            r#"container_network_receive_bytes_total{*,interface="eth0"}"#,
            1.0,
        ),
        (
            r#"container_network_receive_errors_total{*,interface="eth0"}"#,
            3.0,
        ),
        (
            r#"container_network_receive_packets_dropped_total{*,interface="eth0"}"#,
            4.0,
        ),
        (
            r#"container_network_receive_packets_total{*,interface="eth0"}"#,
            2.0,
        ),
        (
            r#"container_network_transmit_bytes_total{*,interface="eth0"}"#,
            5.0,
        ),
        (
            r#"container_network_transmit_errors_total{*,interface="eth0"}"#,
            7.0,
        ),
        (
            r#"container_network_transmit_packets_dropped_total{*,interface="eth0"}"#,
            8.0,
        ),
        (
            r#"container_network_transmit_packets_total{*,interface="eth0"}"#,
            6.0,
        ),
        ("container_pressure_cpu_stalled_seconds_total{*}", 0.5),
        ("container_pressure_cpu_waiting_seconds_total{*}", 2.5),
        ("container_spec_memory_limit_bytes{*}", 1073741824.0),
        ("container_threads{*}", 3.0),
    ];
    // Neither the limits that are none nor what is not known have a series.
    let expected = expected
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    assert_eq!(values, expected);
    assert_eq!(metrics["eventout_source_up"], 1.0);
    assert_eq!(metrics["eventout_containers"], 1.0);
    assert_eq!(metrics["eventout_containers_dropped"], 0.0);
    assert!(metrics["process_resident_memory_bytes"] > 1e6);
    assert!(metrics["process_cpu_seconds_total"] > 0.0);
}

/// A program of Prometheus, where `tests/run` has put it.
fn prometheus(name: &str) -> Option<PathBuf> {
    installed(Path::new("target/tools/prometheus/usr/bin").join(name))
}

/// Runs a program with that text as standard input, and returns what it prints.
fn pipe(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let text = text.to_owned();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it runs");
    let _ = writer.join();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("it prints UTF-8") + &stderr
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = prometheus("promtool") else {
        return;
    };
    let (_directory, spec) = full_scenario();
    for spec in ["demo", &spec] {
        let metrics = Server::start(spec, &[]).get("/metrics");
        assert!(
            metrics
                .head
                .contains("content-type: text/plain; version=0.0.4; charset=utf-8")
        );
        let said = pipe(
            Command::new(&promtool).args(["check", "metrics"]),
            &metrics.body,
        );
        assert_eq!(said, "");
    }
}

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

/// The labels and values of a metric, as the reference parser of OpenMetrics understands it.
fn parse_open_metrics(text: &str, metric: &str) -> Option<Vec<(BTreeMap<String, String>, f64)>> {
    const SCRIPT: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.buffer.read().decode()))
print(json.dumps([[s.labels, s.value] for f in families for s in f.samples if s.name == sys.argv[1]]))";
    let python = root().join("target/tools/openmetrics/bin/python");
    let there = python.exists();
    if !can_run(if there {
        ""
    } else {
        "there is no parser of OpenMetrics (see tests/run)"
    }) {
        return None;
    }
    let printed = pipe(Command::new(python).args(["-c", SCRIPT, metric]), text);
    Some(serde_json::from_str(&printed).expect("it prints JSON"))
}

#[test]
fn a_strict_parser_accepts_the_metrics_as_open_metrics() {
    let (_directory, spec) = full_scenario();
    for spec in ["demo", &spec] {
        let metrics = Server::start(spec, &[]).get_with("/metrics", OPEN_METRICS);
        let content_type =
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(metrics.head.contains(content_type), "{}", metrics.head);
        assert!(metrics.body.ends_with("\n# EOF\n"));
        let Some(samples) = parse_open_metrics(&metrics.body, "container_threads") else {
            return;
        };
        assert!(!samples.is_empty());
    }
}

#[test]
fn clients_choose_the_format() {
    let server = Server::start("demo", &[]);
    for (accept, is_open_metrics) in [
        ("", false),
        ("Accept: */*\r\n", false),
        ("Accept: application/json\r\n", false),
        ("Accept: text/plain\r\n", false),
        ("Accept: application/openmetrics-text\r\n", true),
        (
            "Accept: application/openmetrics-text; version=1.0.0; q=0.3, text/plain; q=0.7\r\n",
            false,
        ),
        (
            "Accept: application/openmetrics-text; version=0.0.1, text/plain; q=0.5\r\n",
            false,
        ),
        (
            "Accept: text/plain; q=0.1\r\nAccept: application/openmetrics-text\r\n",
            true,
        ),
        (OPEN_METRICS, true),
    ] {
        let response = server.get_with("/metrics", accept);
        assert_eq!(
            response.body.ends_with("# EOF\n"),
            is_open_metrics,
            "{accept:?}"
        );
        assert_eq!(
            response.head.contains("openmetrics-text"),
            is_open_metrics,
            "{accept:?}"
        );
    }
}

#[test]
fn labels_can_be_anything() {
    let ids = [
        "a\"b",
        "a\\b",
        "a\nb",
        "a\\n\"",
        "{x=\"y\"} 1\n# EOF",
        "\u{202e}ü",
        " ",
    ];
    let containers = ids.map(|id| json!({"id": id, "pids_count": 1}));
    let sample = json!({"root_container": ids[0], "containers": containers});
    let (_directory, spec) = scenario(&sample.to_string());
    let metrics = Server::start(&spec, &[]).get_with("/metrics", OPEN_METRICS);
    let Some(samples) = parse_open_metrics(&metrics.body, "container_threads") else {
        return;
    };
    let found: Vec<_> = samples
        .iter()
        .map(|(labels, _)| labels["id"].as_str())
        .collect();
    assert_eq!(found, ids);
}

#[test]
fn long_labels_are_cut() {
    let name = "ü".repeat(10_000);
    let mut container = full();
    container["stats"]["network_interfaces"][0]["name"] = name.clone().into();
    let sample = json!({"root_container": "web", "containers": [container]});
    let (_directory, spec) = scenario(&sample.to_string());
    let metrics = Server::start(&spec, &[]).get("/metrics").body;
    let (_, behind) = metrics
        .split_once("interface=\"")
        .expect("there is an interface");
    let (value, _) = behind.split_once('"').expect("it ends");
    assert_eq!(value, &name[..4096]);
}

#[test]
fn names_of_labels_are_checked() {
    for label in [
        "id=x",
        "device=x",
        "__name__=x",
        "1a=x",
        "a-b=x",
        "=x",
        "x",
        "",
    ] {
        let call = Eventout::new().source("demo").arg("serve");
        call.args(["--label", label]).fails(2);
    }
    let call = Eventout::new().source("demo").arg("serve");
    call.args(["--label", "a=x", "--label", "a=y"]).fails(1);
}

#[test]
fn containers_that_have_gone_leave_no_series() {
    let sample = |ids: [&str; 2]| {
        let containers = ids.map(|id| json!({"id": id, "pids_count": 1, "cpu_usage": 5}));
        json!({"root_container": "a", "cgroup_cpu_usage": 10, "containers": containers})
    };
    let text = format!("{}\n{}\n", sample(["a", "b"]), sample(["a", "c"]));
    let (_directory, spec) = scenario(&text);
    let server = Server::start(&spec, &["--max-age", "1ns"]);
    let has = |metrics: &BTreeMap<String, f64>, id: &str| {
        let label = format!("{{id=\"{id}\"");
        metrics.keys().any(|name| name.contains(&label))
    };
    let (first, second) = (server.metrics(), server.metrics());
    assert!(has(&first, "a") && has(&first, "b") && !has(&first, "c"));
    assert!(has(&second, "a") && !has(&second, "b") && has(&second, "c"));
}

#[test]
fn a_share_of_cpu_time_that_falls_is_held() {
    // The idle container has all of the CPU time, until the other one has used as much.
    let sample = |cgroup: u64, busy: u64| {
        json!({"root_container": "idle", "cgroup_cpu_usage": cgroup, "containers": [
            {"id": "idle", "pids_count": 1, "cpu_usage": 100_000_000_000_u64},
            {"id": "busy", "pids_count": 1, "cpu_usage": busy},
        ]})
    };
    let samples = [
        sample(120_000_000_000, 0),
        sample(210_000_000_000, 100_000_000_000),
    ];
    let (_directory, spec) = scenario(&samples.map(|sample| format!("{sample}\n")).concat());
    let server = Server::start(&spec, &["--max-age", "1ns"]);
    let total = |metrics: &BTreeMap<String, f64>, id: &str| {
        value(metrics, "container_cpu_usage_seconds_total", id)
    };
    let first = server.metrics();
    assert_eq!(
        (total(&first, "idle"), total(&first, "busy")),
        (Some(120.0), Some(0.0))
    );
    assert_eq!(first["eventout_values_held_total"], 0.0);
    let second = server.metrics();
    assert_eq!(
        (total(&second, "idle"), total(&second, "busy")),
        (Some(120.0), Some(105.0))
    );
    assert_eq!(second["eventout_values_held_total"], 1.0);
}

#[test]
fn containers_of_one_network_namespace_report_it_once() {
    let container = |id: &str| {
        let mut container = full();
        container["id"] = id.into();
        container
    };
    let pod = |root: &str, other: &str| json!({"root_container": root, "containers": [container(other), container(root)]});
    let (_directory, spec) = scenario(&json!([pod("a", "b"), pod("c", "d")]).to_string());
    let metrics = Server::start(&spec, &[]).metrics();
    let received: Vec<_> = metrics
        .keys()
        .filter(|name| name.starts_with("container_network_receive_bytes_total"))
        .collect();
    assert_eq!(received.len(), 2, "{received:?}");
    assert!(
        received[0].contains(r#"id="a""#) && received[1].contains(r#"id="c""#),
        "{received:?}"
    );
}

#[test]
fn the_source_is_read_only_when_somebody_wants_to_know() {
    let (_directory, spec) = counting(1000);
    let threads =
        |metrics: &BTreeMap<String, f64>| metrics[r#"container_threads{id="web",name="web"}"#];
    let server = Server::start(&spec, &["--max-age", "1ns", "--interval", "1ms"]);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(threads(&server.metrics()), 1.0);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(threads(&server.metrics()), 2.0);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(threads(&server.metrics()), 3.0);

    // All that come within its age share a sample.
    let server = Server::start(&spec, &["--max-age", "1h"]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(threads(&server.metrics()), 1.0));
        }
    });
}

/// Reads a stream line by line.
fn lines(stream: TcpStream) -> impl Iterator<Item = String> {
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("it goes on"));
    assert!(lines.next().expect("a status").contains(" 200 "));
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
    }
    lines
}

#[test]
fn a_stream_has_a_document_for_each_sample() {
    let (_directory, spec) = counting(1000);
    let server = Server::start(&spec, &["--interval", "20ms"]);
    let stream = server.request("/containers", "Accept: text/event-stream\r\n");
    let mut lines = lines(stream);
    assert_eq!(lines.next().as_deref(), Some("retry: 2000"));
    assert_eq!(lines.next().as_deref(), Some(""));
    let mut last = (0, 0);
    for _ in 0..10 {
        let id = lines.next().expect("an ID");
        let id: u64 = id
            .strip_prefix("id: ")
            .and_then(|id| id.parse().ok())
            .expect("a number");
        let data = lines.next().expect("data");
        let data: Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(lines.next().as_deref(), Some(""));
        let tasks = data["containers"][0]["usage"]["pids"]
            .as_u64()
            .expect("a number");
        assert!(id > last.0 && tasks > last.1, "{data}");
        last = (id, tasks);
    }
    // Without a reader, the source is not read.
    drop(lines);
    let tasks = || server.json("/containers")["containers"][0]["usage"]["pids"].clone();
    wait_until("the stream has ended", 30, || {
        let before = tasks();
        thread::sleep(Duration::from_millis(200));
        tasks() == before
    });
}

#[test]
fn events_are_the_lines_of_the_command_line() {
    let expected = Eventout::new().source("demo").events(["--all"]).stats();
    let expected: Vec<_> = expected.stdout().lines().map(str::to_owned).collect();
    // One sample, which nobody misses.
    let server = Server::start("demo", &["--interval", "1h"]);
    let plain = lines(server.request("/events", ""));
    assert_eq!(plain.take(expected.len()).collect::<Vec<_>>(), expected);

    let server = Server::start("demo", &["--interval", "1h"]);
    let events = lines(server.request("/events", "Accept: text/event-stream\r\n"));
    let data = events.filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
    assert_eq!(data.take(expected.len()).collect::<Vec<_>>(), expected);

    let both = "Accept: application/x-ndjson, text/event-stream;q=0.5\r\n";
    let first = lines(server.request("/events", both)).next();
    assert!(first.is_some_and(|line| line.starts_with('{')));
}

#[test]
fn the_document_has_what_is_known_and_nothing_else() {
    let (_directory, spec) = full_scenario();
    let server = Server::start(&spec, &[]);
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("later")
        .as_millis();
    let document = server.json("/containers");
    assert!(u128::from(document["time"].as_u64().expect("a number")) >= before);
    assert_eq!(document["errors"], json!([]));
    assert_eq!(document["dropped"], 0);
    let web = &document["containers"][0];
    assert_eq!(web["id"], "web");
    assert_eq!(web["name"], "web");
    assert_eq!(web["sandbox"], "web");
    assert_eq!(web["source"], spec.as_str());
    let cpu = json!({"total": 123456789, "user": 100000000, "system": 23456789, "periods": 10, "throttled_periods": 3,
        "throttled_time": 1500000000, "pressure": {"waiting": 2500000, "stalled": 500000, "avg10": 150}});
    assert_eq!(web["usage"]["cpu"], cpu);
    assert_eq!(web["usage"]["memory"]["working_set"], 60000000);
    assert_eq!(web["usage"]["memory"].get("swap_limit"), None);
    assert!(!document.to_string().contains("null"));
}

#[test]
fn a_container_is_found_by_its_id_a_prefix_or_its_name() {
    let ids = ["web", "web1", "db", "a/b c"];
    let mut containers = ids.map(|id| json!({"id": id, "pids_count": 1}));
    containers[2]["details"] = json!({"name": "postgres", "pod": "shop"});
    let sample = json!({"root_container": "web", "containers": containers});
    let (_directory, spec) = scenario(&sample.to_string());
    let server = Server::start(&spec, &[]);
    for (path, id) in [
        ("web", "web"),
        ("web1", "web1"),
        ("d", "db"),
        ("postgres", "db"),
        ("shop/postgres", "db"),
        ("a/b%20c", "a/b c"),
        ("a%2Fb", "a/b c"),
    ] {
        assert_eq!(server.json(&format!("/containers/{path}"))["id"], id);
    }
    for (path, status) in [
        ("", 404),
        ("x", 404),
        ("we", 409),
        ("%", 404),
        ("%ff", 404),
        ("..%2f", 404),
        ("%1b%5B2J", 404),
    ] {
        let response = server.get(&format!("/containers/{path}"));
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.body.contains("\"web\", \"web1\""), status == 409);
        assert!(!response.body.contains('\u{1b}'));
    }
}

#[test]
fn what_there_is_not_is_not_found_and_nothing_can_be_written() {
    let server = Server::start("demo", &[]);
    for path in ["/x", "/metrics/", "/containers/x/y", "/../etc/passwd", "//"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let send = |request: &str| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("it responds");
        Response::parse(&text)
    };
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"] {
        let response = send(&format!(
            "{method} /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"
        ));
        assert_eq!(response.status, 405);
        assert!(response.head.contains("allow: get, head"));
    }
    for path in ["/", "/metrics", "/containers", "/events", "/healthz"] {
        let response = send(&format!("HEAD {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        assert_eq!(
            (response.status, response.body.as_str()),
            (200, ""),
            "{path}"
        );
        assert!(path != "/" || response.head.contains("content-length: "));
    }
    // What a client sends on is not read.
    let response = send(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\nx",
    );
    assert_eq!(response.status, 200);
}

#[test]
fn requests_for_names_from_elsewhere_are_refused() {
    let server = Server::start("demo", &["--allow-host", "node-1"]);
    let status = |headers: &str| server.get_with("/containers", headers).status;
    for host in [
        "localhost",
        "127.0.0.1",
        "[::1]:80",
        "localhost:1",
        "node-1",
        "NODE-1:9000",
    ] {
        assert_eq!(status(&format!("Host: {host}\r\n")), 200, "{host}");
    }
    for host in [
        "evil.example",
        "node-2",
        "10.0.0.1",
        "localhost.evil.example",
        "a b",
        "",
    ] {
        let response = status(&format!("Host: {host}\r\n"));
        assert_eq!(response, 421, "{host}");
    }
    let response = server.get_with("/", "Host: node-2\r\n");
    assert!(
        response.body.contains("not known as \"node-2\""),
        "{}",
        response.body
    );
    assert_eq!(status("Host: localhost\r\nHost: evil.example\r\n"), 400);
    let target = server.get_with("http://evil.example/containers", "Host: localhost\r\n");
    assert_eq!(target.status, 421);
    // HTTP/1.1 requires the header.
    for (version, expected) in ["1.0", "1.1"].into_iter().zip([200, 400]) {
        let mut stream = server.connect();
        let head = format!("GET /healthz HTTP/{version}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it is read");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("it responds");
        assert_eq!(Response::parse(&text).status, expected, "{version}");
    }
}

#[test]
fn the_page_may_load_nothing_from_elsewhere() {
    let response = Server::start("demo", &[]).get("/");
    assert_eq!(response.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src ",
        "x-content-type-options: nosniff",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(response.head.contains(header), "{header}");
    }
    assert!(!response.head.contains("unsafe"), "{}", response.head);
    for attribute in [
        "src=\"http",
        "href=\"http",
        "@import",
        "url(http",
        " style=\"",
        " onclick",
    ] {
        assert!(!response.body.contains(attribute), "{attribute}");
    }
}

/// A v2 group with containers in it, in an ordinary directory.
fn cgroup(directory: &Path, container: &str) {
    fs::write(directory.join("cgroup.controllers"), "cpu memory pids\n").expect("a file");
    let group = directory.join(container);
    fs::create_dir(&group).expect("a directory");
    for (file, text) in [
        ("cpu.stat", "usage_usec 3000\n"),
        ("memory.current", "4096\n"),
        ("pids.current", "2\n"),
    ] {
        fs::write(group.join(file), text).expect("a file");
    }
}

#[test]
fn a_source_that_fails_is_reported_once_and_recovers() {
    let directory = tempfile::tempdir().expect("a directory");
    let (group, away) = (
        directory.path().join("group"),
        directory.path().join("away"),
    );
    fs::create_dir(&group).expect("a directory");
    cgroup(&group, "web");
    let spec = format!("cgroup:{}", group.display());
    let server = Server::start(&spec, &["--max-age", "1ns"]);
    assert_eq!(server.get("/healthz").status, 200);
    fs::rename(&group, &away).expect("it can be moved");
    for _ in 0..3 {
        let health = server.get("/healthz");
        assert_eq!(health.status, 503);
        assert!(
            health.body.contains("cannot list cgroup:"),
            "{}",
            health.body
        );
    }
    let metrics = server.metrics();
    assert_eq!(metrics["eventout_source_up"], 0.0);
    assert_eq!(metrics["eventout_sample_errors_total"], 4.0);
    assert!(!metrics.keys().any(|name| name.starts_with("container_")));
    let document = server.get("/containers");
    assert_eq!(document.status, 503);
    let document: Value = serde_json::from_str(&document.body).expect("it is JSON");
    assert_eq!(document["source_up"], false);
    let lines = server.get("/events");
    assert_eq!(lines.status, 503);
    assert!(lines.body.contains("cannot list cgroup:"), "{}", lines.body);
    fs::rename(&away, &group).expect("it can be moved");
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.metrics()["eventout_source_up"], 1.0);
    let log = || server.log.lock().expect("nobody panics").clone();
    wait_until("it is logged that it happened again", 30, || {
        log().contains(" more times")
    });
    assert_eq!(log().matches("error: ").count(), 1, "{}", log());
}

/// A scenario of so many containers in each of so many sandboxes, with IDs as runtimes give them.
fn machine(sandboxes: usize, containers: usize) -> (TempDir, String) {
    let sandbox = |sandbox: usize| {
        let id = |container: usize| format!("{sandbox:032x}{container:032x}");
        let containers = (0..containers).map(|container| {
            let mut full = full();
            full["id"] = id(container).into();
            full
        });
        json!({"format": "runc", "root_container": id(0), "containers": containers.collect::<Vec<_>>()})
    };
    let sample: Vec<_> = (0..sandboxes).map(sandbox).collect();
    scenario(&json!(sample).to_string())
}

#[test]
fn ten_thousand_containers_are_served_in_little_memory() {
    let (_directory, spec) = machine(1000, 10);
    let server = Server::start(&spec, &["--max-age", "1h"]);
    let before = server.memory("VmRSS");
    // The peak begins anew.
    fs::write(format!("/proc/{}/clear_refs", server.child.id()), "5").expect("it can be written");
    for headers in ["", OPEN_METRICS] {
        let metrics = server.get_with("/metrics", headers).body;
        let series = metrics
            .lines()
            .filter(|line| line.starts_with("container_threads{"));
        assert_eq!(series.count(), 10_000);
        assert!(metrics.lines().count() > 300_000);
    }
    let growth = server.memory("VmHWM") - before;
    assert!(growth < 32 << 10, "{growth} KiB");
}

#[test]
fn containers_beyond_the_limit_are_dropped_and_counted() {
    let (_directory, spec) = machine(3, 4);
    let server = Server::start(&spec, &["--max-containers", "5"]);
    let metrics = server.metrics();
    assert_eq!(metrics["eventout_containers"], 5.0);
    assert_eq!(metrics["eventout_containers_dropped"], 7.0);
    assert_eq!(
        metrics
            .keys()
            .filter(|name| name.starts_with("container_threads{"))
            .count(),
        5
    );
    assert_eq!(server.json("/containers")["dropped"], 7);
}

#[test]
fn hostile_clients_do_not_keep_others_from_being_served() {
    let (_directory, spec) = machine(100, 10);
    let server = Server::start(&spec, &[]);
    let mut connections = Vec::new();
    let mut hold = |request: &[u8]| {
        let mut stream = server.connect();
        let _ = stream.write_all(request);
        connections.push(stream);
    };
    for _ in 0..20 {
        // Half-open, slow writers, slow readers of pages and of streams.
        hold(b"");
        hold(b"GET /metrics HTTP/1.1\r\nHost: loc");
        hold(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        hold(b"GET /containers HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        hold(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        // Garbage, and more than a head may have.
        hold(&[0xff; 4096]);
        hold(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        hold(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
        let headers = "X: y\r\n".repeat(10_000);
        hold(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
    }
    let fastest = fastest(&server);
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    // Slow writers and readers are not waited for without an end.
    let connections_of = |server: &Server| server.metrics()["eventout_http_connections"];
    wait_until("the others have been dropped", 60, || {
        connections_of(&server) <= 2.0
    });
}

/// The fastest of some requests, while others are served, too.
fn fastest(server: &Server) -> Duration {
    let times = (0..10).map(|_| {
        let begun = Instant::now();
        assert_eq!(server.get("/healthz").status, 200);
        begun.elapsed()
    });
    times.min().expect("there are some")
}

#[test]
fn a_new_connection_takes_the_place_of_one_that_does_nothing() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("up to there");
    let count = current.map_or(10_000, |current| current.saturating_sub(500).min(10_000));
    let server = Server::start("demo", &["--interval", "500ms"]);
    let stream = server.request("/events", "");
    // A quarter of them have begun a request.
    let connections: Vec<_> = (0..count)
        .map(|number| {
            let mut stream = server.connect();
            if number % 4 == 0 {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc");
            }
            stream
        })
        .collect();
    let fastest = fastest(&server);
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert!(server.metrics()["eventout_http_connections"] <= 256.0);
    assert!(server.memory("VmHWM") < 64 << 10);
    let closed = |mut stream: &TcpStream| {
        let timeout = Some(Duration::from_millis(1));
        stream.set_read_timeout(timeout).expect("it can be set");
        match stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(e) => e.kind() == ErrorKind::ConnectionReset,
        }
    };
    let closed = connections[..1000].iter().filter(|stream| closed(stream));
    assert!(closed.count() >= 1000 - 256);
    // One that has a response keeps its place: these lines take longer than all of that.
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let events = lines.filter(|line| line.starts_with('{'));
    assert_eq!(events.take(50).count(), 50);
}

#[test]
fn slow_readers_make_room_for_others() {
    let (_directory, spec) = machine(100, 10);
    let server = Server::start(&spec, &["--interval", "100ms"]);
    let request = |head: &str| {
        let mut stream = server.connect();
        // It may have been closed already.
        let _ = write!(stream, "GET {head}\r\nHost: localhost\r\n\r\n");
        stream
    };
    // Nobody reads what comes.
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(request("/containers HTTP/1.0\r\nAccept: text/event-stream"));
        clients.push(request("/metrics HTTP/1.0"));
    }
    wait_until("there is room", 120, || {
        let begun = Instant::now();
        let mut text = Vec::new();
        let mut stream = request("/healthz HTTP/1.0");
        stream.read_to_end(&mut text).is_ok()
            && text.starts_with(b"HTTP/1.0 200")
            && begun.elapsed() < Duration::from_secs(1)
    });
}

#[test]
fn half_of_the_connections_are_left_to_those_who_want_no_stream() {
    let server = Server::start("demo", &[]);
    let status = |mut stream: &TcpStream| {
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("it responds");
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let streams: Vec<_> = (0..140).map(|_| server.request("/events", "")).collect();
    let refused = streams.iter().filter(|stream| status(stream) == "503");
    assert_eq!(refused.count(), 140 - 128);
    assert_eq!(server.get("/healthz").status, 200);
    drop(streams);
    wait_until("there is room for streams", 60, || {
        status(&server.request("/events", "")) == "200"
    });
}

#[test]
fn a_signal_ends_the_server_whatever_its_clients_do() {
    for signal in ["TERM", "INT", "HUP"] {
        let (_directory, spec) = machine(100, 10);
        let mut server = Server::start(&spec, &[]);
        let idle = server.connect();
        let stuck = server.request("/metrics", "");
        let stream = server.request("/containers", "Accept: text/event-stream\r\n");
        let mut text = String::new();
        let mut stream = BufReader::new(stream);
        // A response has begun.
        stream.read_line(&mut text).expect("it responds");
        let reader = thread::spawn(move || stream.read_to_string(&mut text).map(|_| text));
        let (status, time) = server.end(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(time < Duration::from_secs(4), "{signal}: {time:?}");
        let text = reader.join().expect("it ends").expect("it has ended well");
        assert!(text.ends_with("\n\n"), "a message is cut");
        drop((idle, stuck));
    }
}

#[test]
fn an_idle_server_ends_at_once() {
    // Less than connections get, on a machine that may be busy.
    let times = (0..5).map(|_| {
        let mut server = Server::start("demo", &[]);
        assert_eq!(server.get("/healthz").status, 200);
        let (status, time) = server.end("TERM");
        assert_eq!(status.code(), Some(0));
        assert_eq!(*server.log.lock().expect("nobody panics"), "");
        time
    });
    let fastest = times.min();
    assert!(fastest < Some(Duration::from_secs(1)), "{fastest:?}");
}

#[test]
fn the_service_manager_is_notified() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("it can be set");
    let next = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("there is a message");
        String::from_utf8_lossy(&buffer[..length])
            .trim_end()
            .to_owned()
    };
    let mut command = Eventout::new().into_command();
    command
        .args(["--source", "demo", "serve"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut server = Server::spawn(&mut command);
    let mut messages = Vec::new();
    wait_until("it lives", 30, || {
        messages.push(next());
        let count = |text: &str| messages.iter().filter(|message| *message == text).count();
        count("READY=1") == 1 && count("WATCHDOG=1") >= 3
    });
    // What is not received may keep the server from sending more.
    server.signal("TERM");
    wait_until("it stops", 30, || next() == "STOPPING=1");
    server.child.wait().expect("it ends");
}

#[test]
fn another_address_than_this_machines_own_is_warned_about() {
    let mut child = Eventout::new()
        .into_command()
        .args(["--source", "demo", "serve", "--listen", "0.0.0.0:0"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    stderr.read_line(&mut line).expect("it prints UTF-8");
    let _ = child.kill();
    let _ = child.wait();
    assert!(line.starts_with("warning: "), "{line}");
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let server = Server::start("demo", &[]);
    let address = server.address.to_string();
    let call = Eventout::new().source("demo").arg("serve");
    let failed = call.args(["--listen", &address]).fails(1);
    failed.says(&format!("error: cannot listen on {address}"));
}

/// Containers of one runtime, which go when this does.
struct Containers {
    runtime: PathBuf,
    directory: TempDir,
    ids: Vec<String>,
}

/// 20 MiB in memory, and a busy task.
const BUSY: &str = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done";
const IDLE: &str = "sleep 1000";

impl Containers {
    fn new(runtime: &Path) -> Self {
        Self {
            runtime: runtime.to_owned(),
            directory: tempfile::tempdir().expect("a directory"),
            ids: Vec::new(),
        }
    }

    /// Two containers of runc.
    fn runc() -> Self {
        let mut containers = Self::new(Path::new("runc"));
        for (name, script) in [("busy", BUSY), ("idle", IDLE)] {
            containers.start(name, script, |_| {});
        }
        containers
    }

    /// A pod of gVisor.
    fn pod(runsc: &Path) -> Self {
        let mut pod = Self::new(runsc);
        for (name, script) in [("pause", IDLE), ("busy", BUSY), ("idle", IDLE)] {
            let root = pod.ids.first().cloned();
            pod.start(name, script, |spec| {
                let kind = if root.is_some() {
                    "container"
                } else {
                    "sandbox"
                };
                spec["annotations"] = json!({"io.kubernetes.cri.container-type": kind});
                if let Some(root) = root {
                    spec["annotations"]["io.kubernetes.cri.sandbox-id"] = root.into();
                }
            });
        }
        pod
    }

    /// Starts a container that runs `script`, and returns its ID.
    fn start(&mut self, name: &str, script: &str, change: impl FnOnce(&mut Value)) -> String {
        let id = format!("eventout-serve-{}-{name}", std::process::id());
        let bundle = self.directory.path().join(format!("bundle-{name}"));
        if !bundle.exists() {
            tests::bundle(&self.runtime, &bundle, script, |spec| {
                spec["linux"]["cgroupsPath"] = format!("/{id}").into();
                let mounts = spec["mounts"].as_array_mut().expect("it has mounts");
                mounts.retain(|mount| mount["type"] != "cgroup");
                change(spec);
            });
        }
        let mut run = self.command();
        run.args(["run", "--detach", "--bundle"]);
        detach(run.arg(&bundle).arg(&id), self.directory.path());
        if !self.ids.contains(&id) {
            self.ids.push(id.clone());
        }
        id
    }

    fn delete(&self, id: &str) {
        let _ = self.command().args(["kill", id, "KILL"]).output();
        let _ = self.command().args(["delete", "--force", id]).output();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "120"]).arg(&self.runtime);
        command
            .arg("--root")
            .arg(self.directory.path().join("root"));
        if self.runtime != Path::new("runc") {
            command.arg("--network=none");
        }
        command
    }

    fn source(&self) -> String {
        let root = self.directory.path().join("root");
        let name = if self.runtime == Path::new("runc") {
            "runc"
        } else {
            "gvisor"
        };
        format!("{name}:{}", root.display())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for id in self.ids.iter().rev() {
            self.delete(id);
        }
    }
}

/// A network namespace with a link to that of the tests, which goes when this does.
struct Network {
    name: String,
    address: String,
}

impl Network {
    /// Makes one, whose address has that number. Addresses are of those for measurements (RFC 2544).
    fn new(number: usize) -> Self {
        let name = format!("ev{}x{number}", std::process::id());
        let address = format!("198.18.213.{}", 4 * number + 2);
        let network = Self { name, address };
        let Self { name, address } = &network;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ));
        ip(&format!(
            "addr add 198.18.213.{}/30 dev {name}",
            4 * number + 1
        ));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} addr add {address}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        network
    }

    /// Starts a server in it, which sees all else of the machine.
    fn serve(&self, source: &str) -> Server {
        let program = Eventout::new().into_command();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program.get_program())
            .args(["--source", source, "serve"]);
        Server::listen(&mut command, &format!("{}:0", self.address))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// A Prometheus that scrapes servers each second, which goes when this does.
struct Prometheus {
    server: Server,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with a job for each server.
    fn start(program: &Path, jobs: &[(&str, &Server)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config =
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
        for (job, server) in jobs {
            let _ = writeln!(
                config,
                "- {{job_name: {job}, static_configs: [{{targets: [\"{}\"]}}]}}",
                server.address
            );
        }
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).expect("it can be written");
        // Any port that is free now.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("there is one");
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let server = Server {
            child,
            address,
            log: Arc::default(),
        };
        wait_until("Prometheus is ready", 60, || {
            TcpStream::connect(address).is_ok() && server.get("/-/ready").status == 200
        });
        Self {
            server,
            _directory: directory,
        }
    }

    /// The value of a query that has one, with the time of the last scrape of the job in seconds. `None` before it is
    /// scraped.
    fn query(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let response = self.server.get(&format!("/api/v1/query?query={escaped}"));
        let response: Value = serde_json::from_str(&response.body).expect("it is JSON");
        assert_eq!(response["status"], "success", "{response}");
        let result = response["data"]["result"].as_array().expect("an array");
        assert!(result.len() <= 1, "{query}: {response}");
        let value = result.first()?["value"][1].as_str().expect("a string");
        Some(value.parse().expect("a number"))
    }
}

/// The sums of tasks, of memory in bytes and of CPU time in seconds that the command line prints.
fn sums(source: &str) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for event in Eventout::new()
        .source(source)
        .events(["--all"])
        .stats()
        .lines()
    {
        let value = |path: &str| {
            event["data"]
                .pointer(path)
                .and_then(Value::as_f64)
                .unwrap_or(0.0)
        };
        sums[0] += value("/pids/current");
        sums[1] += value("/memory/usage/usage");
        sums[2] += value("/cpu/usage/total") / 1e9;
    }
    sums
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn prometheus_has_the_sums_of_the_command_line() {
    let _machine = lock_machine();
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    if !can_run(&missing(&["runc", "busybox", "ip", "nsenter"])) {
        return;
    }
    let Some(program) = prometheus("prometheus") else {
        return;
    };
    let (_directory, scenario) = machine(3, 4);
    let (runc, pod) = (Containers::runc(), Containers::pod(&runsc));
    let sources = [
        ("scenario", scenario),
        ("runc", runc.source()),
        ("gvisor", pod.source()),
    ];
    let networks = [0, 1, 2].map(Network::new);
    let servers = [0, 1, 2].map(|at| networks[at].serve(&sources[at].1));
    let jobs: Vec<_> = sources.iter().map(|(job, _)| *job).zip(&servers).collect();
    let prometheus = Prometheus::start(&program, &jobs);
    for (job, source) in &sources {
        wait_until("it is scraped", 60, || {
            prometheus.query(&format!("up{{job=\"{job}\"}}")) == Some(1.0)
        });
        let metrics = [
            "container_threads",
            "container_memory_usage_bytes",
            "container_cpu_usage_seconds_total",
        ];
        // The load may be starting, and memory may move both ways: what is scraped between two equal readings counts.
        wait_until("values are between", 180, || {
            let scraped = || {
                prometheus.query(&format!(
                    "eventout_sample_timestamp_seconds{{job=\"{job}\"}}"
                ))
            };
            let before = sums(source);
            let time = scraped();
            // This sample, and so its scrape, may have begun before.
            wait_until("it is scraped again", 60, || scraped() > time);
            let values =
                metrics.map(|metric| prometheus.query(&format!("sum({metric}{{job=\"{job}\"}})")));
            let after = sums(source);
            (0..3).all(|at| {
                // What gVisor rounds down, container by container.
                let (low, high) = (before[at].min(after[at]), before[at].max(after[at]));
                // A scrape that took too long leaves none.
                values[at].is_some_and(|value| (low - 1e-6..=high + 1e-6).contains(&value))
            })
        });
        wait_until("the source is up", 60, || {
            prometheus.query(&format!("eventout_source_up{{job=\"{job}\"}}")) == Some(1.0)
        });
    }
    let rate =
        prometheus.query("sum(rate(container_cpu_usage_seconds_total{job=\"gvisor\"}[30s]))");
    assert!(rate.is_some_and(|rate| rate < 8.0), "{rate:?}");
}

/// The value of a container's metric.
fn value(metrics: &BTreeMap<String, f64>, metric: &str, id: &str) -> Option<f64> {
    let start = format!("{metric}{{id=\"{id}\"");
    metrics
        .iter()
        .find(|(name, _)| name.starts_with(&start))
        .map(|(_, value)| *value)
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn a_container_that_starts_again_is_another_one() {
    let _machine = lock_machine();
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let mut runc = Containers::new(Path::new("runc"));
    let id = runc.start("again", BUSY, |_| {});
    let server = Server::start(&runc.source(), &["--max-age", "1ns"]);
    let cpu =
        |metrics: &BTreeMap<String, f64>| value(metrics, "container_cpu_usage_seconds_total", &id);
    let began =
        |metrics: &BTreeMap<String, f64>| value(metrics, "container_start_time_seconds", &id);
    wait_until("it has used the CPU", 60, || {
        cpu(&server.metrics()) > Some(1.0)
    });
    let first = server.metrics();
    runc.delete(&id);
    wait_until("it has gone", 60, || cpu(&server.metrics()).is_none());
    runc.start("again", BUSY, |_| {});
    let second = server.metrics();
    assert!(cpu(&second).is_some() && cpu(&second) < cpu(&first));
    assert!(began(&first).is_some() && began(&second) > began(&first));
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn no_counter_of_a_live_pod_goes_backwards() {
    let _machine = lock_machine();
    let runsc = match runsc(RUNSC[1]) {
        Ok(runsc) => runsc,
        Err(missing) => return assert!(!can_run(&missing)),
    };
    let pod = Containers::pod(&runsc);
    let server = Server::start(&pod.source(), &["--max-age", "1ns"]);
    let mut last = BTreeMap::new();
    for _ in 0..100 {
        let metrics = server.metrics();
        for (name, value) in metrics
            .into_iter()
            .filter(|(name, _)| name.contains("_total"))
        {
            let before = last.insert(name.clone(), value);
            assert!(
                before.is_none_or(|before| before <= value),
                "{name}: {before:?}, {value}"
            );
        }
    }
    assert!(
        last.keys()
            .any(|name| name.starts_with("container_cpu_usage_seconds_total"))
    );
}

#[test]
#[ignore = "starts containers: tests/run runs it"]
fn oom_kills_are_counted_and_are_lines() {
    let _machine = lock_machine();
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let mut runc = Containers::new(Path::new("runc"));
    let id = runc.start("oom", "while :; do tail /dev/zero; sleep 1; done", |spec| {
        spec["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20});
    });
    let server = Server::start(&runc.source(), &["--max-age", "1ns"]);
    let kills = || value(&server.metrics(), "container_oom_events_total", &id);
    assert!(kills().is_some());
    wait_until("a task is killed twice", 60, || kills() >= Some(2.0));
    let line = format!(r#"{{"type":"oom","id":"{id}"}}"#);
    let found = lines(server.request("/events", ""))
        .take(200)
        .any(|found| found == line);
    assert!(found, "no {line}");
}
