//! Go's wire format: an event as `encoding/json` prints it, an ID as `%q` quotes it.
//!
//! The rules are those of Go 1.20, with which the gVisor of the reference was built. Strings are
//! valid Unicode in WIT, so Go's rules for broken UTF-8 never apply.

use alloc::string::String;

use crate::types::{Cpu, EventOut, Memory, MemoryEntry, Pids, Stats, StatsEvent};

/// gVisor's `boot.EventOut` as `json.Marshal` prints it.
pub fn event_out(value: &EventOut) -> String {
    // An event takes 300 bytes and more, a container's usage the ID and up to 20 digits.
    let mut out = String::with_capacity(1024 + 48 * value.container_usage.len());
    object(&mut out, |o| {
        event(o.key("event"), &value.event);
        map(o.key("containerUsage"), &value.container_usage);
    });
    out
}

/// gVisor's `boot.Event` as `json.Marshal` prints it.
pub fn stats_event(value: &StatsEvent) -> String {
    let mut out = String::with_capacity(1024 + 48 * value.data.memory.raw.len());
    event(&mut out, value);
    out
}

// The fields of gVisor's runsc/boot/events.go, in its order.

fn event(out: &mut String, value: &StatsEvent) {
    object(out, |o| {
        string(o.key("type"), "stats");
        string(o.key("id"), &value.id);
        stats(o.key("data"), &value.data);
    });
}

fn stats(out: &mut String, value: &Stats) {
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
            if !value.usage.percpu.is_empty() {
                let out = o.key("percpu");
                let mut before = '[';
                for &ns in &value.usage.percpu {
                    out.push(before);
                    number(out, ns);
                    before = ',';
                }
                out.push(']');
            }
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
            map(o.key("raw"), &value.raw);
        }
    });
}

fn memory_entry(out: &mut String, value: &MemoryEntry) {
    object(out, |o| {
        number(o.key("limit"), value.limit.unwrap_or(0));
        o.omit_empty("usage", value.usage);
        o.omit_empty("max", value.max);
        number(o.key("failcnt"), value.failcnt.unwrap_or(0));
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
    out.push('{');
    fill(&mut Object {
        out: &mut *out,
        empty: true,
    });
    out.push('}');
}

impl Object<'_> {
    /// Begins a member; its value is what the caller writes next. `key` needs no escape.
    fn key(&mut self, key: &str) -> &mut String {
        self.out.push_str(if self.empty { "\"" } else { ",\"" });
        self.empty = false;
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    /// `omitempty`: a number that is 0, or not known, is left out.
    fn omit_empty(&mut self, key: &str, value: Option<u64>) {
        if let Some(value @ 1..) = value {
            number(self.key(key), value);
        }
    }
}

/// An object of keys that may need escapes, in the order of `entries`.
fn map(out: &mut String, entries: &[(String, u64)]) {
    out.push('{');
    let mut first = true;
    for (key, value) in entries {
        if !first {
            out.push(',');
        }
        first = false;
        string(out, key);
        out.push(':');
        number(out, *value);
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
    for (at, &byte) in bytes.iter().enumerate() {
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
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => ("\\u2028", 3),
                Some([0x80, 0xa9]) => ("\\u2029", 3),
                _ => continue,
            },
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(escape);
        from = at + len;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
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
    out.push('"');
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
                out.push(c);
                continue;
            }
            ..'\u{80}' => 'x',
            ..'\u{10000}' => 'u',
            _ => 'U',
        };
        out.push('\\');
        out.push(short);
        let digits = match short {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        for digit in (0..digits).rev() {
            out.push(hex((c as u32 >> (4 * digit)) as u8).into());
        }
    }
    out.push('"');
}

/// Whether `c` is a letter, mark, number, punctuation, symbol or ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The table is private to `core`, but escaping lets it show. Some marks are escaped at the start
    // of a string only, hence the letter before `c`.
    let mut text = [b'x'; 5];
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
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
