//! The accounting: what a host observed in, an event out.
//!
//! Pure. The rules are those of gVisor's `containerManager.Event` (runsc/boot/events.go) and
//! `Container.populateStats` (runsc/container/container.go).

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use core::mem::take;

use crate::types::{EventOut, Stats};

/// What the host reports of one sandbox, whichever of its containers it is about.
#[derive(Debug, Default)]
pub struct Facts {
    /// Its memory, in bytes.
    pub memory: u64,
    /// The number of its containers, root container included.
    pub containers: u64,
    /// The root container among several. Nobody asks where there is one.
    pub root: Option<String>,
    /// The IDs of the containers that have a live thread group, with a NUL between each and the next.
    pub listed: String,
    /// The CPU time of each of them, in nanoseconds.
    pub usage: Vec<u64>,
}

/// The same, in order.
#[derive(Debug)]
pub struct Sandbox<'a> {
    facts: &'a Facts,
    /// The CPU time of each container that has a live thread group, in nanoseconds.
    usage: Vec<(&'a str, u64)>,
    /// The sum of that, which wraps.
    all: u64,
}

impl<'a> Sandbox<'a> {
    /// `None` where there are not as many figures as IDs.
    pub fn new(facts: &'a Facts) -> Option<Self> {
        let mut usage = Vec::with_capacity(facts.usage.len());
        let mut rest = Some(facts.listed.as_str());
        if facts.usage.is_empty() {
            rest = rest.filter(|listed| !listed.is_empty());
        }
        for &ns in &facts.usage {
            let listed = rest?;
            let (id, behind) = match listed.find('\0') {
                Some(end) => (listed.get(..end)?, listed.get(end + 1..)),
                None => (listed, None),
            };
            usage.push((id, ns));
            rest = behind;
        }
        if rest.is_some() {
            return None;
        }
        let usage = map(usage);
        let all = usage
            .iter()
            .fold(0u64, |all, (_, ns)| all.wrapping_add(*ns));
        Some(Self { facts, usage, all })
    }

    /// The CPU time of a container. 0 where it is not listed.
    fn usage_of(&self, container: &str) -> u64 {
        let found = self.usage.binary_search_by(|(id, _)| (*id).cmp(container));
        found
            .ok()
            .and_then(|at| self.usage.get(at))
            .map_or(0, |&(_, ns)| ns)
    }
}

/// Makes of `listed` what a Go map is once it is encoded: ordered by the bytes of the keys, each key
/// once, with its last figure.
pub fn map<K: AsRef<str>, V>(listed: Vec<(K, V)>) -> Vec<(K, V)> {
    let keys: Vec<&str> = listed.iter().map(|(key, _)| key.as_ref()).collect();
    let Some(order) = rearranged(&keys) else {
        return listed;
    };
    let mut listed: Vec<_> = listed.into_iter().map(Some).collect();
    let taken = order.into_iter().map(|at| listed.get_mut(at)?.take());
    taken.flatten().collect()
}

/// The places of the keys that a map keeps, in its order. `None` where that is all of them as they stand.
#[inline(never)]
fn rearranged(keys: &[&str]) -> Option<Vec<usize>> {
    if keys.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut order = order(keys);
    // The last of those with one key comes last among them.
    let mut next = order.clone().into_iter().skip(1);
    order.retain(|&at| {
        next.next()
            .is_none_or(|next| keys.get(at) != keys.get(next))
    });
    Some(order)
}

