//! Network interfaces of a process (/proc/PID/net/dev).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::bindings::types::NetworkInterface;
use crate::error::{Result, bail, error};
use crate::text::shorten;

/// The interfaces in the network namespace of a process. `None` where that is the namespace of the machine
/// or of this program, or can't be told.
pub(crate) fn interfaces_of(pid: u32) -> Option<File> {
    let namespace = |process: &str| {
        let namespace = fs::metadata(format!("/proc/{process}/ns/net")).ok()?;
        Some((namespace.dev(), namespace.ino()))
    };
    let process = pid.to_string();
    let own = namespace(&process)?;
    let shared = ["1", "self"].map(namespace).contains(&Some(own));
    let file = File::open(format!("/proc/{process}/net/dev")).ok()?;
    (!shared).then_some(file)
}

pub(crate) fn read_interfaces(file: &File) -> Result<Vec<NetworkInterface>> {
    const LIMIT: usize = 1 << 20;
    /// The kernel ends a reading between two lines, where the next one could be too long for its page.
    const PAGE: usize = 4096;
    const LONGEST: usize = 512;
    let mut bytes = vec![0; PAGE];
    let mut len = 0;
    loop {
        let more = file.read_at(&mut bytes[len..], len as u64)?;
        len += more;
        if more < PAGE - LONGEST {
            break;
        }
        if len > LIMIT {
            bail!(Source, "it is larger than {LIMIT} bytes");
        }
        bytes.resize(len + PAGE, 0);
    }
    interfaces(str::from_utf8(&bytes[..len]).map_err(io::Error::other)?)
}

/// The interfaces in a /proc/PID/net/dev, but for the loopback interface.
fn interfaces(text: &str) -> Result<Vec<NetworkInterface>> {
    // Two lines of headings.
    let rows = (1..).zip(text.lines()).skip(2).map(|(at, line)| {
        let row = || -> Option<NetworkInterface> {
            let (name, figures) = line.rsplit_once(':')?;
            let figures: Result<Vec<u64>, _> =
                figures.split_ascii_whitespace().map(str::parse).collect();
            let figures = figures.ok()?;
            // Bytes, packets, errors and drops received, four others, and the same sent.
            let figure = |at: usize| figures.get(at).copied();
            Some(NetworkInterface {
                name: name.trim_ascii_start().to_owned(),
                rx_bytes: figure(0)?,
                rx_packets: figure(1)?,
                rx_errors: figure(2)?,
                rx_dropped: figure(3)?,
                tx_bytes: figure(8)?,
                tx_packets: figure(9)?,
                tx_errors: figure(10)?,
                tx_dropped: figure(11)?,
            })
        };
        row().ok_or_else(|| {
            error!(
                Source,
                "line {at}: {} is not an interface and its figures",
                shorten(line)
            )
        })
    });
    let rows: Result<Vec<_>> = rows.collect();
    Ok(rows?.into_iter().filter(|row| row.name != "lo").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_told_but_for_the_loopback() {
        const HEADINGS: &str = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
        let text = HEADINGS.to_owned()
            + "    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0:1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n\
               a:b:  21       2    0    0    0     0          0         0     22       1    0    0    0     0       0          0\n";
        let rows = interfaces(&text).expect("it is one");
        let figures: Vec<_> = rows
            .iter()
            .map(|row| {
                let received = [row.rx_bytes, row.rx_packets, row.rx_errors, row.rx_dropped];
                let sent = [row.tx_bytes, row.tx_packets, row.tx_errors, row.tx_dropped];
                (row.name.as_str(), received, sent)
            })
            .collect();
        assert_eq!(
            figures,
            [
                ("eth0", [1, 2, 3, 4], [11, 12, 13, 14]),
                ("a:b", [21, 2, 0, 0], [22, 1, 0, 0]),
            ]
        );
        for broken in [
            "eth0\n",
            "eth0: 1 2 3\n",
            "eth0: x 2 3 4 5 6 7 8 9 10 11 12\n",
        ] {
            let error = interfaces(&(HEADINGS.to_owned() + broken)).expect_err(broken);
            assert!(error.to_string().starts_with("line 3: "), "{error}");
        }
        crate::fuzz::survives_anything(&[&text], |text| drop(interfaces(text)));
    }
}
