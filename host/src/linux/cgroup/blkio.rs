//! Block I/O.

use super::dir::Folder;
use super::parse::{device, lines, number};
use crate::bindings::types::BlkioEntry;
use crate::error::{Result, bail};
use crate::text::shorten;

/// The field of an entry that one list has the values of.
pub(crate) type Column = fn(&mut BlkioEntry) -> &mut Option<u64>;

/// A value of a device and an operation, as v1 lists them.
#[derive(Debug, PartialEq)]
pub(crate) struct Account {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) op: String,
    pub(crate) value: u64,
}

/// Puts a list into the rows of `entries`: into those that are there already where both have the same
/// order, which the kernel's lists have.
pub(crate) fn join(entries: &mut Vec<BlkioEntry>, column: Column, list: Vec<Account>) {
    let mut next = 0;
    for account in list {
        let same = |row: &BlkioEntry| {
            (row.major, row.minor, &row.op) == (account.major, account.minor, &account.op)
        };
        let rest = entries.get(next..).unwrap_or_default();
        let at = match rest.iter().position(same) {
            Some(at) => next + at,
            None => {
                entries.push(BlkioEntry {
                    major: account.major,
                    minor: account.minor,
                    op: account.op,
                    ..BlkioEntry::default()
                });
                entries.len() - 1
            }
        };
        *column(&mut entries[at]) = Some(account.value);
        next = at + 1;
    }
}

/// Block I/O by the first group of files that has anything in it: which do, depends on the I/O scheduler. The
/// order is runc's.
pub(super) fn read_v1(folder: &mut Folder) -> Result<Vec<BlkioEntry>> {
    const BYTES: Column = |row| &mut row.io_service_bytes;
    const SERVICED: Column = |row| &mut row.io_serviced;
    const QUEUED: Column = |row| &mut row.io_queued;
    const SERVICE_TIME: Column = |row| &mut row.io_service_time;
    const WAIT_TIME: Column = |row| &mut row.io_wait_time;
    const MERGED: Column = |row| &mut row.io_merged;
    const TIME: Column = |row| &mut row.io_time;
    const SECTORS: Column = |row| &mut row.sectors;
    const GROUPS: [&[(&str, Column)]; 5] = [
        &[
            ("blkio.bfq.sectors_recursive", SECTORS),
            ("blkio.bfq.io_service_time_recursive", SERVICE_TIME),
            ("blkio.bfq.io_wait_time_recursive", WAIT_TIME),
            ("blkio.bfq.io_merged_recursive", MERGED),
            ("blkio.bfq.io_queued_recursive", QUEUED),
            ("blkio.bfq.time_recursive", TIME),
            ("blkio.bfq.io_serviced_recursive", SERVICED),
            ("blkio.bfq.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.bfq.io_serviced_recursive", SERVICED),
            ("blkio.bfq.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.sectors_recursive", SECTORS),
            ("blkio.io_service_time_recursive", SERVICE_TIME),
            ("blkio.io_wait_time_recursive", WAIT_TIME),
            ("blkio.io_merged_recursive", MERGED),
            ("blkio.io_queued_recursive", QUEUED),
            ("blkio.time_recursive", TIME),
            ("blkio.io_serviced_recursive", SERVICED),
            ("blkio.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.throttle.io_serviced_recursive", SERVICED),
            ("blkio.throttle.io_service_bytes_recursive", BYTES),
        ],
        &[
            ("blkio.throttle.io_serviced", SERVICED),
            ("blkio.throttle.io_service_bytes", BYTES),
        ],
    ];
    let mut rows = Vec::new();
    for group in GROUPS {
        for (file, column) in group {
            match folder.get(file, accounts)? {
                Some(accounts) if !accounts.is_empty() => join(&mut rows, *column, accounts),
                // Where nothing is told of a group and those below it, nothing is told of it alone.
                Some(_) if file.starts_with("blkio.throttle.") => return Ok(rows),
                _ => break,
            }
        }
        if !rows.is_empty() {
            break;
        }
    }
    Ok(rows)
}

