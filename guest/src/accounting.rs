//! gVisor's policy: which share of a sandbox's usage belongs to which container.
//!
//! The rules are those of runsc/boot/events.go (`containerManager.Event`) and
//! runsc/container/container.go (`populateStats`), with the guards against division by zero that
//! gVisor got in October 2023.

use crate::types::{EventOut, Stats, StatsEvent};

/// CPU time of the sandbox's cgroup on the host, in nanoseconds, if it is known.
pub type CgroupCpuUsage = Option<u64>;

/// Facts about a sandbox that hold for all of its containers.
#[derive(Debug)]
pub struct Sandbox {
    /// In bytes. `None` if memory is not accounted.
    memory_usage: Option<u64>,
    container_count: u64,
    /// `None` if there is only one container.
    root_container: Option<String>,
    /// CPU time in nanoseconds of each container that has a live thread group, by ID.
    cpu_usage: Vec<(String, u64)>,
}

impl Sandbox {
    /// Takes the facts as the host reports them: `cpu_usage` in any order, and with an ID more than once,
    /// of which the last value counts.
    pub fn new(
        memory_usage: Option<u64>,
        container_count: u64,
        root_container: Option<String>,
        cpu_usage: Vec<(String, u64)>,
    ) -> Self {
        Self {
            memory_usage,
            container_count,
            root_container,
            cpu_usage: map(cpu_usage),
        }
    }

    /// Returns the event of `container`, which has `pids` live tasks, as `containerManager.Event` does.
    pub fn event(self, container: String, pids: u64) -> EventOut {
        EventOut {
            pids,
            memory: self.memory_share(&container),
            id: container,
            container_usage: self.cpu_usage,
        }
    }

    /// Returns the event that `runsc events` prints. Values in `measured`, which the host measures for
    /// this container alone, need no estimate and stay as they are, each by itself.
    pub fn stats_event(
        &self,
        container: String,
        pids: u64,
        cgroup: CgroupCpuUsage,
        measured: Stats,
    ) -> StatsEvent {
        let mut data = measured;
        data.pids.current.get_or_insert(pids);
        let memory = &mut data.memory.usage.usage;
        *memory = memory.or_else(|| self.memory_share(&container));
        let total = &mut data.cpu.usage.total;
        *total = total.or_else(|| self.cpu_total(&container, cgroup));
        data.memory.raw = map(data.memory.raw);
        data.hugetlb = map(data.hugetlb);
        StatsEvent {
            id: container,
            data,
        }
    }

    /// Returns the container's share of the sandbox's memory, in bytes.
    ///
    /// A single container has all of it, even if it is the root container. Among several, the root
    /// container, which is small and idle, counts as 0, and the others share evenly. The remainder of
    /// the division is dropped.
    fn memory_share(&self, container: &str) -> Option<u64> {
        let total = self.memory_usage?;
        Some(match self.container_count {
            0 | 1 => total,
            _ if self.root_container.as_deref() == Some(container) => 0,
            n => total / (n - 1),
        })
    }

    /// Returns the container's CPU time in nanoseconds, scaled so that all containers together have what the
    /// cgroup has, as `populateStats` does. `wit/events.wit` has the rules.
    ///
    /// gVisor uses floating point because the product of two u64 overflows after seconds, so values above
    /// 2^53 lose their low bits. For NaN and for 2^64 and more, Go's result depends on the machine; here it
    /// is 0 and the largest u64.
    fn cpu_total(&self, container: &str, cgroup: CgroupCpuUsage) -> Option<u64> {
        let listed = self.cpu_usage.len() as u64;
        if listed == 0 {
            return None;
        }
        let position = self
            .cpu_usage
            .binary_search_by(|(id, _)| id.as_str().cmp(container));
        let mine = position.map_or(0, |at| self.cpu_usage[at].1);
        let cgroup = match cgroup {
            None | Some(0) => return Some(mine),
            Some(cgroup) => cgroup,
        };
        let usage = self.cpu_usage.iter().map(|(_, usage)| *usage);
        let (mine, all) = match usage.fold(0, u64::wrapping_add) {
            0 => (cgroup / listed, cgroup),
            all => (mine, all),
        };
        Some((mine as f64 * (cgroup as f64 / all as f64)) as u64)
    }
}

