//! Block I/O.

use super::dir::CgroupDir;
use super::parse::{lines, parse_device, parse_u64};
use crate::bindings::types::BlkioEntry;
use crate::error::Result;

/// The field of an entry that the values of one file belong to.
pub(super) type BlkioField = fn(&mut BlkioEntry) -> &mut Option<u64>;

/// A value of a device and an operation, as v1 lists them.
#[derive(Debug, PartialEq)]
pub(super) struct BlkioValue {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

/// Merges the values of one file into the rows of `entries`, as long as both have the same order, which the
/// kernel's files have.
pub(super) fn merge_rows(
    entries: &mut Vec<BlkioEntry>,
    field: BlkioField,
    values: Vec<BlkioValue>,
) {
    let mut next = 0;
    for value in values {
        let same = |row: &BlkioEntry| {
            (row.major, row.minor, &row.op) == (value.major, value.minor, &value.op)
        };
        let rest = entries.get(next..).unwrap_or_default();
        let at = match rest.iter().position(same) {
            Some(at) => next + at,
            None => {
                entries.push(BlkioEntry {
                    major: value.major,
                    minor: value.minor,
                    op: value.op,
                    ..BlkioEntry::default()
                });
                entries.len() - 1
            }
        };
        *field(&mut entries[at]) = Some(value.value);
        next = at + 1;
    }
}

/// Reads block I/O of v1 from the first group of files that has anything in it: it depends on the I/O
/// scheduler which one does. The order is runc's.
pub(super) fn read_v1(dir: &mut CgroupDir) -> Vec<BlkioEntry> {
    const FIELDS: [(&str, BlkioField); 8] = [
        ("sectors", |row| &mut row.sectors),
        ("io_service_time", |row| &mut row.io_service_time),
        ("io_wait_time", |row| &mut row.io_wait_time),
        ("io_merged", |row| &mut row.io_merged),
        ("io_queued", |row| &mut row.io_queued),
        ("time", |row| &mut row.io_time),
        ("io_serviced", |row| &mut row.io_serviced),
        ("io_service_bytes", |row| &mut row.io_service_bytes),
    ];
    let (all, basic) = (&FIELDS[..], &FIELDS[6..]);
    let mut rows = Vec::new();
    for (prefix, fields, suffix) in [
        ("blkio.bfq", all, "_recursive"),
        ("blkio.bfq", basic, "_recursive"),
        ("blkio", all, "_recursive"),
        ("blkio.throttle", basic, "_recursive"),
        ("blkio.throttle", basic, ""),
    ] {
        // bfq's files come with its module, so their absence is not to be remembered.
        let first = format!("{prefix}.{}{suffix}", fields[0].0);
        if prefix == "blkio.bfq" && !dir.has(&first) {
            continue;
        }
        for (name, field) in fields {
            match dir.read(&format!("{prefix}.{name}{suffix}"), parse_blkio) {
                Some(values) if !values.is_empty() => merge_rows(&mut rows, *field, values),
                // If there is nothing of a cgroup and those below it, there is nothing of it alone.
                Some(_) if prefix == "blkio.throttle" => return rows,
                _ => break,
            }
        }
        if !rows.is_empty() {
            break;
        }
    }
    rows
}

/// Parses a v2 `io.stat`: lines of a device and any number of keys and values. Discarded data is left out, as
/// runc leaves it out.
pub(super) fn io_stat(text: &str) -> Result<Vec<BlkioEntry>> {
    let mut rows = Vec::new();
    for line in lines(text)? {
        // Some kernels print no newline behind a device without values: the last device counts. One without a
        // number, `(unknown)`, cannot be reported.
        let mut device = None;
        let mut values = [None; 4];
        for word in line.split_ascii_whitespace() {
            match word.split_once('=') {
                None => device = parse_device(word),
                Some((key, value)) => {
                    let keys = ["rbytes", "rios", "wbytes", "wios"];
                    if let Some(at) = keys.iter().position(|known| *known == key) {
                        values[at] = parse_u64(value).ok();
                    }
                }
            }
        }
        let Some((major, minor)) = device else {
            continue;
        };
        let [rbytes, rios, wbytes, wios] = values;
        for (op, bytes, requests) in [("Read", rbytes, rios), ("Write", wbytes, wios)] {
            if bytes.or(requests).is_some() {
                rows.push(BlkioEntry {
                    major,
                    minor,
                    op: op.to_owned(),
                    io_service_bytes: bytes,
                    io_serviced: requests,
                    ..BlkioEntry::default()
                });
            }
        }
    }
    Ok(rows)
}

/// Parses a v1 `blkio.*`: lines of a device, often a kind of operation, and a value. Those of a device without
/// a number, `(unknown)`, are skipped, and so is the sum over all devices.
pub(super) fn parse_blkio(text: &str) -> Result<Vec<BlkioValue>> {
    let rows = lines(text)?.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (device, second, third) = (words.next()?, words.next()?, words.next());
        let (op, value) = match third {
            Some(value) => (second, value),
            None => ("", second),
        };
        let (major, minor) = parse_device(device)?;
        words.next().is_none().then_some(BlkioValue {
            major,
            minor,
            op: op.to_owned(),
            value: parse_u64(value).ok()?,
        })
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_order_share_rows() {
        let mut rows = Vec::new();
        for (field, read, write) in [
            ((|row| &mut row.io_serviced) as BlkioField, 1, 2),
            (|row| &mut row.io_service_bytes, 3, 4),
        ] {
            let text = format!("8:0 Read {read}\n8:0 Write {write}\n");
            merge_rows(&mut rows, field, parse_blkio(&text).expect("it is one"));
        }
        let values: Vec<_> = rows
            .iter()
            .map(|row| (row.op.as_str(), row.io_serviced, row.io_service_bytes))
            .collect();
        assert_eq!(
            values,
            [("Read", Some(1), Some(3)), ("Write", Some(2), Some(4))]
        );
    }

    #[test]
    fn block_io_is_reported_by_device_and_operation() {
        let row = |major, minor, op: &str, bytes, requests| BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            io_service_bytes: bytes,
            io_serviced: requests,
            ..BlkioEntry::default()
        };
        let text = "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=7 dios=1\n\
            8:16\n8:0 \n(unknown) rbytes=1\n7:0 cost.usage=5 wbytes=9\n";
        assert_eq!(
            io_stat(text).expect("it is one"),
            [
                row(254, 0, "Read", Some(4096), Some(1)),
                row(254, 0, "Write", Some(0), Some(0)),
                row(7, 0, "Write", Some(9), None),
            ]
        );
        // Only the line or the value that is wrong is left out.
        for broken in [
            "8:x rbytes=1",
            "8:0 rbytes=x",
            ":0 wios=1",
            "rbytes=1",
            "",
            "8:0 rbytes",
        ] {
            let text = format!("{broken}\n7:0 rbytes=x wbytes=9\n{broken}");
            assert_eq!(
                io_stat(&text).expect("it is one"),
                [row(7, 0, "Write", Some(9), None)],
                "{broken:?}"
            );
        }
        assert_eq!(
            io_stat("252:0 253:0 rbytes=1 rios=2\n(unknown) 8:0 (unknown) wbytes=1\n")
                .expect("it is one"),
            [row(253, 0, "Read", Some(1), Some(2))]
        );

        let value = |op: &str, value| BlkioValue {
            major: 8,
            minor: 0,
            op: op.to_owned(),
            value,
        };
        assert_eq!(
            parse_blkio("8:0 Read 5\n(unknown) Read 6\n(unknown) 7\n8:0 Total 5\nTotal 5\n")
                .expect("it is one"),
            [value("Read", 5), value("Total", 5)]
        );
        assert_eq!(parse_blkio("8:0 7\n").expect("it is one"), [value("", 7)]);
        assert_eq!(parse_blkio("Total 0\n").expect("it is empty"), []);
        for broken in ["8:0", "8 Read 5", "8:0 Read x", "8:0 Read 5 6", ""] {
            let text = format!("{broken}\n8:0 7\n{broken}");
            assert_eq!(
                parse_blkio(&text).expect("it is one"),
                [value("", 7)],
                "{broken:?}"
            );
        }
    }
}