/// A v2 `io.stat`. Discarded data is left out, as runc leaves it out.
pub(super) fn io_stat(text: &str) -> Result<Vec<BlkioEntry>> {
    let rows = lines(text, |line| {
        let mut words = line.split_ascii_whitespace();
        let Some((name, first)) = words.next().zip(words.next()) else {
            return Ok(Vec::new());
        };
        // Some lines of some kernels begin with something else.
        if name.split(':').count() != 2 {
            return Ok(Vec::new());
        }
        let (major, minor) = device(name)?;
        let row = |op: &str| BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            ..BlkioEntry::default()
        };
        let (mut read, mut write) = (row("Read"), row("Write"));
        for word in [first].into_iter().chain(words) {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let field = match key {
                "rbytes" => &mut read.io_service_bytes,
                "wbytes" => &mut write.io_service_bytes,
                "rios" => &mut read.io_serviced,
                "wios" => &mut write.io_serviced,
                _ => continue,
            };
            *field = Some(number(value)?);
        }
        let told = |row: &BlkioEntry| row.io_service_bytes.or(row.io_serviced).is_some();
        Ok([read, write].into_iter().filter(told).collect())
    });
    let rows: Result<Vec<Vec<_>>> = rows.collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// A v1 `blkio.*`: lines of a device, often a kind of operation, and a figure.
fn accounts(text: &str) -> Result<Vec<Account>> {
    let rows = lines(text, |line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (name, op, value) = match words[..] {
            ["Total", _] => return Ok(None),
            [name, value] => (name, "", value),
            [name, op, value] => (name, op, value),
            _ => bail!(Source, "{} is not a device and a figure", shorten(line)),
        };
        let (major, minor) = device(name)?;
        Ok(Some(Account {
            major,
            minor,
            op: op.to_owned(),
            value: number(value)?,
        }))
    });
    let rows: Result<Vec<Option<_>>> = rows.collect();
    Ok(rows?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_order_share_rows() {
        let list = |ops: &[(&str, u64)]| -> Vec<Account> {
            ops.iter()
                .map(|&(op, value)| Account {
                    major: 8,
                    minor: 0,
                    op: op.to_owned(),
                    value,
                })
                .collect()
        };
        let mut rows = Vec::new();
        join(
            &mut rows,
            |row| &mut row.io_serviced,
            list(&[("Read", 1), ("Write", 2)]),
        );
        join(
            &mut rows,
            |row| &mut row.io_service_bytes,
            list(&[("Read", 3), ("Write", 4)]),
        );
        let figures: Vec<_> = rows
            .iter()
            .map(|row| (row.op.as_str(), row.io_serviced, row.io_service_bytes))
            .collect();
        assert_eq!(
            figures,
            [("Read", Some(1), Some(3)), ("Write", Some(2), Some(4))]
        );
    }

    #[test]
    fn block_io_is_told_by_device_and_kind() {
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
        for broken in ["8:x rbytes=1\n", "8:0 rbytes=x\n", ":0 wios=1\n"] {
            assert!(io_stat(broken).is_err(), "{broken:?}");
        }

        let account = |op: &str, value| Account {
            major: 8,
            minor: 0,
            op: op.to_owned(),
            value,
        };
        assert_eq!(
            accounts("8:0 Read 5\n8:0 Total 5\nTotal 5\n").expect("it is one"),
            [account("Read", 5), account("Total", 5)]
        );
        assert_eq!(accounts("8:0 7\n").expect("it is one"), [account("", 7)]);
        assert_eq!(accounts("Total 0\n").expect("it is empty"), []);
        for broken in [
            "8:0\n",
            "8 Read 5\n",
            "8:0 Read x\n",
            "8:0 Read 5 6\n",
            "\n",
        ] {
            assert!(accounts(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn any_text_is_block_io_or_an_error() {
        let samples = [
            "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
            "8:0 Read 5\n8:0 Total 5\nTotal 5\n",
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (io_stat(text), accounts(text));
        });
    }
}
