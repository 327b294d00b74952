//! The policy: what belongs to which container.
//!
//! gVisor's accounting, as in runsc/boot/events.go (`containerManager.Event`) and
//! runsc/container/container.go (`populateStats`), with the guards against division by zero that gVisor
//! got in October 2023. All functions are pure.

use crate::arena::Room;
use crate::json;
use crate::scan::find;
use crate::types::{ContainerCpu, Error, EventOut, List, Maybe, Named, SandboxUsage, Stats, Text};

/// What the host reports of one sandbox, whichever of its containers it is about, in order.
#[derive(Debug)]
pub struct Sandbox<'a> {
    facts: &'a SandboxUsage<'a>,
    /// The CPU time of each container that has a live thread group, in nanoseconds.
    usage: Room<Named<'a, u64>>,
    /// Whether the host had them in another order, or one of them twice.
    sorted: bool,
    /// The sum of these CPU times, which wraps.
    all: u64,
}

impl<'a> Sandbox<'a> {
    /// Puts it in order.
    ///
    /// # Errors
    ///
    /// `NoContainer`, in gVisor's words, where there is none, and `Unavailable` where what the host reports does
    /// not fit together.
    pub fn new(facts: &'a SandboxUsage<'a>) -> Result<Self, Error<'static>> {
        match (facts.container_count, facts.root_container) {
            (0, _) => Err(Error::NoContainer("no container was found".into())),
            (2.., Maybe::None) => Err(Error::Unavailable(
                "the host's usage names no root container among several".into(),
            )),
            _ => Self::in_order(facts).ok_or(Error::Unavailable(
                "the host's usage has not one figure of CPU time for each ID".into(),
            )),
        }
    }

    /// `None` where there are not as many figures as IDs.
    fn in_order(facts: &'a SandboxUsage<'a>) -> Option<Self> {
        let figures = facts.cpu.usage.items();
        let mut usage = Room::new(figures.len());
        let mut all = 0u64;
        let mut rest = Some(facts.cpu.containers.text());
        if figures.is_empty() {
            rest = rest.filter(|listed| !listed.is_empty());
        }
        for &value in figures {
            let listed = rest?;
            let end = find(listed.as_bytes(), |bytes| bytes.is(0));
            let key = Text::from(listed.get(..end)?);
            usage.push(Named { key, value });
            all = all.wrapping_add(value);
            rest = listed.get(end + 1..);
        }
        if rest.is_some() {
            return None;
        }
        let ordered = map(&usage);
        let sorted = ordered.is_some();
        if let Some(ordered) = ordered {
            let kept = ordered.iter().map(|used| used.value);
            all = kept.fold(0, u64::wrapping_add);
            usage = ordered;
        }
        Some(Self {
            facts,
            usage,
            sorted,
            all,
        })
    }

    /// The CPU time of a container. 0 where it is not listed.
    fn usage_of(&self, container: &str) -> u64 {
        let wanted = rank(container);
        let found = self
            .usage
            .binary_search_by(|used| rank(&used.key).cmp(&wanted));
        found
            .ok()
            .and_then(|at| self.usage.get(at))
            .map_or(0, |used| used.value)
    }
}

/// Makes of `listed` what a Go map is once it is encoded: ordered by the bytes of the keys, each key
/// once, with its last figure. `None` where it is that already.
fn map<'a, V: Copy>(listed: &[Named<'a, V>]) -> Option<Room<Named<'a, V>>> {
    let mut before = None;
    let in_order = listed.iter().all(|entry| {
        let now = rank(entry.key.text());
        before.replace(now).is_none_or(|before| before < now)
    });
    if in_order {
        return None;
    }
    let mut keys = Room::new(listed.len());
    for entry in listed {
        keys.push(entry.key.text());
    }
    let order = order(&keys);
    let mut kept = Room::new(order.len());
    for at in order.iter() {
        kept.push(*listed.get(*at)?);
    }
    Some(kept)
}

/// The same of what a host answered.
fn sort<V: Copy>(listed: &mut List<'_, Named<'_, V>>) {
    if let Some(sorted) = map(listed) {
        // It lives as long as the answer that it is part of. In the component, that is until the next call,
        // with which all memory is free again.
        *listed = List::from(&*sorted.leak());
    }
}

