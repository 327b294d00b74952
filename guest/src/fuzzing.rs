//! The entry point of the fuzzer, `fuzz/fuzz_targets/event.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::accounting::Sandbox;
use crate::types::{BlkioEntry, Hugetlb, NetworkInterface, Psi, PsiData, Stats, StatsEvent};
use crate::{Format, json};

/// Bytes that values are made of. There is no end of them: zeros follow.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Takes a number: one byte with its own size, or all of eight, or the largest one.
    fn value(&mut self) -> u64 {
        match self.next() {
            0xff => u64::MAX,
            0xfe => (0..8).fold(0, |all, _| all << 8 | u64::from(self.next())),
            byte => 1_u64.checked_shl(byte.into()).unwrap_or(byte.into()) - 1,
        }
    }

    fn maybe(&mut self) -> Option<u64> {
        (self.next() % 2 == 1).then(|| self.value())
    }

    /// Takes a text up to the next newline.
    fn text(&mut self) -> String {
        let mut parts = self.0.splitn(2, |byte| *byte == b'\n');
        let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
        self.0 = parts.next().unwrap_or_default();
        text.into_owned()
    }

    /// Takes a list of up to seven.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.next() % 8).map(|_| item(self)).collect()
    }

    fn psi(&mut self) -> Option<Psi> {
        let mut data = || PsiData {
            avg10: self.value() as u32,
            avg60: self.value() as u32,
            avg300: self.value() as u32,
            total: self.value(),
        };
        let (some, full) = (data(), data());
        (some != full).then_some(Psi { some, full })
    }

    /// Takes statistics of which each kind of value is one.
    fn stats(&mut self) -> Stats {
        let mut stats = Stats::default();
        stats.cpu.usage.kernel = self.maybe();
        stats.cpu.usage.total = self.maybe();
        stats.cpu.usage.percpu = self.list(Self::value);
        stats.cpu.throttling.periods = self.maybe();
        stats.cpu.psi = self.psi();
        stats.cpuset.cpus = self.list(|bytes| bytes.value() as u16);
        stats.cpuset.cpu_exclusive = self.maybe().map(|value| value > 0);
        stats.cpuset.sched_relax_domain_level = self.maybe().map(u64::cast_signed);
        stats.memory.cache = self.maybe();
        stats.memory.usage.usage = self.maybe();
        stats.memory.usage.limit = self.maybe();
        stats.memory.raw = self.list(|bytes| (bytes.text(), bytes.value()));
        stats.pids.current = self.maybe();
        stats.pids.limit = self.maybe();
        stats.blkio.entries = self.list(|bytes| BlkioEntry {
            op: bytes.text(),
            major: bytes.value(),
            io_serviced: bytes.maybe(),
            ..BlkioEntry::default()
        });
        stats.hugetlb = self.list(|bytes| {
            let usage = bytes.maybe();
            let hugetlb = Hugetlb {
                usage,
                ..Hugetlb::default()
            };
            (bytes.text(), hugetlb)
        });
        stats.network_interfaces = self.list(|bytes| NetworkInterface {
            name: bytes.text(),
            tx_bytes: bytes.value(),
            ..NetworkInterface::default()
        });
        stats
    }
}

/// Computes and encodes the events of a sandbox.
///
/// # Panics
///
/// If containers have more than their sandbox, or the JSON is not that of the event.
pub fn event(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (memory, cgroup) = (bytes.maybe(), bytes.maybe());
    // Listed more than once, the last value of a container counts.
    let listed = bytes.list(|bytes| (bytes.text(), bytes.value()));
    let containers: BTreeMap<String, u64> = listed.iter().cloned().collect();
    let root = containers.keys().next().cloned();
    let count = containers.len() as u64;
    let sandbox = || Sandbox::new(memory, count, root.clone(), listed.clone());

    let stats = containers.keys().map(|id| {
        let event = sandbox().stats_event(id.clone(), 1, cgroup, Stats::default());
        event.data
    });
    let stats: Vec<Stats> = stats.collect();
    let shares = stats.iter().filter_map(|stats| stats.memory.usage.usage);
    let shares: u128 = shares.map(u128::from).sum();
    assert!(shares <= memory.unwrap_or(0).into(), "{shares} bytes");
    if let Some(cgroup) = cgroup.filter(|cgroup| *cgroup > 0)
        && containers
            .values()
            .try_fold(0_u64, |all, ns| all.checked_add(*ns))
            .is_some()
    {
        let times = stats.iter().filter_map(|stats| stats.cpu.usage.total);
        let times: u128 = times.map(u128::from).sum();
        // Each of the four operations in floating point is exact to 2^-53.
        let rounding = u128::from(cgroup >> 50) + 1;
        assert!(times <= u128::from(cgroup) + rounding, "{times} ns");
    }

    let id = bytes.text();
    let out = sandbox().event(id.clone(), 1);
    let usage = parse(&json::event_out(out))["containerUsage"].take();
    let expected = containers.into_iter().map(|(id, ns)| (id, ns.into()));
    assert_eq!(usage, Value::Object(expected.collect()));

    let measured = bytes.stats();
    let event = sandbox().stats_event(id, bytes.value(), cgroup, measured);
    for format in [Format::Gvisor, Format::Runc] {
        check(&event, &parse(&json::stats_event(&event, format)), format);
    }
    assert_eq!(parse(&json::oom_event(&event.id))["id"], event.id);
}

