//! `examples/fleet`: a real Prometheus scrapes `eventout serve` and evaluates all that stands there.

use std::fmt::Write as _;
use std::fs;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Eventout, installed, root, run, served_address, wait_until};

/// A program of Debian's package of Prometheus, where `tests/run` has put it.
fn prometheus(name: &str) -> Option<PathBuf> {
    installed(Path::new("target/tools/prometheus/usr/bin").join(name))
}

fn example(file: &str) -> PathBuf {
    root().join("examples/fleet").join(file)
}

/// The configuration of the example, where discovery in Kubernetes has found `target` on the node `node-1`, and no
/// kubelet. Debian's Prometheus is built without that discovery.
fn configuration(target: &str) -> String {
    let text = fs::read_to_string(example("prometheus.yml")).expect("it is there");
    let mut found = [
        format!(
            "    static_configs:\n      - targets: ['{target}']\n        labels:\n          \
             __meta_kubernetes_pod_label_app_kubernetes_io_name: eventout\n          \
             __meta_kubernetes_pod_phase: Running\n          \
             __meta_kubernetes_pod_node_name: node-1\n"
        ),
        "    static_configs: []\n".to_owned(),
    ]
    .into_iter();
    let mut configuration = String::new();
    let mut is_discovery = false;
    for line in text.lines() {
        if line == "    kubernetes_sd_configs:" {
            is_discovery = true;
            configuration += &found.next().expect("there are two jobs");
        } else if !is_discovery || !line.starts_with("     ") {
            is_discovery = false;
            configuration += line;
            configuration.push('\n');
        }
    }
    assert!(found.next().is_none(), "{configuration}");
    configuration
}

/// The directory of the example with that configuration.
fn copy(configuration: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for file in ["rules.yml", "rules_test.yml"] {
        fs::copy(example(file), directory.path().join(file)).expect("it is there");
    }
    fs::write(directory.path().join("prometheus.yml"), configuration).expect("it can be written");
    directory
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    let Some(promtool) = prometheus("promtool") else {
        return;
    };
    let directory = copy(&configuration("127.0.0.1:1"));
    for args in [
        // The token and the certificate are those of a pod.
        &["check", "config", "--syntax-only", "prometheus.yml"][..],
        &["check", "rules", "--lint-fatal", "rules.yml"],
        &["test", "rules", "rules_test.yml"],
    ] {
        run(Command::new(&promtool)
            .args(args)
            .current_dir(directory.path()));
    }
}

#[test]
fn each_alert_has_a_test() {
    let names = |file: &str, key: &str| {
        let text = fs::read_to_string(example(file)).expect("it is there");
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key));
        let mut names: Vec<String> = lines.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    let alerts = names("rules.yml", "- alert: ");
    assert!(alerts.len() > 8, "{alerts:?}");
    assert_eq!(names("rules_test.yml", "- alertname: "), alerts);
}

#[test]
fn kubernetes_has_a_schema_for_the_manifest() {
    let Some(validate) = installed("target/examples/fleet/bin/kubernetes-validate") else {
        return;
    };
    let manifest = example("kubernetes.yml");
    run(Command::new(validate)
        .args(["--strict", "--no-warn"])
        .arg(manifest));
}

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pod of gVisor and one of runc, of which all values grow.
fn sample(at: u64) -> Value {
    let details = |name: &str, pod: &str| json!({"name": name, "pod": pod, "namespace": "shop", "image": "example/web:1", "started": 1_764_000_000_000_000_000_u64});
    let psi = || {
        let pressure = json!({"avg10": 100, "avg60": 0, "avg300": 0, "total": 1000 * at});
        json!({"some": pressure, "full": pressure})
    };
    let io = |op: &str| json!({"major": 8, "minor": 0, "op": op, "io_service_bytes": 4096 * at, "io_serviced": at});
    json!([
        {"root_container": "a", "memory_usage": 1_000_000 + at, "cgroup_cpu_usage": 5_000_000 * at, "containers": [
            {"id": "a", "pids_count": 1, "cpu_usage": 1000 * at, "details": details("pause", "web-0")},
            {"id": "b", "pids_count": 3, "cpu_usage": 4_000_000 * at, "details": details("web", "web-0")},
        ]},
        {"format": "runc", "root_container": "c", "cgroup_cpu_usage": 5_000_000 * at, "memory_usage": 1_000_000, "containers": [
            {"id": "c", "pids_count": 2, "cpu_usage": 5_000_000 * at, "details": details("db", "db-0"), "stats": {
                "cpu": {
                    "usage": {"total": 5_000_000 * at, "user": 3_000_000 * at, "kernel": 2_000_000 * at},
                    "throttling": {"periods": 2 * at, "throttled_periods": at, "throttled_time": 1000 * at},
                    "psi": psi(),
                },
                "memory": {
                    "cache": 4096 * at,
                    "usage": {"usage": 1_000_000, "limit": 2_000_000, "max": 1_000_000, "failcnt": 0},
                    "swap": {"usage": 1_004_096, "limit": 4_000_000},
                    "kernel": {"usage": 8192},
                    "raw": [["anon", 4096], ["file_mapped", 4096], ["inactive_file", 4096], ["pgfault", at], ["pgmajfault", at]],
                    "psi": psi(),
                },
                "pids": {"current": 2, "limit": 10},
                "blkio": {"entries": [io("Read"), io("Write")], "psi": psi()},
                "network_interfaces": [{
                    "name": "eth0",
                    "rx_bytes": 1000 * at, "rx_packets": at, "rx_errors": 0, "rx_dropped": 0,
                    "tx_bytes": 1000 * at, "tx_packets": at, "tx_errors": 0, "tx_dropped": 0,
                }],
            }},
        ]},
    ])
}