/// The places of those of `keys` that a map keeps, in its order.
///
/// It is a merge sort from the bottom up, a tenth of the code of the sort in `alloc`, and mostly compares
/// numbers.
#[inline(never)]
fn order(keys: &[&str]) -> Room<usize> {
    /// What [`first`] makes of a key, and the key's place.
    type Item = (u64, usize);
    let mut items = Room::new(keys.len());
    for (at, key) in keys.iter().enumerate() {
        items.push((first(key), at));
    }
    let in_order = |a: &Item, b: &Item| match a.0 == b.0 {
        true => keys.get(a.1) <= keys.get(b.1),
        false => a.0 < b.0,
    };
    let mut merged = Room::new(keys.len());
    let mut width = 1;
    while width < keys.len() {
        for pair in items.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            // Of those with one key, the left one stands to the left.
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
            merged.extend(left);
            merged.extend(right);
        }
        core::mem::swap(&mut items, &mut merged);
        merged.clear();
        width *= 2;
    }
    let mut kept: Room<usize> = Room::new(keys.len());
    for &(_, at) in items.iter() {
        match kept.last_mut() {
            // The last of those with one key comes last among them.
            Some(last) if keys.get(*last) == keys.get(at) => *last = at,
            _ => kept.push(at),
        }
    }
    kept
}

/// The first eight bytes of a key, as a number of the same order.
fn first(key: &str) -> u64 {
    match key.as_bytes().first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => short(key),
    }
}

/// The same of a key of less than eight bytes.
#[cold]
#[inline(never)]
fn short(key: &str) -> u64 {
    let mut first = 0;
    for at in 0..8 {
        let byte = key.as_bytes().get(at).copied();
        first = first << 8 | u64::from(byte.unwrap_or(0));
    }
    first
}

/// What orders keys by their bytes. Most are told apart by the first eight.
fn rank(key: &str) -> (u64, &str) {
    (first(key), key)
}

/// What `containerManager.Event` finds out of a container.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The ID of the container.
    pub id: &'a str,
    /// Its live tasks.
    pub pids: u64,
    /// Its part of the sandbox's memory, in bytes.
    pub memory: u64,
    sandbox: &'a Sandbox<'a>,
}

impl<'a> Event<'a> {
    /// The event of a container with so many live tasks.
    pub fn new(container: &'a str, pids: u64, sandbox: &'a Sandbox<'a>) -> Self {
        Self {
            id: container,
            pids,
            memory: memory_share(container, sandbox.facts),
            sandbox,
        }
    }

    /// The CPU time of each container that has a live thread group, in nanoseconds, as a map has it.
    pub fn usage(&self) -> &'a [Named<'a, u64>] {
        &self.sandbox.usage
    }

    /// The same as the contract has it. Where the host listed the containers in order, it is the host's own text.
    pub fn out(&self) -> EventOut<'a> {
        let mut cpu = self.sandbox.facts.cpu;
        if self.sandbox.sorted {
            // They live as long as the answer that they are part of: see `sort`.
            let containers = json::joined(self.usage(), cpu.containers.len()).leak();
            let mut usage = Room::new(cpu.usage.len());
            for used in self.usage() {
                usage.push(used.value);
            }
            cpu = ContainerCpu {
                containers: Text::from(containers),
                usage: List::from(&*usage.leak()),
            };
        }
        EventOut {
            id: self.id.into(),
            pids: self.pids,
            memory: self.memory,
            container_usage: cpu,
        }
    }
}

/// Makes of `data`, what the host measures for this container alone, the data of the event that `runsc
/// events` prints: the rest is that of the event, with the CPU total of `populateStats`.
///
/// A figure of the container alone needs no estimate, so the host's figures stand, each for itself.
pub fn complete(
    data: &mut Stats<'_>,
    container: &str,
    pids: u64,
    sandbox: &Sandbox<'_>,
    cgroup: Option<u64>,
) {
    sort(&mut data.memory.raw);
    sort(&mut data.hugetlb);
    let current = &mut data.pids.current;
    *current = current.get().or(Some(pids)).into();
    let memory = &mut data.memory.usage.usage;
    if memory.get().is_none() {
        *memory = Some(memory_share(container, sandbox.facts)).into();
    }
    let total = &mut data.cpu.usage.total;
    if total.get().is_none() {
        *total = cpu_total(container, sandbox, cgroup).into();
    }
}

