//! Go's wire format: an event as `encoding/json` prints it, an ID as `%q` quotes it.
//!
//! The rules are those of Go 1.20, with which the gVisor of the reference was built. Strings are
//! valid Unicode in WIT, so Go's rules for broken UTF-8 never apply.

use crate::arena::Room;
use crate::event::Event;
use crate::scan::Block;
use crate::types::{
    Blkio, BlkioEntry, Cpu, Cpuset, Dialect, Hugetlb, IntelRdt, Maybe, Memory, MemoryEntry, Named,
    NetworkInterface, Pids, Psi, PsiData, Stats, Text,
};

/// gVisor's `boot.EventOut` as `json.Marshal` prints it, with all fields that its sentry doesn't set.
pub fn event_out(value: &Event<'_>) -> Written {
    let usage = value.usage();
    // IDs have 64 digits, as a rule, and figures up to 20.
    let mut json = Json::with_capacity(512 + 88 * usage.len());
    json.put(r#"{"event":{"type":"stats","id":"#);
    json.text(value.id);
    json.put(r#","data":{"cpu":{"usage":{}},"memory":{"usage":{"limit":0,"#);
    if value.memory != 0 {
        json.put(r#""usage":"#);
        json.number(value.memory);
        json.put(",");
    }
    json.put(concat!(
        r#""failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"#,
        r#""kernelTCP":{"limit":0,"failcnt":0}},"pids":{"#,
    ));
    if value.pids != 0 {
        json.put(r#""current":"#);
        json.number(value.pids);
    }
    json.put(r#"}}},"containerUsage":"#);
    json.map(usage, |json, ns| json.number(*ns));
    json.put("}");
    json.written()
}

/// The IDs as `container-cpu` has them, in so many bytes: with a NUL between each and the next.
pub fn joined(usage: &[Named<'_, u64>], bytes: usize) -> Written {
    let mut text = Json::with_capacity(bytes);
    for (at, used) in usage.iter().enumerate() {
        if at > 0 {
            text.out.push(0);
        }
        text.put(&used.key);
    }
    text.written()
}

/// An event as `json.Marshal` prints it: gVisor's `boot.Event`, or runc's `types.Event`.
pub fn stats_event(id: &str, data: &Stats<'_>, dialect: Dialect) -> Written {
    let mut json = Json::with_capacity(2048 + 48 * data.memory.raw.len());
    json.put(r#"{"type":"stats","id":"#);
    json.text(id);
    json.put(r#","data":"#);
    match dialect {
        Dialect::Runsc => json.runsc_stats(data),
        Dialect::Runc => json.runc_stats(data),
    }
    json.put("}");
    json.written()
}

/// runc's `types.Event` of type `oom`, which has no data.
pub fn oom_event(container: &str) -> Written {
    let mut json = Json::with_capacity(64 + container.len());
    json.put(r#"{"type":"oom","id":"#);
    json.text(container);
    json.put("}");
    json.written()
}

/// The fields of gVisor's runsc/boot/events.go, in its order.
impl Json {
    fn runsc_stats(&mut self, value: &Stats<'_>) {
        self.open();
        self.key(key!("cpu"));
        self.open();
        self.key(key!("usage"));
        self.open();
        let usage = &value.cpu.usage;
        self.omit_empty(key!("kernel"), &usage.kernel);
        self.omit_empty(key!("user"), &usage.user);
        self.omit_empty(key!("total"), &usage.total);
        self.figures(key!("percpu"), &usage.percpu);
        self.close();
        self.close();
        self.key(key!("memory"));
        self.open();
        let memory = &value.memory;
        self.omit_empty(key!("cache"), &memory.cache);
        // `omitempty` never leaves out a struct.
        self.memory_entry(key!("usage"), &memory.usage);
        self.memory_entry(key!("swap"), &memory.swap);
        self.memory_entry(key!("kernel"), &memory.kernel);
        self.memory_entry(key!("kernelTCP"), &memory.kernel_tcp);
        self.raw(&memory.raw);
        self.close();
        self.pids(&value.pids);
        self.close();
    }
}

/// The fields of runc's types/events.go, in its order, and of what it takes from other packages.
impl Json {
    fn runc_stats(&mut self, value: &Stats<'_>) {
        self.open();
        self.runc_cpu(&value.cpu);
        self.cpuset(&value.cpuset);
        self.runc_memory(&value.memory);
        self.pids(&value.pids);
        self.blkio(&value.blkio);
        self.key(key!("hugetlb"));
        self.map(&value.hugetlb, Self::hugetlb);
        self.intel_rdt(&value.intel_rdt);
        if value.network_interfaces.is_empty() {
            // A nil slice without `omitempty`.
            self.key(key!("network_interfaces"));
            self.put("null");
        } else {
            self.list(
                key!("network_interfaces"),
                &value.network_interfaces,
                Self::network_interface,
            );
        }
        self.close();
    }

    fn runc_cpu(&mut self, value: &Cpu<'_>) {
        self.key(key!("cpu"));
        self.open();
        let usage = &value.usage;
        let lists = [&usage.percpu, &usage.percpu_kernel, &usage.percpu_user];
        let zero = is_zero(&[usage.kernel, usage.user, usage.total]);
        if !zero || lists.iter().any(|list| !list.is_empty()) {
            self.key(key!("usage"));
            self.open();
            self.omit_empty(key!("total"), &usage.total);
            self.figures(key!("percpu"), &usage.percpu);
            self.figures(key!("percpu_kernel"), &usage.percpu_kernel);
            self.figures(key!("percpu_user"), &usage.percpu_user);
            self.figure(key!("kernel"), &usage.kernel);
            self.figure(key!("user"), &usage.user);
            self.close();
        }
        let throttling = &value.throttling;
        if !is_zero(&[
            throttling.periods,
            throttling.throttled_periods,
            throttling.throttled_time,
        ]) {
            self.key(key!("throttling"));
            self.open();
            self.omit_empty(key!("periods"), &throttling.periods);
            self.omit_empty(key!("throttledPeriods"), &throttling.throttled_periods);
            self.omit_empty(key!("throttledTime"), &throttling.throttled_time);
            self.close();
        }
        self.psi(&value.psi);
        self.close();
    }

    fn cpuset(&mut self, value: &Cpuset<'_>) {
        self.key(key!("cpuset"));
        self.open();
        self.numbers(key!("cpus"), &value.cpus);
        self.figure(key!("cpu_exclusive"), &value.cpu_exclusive);
        self.numbers(key!("mems"), &value.mems);
        self.figure(key!("mem_hardwall"), &value.mem_hardwall);
        self.figure(key!("mem_exclusive"), &value.mem_exclusive);
        self.figure(key!("memory_migrate"), &value.memory_migrate);
        self.figure(key!("memory_spread_page"), &value.memory_spread_page);
        self.figure(key!("memory_spread_slab"), &value.memory_spread_slab);
        self.figure(key!("memory_pressure"), &value.memory_pressure);
        self.figure(key!("sched_load_balance"), &value.sched_load_balance);
        self.key(key!("sched_relax_domain_level"));
        let level = value.sched_relax_domain_level.get().unwrap_or(0);
        if level < 0 {
            self.put("-");
        }
        self.number(level.unsigned_abs());
        self.close();
    }

    fn runc_memory(&mut self, value: &Memory<'_>) {
        self.key(key!("memory"));
        self.open();
        self.omit_empty(key!("cache"), &value.cache);
        self.omit_zero(key!("usage"), &value.usage);
        self.omit_zero(key!("swap"), &value.swap);
        self.omit_zero(key!("kernel"), &value.kernel);
        self.omit_zero(key!("kernelTCP"), &value.kernel_tcp);
        self.raw(&value.raw);
        self.psi(&value.psi);
        self.close();
    }

    /// `omitzero`, since runc 1.4.
    #[inline(never)]
    fn omit_zero(&mut self, key: Key, value: &MemoryEntry) {
        if !is_zero(&[value.limit, value.usage, value.max, value.failcnt]) {
            self.memory_entry(key, value);
        }
    }

    /// A member `psi`, where there is one. The structs in it are `omitzero` in opencontainers/cgroups since
    /// version 0.0.7.
    #[inline(never)]
    fn psi(&mut self, value: &Maybe<Psi>) {
        if let Maybe::Some(value) = value {
            self.key(key!("psi"));
            self.open();
            self.psi_data(key!("some"), &value.some);
            self.psi_data(key!("full"), &value.full);
            self.close();
        }
    }

    #[inline(never)]
    fn psi_data(&mut self, key: Key, value: &PsiData) {
        if *value != PsiData::default() {
            self.key(key);
            self.open();
            self.percent(key!("avg10"), value.avg10);
            self.percent(key!("avg60"), value.avg60);
            self.percent(key!("avg300"), value.avg300);
            self.number_of(key!("total"), value.total);
            self.close();
        }
    }

    /// Hundredths as the float64 that they are in runc: the shortest decimal fraction.
    #[inline(never)]
    fn percent(&mut self, key: Key, hundredths: u32) {
        self.number_of(key, (hundredths / 100).into());
        let (tenths, rest) = (hundredths / 10 % 10, hundredths % 10);
        if (tenths, rest) != (0, 0) {
            self.put(".");
            self.number(tenths.into());
        }
        if rest != 0 {
            self.number(rest.into());
        }
    }

    fn blkio(&mut self, value: &Blkio<'_>) {
        self.key(key!("blkio"));
        self.open();
        let rows = value.entries.items();
        self.column(key!("ioServiceBytesRecursive"), rows, |r| {
            &r.io_service_bytes
        });
        self.column(key!("ioServicedRecursive"), rows, |r| &r.io_serviced);
        self.column(key!("ioQueueRecursive"), rows, |r| &r.io_queued);
        self.column(key!("ioServiceTimeRecursive"), rows, |r| &r.io_service_time);
        self.column(key!("ioWaitTimeRecursive"), rows, |r| &r.io_wait_time);
        self.column(key!("ioMergedRecursive"), rows, |r| &r.io_merged);
        self.column(key!("ioTimeRecursive"), rows, |r| &r.io_time);
        self.column(key!("sectorsRecursive"), rows, |r| &r.sectors);
        self.psi(&value.psi);
        self.close();
    }

    /// One of runc's lists of devices: the rows that have such a figure.
    #[inline(never)]
    fn column(
        &mut self,
        key: Key,
        rows: &[BlkioEntry<'_>],
        figure: for<'a> fn(&'a BlkioEntry<'_>) -> &'a Maybe<u64>,
    ) {
        let mut any = false;
        for row in rows {
            let Maybe::Some(value) = *figure(row) else {
                continue;
            };
            if any {
                self.put(",");
            } else {
                self.key(key);
                self.put("[");
                any = true;
            }
            self.open();
            self.omit_zero_number(key!("major"), row.major);
            self.omit_zero_number(key!("minor"), row.minor);
            self.omit_empty_text(key!("op"), &row.op);
            self.omit_zero_number(key!("value"), value);
            self.close();
        }
        if any {
            self.put("]");
        }
    }

    fn hugetlb(&mut self, value: &Hugetlb) {
        self.open();
        self.omit_empty(key!("usage"), &value.usage);
        self.omit_empty(key!("max"), &value.max);
        self.figure(key!("failcnt"), &value.failcnt);
        self.close();
    }

    fn intel_rdt(&mut self, value: &IntelRdt<'_>) {
        self.key(key!("intel_rdt"));
        self.open();
        if let Maybe::Some(info) = &value.l3_cache_info {
            self.key(key!("l3_cache_info"));
            self.open();
            self.omit_empty_text(key!("cbm_mask"), &info.cbm_mask);
            self.omit_zero_number(key!("min_cbm_bits"), info.min_cbm_bits);
            self.omit_zero_number(key!("num_closids"), info.num_closids);
            self.close();
        }
        self.omit_unknown_text(key!("l3_cache_schema_root"), &value.l3_cache_schema_root);
        self.omit_unknown_text(key!("l3_cache_schema"), &value.l3_cache_schema);
        if let Maybe::Some(info) = &value.mem_bw_info {
            self.key(key!("mem_bw_info"));
            self.open();
            self.omit_zero_number(key!("bandwidth_gran"), info.bandwidth_gran);
            self.omit_zero_number(key!("delay_linear"), info.delay_linear);
            self.omit_zero_number(key!("min_bandwidth"), info.min_bandwidth);
            self.omit_zero_number(key!("num_closids"), info.num_closids);
            self.close();
        }
        self.omit_unknown_text(key!("mem_bw_schema_root"), &value.mem_bw_schema_root);
        self.omit_unknown_text(key!("mem_bw_schema"), &value.mem_bw_schema);
        self.list(key!("schemata"), &value.schemata, |json, line| {
            json.text(line);
        });
        self.list(key!("mbm_stats"), &value.mbm_stats, |json, node| {
            json.open();
            json.number_of(key!("mbm_total_bytes"), node.mbm_total_bytes);
            json.number_of(key!("mbm_local_bytes"), node.mbm_local_bytes);
            json.close();
        });
        self.list(key!("cmt_stats"), &value.cmt_stats, |json, node| {
            json.open();
            json.number_of(key!("llc_occupancy"), node.llc_occupancy);
            json.close();
        });
        self.close();
    }

    fn network_interface(&mut self, value: &NetworkInterface<'_>) {
        self.open();
        self.key(key!("Name"));
        self.text(&value.name);
        self.number_of(key!("RxBytes"), value.rx_bytes);
        self.number_of(key!("RxPackets"), value.rx_packets);
        self.number_of(key!("RxErrors"), value.rx_errors);
        self.number_of(key!("RxDropped"), value.rx_dropped);
        self.number_of(key!("TxBytes"), value.tx_bytes);
        self.number_of(key!("TxPackets"), value.tx_packets);
        self.number_of(key!("TxErrors"), value.tx_errors);
        self.number_of(key!("TxDropped"), value.tx_dropped);
        self.close();
    }
}

/// Whether `omitzero` leaves out a struct of these fields.
fn is_zero(fields: &[Maybe<u64>]) -> bool {
    fields.iter().all(|field| field.get().unwrap_or(0) == 0)
}

/// What the two have in common.
impl Json {
    #[inline(never)]
    fn memory_entry(&mut self, key: Key, value: &MemoryEntry) {
        self.key(key);
        self.open();
        self.figure(key!("limit"), &value.limit);
        self.omit_empty(key!("usage"), &value.usage);
        self.omit_empty(key!("max"), &value.max);
        self.figure(key!("failcnt"), &value.failcnt);
        self.close();
    }

    #[inline(never)]
    fn raw(&mut self, value: &[Named<'_, u64>]) {
        if !value.is_empty() {
            self.key(key!("raw"));
            self.map(value, |json, figure| json.number(*figure));
        }
    }

    #[inline(never)]
    fn pids(&mut self, value: &Pids) {
        self.key(key!("pids"));
        self.open();
        self.omit_empty(key!("current"), &value.current);
        self.omit_empty(key!("limit"), &value.limit);
        self.close();
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written(Room<u8>);

impl Written {
    /// The text.
    pub fn text(&self) -> &str {
        // SAFETY: it is made of texts.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }

    /// Gives back the room that is not needed.
    pub fn shrink(&mut self) {
        self.0.shrink();
    }

    /// The text, for as long as it may be needed.
    pub fn leak<'a>(self) -> &'a str {
        // SAFETY: see above.
        unsafe { str::from_utf8_unchecked(self.0.leak()) }
    }
}

/// The key of a member, with all that stands around it: what [`key!`] makes.
type Key = &'static str;

/// The text of a key that needs no escape. What stands before the value is one piece.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
use key;

/// JSON that is being written. Its methods are out of line where there are dozens of callers.
struct Json {
    out: Room<u8>,
    /// Whether the next member follows another one.
    comma: bool,
}

impl Json {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Room::new(bytes),
            comma: false,
        }
    }

    fn written(self) -> Written {
        Written(self.out)
    }

    #[inline(never)]
    fn put(&mut self, text: &str) {
        self.out.extend(text.as_bytes());
    }

    #[inline(never)]
    fn put_char(&mut self, c: char) {
        self.put(c.encode_utf8(&mut [0; 4]));
    }

    #[inline(never)]
    fn open(&mut self) {
        self.put("{");
        self.comma = false;
    }

    #[inline(never)]
    fn close(&mut self) {
        self.put("}");
        self.comma = true;
    }

    /// Begins a member; its value is what is written next.
    #[inline(never)]
    fn key(&mut self, key: Key) {
        let from = usize::from(!self.comma);
        self.put(key.get(from..).unwrap_or_default());
        self.comma = true;
    }

    #[inline(never)]
    fn number_of(&mut self, key: Key, value: u64) {
        self.key(key);
        match value {
            // Most of what is not known prints as this.
            0 => self.out.push(b'0'),
            _ => self.number(value),
        }
    }

    /// `omitempty`: a number that is 0 is left out.
    #[inline(never)]
    fn omit_zero_number(&mut self, key: Key, value: u64) {
        if value != 0 {
            self.number_of(key, value);
        }
    }

    /// A number. One that is not known counts as 0.
    #[inline(never)]
    fn figure(&mut self, key: Key, value: &Maybe<u64>) {
        self.number_of(key, value.get().unwrap_or(0));
    }

    /// `omitempty`: a number that is 0, or not known, is left out.
    #[inline(never)]
    fn omit_empty(&mut self, key: Key, value: &Maybe<u64>) {
        self.omit_zero_number(key, value.get().unwrap_or(0));
    }

    /// `omitempty`: a string that is empty is left out.
    #[inline(never)]
    fn omit_empty_text(&mut self, key: Key, value: &str) {
        if !value.is_empty() {
            self.key(key);
            self.text(value);
        }
    }

    /// The same where it may not be known.
    #[inline(never)]
    fn omit_unknown_text(&mut self, key: Key, value: &Maybe<Text<'_>>) {
        self.omit_empty_text(key, value.get().unwrap_or_default().text());
    }

    #[inline(never)]
    fn numbers(&mut self, key: Key, values: &[u16]) {
        self.list(key, values, |json, value| json.number((*value).into()));
    }

    #[inline(never)]
    fn figures(&mut self, key: Key, values: &[u64]) {
        self.list(key, values, |json, value| json.number(*value));
    }

    /// `omitempty`: a list that is empty is left out.
    fn list<T>(&mut self, key: Key, values: &[T], write: impl Fn(&mut Self, &T)) {
        if values.is_empty() {
            return;
        }
        self.key(key);
        let mut before = "[";
        for value in values {
            self.put(before);
            write(self, value);
            before = ",";
        }
        self.put("]");
    }

    /// An object of keys that may need escapes, in the order of `entries`.
    fn map<T>(&mut self, entries: &[Named<'_, T>], write: impl Fn(&mut Self, &T)) {
        let mut before = b"{\"";
        for entry in entries {
            self.out.extend(before);
            self.inner(&entry.key);
            self.out.extend(b"\":");
            write(self, &entry.value);
            before = b",\"";
        }
        self.put(if entries.is_empty() { "{}" } else { "}" });
    }

    #[inline(never)]
    fn number(&mut self, value: u64) {
        /// The least number of nine digits.
        const NINE: u64 = 100_000_000;
        let (high, low) = (value / NINE, value % NINE);
        let first = match high {
            0 => low,
            1..NINE => high,
            _ => high / NINE,
        };
        let eight = digits(first);
        // Zeros before the first other digit are left out, but for a last one.
        let zeros = (eight.trailing_zeros() / 8).min(7);
        let eight = (eight + ZEROS) >> (8 * zeros);
        self.out.extend_part(eight, 8 - zeros as usize);
        if high >= NINE {
            self.out.extend_part(digits(high % NINE) + ZEROS, 8);
        }
        if high > 0 {
            self.out.extend_part(digits(low) + ZEROS, 8);
        }
    }

    #[inline(never)]
    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        self.inner(text);
        self.out.push(b'"');
    }

    /// What stands between the quotes of a string, with the escapes of Go 1.20: what JSON demands, without the short
    /// forms `\b` and `\f` that Go 1.22 has, and what a browser could take for HTML or for the end of a line of
    /// JavaScript.
    #[inline(never)]
    fn inner(&mut self, text: &str) {
        let at = self.out.extend_until(text.as_bytes(), special);
        if at < text.len() {
            self.escaped(text.as_bytes(), at);
        }
    }

    /// The rest of a text, from a special byte on.
    #[inline(never)]
    fn escaped(&mut self, text: &[u8], mut at: usize) {
        while let Some(&byte) = text.get(at) {
            let (escape, len) = match byte {
                b'"' => ("\\\"", 1),
                b'\\' => ("\\\\", 1),
                b'\n' => ("\\n", 1),
                b'\r' => ("\\r", 1),
                b'\t' => ("\\t", 1),
                ..0x20 | b'<' | b'>' | b'&' => ("\\u00", 1),
                // The first of the three bytes of U+2028 and U+2029.
                0xe2 if text.get(at + 1..at + 3) == Some(&[0x80, 0xa8]) => ("\\u2028", 3),
                0xe2 if text.get(at + 1..at + 3) == Some(&[0x80, 0xa9]) => ("\\u2029", 3),
                _ => ("", 1),
            };
            self.put(escape);
            match escape {
                "" => self.out.push(byte),
                "\\u00" => {
                    self.out.push(hex(byte >> 4));
                    self.out.push(hex(byte));
                }
                _ => {}
            }
            at += len;
            let rest = text.get(at..).unwrap_or_default();
            at += self.out.extend_until(rest, special);
        }
    }
}

/// The digit 0, eight times.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of a number of up to eight, each in a byte, the first one in the lowest.
#[inline(always)]
fn digits(value: u64) -> u64 {
    // Two numbers below 10,000; of both at once, the hundreds; of all four numbers below 100 at once, the tens.
    // 10486 / 2^20 is a hundredth, nearly enough, and 103 / 2^10 a tenth.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

/// The bytes that may need an escape: control characters, `"`, `&`, `<`, `>`, `\`, and all that is not ASCII.
fn special(bytes: Block) -> Block {
    (bytes.is_below(0x20))
        .or(bytes.with(4).is(b'&'))
        .or(bytes.with(2).is(b'>'))
        .or(bytes.is(b'\\'))
}

/// gVisor's error for a container that is not there: `container %q not found`.
pub fn not_found(container: &str) -> Written {
    let mut text = Json::with_capacity(64 + container.len());
    text.put("container ");
    text.quoted(container);
    text.put(" not found");
    text.written()
}

impl Json {
    /// `text` as `%q` prints it: double quotes, Go's escapes, and `\x`, `\u` or `\U` for characters that
    /// are not printable.
    fn quoted(&mut self, text: &str) {
        self.put("\"");
        for c in text.chars() {
            let (escape, digits) = match c {
                '"' => ("\\\"", 0),
                '\\' => ("\\\\", 0),
                '\x07' => ("\\a", 0),
                '\x08' => ("\\b", 0),
                '\x0c' => ("\\f", 0),
                '\n' => ("\\n", 0),
                '\r' => ("\\r", 0),
                '\t' => ("\\t", 0),
                '\x0b' => ("\\v", 0),
                c if is_printable(c) => {
                    self.put_char(c);
                    continue;
                }
                ..'\u{80}' => ("\\x", 2),
                ..'\u{10000}' => ("\\u", 4),
                _ => ("\\U", 8),
            };
            self.put(escape);
            for digit in (0..digits).rev() {
                self.out.push(hex((c as u32 >> (4 * digit)) as u8));
            }
        }
        self.put("\"");
    }
}

/// Whether `c` is a letter, mark, number, punctuation, symbol or ASCII space in the Unicode 13 of Go 1.20.
fn is_printable(c: char) -> bool {
    /// How many characters from U+0000 on are not printable, how many then are, and so on, as varints: what
    /// Go's `strconv.IsPrint` says.
    const RUNS: &[u8] = include_bytes!("printable.bin");
    let mut left = c as u32;
    let mut printable = false;
    let (mut run, mut shift) = (0, 0);
    for byte in RUNS {
        run |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            if left < run {
                break;
            }
            left -= run;
            printable = !printable;
            (run, shift) = (0, 0);
        }
    }
    printable
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
    use alloc::string::ToString as _;

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
            let mut out = Json::with_capacity(0);
            out.text(text);
            assert_eq!(out.written().text(), json);
        }
    }

    #[test]
    fn numbers_have_all_their_digits_and_no_zero_before_them() {
        let check = |value: u64| {
            let mut out = Json::with_capacity(0);
            out.number(value);
            assert_eq!(out.written().text(), value.to_string());
        };
        (0..20_000).for_each(check);
        for four in 0..10_000 {
            check(four * 10_000);
            check(four * 10_000 + 12_345_600_000_000);
        }
        let mut power = 1_u64;
        for _ in 0..20 {
            for near in [
                power - 1,
                power,
                power + 1,
                power.wrapping_mul(9),
                power / 3,
            ] {
                check(near);
            }
            power = power.wrapping_mul(10);
        }
        check(u64::MAX);
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
                not_found(text).text(),
                ["container ", quoted, " not found"].concat()
            );
        }
    }
}