/// Queries of dashboards and rules that are widely used, with the names of their jobs.
const PUBLISHED: [&str; 25] = [
    // The dashboard "Cadvisor exporter", 14282 of grafana.com.
    r#"sum(rate(container_cpu_usage_seconds_total{instance=~".*",name=~".*",name=~".+"}[5m])) by (name) *100"#,
    r#"sum(container_memory_rss{instance=~".*",name=~".*",name=~".+"}) by (name)"#,
    r#"sum(container_memory_cache{instance=~".*",name=~".*",name=~".+"}) by (name)"#,
    r#"sum(rate(container_network_receive_bytes_total{instance=~".*",name=~".*",name=~".+"}[5m])) by (name)"#,
    r#"sum(rate(container_network_transmit_bytes_total{instance=~".*",name=~".*",name=~".+"}[5m])) by (name)"#,
    r#"(time() - container_start_time_seconds{instance=~".*",name=~".*",name=~".+"})/86400"#,
    // dockprom.
    r#"sum by (name) (rate(container_cpu_usage_seconds_total{image!="",container_label_org_label_schema_group=""}[1m])) * 100"#,
    r#"sum by (name) (rate(container_cpu_user_seconds_total{image!=""}[1m])) * 100"#,
    r#"sum by (name) (container_memory_usage_bytes{image!="",container_label_org_label_schema_group=""})"#,
    r#"sum(rate(container_fs_reads_bytes_total{image!=""}[1m]))"#,
    // kubernetes-mixin.
    r#"sum by (cluster, namespace, pod, container) (rate(container_cpu_usage_seconds_total{job="eventout",image!=""}[5m]))"#,
    r#"container_memory_working_set_bytes{job="eventout",image!=""}"#,
    r#"container_memory_rss{job="eventout",image!=""}"#,
    r#"container_memory_cache{job="eventout",image!=""}"#,
    r#"container_memory_swap{job="eventout",image!=""}"#,
    r#"sum(rate(container_network_receive_packets_dropped_total{job="eventout",namespace=~".+"}[5m])) by (pod)"#,
    r#"sum by(pod) (rate(container_fs_reads_total{job="eventout",container!="",namespace="shop"}[5m]))"#,
    r#"sum(increase(container_cpu_cfs_throttled_periods_total{job="eventout",container!=""}[5m])) by (container, pod, namespace) / sum(increase(container_cpu_cfs_periods_total[5m])) by (container, pod, namespace)"#,
    // dotdc's dashboards of Kubernetes.
    r#"sum(container_memory_working_set_bytes{image!="",container!=""}) by (namespace)"#,
    r#"sum(rate(container_cpu_cfs_throttled_seconds_total{image!="",container!=""}[5m])) by (namespace)"#,
    r#"sum(rate(container_network_transmit_errors_total{namespace="shop"}[5m])) by (pod)"#,
    // Dashboards of pressure.
    r#"sum by (pod)(rate(container_pressure_cpu_waiting_seconds_total{container!=""}[5m]))"#,
    r#"sum by (pod)(rate(container_pressure_memory_stalled_seconds_total{container!=""}[5m]))"#,
    r#"sum by (pod)(rate(container_pressure_io_waiting_seconds_total{container!=""}[5m]))"#,
    // Alerts.
    r#"container_memory_working_set_bytes / container_spec_memory_limit_bytes > 0.4"#,
];