/// A container's part of the sandbox's memory, in bytes.
///
/// A single container has it all, even if it is the root. Among several, the root container is small
/// and idle and counts as zero; the others share evenly. The remainder of the division is dropped,
/// as gVisor drops it.
fn memory_share(container: &str, sandbox: &SandboxUsage<'_>) -> u64 {
    match sandbox.container_count {
        0 | 1 => sandbox.memory,
        _ if sandbox.root_container == Maybe::Some(container.into()) => 0,
        n => sandbox.memory / (n - 1),
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
    use alloc::borrow::ToOwned as _;
    use alloc::string::String;
    use alloc::string::ToString as _;
    use alloc::vec;
    use alloc::vec::Vec;

    /// What a host lists. Tests don't mind that it is never freed.
    fn used<S: AsRef<str>>(listed: &[(S, u64)]) -> SandboxUsage<'static> {
        let ids: Vec<_> = listed.iter().map(|(id, _)| id.as_ref()).collect();
        let usage: Vec<_> = listed.iter().map(|&(_, ns)| ns).collect();
        SandboxUsage {
            container_count: 1,
            cpu: ContainerCpu {
                containers: Text::from(&*ids.join("\0").leak()),
                usage: List::from(&*usage.leak()),
            },
            ..SandboxUsage::default()
        }
    }

    fn sandbox<'a>(facts: &'a SandboxUsage<'_>) -> Sandbox<'a> {
        Sandbox::new(facts).expect("one figure for each")
    }

    fn pairs(usage: &[Named<'_, u64>]) -> Vec<(String, u64)> {
        let pair = |used: &Named<'_, u64>| (used.key.text().to_owned(), used.value);
        usage.iter().map(pair).collect()
    }

    fn share(containers: u64, is_root: bool, memory: u64) -> u64 {
        let root = if is_root { "mine" } else { "other" };
        let facts = SandboxUsage {
            memory,
            container_count: containers,
            root_container: Maybe::Some(root.into()),
            ..SandboxUsage::default()
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
        let expected = [("", 5), ("b", 6), ("\u{ffee}", 4), ("\u{1f600}", 2)];
        let expected = expected.map(|(id, ns)| (id.to_owned(), ns));
        let seen = sandbox(&seen);
        assert_eq!(pairs(&seen.usage), expected);
        let out = Event::new("b", 1, &seen).out().container_usage;
        assert_eq!(out.containers.text(), "\0b\0\u{ffee}\0\u{1f600}");
        assert_eq!(out.usage[..], [5, 6, 4, 2]);
    }

    #[test]
    fn what_is_in_order_is_handed_on_as_it_is() {
        // The second two are told apart by what comes behind eight bytes.
        for listed in [
            &["a", "b"][..],
            &["", "container-a", "container-b"],
            &[""],
            &[],
        ] {
            let listed: Vec<_> = listed.iter().zip(7..).collect();
            let facts = used(&listed);
            let seen = sandbox(&facts);
            let out = Event::new("b", 1, &seen).out().container_usage;
            assert_eq!(out.containers.as_ptr(), facts.cpu.containers.as_ptr());
            assert_eq!(out, facts.cpu);
        }
    }

    #[test]
    fn each_id_has_one_figure_or_there_is_no_answer() {
        let listed = |listed: &str, figures: u64| {
            let usage: Vec<_> = (1..=figures).collect();
            let facts = SandboxUsage {
                container_count: 1,
                cpu: ContainerCpu {
                    containers: listed.into(),
                    usage: List::from(&usage[..]),
                },
                ..SandboxUsage::default()
            };
            Some(pairs(&Sandbox::new(&facts).ok()?.usage))
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
            let seen = used(&listed);
            let usage = pairs(&sandbox(&seen).usage);
            assert!(usage.into_iter().eq(ordered), "{size}");
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
            cpu_total("created", &sandbox(&used::<&str>(&[])), Some(10)),
            None
        );
    }

    #[test]
    fn what_the_host_measured_takes_the_place_of_an_estimate() {
        let seen = SandboxUsage {
            memory: 90,
            container_count: 4,
            root_container: Maybe::Some("pause".into()),
            ..used(&[("a", 1), ("b", 3)])
        };
        let seen = sandbox(&seen);
        let complete = |mut data| {
            complete(&mut data, "a", 2, &seen, Some(8));
            data
        };
        let estimated = complete(Stats::default());
        assert_eq!(estimated.pids.current, Maybe::Some(2));
        assert_eq!(estimated.memory.usage.usage, Maybe::Some(30));
        assert_eq!(estimated.cpu.usage.total, Maybe::Some(2));

        let mut own = Stats::default();
        own.memory.usage.usage = Maybe::Some(0);
        own.memory.usage.limit = Maybe::Some(64);
        let measured = complete(own);
        assert_eq!(measured.memory.usage.usage, Maybe::Some(0));
        assert_eq!(measured.memory.usage.limit, Maybe::Some(64));
        assert_eq!(measured.cpu.usage.total, Maybe::Some(2));

        let mut own = Stats::default();
        own.cpu.usage.total = Maybe::Some(7);
        own.pids.current = Maybe::Some(3);
        let measured = complete(own);
        assert_eq!(measured.cpu.usage.total, Maybe::Some(7));
        assert_eq!(measured.pids.current, Maybe::Some(3));
        assert_eq!(measured.memory.usage.usage, Maybe::Some(30));
    }
}
