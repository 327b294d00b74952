//! Rates: what counters did between two views.

use std::time::Duration;

use eventout::NetworkInterface;

use super::{Container, Device};

/// The increase of counters from one reading of a container to the next one, by time. `None` means that it is not known:
/// the container was not there before, a counter is missing, or it fell, since it began again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// The time between the two readings.
    pub(crate) interval: Option<Duration>,
    /// CPU time, in hundredths of a percent of one core.
    pub(crate) cpu: Option<u64>,
    /// The periods of the CPU quota in which it was used up, in hundredths of a percent of those that passed. `None` if
    /// none passed, as where there is no quota.
    pub(crate) throttled: Option<u64>,
    /// Bytes per second from the network, over all interfaces.
    pub(crate) received: Option<u64>,
    /// Bytes per second to the network, over all interfaces.
    pub(crate) transmitted: Option<u64>,
    /// Bytes per second from block devices.
    pub(crate) read: Option<u64>,
    /// Bytes per second to block devices.
    pub(crate) written: Option<u64>,
}

/// All of something, in hundredths of a percent.
const WHOLE: u64 = 10_000;

impl Rates {
    /// Returns the rates of a container between two readings: nothing is known if it is not the same one in both, or no
    /// time has passed.
    pub(crate) fn between(before: &Container, after: &Container) -> Self {
        let interval = after.instant.saturating_duration_since(before.instant);
        if interval.is_zero() || !after.is(before) {
            return Self::default();
        }
        let (old, new) = (&before.usage, &after.usage);
        let nanos = interval.as_nanos();
        let per_second = |bytes: Option<u64>| ratio(bytes?, 1_000_000_000, nanos);
        let interfaces = |bytes: fn(&NetworkInterface) -> u64| {
            let is_same = |a: &NetworkInterface, b: &NetworkInterface| a.name == b.name;
            let sum = sum(&old.interfaces, &new.interfaces, is_same, |i| {
                Some(bytes(i))
            });
            per_second(sum)
        };
        let devices = |bytes: fn(&Device) -> Option<u64>| {
            let number = |device: &Device| (device.major, device.minor);
            let is_same = |a: &Device, b: &Device| number(a) == number(b);
            per_second(sum(&old.devices, &new.devices, is_same, bytes))
        };
        let cpu = increase(old.cpu.total, new.cpu.total);
        let periods = increase(old.cpu.periods, new.cpu.periods);
        let throttled = increase(old.cpu.throttled_periods, new.cpu.throttled_periods);
        Self {
            interval: Some(interval),
            cpu: cpu.and_then(|cpu| ratio(cpu, WHOLE, nanos)),
            throttled: throttled
                .zip(periods.filter(|periods| *periods > 0))
                .and_then(|(throttled, periods)| ratio(throttled, WHOLE, periods.into())),
            received: interfaces(|interface| interface.rx_bytes),
            transmitted: interfaces(|interface| interface.tx_bytes),
            read: devices(|device| device.read_bytes),
            written: devices(|device| device.written_bytes),
        }
    }
}

/// Returns how much a counter rose. `None` if it fell.
fn increase(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after?.checked_sub(before?)
}

/// Returns `count * scale / whole`, to the nearest number. `None` if that is out of range.
fn ratio(count: u64, scale: u64, whole: u128) -> Option<u64> {
    let scaled = u128::from(count) * u128::from(scale);
    u64::try_from((scaled + whole / 2) / whole).ok()
}

