//! The types of the contract, each with the layout that the canonical ABI gives it in memory.
//!
//! So what a host answers is used where it lies, and what a caller gets is handed over as it is: nothing is
//! lifted, lowered or copied, and there is no code for it. What the fields mean stands in `../wit`;
//! a test compares names and layouts with it.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::{slice, str};

/// A `list<T>`: items that lie in a row somewhere in memory.
#[repr(C)]
pub struct List<'a, T> {
    at: *const T,
    len: usize,
    items: PhantomData<&'a [T]>,
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self {
            at: items.as_ptr(),
            len: items.len(),
            items: PhantomData,
        }
    }
}

impl<'a, T> List<'a, T> {
    /// The items.
    pub fn items(self) -> &'a [T] {
        if self.len == 0 {
            // A host may say that nothing lies anywhere.
            return &[];
        }
        // SAFETY: the list was made of a slice that lives as long, or by a host by the rules of the
        // canonical ABI, in memory that nobody else has.
        unsafe { slice::from_raw_parts(self.at, self.len) }
    }
}

impl<T> Deref for List<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.items()
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl<T: PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

/// A `string`.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Text<'a>(List<'a, u8>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl<'a> Text<'a> {
    /// The text.
    pub fn text(self) -> &'a str {
        // SAFETY: it was made of a `str`, or by a host, which the canonical ABI obliges to hand over UTF-8.
        unsafe { str::from_utf8_unchecked(self.0.items()) }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.text()
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

/// An `option<T>`.
#[repr(C, u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Maybe<T> {
    /// `none`
    #[default]
    None,
    /// `some`
    Some(T),
}

impl<T: Copy> Maybe<T> {
    /// The same as Rust has it.
    pub fn get(&self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some(value) => Some(*value),
        }
    }
}

impl<T> From<Option<T>> for Maybe<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Self::Some)
    }
}

/// A `result<T, E>`.
#[repr(C, u8)]
#[derive(Clone, Copy, Debug)]
pub enum Answer<T, E> {
    /// `ok`
    Ok(T),
    /// `err`
    Err(E),
}

impl<T, E> From<Result<T, E>> for Answer<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Err(error),
        }
    }
}