/// Parses a line.
fn parse(line: &str) -> Value {
    // What Go escapes.
    let escaped = |c: char| c < ' ' || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    assert!(!line.contains(escaped), "{line:?}");
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

/// Checks that a line has the values of an event, of each type of value at least one.
fn check(event: &StatsEvent, line: &Value, format: Format) {
    // 0 is left out.
    let number = |value: &Value, expected: Option<u64>| {
        assert_eq!(value.as_u64().unwrap_or(0), expected.unwrap_or(0), "{line}");
    };
    let (stats, data) = (&event.data, &line["data"]);
    assert_eq!(line["id"], event.id);
    number(&data["pids"]["current"], stats.pids.current);
    number(&data["pids"]["limit"], stats.pids.limit);
    number(&data["cpu"]["usage"]["total"], stats.cpu.usage.total);
    number(&data["cpu"]["usage"]["kernel"], stats.cpu.usage.kernel);
    let percpu = data["cpu"]["usage"]["percpu"].as_array();
    let percpu = percpu.into_iter().flatten().map(Value::as_u64);
    assert!(percpu.eq(stats.cpu.usage.percpu.iter().copied().map(Some)));
    let memory = &data["memory"];
    number(&memory["cache"], stats.memory.cache);
    number(&memory["usage"]["usage"], stats.memory.usage.usage);
    number(&memory["usage"]["limit"], stats.memory.usage.limit);
    let raw = stats.memory.raw.iter();
    let raw: serde_json::Map<_, _> = raw.map(|(key, n)| (key.clone(), (*n).into())).collect();
    assert_eq!(memory["raw"].as_object().cloned().unwrap_or_default(), raw);
    if format == Format::Gvisor {
        return;
    }
    if let Some(psi) = &stats.cpu.psi {
        let avg10 = data["cpu"]["psi"]["some"]["avg10"].as_f64().unwrap_or(0.0);
        // serde_json parses to the nearest number, or the one beside it.
        assert_eq!((avg10 * 100.0).round() as u32, psi.some.avg10, "{line}");
        number(&data["cpu"]["psi"]["full"]["total"], Some(psi.full.total));
    }
    let level = &data["cpuset"]["sched_relax_domain_level"];
    let expected = stats.cpuset.sched_relax_domain_level;
    assert_eq!(level.as_i64().unwrap_or(0), expected.unwrap_or(0), "{line}");
    let hugetlb = data["hugetlb"].as_object().expect("it is a map");
    assert_eq!(hugetlb.len(), stats.hugetlb.len());
    for (size, pages) in &stats.hugetlb {
        number(&hugetlb[size]["usage"], pages.usage);
    }
    let interfaces = data["network_interfaces"].as_array();
    let interfaces = interfaces.map(Vec::as_slice).unwrap_or_default();
    assert_eq!(interfaces.len(), stats.network_interfaces.len());
    for (line, interface) in interfaces.iter().zip(&stats.network_interfaces) {
        assert_eq!(line["Name"].as_str().unwrap_or_default(), interface.name);
        number(&line["TxBytes"], Some(interface.tx_bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn no_event_has_more_than_its_sandbox_or_other_values_in_json() {
        let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/inputs/event");
        for input in fs::read_dir(inputs).expect("there are some") {
            let input = fs::read(input.expect("it can be listed").path());
            super::event(&input.expect("it can be read"));
        }
    }
}
