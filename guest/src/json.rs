//! Go's wire format: an event as `encoding/json` prints it, an ID as `%q` quotes it.
//!
//! The rules are those of Go 1.20, with which the gVisor of the reference was built. Strings are
//! valid Unicode in WIT, so Go's rules for broken UTF-8 never apply.

use alloc::string::String;

use crate::Dialect;
use crate::event::Event;
use crate::types::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, IntelRdt, Memory, MemoryEntry,
    NetworkInterface, Pids, Psi, PsiData, Stats,
};

/// gVisor's `boot.EventOut` as `json.Marshal` prints it.
pub fn event_out(value: &Event<'_>) -> String {
    // An event takes 300 bytes and more, a container's usage the ID, up to 20 digits, and four signs.
    let usage = value.container_usage.iter();
    let usage: usize = usage.map(|(id, _)| id.len() + 24).sum();
    let mut out = String::with_capacity(1024 + usage);
    let mut data = Stats::default();
    data.pids.current = Some(value.pids);
    data.memory.usage.usage = Some(value.memory);
    object(&mut out, |o| {
        event(o.key("event"), value.id, &data, Dialect::Runsc);
        map(o.key("containerUsage"), &value.container_usage, number);
    });
    out
}

/// An event as `json.Marshal` prints it: gVisor's `boot.Event`, or runc's `types.Event`.
pub fn stats_event(id: &str, data: &Stats, dialect: Dialect) -> String {
    let mut out = String::with_capacity(2048 + 48 * data.memory.raw.len());
    event(&mut out, id, data, dialect);
    out
}

/// runc's `types.Event` of type `oom`, which has no data.
pub fn oom_event(container: &str) -> String {
    let mut out = String::new();
    object(&mut out, |o| {
        string(o.key("type"), "oom");
        string(o.key("id"), container);
    });
    out
}

fn event(out: &mut String, id: &str, data: &Stats, dialect: Dialect) {
    object(out, |o| {
        string(o.key("type"), "stats");
        string(o.key("id"), id);
        let stats = match dialect {
            Dialect::Runsc => runsc::stats,
            Dialect::Runc => runc::stats,
        };
        stats(o.key("data"), data);
    });
}

/// The fields of gVisor's runsc/boot/events.go, in its order.
mod runsc {
    use super::*;

    pub fn stats(out: &mut String, value: &Stats) {
        object(out, |o| {
            cpu(o.key("cpu"), &value.cpu);
            memory(o.key("memory"), &value.memory);
            pids(o.key("pids"), &value.pids);
        });
    }

    fn cpu(out: &mut String, value: &Cpu) {
        object(out, |o| {
            object(o.key("usage"), |o| {
                o.omit_empty("kernel", value.usage.kernel);
                o.omit_empty("user", value.usage.user);
                o.omit_empty("total", value.usage.total);
                o.list("percpu", &value.usage.percpu, |out, ns| number(out, *ns));
            });
        });
    }

    fn memory(out: &mut String, value: &Memory) {
        object(out, |o| {
            o.omit_empty("cache", value.cache);
            // `omitempty` never leaves out a struct.
            memory_entry(o.key("usage"), &value.usage);
            memory_entry(o.key("swap"), &value.swap);
            memory_entry(o.key("kernel"), &value.kernel);
            memory_entry(o.key("kernelTCP"), &value.kernel_tcp);
            if !value.raw.is_empty() {
                map(o.key("raw"), &value.raw, number);
            }
        });
    }
}

/// The fields of runc's types/events.go, in its order, and of what it takes from other packages.
mod runc {
    use super::*;

    pub fn stats(out: &mut String, value: &Stats) {
        object(out, |o| {
            cpu(o.key("cpu"), &value.cpu);
            cpuset(o.key("cpuset"), &value.cpuset);
            memory(o.key("memory"), &value.memory);
            pids(o.key("pids"), &value.pids);
            blkio(o.key("blkio"), &value.blkio);
            map(o.key("hugetlb"), &value.hugetlb, hugetlb);
            intel_rdt(o.key("intel_rdt"), &value.intel_rdt);
            if value.network_interfaces.is_empty() {
                // A nil slice without `omitempty`.
                o.key("network_interfaces").push_str("null");
            } else {
                o.list(
                    "network_interfaces",
                    &value.network_interfaces,
                    network_interface,
                );
            }
        });
    }

