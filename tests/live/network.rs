//! Network interfaces of a container against their peers on the host.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tests::{can_run, lock_machine, missing, run};

use super::compare::compare;
use super::container::{Container, read_number};

#[test]
#[ignore = "changes cgroups and starts containers: tests/run runs it"]
fn the_interfaces_of_a_container_have_its_hosts_values_the_other_way_around() {
    if !can_run(&missing(&["runc", "busybox"])) {
        return;
    }
    let _machine = lock_machine();
    let state = tempdir().expect("a directory");
    let state = Some(state.path());
    let container = Container::run("runc", state, "network", "sleep 1000", |_, _| {});
    let name = format!("ev{}", std::process::id());
    let pid = container.pid();
    let ip = |args: &str| run(Command::new("ip").args(args.split(' ')));
    ip(&format!(
        "link add {name} type veth peer name eth7 netns {pid}"
    ));
    ip(&format!("link set {name} up"));
    ip(&format!("addr add 192.0.2.1/24 dev {name}"));
    let inside = |args: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid]);
        command.args(args.split(' ')).output().expect("it runs")
    };
    inside("ip addr add 192.0.2.2/24 dev eth7");
    inside("ip link set eth7 up");
    // A firewall may drop the replies. What is sent is counted all the same.
    inside("/bin/busybox ping -c 3 -W 1 192.0.2.1");
    // One that nobody has gets no response, so that one direction has more than the other.
    inside("/bin/busybox ping -c 1 -W 1 192.0.2.3");
    let host = || -> Value {
        let read = |file: &str| {
            let file = format!("/sys/class/net/{name}/statistics/{file}");
            read_number(Path::new(&file)).expect("a number")
        };
        json!([{
            "Name": "eth7",
            "RxBytes": read("tx_bytes"), "RxPackets": read("tx_packets"),
            "RxErrors": read("tx_errors"), "RxDropped": read("tx_dropped"),
            "TxBytes": read("rx_bytes"), "TxPackets": read("rx_packets"),
            "TxErrors": read("rx_errors"), "TxDropped": read("rx_dropped"),
        }])
    };
    for attempt in 0.. {
        let before = host();
        let ours = container.events().stats().line();
        // If both directions had the same values, the test could not tell one from the other.
        if before == host() && before[0]["RxBytes"] != before[0]["TxBytes"] {
            assert_eq!(ours["data"]["network_interfaces"], before);
            assert!(before[0]["TxPackets"].as_u64() > Some(0), "{before}");
            break;
        }
        // Neighbours announce themselves at first.
        assert!(attempt < 100, "the values keep moving: {before}");
        thread::sleep(Duration::from_millis(100));
    }
    // One that shares the machine's interfaces has none of its own.
    drop(container);
    let shared = Container::run("runc", state, "shared", "sleep 1000", |spec, _| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut();
        let namespaces = namespaces.expect("it has namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    let ours = compare(&shared, &shared.source(), &shared.id);
    assert_eq!(ours["data"]["network_interfaces"], Value::Null);
}
