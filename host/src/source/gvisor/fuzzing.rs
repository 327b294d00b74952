//! The entry points of the fuzzer.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair,
};

use super::Sandbox;
use super::urpc::Sentry;
use crate::snapshot::Snapshot;
use crate::source::Source as _;
use crate::source::scenario::Scenario;

/// Parses a state file of runsc.
pub(in crate::source) fn sandbox(input: &[u8]) {
    let _ = Sandbox::parse(input);
}

/// Reads a sandbox of two containers from a sentry that sends the lines of `input`, one for each call.
pub fn sentry(input: &[u8]) {
    // Packets, since each call reads as much as it can get.
    let (sentry, stream) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair of sockets");
    // An empty packet would be the end.
    let packets = input.split(|byte| *byte == b'\n');
    for packet in packets.filter(|packet| !packet.is_empty()) {
        if send(&sentry, packet, SendFlags::DONTWAIT).is_err() {
            break;
        }
    }
    shutdown(&sentry, Shutdown::Write).expect("it is connected");
    let mut sentry = Sentry::new(UnixStream::from(stream), Duration::from_secs(10));
    let ids = ["pause", "web"].map(str::to_owned);
    let Ok(snapshot) = super::read(&mut sentry, "pause", &ids) else {
        return;
    };
    let shares = snapshot.containers.iter();
    let shares = shares.filter_map(|container| container.stats.as_ref()?.memory.usage.usage);
    let sum: u128 = shares.map(u128::from).sum();
    assert!(sum <= snapshot.memory_usage.unwrap_or(0).into());
    check_line(&snapshot);
}

/// Checks that a snapshot can be recorded and played.
pub(in crate::source) fn check_line(snapshot: &Snapshot) {
    let line = serde_json::to_vec(snapshot).expect("it has a form in JSON");
    let mut played = Scenario::new("file", line, String::new()).expect("it is a scenario");
    let containers = played.containers().expect("it was checked");
    assert_eq!(containers.len(), snapshot.containers.len());
    for container in containers {
        let again = played.snapshot(&container.id).expect("it is listed");
        assert_eq!(*again, *snapshot);
    }
}