    fn cpu(out: &mut String, value: &Cpu) {
        let CpuUsage {
            kernel,
            user,
            total,
            percpu,
            percpu_kernel,
            percpu_user,
        } = &value.usage;
        let throttling = value.throttling;
        let lists = [
            ("percpu", percpu),
            ("percpu_kernel", percpu_kernel),
            ("percpu_user", percpu_user),
        ];
        object(out, |o| {
            if !is_zero(&[*kernel, *user, *total]) || lists.iter().any(|(_, l)| !l.is_empty()) {
                object(o.key("usage"), |o| {
                    o.omit_empty("total", *total);
                    for (key, list) in lists {
                        o.list(key, list, |out, ns| number(out, *ns));
                    }
                    o.number("kernel", *kernel);
                    o.number("user", *user);
                });
            }
            let (periods, throttled) = (throttling.periods, throttling.throttled_periods);
            if !is_zero(&[periods, throttled, throttling.throttled_time]) {
                object(o.key("throttling"), |o| {
                    o.omit_empty("periods", periods);
                    o.omit_empty("throttledPeriods", throttled);
                    o.omit_empty("throttledTime", throttling.throttled_time);
                });
            }
            psi(o, value.psi);
        });
    }

    fn cpuset(out: &mut String, value: &Cpuset) {
        object(out, |o| {
            o.list("cpus", &value.cpus, |out, n| number(out, (*n).into()));
            o.number("cpu_exclusive", value.cpu_exclusive);
            o.list("mems", &value.mems, |out, n| number(out, (*n).into()));
            for (key, figure) in [
                ("mem_hardwall", value.mem_hardwall),
                ("mem_exclusive", value.mem_exclusive),
                ("memory_migrate", value.memory_migrate),
                ("memory_spread_page", value.memory_spread_page),
                ("memory_spread_slab", value.memory_spread_slab),
                ("memory_pressure", value.memory_pressure),
                ("sched_load_balance", value.sched_load_balance),
            ] {
                o.number(key, figure);
            }
            let out = o.key("sched_relax_domain_level");
            let level = value.sched_relax_domain_level.unwrap_or(0);
            if level < 0 {
                put(out, '-');
            }
            number(out, level.unsigned_abs());
        });
    }

    fn memory(out: &mut String, value: &Memory) {
        object(out, |o| {
            o.omit_empty("cache", value.cache);
            for (key, entry) in [
                ("usage", value.usage),
                ("swap", value.swap),
                ("kernel", value.kernel),
                ("kernelTCP", value.kernel_tcp),
            ] {
                // `omitzero`, since runc 1.4.
                if !is_zero(&[entry.limit, entry.usage, entry.max, entry.failcnt]) {
                    memory_entry(o.key(key), &entry);
                }
            }
            if !value.raw.is_empty() {
                map(o.key("raw"), &value.raw, number);
            }
            psi(o, value.psi);
        });
    }

    /// A member `psi`, where there is one. The structs in it are `omitzero` in opencontainers/cgroups since
    /// version 0.0.7.
    fn psi(o: &mut Object<'_>, value: Option<Psi>) {
        let Some(value) = value else { return };
        object(o.key("psi"), |o| {
            for (key, data) in [("some", value.some), ("full", value.full)] {
                if data != PsiData::default() {
                    object(o.key(key), |o| {
                        percent(o.key("avg10"), data.avg10);
                        percent(o.key("avg60"), data.avg60);
                        percent(o.key("avg300"), data.avg300);
                        number(o.key("total"), data.total);
                    });
                }
            }
        });
    }

    /// Hundredths as the float64 that they are in runc: the shortest decimal fraction.
    fn percent(out: &mut String, hundredths: u32) {
        number(out, (hundredths / 100).into());
        let (tenths, rest) = (hundredths / 10 % 10, hundredths % 10);
        if (tenths, rest) != (0, 0) {
            put(out, '.');
            number(out, tenths.into());
        }
        if rest != 0 {
            number(out, rest.into());
        }
    }

