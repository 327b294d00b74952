//! Network interfaces of a process (/proc/PID/net/dev).

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;

use super::file::{LARGEST, read};
use crate::bindings::types::NetworkInterface;

/// Opens the list of the interfaces in the network namespace of a process. `None` if that is the namespace of
/// the machine or of this program.
///
/// The namespaces of other users' processes can only be told apart with `CAP_SYS_PTRACE`.
pub(crate) fn interfaces_of(pid: u32) -> io::Result<Option<File>> {
    let process = pid.to_string();
    let own = namespace(&process)?;
    if ["1", "self"]
        .map(|process| namespace(process).ok())
        .contains(&Some(own))
    {
        return Ok(None);
    }
    File::open(format!("/proc/{process}/net/dev")).map(Some)
}

/// Returns the inode number of the network namespace of a process. `None` if it is unknown.
pub(crate) fn namespace_of(pid: u32) -> Option<u64> {
    let (_, inode) = namespace(&pid.to_string()).ok()?;
    Some(inode)
}

/// Returns the device and the inode of the network namespace of a process.
fn namespace(process: &str) -> io::Result<(u64, u64)> {
    let namespace = fs::metadata(format!("/proc/{process}/ns/net"))?;
    Ok((namespace.dev(), namespace.ino()))
}

/// Reads the interfaces, excluding the loopback interface.
pub(crate) fn read_interfaces(mut file: &File) -> io::Result<Vec<NetworkInterface>> {
    file.rewind()?;
    Ok(interfaces(&read(file, LARGEST)?))
}

/// Parses a /proc/PID/net/dev, excluding the loopback interface. A line that cannot be understood is skipped.
pub(super) fn interfaces(bytes: &[u8]) -> Vec<NetworkInterface> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let rows = lines.filter_map(interface);
    rows.filter(|row| !is_loopback(row)).collect()
}

/// Parses the line of an interface. The two lines of headings are none.
fn interface(line: &[u8]) -> Option<NetworkInterface> {
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let (name, values) = line.split_at(colon);
    let values = str::from_utf8(values.get(1..)?).ok()?;
    let values: Result<Vec<u64>, _> = values.split_ascii_whitespace().map(str::parse).collect();
    let values = values.ok()?;
    // Bytes, packets, errors and drops received, four others, and the same of what was sent.
    let value = |at: usize| values.get(at).copied();
    Some(NetworkInterface {
        // The name can be any bytes, and is the container's choice.
        name: String::from_utf8_lossy(name.trim_ascii_start()).into_owned(),
        rx_bytes: value(0)?,
        rx_packets: value(1)?,
        rx_errors: value(2)?,
        rx_dropped: value(3)?,
        tx_bytes: value(8)?,
        tx_packets: value(9)?,
        tx_errors: value(10)?,
        tx_dropped: value(11)?,
    })
}

/// Returns whether an interface is the loopback interface. Another one may be given that name, but only what
/// loopback sends is what it receives, to the byte.
fn is_loopback(row: &NetworkInterface) -> bool {
    row.name == "lo" && row.rx_bytes == row.tx_bytes && row.rx_packets == row.tx_packets
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn names(text: &[u8]) -> Vec<String> {
        let rows = interfaces(&[HEADINGS.as_bytes(), text].concat());
        rows.into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn interfaces_are_reported_without_the_loopback() {
        let text = HEADINGS.to_owned()
            + "    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0:1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n\
               a:b:  21       2    0    0    0     0          0         0     22       1    0    0    0     0       0          0\n";
        let rows = interfaces(text.as_bytes());
        let values: Vec<_> = rows
            .iter()
            .map(|row| {
                let received = [row.rx_bytes, row.rx_packets, row.rx_errors, row.rx_dropped];
                let sent = [row.tx_bytes, row.tx_packets, row.tx_errors, row.tx_dropped];
                (row.name.as_str(), received, sent)
            })
            .collect();
        assert_eq!(
            values,
            [
                ("eth0", [1, 2, 3, 4], [11, 12, 13, 14]),
                ("a:b", [21, 2, 0, 0], [22, 1, 0, 0]),
            ]
        );
    }

    #[test]
    fn a_line_that_cannot_be_understood_costs_itself() {
        for broken in [
            "x",
            "x: 1 2 3",
            "x: x 2 3 4 5 6 7 8 9 10 11 12",
            "x: 18446744073709551616 2 3 4 5 6 7 8 9 10 11 12",
            "\u{fffd}\0",
            "",
        ] {
            let text = format!("{broken}\neth0: 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18 19\n");
            assert_eq!(names(text.as_bytes()), ["eth0"], "{broken:?}");
        }
    }

    #[test]
    fn an_interface_may_have_any_name() {
        const VALUES: &[u8] = b": 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n";
        let line = |name: &[u8]| [name, VALUES].concat();
        assert_eq!(names(&line(b"\xff")), ["\u{fffd}"]);
        // Traffic does not hide behind the name of the loopback interface.
        assert_eq!(names(&line(b"lo")), ["lo"]);
    }
}
