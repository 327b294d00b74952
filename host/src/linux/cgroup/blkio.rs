//! Block I/O.

use crate::bindings::types::BlkioEntry;

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
}