/// The expressions of the dashboard: those of the panels, and for each variable one of which the result is its values.
fn dashboard() -> Vec<String> {
    let text = fs::read(example("dashboard.json")).expect("it is there");
    let dashboard: Value = serde_json::from_slice(&text).expect("it is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = list(&dashboard["panels"]);
    let targets = panels.iter().flat_map(|panel| list(&panel["targets"]));
    let mut all: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("an expression").to_owned())
        .collect();
    for variable in list(&dashboard["templating"]["list"]) {
        if let Some(query) = variable["query"]["query"].as_str() {
            let query = query
                .strip_prefix("label_values(")
                .expect("it asks for values");
            let (metric, label) = query.rsplit_once(", ").expect("a metric and a label");
            let label = label.trim_end_matches(')');
            all.push(format!("count by ({label}) ({metric})"));
        }
    }
    for expression in &mut all {
        *expression = expression.replace("$__rate_interval", "10s");
        for variable in ["$instance", "$namespace", "$pod", "$name"] {
            *expression = expression.replace(&format!(r#""{variable}""#), r#"".*""#);
        }
        assert!(!expression.contains('$'), "{expression}");
    }
    all
}

/// The series that the rules record.
fn recorded() -> Vec<String> {
    let rules = fs::read_to_string(example("rules.yml")).expect("it is there");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// Starts the server with a scenario. Returns it, and its address.
fn serve(directory: &Path) -> (Process, String) {
    let mut scenario = String::new();
    for at in 1..1000 {
        writeln!(scenario, "{}", sample(at)).expect("it is a string");
    }
    let file = directory.join("scenario.jsonl");
    fs::write(&file, scenario).expect("it can be written");
    let mut command = Eventout::new().into_command();
    command.arg(format!("--source=scenario:{}", file.display()));
    command.args(["serve", "--listen=127.0.0.1:0", "--max-age=100ms"]);
    let mut server = Process(command.stderr(Stdio::piped()).spawn().expect("it runs"));
    let mut stderr = BufReader::new(server.0.stderr.take().expect("a pipe"));
    let address = served_address(&mut stderr).to_string();
    // As long as somebody could read it, it can be written to.
    server.0.stderr = Some(stderr.into_inner());
    (server, address)
}

#[test]
fn prometheus_has_data_for_all_dashboards() {
    let (Some(promtool), Some(prometheus)) = (prometheus("promtool"), prometheus("prometheus"))
    else {
        return;
    };
    let scratch = TempDir::new().expect("a directory");
    let (_server, target) = serve(scratch.path());
    let configuration = configuration(&target)
        .replace("_interval: 15s", "_interval: 1s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 1s");
    let directory = copy(&configuration);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let log = fs::File::create(directory.path().join("log")).expect("a file");
    let _prometheus = Process(
        Command::new(prometheus)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs"),
    );
    let query = |expression: &str| {
        let mut query = Command::new(&promtool);
        query.args(["query", "instant"]);
        let output = query
            .arg(format!("http://{address}"))
            .arg(expression)
            .output();
        let output = output.expect("promtool runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    // The rules of relabelling have been applied.
    wait_until("it has scraped", 60, || {
        query(r#"up{job="eventout",instance="node-1"} == 1"#)
            .1
            .contains("=>")
    });
    let published = PUBLISHED.map(str::to_owned);
    for expression in [dashboard(), recorded(), published.to_vec()].concat() {
        // Only a kernel kills, and only it counts.
        let is_oom =
            expression.contains("container_oom_events_total") && !expression.contains("vector(0)");
        let what = format!("there is a result of {expression}");
        wait_until(&what, 60, || {
            let (success, result) = query(&expression);
            success && (is_oom || result.contains("=>"))
        });
    }
    // Nothing has gone wrong so far.
    wait_until("there is no alert, not even a pending one", 60, || {
        let (success, alerts) = query(r#"ALERTS{alertname=~"Eventout.*"}"#);
        success && alerts.trim().is_empty()
    });
}
