//! JSON as Go's `encoding/json` writes it.
//!
//! The rules are those of Go 1.20, the version that the gVisor of the reference was built with. They are
//! the same in all versions but for U+0008 and U+000C, which have short escapes since Go 1.22. Strings of
//! the component model are valid Unicode, so Go's rules for invalid UTF-8 do not apply.

mod gvisor;
mod runc;

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::Format;
use crate::types::{self, EventOut, StatsEvent};

/// Encodes gVisor's `boot.EventOut`.
pub fn event_out(event: EventOut) -> String {
    let capacity = 512 + 90 * event.container_usage.len();
    encode(capacity, |to| gvisor::EventOut::from(event).serialize(to))
}

/// Encodes an event of type `stats`: gVisor's `boot.Event`, or runc's `types.Event`.
pub fn stats_event(event: &StatsEvent, format: Format) -> String {
    encode(4096, |to| match format {
        Format::Gvisor => gvisor::Event::serialize(event, to),
        Format::Runc => runc::Event::serialize(event, to),
    })
}

/// Encodes an event of type `oom`: runc's `types.Event` without data.
pub fn oom_event(container: &str) -> String {
    let event = runc::OomEvent {
        event_type: "oom",
        id: container,
    };
    encode(128, |to| event.serialize(to))
}

/// Returns the text that `write` makes, of about `capacity` bytes.
fn encode(
    capacity: usize,
    write: impl FnOnce(&mut serde_json::Serializer<&mut Vec<u8>, GoFormatter>) -> serde_json::Result<()>,
) -> String {
    let mut json = Vec::with_capacity(capacity);
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, GoFormatter);
    // A message with the error in it would link all of `core::fmt` into the component.
    let (Ok(()), Ok(json)) = (write(&mut serializer), String::from_utf8(json)) else {
        unreachable!("encoding to memory does not fail");
    };
    json
}

/// Writes strings and numbers as Go does where serde_json differs.
struct GoFormatter;

impl Formatter for GoFormatter {
    /// Escapes what a browser could take for HTML or for the end of a line of JavaScript.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // U+2028 and U+2029 begin with 0xe2. Unlike `any`, `fold` is compiled to SIMD instructions.
        let special = |byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
        if fragment
            .bytes()
            .fold(false, |found, byte| found | special(byte))
        {
            return write_escaped(to, fragment);
        }
        to.write_all(fragment.as_bytes())
    }

    /// Writes U+0008 and U+000C without the short escapes that Go has since 1.22.
    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => to.write_all(br"\u0008"),
            CharEscape::FormFeed => to.write_all(br"\u000c"),
            other => CompactFormatter.write_char_escape(to, other),
        }
    }

    /// Writes the shortest decimal of a value that is a multiple of 0.01, which all of ours are: the general
    /// algorithm is a sixth of the component.
    fn write_f64<W: ?Sized + Write>(&mut self, to: &mut W, value: f64) -> io::Result<()> {
        let hundredths = (value * 100.0).round() as u64;
        self.write_u64(to, hundredths / 100)?;
        let (tenths, hundredths) = (hundredths / 10 % 10, hundredths % 10);
        if (tenths, hundredths) != (0, 0) {
            to.write_all(b".")?;
            self.write_u64(to, tenths)?;
        }
        if hundredths != 0 {
            self.write_u64(to, hundredths)?;
        }
        Ok(())
    }
}

#[cold]
fn write_escaped<W: ?Sized + Write>(to: &mut W, fragment: &str) -> io::Result<()> {
    let mut rest = fragment;
    while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let (plain, special) = rest.split_at(at);
        let (escape, len): (&[u8], _) = match special.as_bytes() {
            [b'<', ..] => (br"\u003c", 1),
            [b'>', ..] => (br"\u003e", 1),
            [b'&', ..] => (br"\u0026", 1),
            [_, _, 0xa8, ..] => (br"\u2028", 3),
            _ => (br"\u2029", 3),
        };
        to.write_all(plain.as_bytes())?;
        to.write_all(escape)?;
        rest = &special[len..];
    }
    to.write_all(rest.as_bytes())
}

/// The structs that gVisor's and runc's schema have in common. Each is implemented for the type of the
/// contract itself, so that an `Option` or a list of it can be encoded.
macro_rules! implement_serialize {
    ($($name:ident)*) => { $(
        impl Serialize for crate::types::$name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, to)
            }
        }
    )* };
}
use implement_serialize;

implement_serialize!(Pids MemoryEntry);

#[derive(Serialize)]
#[serde(remote = "types::Pids")]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    limit: Option<u64>,
}

#[derive(Serialize)]
#[serde(remote = "types::MemoryEntry")]
struct MemoryEntry {
    #[serde(serialize_with = "or_zero")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    max: Option<u64>,
    #[serde(serialize_with = "or_zero")]
    failcnt: Option<u64>,
}

/// Returns the type of an event with statistics, in both schemas.
fn stats_type(_: &StatsEvent) -> &'static str {
    "stats"
}

/// Returns whether Go's `omitempty` leaves out a number: it is 0, or not known.
fn is_zero(value: &Option<u64>) -> bool {
    value.unwrap_or(0) == 0
}

/// Encodes a number without `omitempty`. Go has 0 for a value that is not known.
fn or_zero<T: Serialize + Copy + Default, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    value.unwrap_or_default().serialize(to)
}

/// Encodes entries as a map. They are in the order of the keys.
fn map<V: Serialize, S: Serializer>(entries: &[(String, V)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(entries.iter().map(|(key, value)| (key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        encode(0, |to| text.serialize(to))
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (given, json) in [
            (r#"a"b\c/'"#, r#""a\"b\\c/'""#),
            ("<pod>&", r#""\u003cpod\u003e\u0026""#),
            (
                "\0\x01\x07\x08\t\n\x0b\x0c\r\x1b\x1f",
                r#""\u0000\u0001\u0007\u0008\t\n\u000b\u000c\r\u001b\u001f""#,
            ),
            ("\u{2028}x\u{2029}\u{2028}", r#""\u2028x\u2029\u2028""#),
            (
                "\x7f\u{80}\u{feff}\u{fffd}\u{1f600}é\u{202a}",
                "\"\x7f\u{80}\u{feff}\u{fffd}\u{1f600}é\u{202a}\"",
            ),
        ] {
            assert_eq!(text(given), json);
        }
    }

    #[test]
    fn hundredths_are_encoded_as_the_shortest_decimal() {
        for (hundredths, json) in [
            (0, "0"),
            (1, "0.01"),
            (10, "0.1"),
            (683, "6.83"),
            (2935, "29.35"),
            (10_000, "100"),
            (u32::MAX, "42949672.95"),
        ] {
            let value = f64::from(hundredths) / 100.0;
            assert_eq!(encode(0, |to| value.serialize(to)), json);
        }
    }
}