/// The places of `keys` in the order of their bytes, equal ones in the order in which they stand: a merge
/// sort from the bottom up. It is a tenth of the code of the sort in `alloc`, and mostly compares numbers.
fn order(keys: &[&str]) -> Vec<usize> {
    /// The first eight bytes of a key, as a number of the same order, and the key's place.
    type Item = (u64, usize);
    let first = |key: &str| {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(key.bytes()) {
            *to = from;
        }
        u64::from_be_bytes(first)
    };
    let in_order = |a: &Item, b: &Item| match a.0 == b.0 {
        true => keys.get(a.1) <= keys.get(b.1),
        false => a.0 < b.0,
    };
    let mut order: Vec<Item> = keys.iter().map(|key| first(key)).zip(0..).collect();
    let mut merged = Vec::with_capacity(keys.len());
    let mut width = 1;
    while width < keys.len() {
        for pair in order.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some((a, lefts)), Some((b, rights))) =
                (left.split_first(), right.split_first())
            {
                if in_order(a, b) {
                    merged.push(*a);
                    left = lefts;
                } else {
                    merged.push(*b);
                    right = rights;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        core::mem::swap(&mut order, &mut merged);
        merged.clear();
        width *= 2;
    }
    order.into_iter().map(|(_, at)| at).collect()
}

/// `containerManager.Event` of a container with so many live tasks.
pub fn event<'a>(container: &'a str, pids: u64, sandbox: Sandbox<'a>) -> Event<'a> {
    Event {
        id: container,
        pids,
        memory: memory_share(container, sandbox.facts),
        container_usage: sandbox.usage,
    }
}

/// An [`EventOut`] whose texts are still where the host's answers are.
#[derive(Debug)]
pub struct Event<'a> {
    /// The ID of the container.
    pub id: &'a str,
    /// Its live tasks.
    pub pids: u64,
    /// Its part of the sandbox's memory, in bytes.
    pub memory: u64,
    /// The CPU time of each container of the sandbox, in nanoseconds, ordered by the bytes of the ID.
    pub container_usage: Vec<(&'a str, u64)>,
}

impl From<Event<'_>> for EventOut {
    fn from(event: Event<'_>) -> Self {
        let usage = event.container_usage.into_iter();
        Self {
            id: event.id.to_owned(),
            pids: event.pids,
            memory: event.memory,
            container_usage: usage.map(|(id, ns)| (id.to_owned(), ns)).collect(),
        }
    }
}

/// Makes of `data`, what the host measures for this container alone, the data of the event that `runsc
/// events` prints: the rest is that of the event, with the CPU total of `populateStats`.
///
/// `cgroup` is the CPU time of the sandbox by the account of the host's cgroup, in nanoseconds.
pub fn complete(
    data: &mut Stats,
    container: &str,
    pids: u64,
    sandbox: &Sandbox<'_>,
    cgroup: Option<u64>,
) {
    data.memory.raw = map(take(&mut data.memory.raw));
    data.hugetlb = map(take(&mut data.hugetlb));
    data.pids.current.get_or_insert(pids);
    let memory = &mut data.memory.usage.usage;
    memory.get_or_insert_with(|| memory_share(container, sandbox.facts));
    let total = &mut data.cpu.usage.total;
    *total = total.or_else(|| cpu_total(container, sandbox, cgroup));
}

/// The container's share of the sandbox's memory, in bytes.
///
/// A single container has it all, even if it is the root. Among several, the root container is small
/// and idle and counts as zero; the others share evenly. The remainder of the division is dropped,
/// as gVisor drops it.
fn memory_share(container: &str, sandbox: &Facts) -> u64 {
    match sandbox.containers {
        0 | 1 => sandbox.memory,
        _ if sandbox.root.as_deref() == Some(container) => 0,
        several => sandbox.memory / (several - 1),
    }
}