    fn blkio(out: &mut String, value: &Blkio) {
        type Figure = fn(&BlkioEntry) -> Option<u64>;
        let lists: [(&str, Figure); 8] = [
            ("ioServiceBytesRecursive", |entry| entry.io_service_bytes),
            ("ioServicedRecursive", |entry| entry.io_serviced),
            ("ioQueueRecursive", |entry| entry.io_queued),
            ("ioServiceTimeRecursive", |entry| entry.io_service_time),
            ("ioWaitTimeRecursive", |entry| entry.io_wait_time),
            ("ioMergedRecursive", |entry| entry.io_merged),
            ("ioTimeRecursive", |entry| entry.io_time),
            ("sectorsRecursive", |entry| entry.sectors),
        ];
        object(out, |o| {
            for (key, figure) in lists {
                let entries = value.entries.iter();
                let entries = entries.filter_map(|entry| Some((entry, figure(entry)?)));
                o.list(key, entries, |out, (entry, figure)| {
                    object(out, |o| {
                        o.omit_empty("major", Some(entry.major));
                        o.omit_empty("minor", Some(entry.minor));
                        o.omit_empty_string("op", &entry.op);
                        o.omit_empty("value", Some(figure));
                    });
                });
            }
            psi(o, value.psi);
        });
    }

    fn hugetlb(out: &mut String, value: Hugetlb) {
        object(out, |o| {
            o.omit_empty("usage", value.usage);
            o.omit_empty("max", value.max);
            o.number("failcnt", value.failcnt);
        });
    }

    fn intel_rdt(out: &mut String, value: &IntelRdt) {
        object(out, |o| {
            if let Some(info) = &value.l3_cache_info {
                object(o.key("l3_cache_info"), |o| {
                    o.omit_empty_string("cbm_mask", &info.cbm_mask);
                    o.omit_empty("min_cbm_bits", Some(info.min_cbm_bits));
                    o.omit_empty("num_closids", Some(info.num_closids));
                });
            }
            o.omit_empty_string(
                "l3_cache_schema_root",
                value.l3_cache_schema_root.as_deref().unwrap_or_default(),
            );
            o.omit_empty_string(
                "l3_cache_schema",
                value.l3_cache_schema.as_deref().unwrap_or_default(),
            );
            if let Some(info) = &value.mem_bw_info {
                object(o.key("mem_bw_info"), |o| {
                    o.omit_empty("bandwidth_gran", Some(info.bandwidth_gran));
                    o.omit_empty("delay_linear", Some(info.delay_linear));
                    o.omit_empty("min_bandwidth", Some(info.min_bandwidth));
                    o.omit_empty("num_closids", Some(info.num_closids));
                });
            }
            o.omit_empty_string(
                "mem_bw_schema_root",
                value.mem_bw_schema_root.as_deref().unwrap_or_default(),
            );
            o.omit_empty_string(
                "mem_bw_schema",
                value.mem_bw_schema.as_deref().unwrap_or_default(),
            );
            o.list("schemata", &value.schemata, |out, line| string(out, line));
            o.list("mbm_stats", &value.mbm_stats, |out, node| {
                object(out, |o| {
                    o.number("mbm_total_bytes", Some(node.mbm_total_bytes));
                    o.number("mbm_local_bytes", Some(node.mbm_local_bytes));
                });
            });
            o.list("cmt_stats", &value.cmt_stats, |out, node| {
                object(out, |o| o.number("llc_occupancy", Some(node.llc_occupancy)));
            });
        });
    }

    fn network_interface(out: &mut String, value: &NetworkInterface) {
        object(out, |o| {
            string(o.key("Name"), &value.name);
            for (key, figure) in [
                ("RxBytes", value.rx_bytes),
                ("RxPackets", value.rx_packets),
                ("RxErrors", value.rx_errors),
                ("RxDropped", value.rx_dropped),
                ("TxBytes", value.tx_bytes),
                ("TxPackets", value.tx_packets),
                ("TxErrors", value.tx_errors),
                ("TxDropped", value.tx_dropped),
            ] {
                o.number(key, Some(figure));
            }
        });
    }