/// The `error` of the interface `events`.
#[repr(C, u8)]
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Error<'a> {
    ContainerNotFound(Text<'a>),
    NoContainer(Text<'a>),
    Unavailable(Text<'a>),
    /// Of other components: this one can do all that the contract has.
    Unsupported(Text<'a>),
}

/// The `error` of the interface `sandbox`.
#[repr(C, u8)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum HostError<'a> {
    ContainerNotFound,
    Unavailable(Text<'a>),
}

/// The `dialect` of the interface `events`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dialect {
    Runsc,
    Runc,
}

impl Dialect {
    /// The case of that number.
    pub fn of(case: u32) -> Self {
        match case {
            0 => Self::Runsc,
            _ => Self::Runc,
        }
    }
}

/// A `tuple<string, T>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Named<'a, T> {
    /// The first field: an ID, or a name.
    pub key: Text<'a>,
    /// The second field.
    pub value: T,
}

/// A record as it lies in memory: its name, its size, and where its fields lie, in bytes.
#[cfg(not(target_family = "wasm"))]
pub type Layout = (&'static str, usize, &'static [(&'static str, usize)]);

macro_rules! records {
    ($($record:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* })*) => {
        $(
            #[doc = concat!("The record `", stringify!($record), "` of the contract.")]
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            #[allow(missing_docs)]
            pub struct $record $(<$life>)? { $(pub $field: $type,)* }
        )*

        /// All records of the contract, for a test.
        #[cfg(not(target_family = "wasm"))]
        pub const LAYOUTS: &[Layout] = &[$((
            stringify!($record),
            size_of::<$record>(),
            &[$((stringify!($field), core::mem::offset_of!($record, $field)),)*],
        ),)*];
    };
}

records! {
    EventOut<'a> {
        id: Text<'a>,
        pids: u64,
        memory: u64,
        container_usage: ContainerCpu<'a>,
    }
    StatsEvent<'a> {
        id: Text<'a>,
        data: Stats<'a>,
    }
    Stats<'a> {
        cpu: Cpu<'a>,
        cpuset: Cpuset<'a>,
        memory: Memory<'a>,
        pids: Pids,
        blkio: Blkio<'a>,
        hugetlb: List<'a, Named<'a, Hugetlb>>,
        intel_rdt: IntelRdt<'a>,
        network_interfaces: List<'a, NetworkInterface<'a>>,
    }
    Cpu<'a> {
        usage: CpuUsage<'a>,
        throttling: Throttling,
        psi: Maybe<Psi>,
    }
    CpuUsage<'a> {
        kernel: Maybe<u64>,
        user: Maybe<u64>,
        total: Maybe<u64>,
        percpu: List<'a, u64>,
        percpu_kernel: List<'a, u64>,
        percpu_user: List<'a, u64>,
    }
    Throttling {
        periods: Maybe<u64>,
        throttled_periods: Maybe<u64>,
        throttled_time: Maybe<u64>,
    }
    Psi {
        some: PsiData,
        full: PsiData,
    }
    PsiData {
        avg10: u32,
        avg60: u32,
        avg300: u32,
        total: u64,
    }
    Cpuset<'a> {
        cpus: List<'a, u16>,
        cpu_exclusive: Maybe<u64>,
        mems: List<'a, u16>,
        mem_hardwall: Maybe<u64>,
        mem_exclusive: Maybe<u64>,
        memory_migrate: Maybe<u64>,
        memory_spread_page: Maybe<u64>,
        memory_spread_slab: Maybe<u64>,
        memory_pressure: Maybe<u64>,
        sched_load_balance: Maybe<u64>,
        sched_relax_domain_level: Maybe<i64>,
    }
    Memory<'a> {
        cache: Maybe<u64>,
        usage: MemoryEntry,
        swap: MemoryEntry,
        kernel: MemoryEntry,
        kernel_tcp: MemoryEntry,
        raw: List<'a, Named<'a, u64>>,
        psi: Maybe<Psi>,
    }
    MemoryEntry {
        limit: Maybe<u64>,
        usage: Maybe<u64>,
        max: Maybe<u64>,
        failcnt: Maybe<u64>,
    }
    Pids {
        current: Maybe<u64>,
        limit: Maybe<u64>,
    }
    Blkio<'a> {
        entries: List<'a, BlkioEntry<'a>>,
        psi: Maybe<Psi>,
    }
    BlkioEntry<'a> {
        major: u64,
        minor: u64,
        op: Text<'a>,
        io_service_bytes: Maybe<u64>,
        io_serviced: Maybe<u64>,
        io_queued: Maybe<u64>,
        io_service_time: Maybe<u64>,
        io_wait_time: Maybe<u64>,
        io_merged: Maybe<u64>,
        io_time: Maybe<u64>,
        sectors: Maybe<u64>,
    }
    Hugetlb {
        usage: Maybe<u64>,
        max: Maybe<u64>,
        failcnt: Maybe<u64>,
    }
    IntelRdt<'a> {
        l3_cache_info: Maybe<L3CacheInfo<'a>>,
        l3_cache_schema_root: Maybe<Text<'a>>,
        l3_cache_schema: Maybe<Text<'a>>,
        mem_bw_info: Maybe<MemBwInfo>,
        mem_bw_schema_root: Maybe<Text<'a>>,
        mem_bw_schema: Maybe<Text<'a>>,
        schemata: List<'a, Text<'a>>,
        mbm_stats: List<'a, MbmStats>,
        cmt_stats: List<'a, CmtStats>,
    }
    L3CacheInfo<'a> {
        cbm_mask: Text<'a>,
        min_cbm_bits: u64,
        num_closids: u64,
    }
    MemBwInfo {
        bandwidth_gran: u64,
        delay_linear: u64,
        min_bandwidth: u64,
        num_closids: u64,
    }
    MbmStats {
        mbm_total_bytes: u64,
        mbm_local_bytes: u64,
    }
    CmtStats {
        llc_occupancy: u64,
    }
    NetworkInterface<'a> {
        name: Text<'a>,
        rx_bytes: u64,
        rx_packets: u64,
        rx_errors: u64,
        rx_dropped: u64,
        tx_bytes: u64,
        tx_packets: u64,
        tx_errors: u64,
        tx_dropped: u64,
    }
    ContainerCpu<'a> {
        containers: Text<'a>,
        usage: List<'a, u64>,
    }
    SandboxUsage<'a> {
        memory: u64,
        container_count: u64,
        root_container: Maybe<Text<'a>>,
        cpu: ContainerCpu<'a>,
    }
}

impl Stats<'_> {
    /// The statistics of which nothing is known.
    pub fn unknown() -> Self {
        // SAFETY: to `Maybe`, zero is `None`; a list of length 0 is never looked at; the rest are numbers.
        unsafe { core::mem::zeroed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_what_is_not_known() {
        assert_eq!(Stats::unknown(), Stats::default());
    }
}