/// `populateStats`: the container's CPU time in nanoseconds, scaled to what the host's cgroup says of
/// the whole sandbox. The rules, and what differs from Go, stand in `wit/events.wit`.
///
/// Floats, since the product of two u64 overflows after seconds: gVisor does the same, so figures
/// above 2^53 lose their low bits. In Go, what becomes of NaN or of 2^64 and more is up to the
/// machine; here it is 0 and the largest u64.
fn cpu_total(container: &str, sandbox: &Sandbox<'_>, cgroup: Option<u64>) -> Option<u64> {
    let listed = sandbox.usage.len() as u64;
    if listed == 0 {
        return None;
    }
    let mine = sandbox.usage_of(container);
    let cgroup = match cgroup {
        None | Some(0) => return Some(mine),
        Some(cgroup) => cgroup,
    };
    let (mine, all) = match sandbox.all {
        0 => (cgroup / listed, cgroup),
        all => (mine, all),
    };
    Some((mine as f64 * (cgroup as f64 / all as f64)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    fn used<S: AsRef<str>>(listed: &[(S, u64)]) -> Facts {
        let ids: Vec<_> = listed.iter().map(|(id, _)| id.as_ref()).collect();
        Facts {
            containers: 1,
            listed: ids.join("\0"),
            usage: listed.iter().map(|&(_, ns)| ns).collect(),
            ..Facts::default()
        }
    }

    fn sandbox(facts: &Facts) -> Sandbox<'_> {
        Sandbox::new(facts).expect("one figure for each")
    }

    fn share(containers: u64, is_root: bool, memory: u64) -> u64 {
        let root = if is_root { "mine" } else { "other" };
        let root = (containers > 1).then(|| root.to_owned());
        let facts = Facts {
            memory,
            containers,
            root,
            ..Facts::default()
        };
        memory_share("mine", &facts)
    }

    #[test]
    fn a_single_container_has_all_memory() {
        assert_eq!(share(1, false, 100), 100);
        assert_eq!(share(1, true, 100), 100);
    }

    #[test]
    fn the_root_container_among_several_has_no_memory() {
        assert_eq!(share(2, true, 100), 0);
    }

    #[test]
    fn siblings_split_memory_evenly_dropping_the_remainder() {
        assert_eq!(share(2, false, 100), 100);
        assert_eq!(share(4, false, 100), 33);
        assert_eq!(share(4, false, 2), 0);
        assert_eq!(share(u64::MAX, false, u64::MAX), 1);
    }

    #[test]
    fn a_map_is_ordered_by_bytes_and_the_last_figure_of_a_key_counts() {
        // U+FFEE sorts before an emoji by bytes, and after it by UTF-16.
        let seen = used(&[
            ("b", 1),
            ("\u{1f600}", 2),
            ("b", 3),
            ("\u{ffee}", 4),
            ("", 5),
            ("b", 6),
        ]);
        let seen = sandbox(&seen).usage;
        assert_eq!(seen, [("", 5), ("b", 6), ("\u{ffee}", 4), ("\u{1f600}", 2)]);
    }

    #[test]
    fn each_id_has_one_figure_or_there_is_no_answer() {
        let listed = |listed: &str, figures: u64| {
            let facts = Facts {
                listed: listed.into(),
                usage: (1..=figures).collect(),
                ..Facts::default()
            };
            let listed = Sandbox::new(&facts)?.usage.into_iter();
            Some(listed.map(|(id, ns)| (id.to_owned(), ns)).collect())
        };
        let of = |listed: &[(&str, u64)]| -> Option<Vec<_>> {
            Some(listed.iter().map(|&(id, ns)| (id.to_owned(), ns)).collect())
        };
        assert_eq!(listed("", 0), of(&[]));
        assert_eq!(listed("a", 1), of(&[("a", 1)]));
        assert_eq!(listed("a\0é", 2), of(&[("a", 1), ("é", 2)]));
        // An empty ID is one too.
        assert_eq!(listed("", 1), of(&[("", 1)]));
        assert_eq!(listed("\0b", 2), of(&[("", 1), ("b", 2)]));
        for (ids, figures) in [
            ("", 2),
            ("a", 0),
            ("a", 2),
            ("a\0", 1),
            ("a\0b", 1),
            ("a\0b", 3),
        ] {
            assert_eq!(listed(ids, figures), None, "{ids:?} {figures}");
        }
    }

    #[test]
    fn a_map_of_any_size_is_what_an_ordered_map_is() {
        // A fixed sequence without a pattern (xorshift).
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for size in (0..70).chain([1000, 1024, 1025]) {
            let listed: Vec<(String, u64)> = (0..size)
                .map(|at| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    ((seed % (1 + size)).to_string(), at)
                })
                .collect();
            let ordered: std::collections::BTreeMap<_, _> = listed.iter().cloned().collect();
            assert!(map(listed).into_iter().eq(ordered), "{size}");
        }
    }

    /// The right-hand sides are what Go 1.19 computes on amd64, but for those said to differ.
    #[test]
    fn cpu_is_scaled_to_the_cgroup_as_go_does_it() {
        let total = |mine, all: u64, cgroup, containers: usize| {
            let mut listed = vec![("mine".to_owned(), mine)];
            listed.extend((1..containers).map(|n| (n.to_string(), 0)));
            if containers > 1 {
                listed[1].1 = all.wrapping_sub(mine);
            }
            cpu_total("mine", &sandbox(&used(&listed)), cgroup)
        };
        assert_eq!(total(0, 0, Some(10), 3), Some(3));
        assert_eq!(total(1, 3, Some(10), 3), Some(3));
        assert_eq!(
            total(16_000_000_000, 16_000_000_000, Some(16_000_000_000), 1),
            Some(16_000_000_000)
        );
        assert_eq!(total(33, 100, Some(1_000_000_007), 2), Some(330_000_002));
        // What runsc itself logged for a pod of four.
        assert_eq!(
            total(3_460_000_000, 4_680_000_000, Some(3_431_366_210), 4),
            Some(2_536_864_762)
        );
        // Floats lose the low bit of 2^53 + 1.
        let odd = (1 << 53) + 1;
        assert_eq!(total(odd, odd, Some(odd), 1), Some(odd - 1));
        // Go: 2^63, since the product is 2^64.
        assert_eq!(total(u64::MAX, u64::MAX, Some(u64::MAX), 1), Some(u64::MAX));
        // The sum wraps to 0.
        assert_eq!(total(1, 0, Some(10), 2), Some(5));
    }

    #[test]
    fn without_a_figure_of_the_cgroup_cpu_is_the_sentrys() {
        let seen = used(&[("a", 1), ("b", 3)]);
        let seen = sandbox(&seen);
        assert_eq!(cpu_total("a", &seen, None), Some(1));
        // Go divides 0 by 0 where the sum is 0 too.
        assert_eq!(cpu_total("a", &seen, Some(0)), Some(1));
        assert_eq!(cpu_total("ended", &seen, None), Some(0));
        assert_eq!(cpu_total("ended", &seen, Some(100)), Some(0));
    }

    #[test]
    fn nothing_is_divided_by_the_zero_containers_of_an_empty_list() {
        assert_eq!(
            cpu_total("created", &sandbox(&Facts::default()), Some(10)),
            None
        );
    }

    #[test]
    fn what_the_host_measured_takes_the_place_of_an_estimate() {
        let seen = Facts {
            memory: 90,
            containers: 4,
            root: Some("pause".into()),
            ..used(&[("a", 1), ("b", 3)])
        };
        let seen = sandbox(&seen);
        let complete = |mut data| {
            complete(&mut data, "a", 2, &seen, Some(8));
            data
        };
        let estimated = complete(Stats::default());
        assert_eq!(estimated.pids.current, Some(2));
        assert_eq!(estimated.memory.usage.usage, Some(30));
        assert_eq!(estimated.cpu.usage.total, Some(2));

        let mut own = Stats::default();
        own.memory.usage.usage = Some(0);
        own.memory.usage.limit = Some(64);
        let measured = complete(own);
        assert_eq!(measured.memory.usage.usage, Some(0));
        assert_eq!(measured.memory.usage.limit, Some(64));
        assert_eq!(measured.cpu.usage.total, Some(2));

        let mut own = Stats::default();
        own.cpu.usage.total = Some(7);
        own.pids.current = Some(3);
        let measured = complete(own);
        assert_eq!(measured.cpu.usage.total, Some(7));
        assert_eq!(measured.pids.current, Some(3));
        assert_eq!(measured.memory.usage.usage, Some(30));
    }
}