    /// Whether `omitzero` leaves out a struct of these fields.
    fn is_zero(fields: &[Option<u64>]) -> bool {
        fields.iter().all(|field| matches!(field, None | Some(0)))
    }
}

// What the two have in common.

fn memory_entry(out: &mut String, value: &MemoryEntry) {
    object(out, |o| {
        o.number("limit", value.limit);
        o.omit_empty("usage", value.usage);
        o.omit_empty("max", value.max);
        o.number("failcnt", value.failcnt);
    });
}

fn pids(out: &mut String, value: &Pids) {
    object(out, |o| {
        o.omit_empty("current", value.current);
        o.omit_empty("limit", value.limit);
    });
}

/// An object whose members are written one by one.
struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

/// An object with the members that `fill` writes.
fn object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    put(out, '{');
    fill(&mut Object {
        out: &mut *out,
        empty: true,
    });
    put(out, '}');
}

/// `String::push`, out of line: there are dozens of callers.
#[inline(never)]
fn put(out: &mut String, c: char) {
    out.push(c);
}

impl Object<'_> {
    /// Begins a member; its value is what the caller writes next. `key` needs no escape.
    #[inline(never)]
    fn key(&mut self, key: &str) -> &mut String {
        self.out.push_str(if self.empty { "\"" } else { ",\"" });
        self.empty = false;
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    /// A number. One that is not known counts as 0.
    #[inline(never)]
    fn number(&mut self, key: &str, value: Option<u64>) {
        number(self.key(key), value.unwrap_or(0));
    }

    /// `omitempty`: a number that is 0, or not known, is left out.
    #[inline(never)]
    fn omit_empty(&mut self, key: &str, value: Option<u64>) {
        if let Some(value @ 1..) = value {
            number(self.key(key), value);
        }
    }

    /// `omitempty`: a string that is empty is left out.
    #[inline(never)]
    fn omit_empty_string(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            string(self.key(key), value);
        }
    }

    /// `omitempty`: a list that is empty is left out.
    fn list<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        write: impl Fn(&mut String, T),
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let out = self.key(key);
        let mut before = '[';
        for value in values {
            put(out, before);
            write(out, value);
            before = ',';
        }
        put(out, ']');
    }
}

/// A key that may need escapes.
#[inline(never)]
fn key_of(out: &mut String, key: &str) {
    string(out, key);
    out.push(':');
}

/// An object of keys that may need escapes, in the order of `entries`.
fn map<K: AsRef<str>, V: Copy>(
    out: &mut String,
    entries: &[(K, V)],
    write: impl Fn(&mut String, V),
) {
    out.push('{');
    let mut first = true;
    for (key, value) in entries {
        if !first {
            out.push(',');
        }
        first = false;
        key_of(out, key.as_ref());
        write(out, *value);
    }
    out.push('}');
}