/// Returns how much the counters of interfaces or devices rose together. Those that are in one of the lists only count for
/// nothing: what they did in the meantime is not known. `None` if there is no other, or a counter fell.
fn sum<T>(
    before: &[T],
    after: &[T],
    is_same: impl Fn(&T, &T) -> bool,
    value: impl Fn(&T) -> Option<u64>,
) -> Option<u64> {
    let mut total = None;
    for (at, new) in after.iter().enumerate() {
        // The order is the kernel's, and hardly ever changes.
        let old = before.get(at).filter(|old| is_same(old, new));
        let old = old.or_else(|| before.iter().find(|old| is_same(old, new)));
        if let Some((old, new)) = old.and_then(|old| value(old).zip(value(new))) {
            let sum: u64 = total.unwrap_or(0);
            total = Some(sum.checked_add(new.checked_sub(old)?)?);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use eventout::{ContainerInfo, Details};

    use super::super::Usage;
    use super::*;

    /// A container of which nothing is known.
    fn container(instant: Instant) -> Container {
        Container {
            instant,
            info: ContainerInfo {
                id: "web".to_owned(),
                sandbox: "web".to_owned(),
                source: "demo".to_owned(),
            },
            details: Arc::default(),
            usage: Usage::default(),
        }
    }

    /// A container before and after that many milliseconds.
    fn pair(milliseconds: u64) -> (Container, Container) {
        let begin = Instant::now();
        let end = begin + Duration::from_millis(milliseconds);
        (container(begin), container(end))
    }

    fn interface(name: &str, received: u64, transmitted: u64) -> NetworkInterface {
        NetworkInterface {
            name: name.to_owned(),
            rx_bytes: received,
            tx_bytes: transmitted,
            ..NetworkInterface::default()
        }
    }

    fn device(minor: u64, read: u64, written: u64) -> Device {
        Device {
            major: 8,
            minor,
            read_bytes: Some(read),
            written_bytes: Some(written),
            ..Device::default()
        }
    }

    #[test]
    fn cpu_time_is_a_percentage_of_one_core() {
        let (mut before, mut after) = pair(2000);
        for (used, hundredths) in [
            (0, 0),
            (500_000_000, 2500),
            (6_000_000_000, 30_000),
            // 0.005 % is nearest to 0.01 %.
            (100_000, 1),
            (99_999, 0),
        ] {
            before.usage.cpu.total = Some(7);
            after.usage.cpu.total = Some(7 + used);
            let rates = Rates::between(&before, &after);
            assert_eq!(rates.cpu, Some(hundredths), "{used}");
            assert_eq!(rates.interval, Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn a_counter_that_is_missing_or_falls_gives_no_rate() {
        let (mut before, mut after) = pair(1000);
        for (old, new) in [
            (None, None),
            (None, Some(5)),
            (Some(5), None),
            (Some(5), Some(4)),
        ] {
            before.usage.cpu.total = old;
            after.usage.cpu.total = new;
            before.usage.cpu.throttled_periods = old;
            after.usage.cpu.throttled_periods = new;
            before.usage.cpu.periods = Some(0);
            after.usage.cpu.periods = Some(10);
            let rates = Rates::between(&before, &after);
            assert_eq!(
                (rates.cpu, rates.throttled),
                (None, None),
                "{old:?} {new:?}"
            );
        }
        before.usage.interfaces = vec![interface("eth0", 10, 5)];
        after.usage.interfaces = vec![interface("eth0", 20, 4)];
        let rates = Rates::between(&before, &after);
        assert_eq!((rates.received, rates.transmitted), (Some(10), None));
    }

    #[test]
    fn a_container_that_began_again_has_no_rates_yet() {
        let (mut before, mut after) = pair(1000);
        before.usage.cpu.total = Some(1);
        after.usage.cpu.total = Some(2);
        assert_eq!(Rates::between(&before, &after).cpu, Some(0));
        let started = |started| {
            let mut details = Details::default();
            details.started = Some(started);
            Arc::new(details)
        };
        (before.details, after.details) = (started(1), started(2));
        assert_eq!(Rates::between(&before, &after), Rates::default());
        after.details = started(1);
        after.info.id = "db".to_owned();
        assert_eq!(Rates::between(&before, &after), Rates::default());
    }

    #[test]
    fn without_time_in_between_there_are_no_rates() {
        let (mut before, mut after) = pair(0);
        before.usage.cpu.total = Some(1);
        after.usage.cpu.total = Some(u64::MAX);
        assert_eq!(Rates::between(&before, &after), Rates::default());
        // Nor if the clock was read in another order.
        let (before, after) = pair(5);
        assert_eq!(Rates::between(&after, &before), Rates::default());
    }

    #[test]
    fn what_is_out_of_range_is_not_known() {
        let begin = Instant::now();
        let mut before = container(begin);
        let mut after = container(begin + Duration::from_nanos(1));
        before.usage.cpu.total = Some(0);
        after.usage.cpu.total = Some(u64::MAX);
        assert_eq!(Rates::between(&before, &after).cpu, None);
    }

    #[test]
    fn throttling_is_a_part_of_the_periods_that_passed() {
        let (mut before, mut after) = pair(1000);
        for (periods, throttled, hundredths) in [
            (10, 0, Some(0)),
            (10, 3, Some(3000)),
            (3, 2, Some(6667)),
            (0, 0, None),
        ] {
            before.usage.cpu.periods = Some(100);
            before.usage.cpu.throttled_periods = Some(50);
            after.usage.cpu.periods = Some(100 + periods);
            after.usage.cpu.throttled_periods = Some(50 + throttled);
            assert_eq!(Rates::between(&before, &after).throttled, hundredths);
        }
    }

    #[test]
    fn interfaces_and_devices_are_matched_and_summed() {
        let (mut before, mut after) = pair(500);
        before.usage.interfaces = vec![interface("eth0", 100, 10), interface("old", 9, 9)];
        after.usage.interfaces = vec![
            interface("new", 1 << 40, 1 << 40),
            interface("eth0", 150, 10),
            interface("eth1", 1 << 40, 1 << 40),
        ];
        before.usage.devices = vec![device(0, 0, 0), device(16, 1000, 50)];
        after.usage.devices = vec![device(0, 10, 0), device(16, 1020, 50)];
        let rates = Rates::between(&before, &after);
        assert_eq!((rates.received, rates.transmitted), (Some(100), Some(0)));
        assert_eq!((rates.read, rates.written), (Some(60), Some(0)));
        // The first I/O of all is not known yet.
        before.usage.devices.clear();
        let rates = Rates::between(&before, &after);
        assert_eq!((rates.read, rates.written), (None, None));
    }
}