/// Puts `entries` into the order in which Go encodes a map: by the bytes of the keys, each key once, with
/// the value that was set last.
fn map<V>(mut entries: Vec<(String, V)>) -> Vec<(String, V)> {
    // The sort is stable, so entries of one key keep their order.
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            std::mem::swap(next, kept);
        }
        same
    });
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn entries<V: Copy>(entries: &[(&str, V)]) -> Vec<(String, V)> {
        let owned = entries.iter().map(|&(key, value)| (key.to_owned(), value));
        owned.collect()
    }

    fn cpu_total(container: &str, usage: &[(&str, u64)], cgroup: CgroupCpuUsage) -> Option<u64> {
        Sandbox::new(None, 1, None, entries(usage)).cpu_total(container, cgroup)
    }

    #[test]
    fn siblings_share_memory_evenly_and_the_root_among_several_has_none() {
        for (containers, root, total, share) in [
            (1, "other", Some(100), Some(100)),
            (1, "mine", Some(100), Some(100)),
            (2, "mine", Some(100), Some(0)),
            (2, "other", Some(100), Some(100)),
            (4, "other", Some(100), Some(33)),
            (4, "other", Some(2), Some(0)),
            (u64::MAX, "other", Some(u64::MAX), Some(1)),
            // Memory that is not accounted is unknown to every container.
            (1, "mine", None, None),
            (2, "mine", None, None),
            (2, "other", None, None),
        ] {
            let sandbox = Sandbox::new(total, containers, Some(root.to_owned()), Vec::new());
            let found = sandbox.memory_share("mine");
            assert_eq!(found, share, "{containers} {root} {total:?}");
        }
    }

    #[test]
    fn a_map_is_ordered_by_bytes_and_the_last_value_of_a_key_counts() {
        // U+FFEE sorts before an emoji by bytes, and after it by UTF-16.
        let listed = [
            ("b", 1),
            ("\u{1f600}", 2),
            ("b", 3),
            ("\u{ffee}", 4),
            ("", 5),
            ("b", 6),
        ];
        let expected = [("", 5), ("b", 6), ("\u{ffee}", 4), ("\u{1f600}", 2)];
        assert_eq!(map(entries(&listed)), entries(&expected));
    }

    #[test]
    fn a_map_of_any_size_equals_a_b_tree_map() {
        for size in 0..200u64 {
            // Keys in no order (a Weyl sequence), about a third of them more than once.
            let key = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % (1 + size * 2);
            let listed: Vec<_> = (0..size).map(|n| (key(n).to_string(), n)).collect();
            let expected: BTreeMap<_, _> = listed.iter().cloned().collect();
            assert!(map(listed).into_iter().eq(expected), "{size}");
        }
    }

    /// The right-hand sides are what Go 1.19 computes on amd64, except for those that say otherwise.
    #[test]
    fn cpu_time_is_scaled_to_the_cgroup_as_go_does_it() {
        let total = |mine, all: u64, cgroup, containers: usize| {
            let mut usage = vec![("mine", mine)];
            usage.extend(
                ["b", "c", "d"]
                    .map(|id| (id, 0))
                    .iter()
                    .take(containers - 1),
            );
            if let Some(second) = usage.get_mut(1) {
                second.1 = all.wrapping_sub(mine);
            }
            cpu_total("mine", &usage, Some(cgroup))
        };
        assert_eq!(total(0, 0, 10, 3), Some(3));
        assert_eq!(total(1, 3, 10, 3), Some(3));
        let seconds = 16_000_000_000;
        assert_eq!(total(seconds, seconds, seconds, 1), Some(seconds));
        assert_eq!(total(33, 100, 1_000_000_007, 2), Some(330_000_002));
        // What runsc logged for a pod of four.
        assert_eq!(
            total(3_460_000_000, 4_680_000_000, 3_431_366_210, 4),
            Some(2_536_864_762)
        );
        // Floating point drops the low bit of 2^53 + 1.
        let odd = (1 << 53) + 1;
        assert_eq!(total(odd, odd, odd, 1), Some(odd - 1));
        // Go: 2^63, since the product is 2^64.
        assert_eq!(total(u64::MAX, u64::MAX, u64::MAX, 1), Some(u64::MAX));
        // The sum wraps to 0.
        assert_eq!(total(1, 0, 10, 2), Some(5));
    }

    #[test]
    fn without_cpu_time_of_the_cgroup_the_sentrys_counts() {
        let usage = [("a", 1), ("b", 3)];
        assert_eq!(cpu_total("a", &usage, None), Some(1));
        // Go divides 0 by 0 if the sum is 0 too.
        assert_eq!(cpu_total("a", &usage, Some(0)), Some(1));
        assert_eq!(cpu_total("ended", &usage, None), Some(0));
        assert_eq!(cpu_total("ended", &usage, Some(100)), Some(0));
    }

    #[test]
    fn nothing_is_divided_by_the_zero_containers_of_an_empty_list() {
        assert_eq!(cpu_total("created", &[], Some(10)), None);
    }

    #[test]
    fn measured_values_replace_estimates_one_by_one() {
        let usage = entries(&[("a", 1), ("b", 3)]);
        let sandbox = Sandbox::new(Some(90), 4, Some("pause".to_owned()), usage);
        let stats = |measured| {
            sandbox
                .stats_event("a".to_owned(), 2, Some(8), measured)
                .data
        };

        let estimated = stats(Stats::default());
        assert_eq!(estimated.pids.current, Some(2));
        assert_eq!(estimated.memory.usage.usage, Some(30));
        assert_eq!(estimated.cpu.usage.total, Some(2));

        let mut measured = Stats::default();
        measured.memory.usage.usage = Some(0);
        measured.memory.usage.limit = Some(64);
        let event = stats(measured);
        assert_eq!(event.memory.usage.usage, Some(0));
        assert_eq!(event.memory.usage.limit, Some(64));
        assert_eq!(event.cpu.usage.total, Some(2));

        let mut measured = Stats::default();
        measured.cpu.usage.total = Some(7);
        measured.pids.current = Some(3);
        let event = stats(measured);
        assert_eq!(event.cpu.usage.total, Some(7));
        assert_eq!(event.pids.current, Some(3));
        assert_eq!(event.memory.usage.usage, Some(30));
    }
}