fn number(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// A string with the escapes of Go 1.20: what JSON demands, without the short forms `\b` and `\f` that
/// Go 1.22 has, and what a browser could take for HTML or for the end of a line of JavaScript.
fn string(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    out.push('"');
    // Where the text begins that is not written yet. All of it that is written as it is lies between
    // ASCII characters or at the bounds of U+2028 and U+2029, so it is never cut inside a character.
    let mut from = 0;
    let mut at = plain(bytes, 0);
    while let Some(&byte) = bytes.get(at) {
        let mut control = *b"\\u00xx";
        let (escape, len) = match byte {
            b'"' => ("\\\"", 1),
            b'\\' => ("\\\\", 1),
            b'\n' => ("\\n", 1),
            b'\r' => ("\\r", 1),
            b'\t' => ("\\t", 1),
            ..0x20 | b'<' | b'>' | b'&' => {
                control[4] = hex(byte >> 4);
                control[5] = hex(byte);
                (str::from_utf8(&control).unwrap_or_default(), 1)
            }
            // The first of the three bytes of U+2028 and U+2029.
            _ => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => ("\\u2028", 3),
                Some([0x80, 0xa9]) => ("\\u2029", 3),
                _ => {
                    at = plain(bytes, at + 1);
                    continue;
                }
            },
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(escape);
        from = at + len;
        at = plain(bytes, from);
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

/// Where, from `at` on, the first byte is that may need an escape.
fn plain(bytes: &[u8], mut at: usize) -> usize {
    /// 1 for control characters, `"`, `&`, `<`, `>`, `\\`, and the first byte of U+2028 and U+2029.
    const fn special(byte: u8) -> u8 {
        (byte < 0x20) as u8
            | (byte | 4 == b'&') as u8
            | (byte | 2 == b'>') as u8
            | (byte == b'\\') as u8
            | (byte == 0xe2) as u8
    }
    // Sixteen at a time and without a branch in between, so that vector instructions do it.
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        if u128::from_ne_bytes(chunk.map(special)) != 0 {
            break;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let first = rest.iter().position(|&byte| special(byte) != 0);
    at + first.unwrap_or(rest.len())
}

/// gVisor's error for a container that is not there: `container %q not found`.
pub fn not_found(container: &str) -> String {
    let mut out = String::from("container ");
    quote(&mut out, container);
    out.push_str(" not found");
    out
}

/// `text` as `%q` prints it: double quotes, Go's escapes, and `\x`, `\u` or `\U` for characters that
/// are not printable.
///
/// A character is printable where it is in Rust's own table of printable characters. It has Go's
/// categories (L, M, N, P, S, and the ASCII space) in a later version of Unicode.
fn quote(out: &mut String, text: &str) {
    put(out, '"');
    for c in text.chars() {
        let short = match c {
            '"' => '"',
            '\\' => '\\',
            '\x07' => 'a',
            '\x08' => 'b',
            '\x0c' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\x0b' => 'v',
            c if is_printable(c) => {
                put(out, c);
                continue;
            }
            ..'\u{80}' => 'x',
            ..'\u{10000}' => 'u',
            _ => 'U',
        };
        put(out, '\\');
        put(out, short);
        let digits = match short {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        for digit in (0..digits).rev() {
            put(out, hex((c as u32 >> (4 * digit)) as u8).into());
        }
    }
    put(out, '"');
}

/// Whether `c` is a letter, mark, number, punctuation, symbol or ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The table is private to `core`, but escaping lets it show. Some marks are escaped at the start
    // of a string only, hence the letter before `c`.
    let mut text = String::from("x");
    text.push(c);
    text.escape_debug().nth(1) == Some(c)
}

/// The low four bits of `value` as a hexadecimal digit.
fn hex(value: u8) -> u8 {
    match value & 15 {
        digit @ ..10 => b'0' + digit,
        digit => b'a' - 10 + digit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (text, json) in [
            (r#"a"b\c/'"#, r#""a\"b\\c/'""#),
            ("<pod>&", r#""\u003cpod\u003e\u0026""#),
            (
                "\0\x01\x07\x08\t\n\x0b\x0c\r\x1b\x1f",
                r#""\u0000\u0001\u0007\u0008\t\n\u000b\u000c\r\u001b\u001f""#,
            ),
            ("\u{2028}x\u{2029}", r#""\u2028x\u2029""#),
            (
                "\x7f\u{80}\u{feff}\u{fffd}\u{1f600}é",
                "\"\x7f\u{80}\u{feff}\u{fffd}\u{1f600}é\"",
            ),
        ] {
            let mut out = String::new();
            string(&mut out, text);
            assert_eq!(out, json);
        }
    }

    #[test]
    fn ids_are_quoted_as_go_quotes_them() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("<x>&'", r#""<x>&'""#),
            ("\u{1f600}é", "\"\u{1f600}é\""),
            (
                "\n\t\0\x07\x08\x0b\x0c\r\x1b\x7f",
                r#""\n\t\x00\a\b\v\f\r\x1b\x7f""#,
            ),
            (
                "\u{200b}\u{2028}\u{fffd}\u{feff}",
                "\"\\u200b\\u2028\u{fffd}\\ufeff\"",
            ),
            // A combining mark is printable, a tag and a no-break space are not.
            ("\u{301}\u{e0001}\u{a0}", "\"\u{301}\\U000e0001\\u00a0\""),
        ] {
            assert_eq!(
                not_found(text),
                ["container ", quoted, " not found"].concat()
            );
        }
    }
}
