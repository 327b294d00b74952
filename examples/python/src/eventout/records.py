"""The records of the contract.

A field that is `None` is not known; it is never a stand-in for zero, and zero never a stand-in for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

U16: TypeAlias = Annotated[int, range(2**16)]
U64: TypeAlias = Annotated[int, range(2**64)]
S64: TypeAlias = Annotated[int, range(-(2**63), 2**63)]

Bytes: TypeAlias = U64
"""A size, in bytes."""
Nanoseconds: TypeAlias = U64
"""A duration, in nanoseconds."""
Microseconds: TypeAlias = U64
"""A duration, in microseconds. Pressure alone has it."""
Milliseconds: TypeAlias = U64
"""A duration, in milliseconds, which is how the kernel counts the time of block devices."""
BasisPoints: TypeAlias = Annotated[int, range(2**32)]
"""A part of a time, in hundredths of a per cent: 2935 is 29.35 %."""
ContainerId: TypeAlias = Annotated[str, "without NUL"]
"""The ID of a container. There is no NUL (U+0000) in it."""


@dataclass(frozen=True, kw_only=True)
class EventOut:
    """What gVisor's `containerManager.Event` finds out."""

    id: str
    """The ID of the container."""
    pids: U64
    """Its live tasks, which is what Linux calls threads."""
    memory: Bytes
    """Its part of the sandbox's memory."""
    container_usage: Mapping[ContainerId, Nanoseconds]
    """The CPU time of each container of the sandbox that has a live thread group, ordered by the bytes of
    the ID."""


@dataclass(frozen=True, kw_only=True)
class SandboxUsage:
    """What the containers of a sandbox share."""

    memory: Bytes
    """The memory in use by the whole sandbox."""
    container_count: U64
    """The number of containers in the sandbox: the root container counts, and so do containers that are created
    and not yet started, or have ended and are not yet deleted."""
    root_container: ContainerId | None = None
    """The ID of the sandbox's root container: the one that was created first, a pod's `pause`. It can be `None`
    where there is one container."""
    cpu: Mapping[ContainerId, Nanoseconds]
    """The CPU time of each container that has a live thread group, in any order. Reaped children count. Containers
    without a live thread group are absent."""


@dataclass(frozen=True, kw_only=True)
class PsiData:
    """Pressure of one kind."""

    avg10: BasisPoints
    """The part of the last 10 seconds."""
    avg60: BasisPoints
    """The part of the last 60 seconds."""
    avg300: BasisPoints
    """The part of the last 300 seconds."""
    total: Microseconds
    """The time altogether."""


@dataclass(frozen=True, kw_only=True)
class Psi:
    """Pressure: the time that tasks lost because a resource was short."""

    some: PsiData
    """Time in which at least one task waited."""
    full: PsiData
    """Time in which all tasks waited at once. All is 0 where the kernel does not tell it."""


@dataclass(frozen=True, kw_only=True)
class CpuUsage:
    """CPU time that a container has consumed since it was created."""

    kernel: Nanoseconds | None = None
    """Time spent in the kernel. `None` where user and kernel time are not told apart."""
    user: Nanoseconds | None = None
    """Time spent in user space. `None` where user and kernel time are not told apart."""
    total: Nanoseconds | None = None
    """Time spent altogether, which need not equal `kernel` plus `user`. `None` where CPU time is not
    accounted for this container."""
    percpu: tuple[Nanoseconds, ...] = ()
    """Time spent on each CPU, in the order of the CPUs' numbers. Empty where it is not known."""
    percpu_kernel: tuple[Nanoseconds, ...] = ()
    """Of that, the time spent in the kernel."""
    percpu_user: tuple[Nanoseconds, ...] = ()
    """Of that, the time spent in user space."""


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """How a limit on CPU time held a container back. All is `None` where there is no such controller."""

    periods: U64 | None = None
    """Periods that have passed."""
    throttled_periods: U64 | None = None
    """Periods in which the quota was used up."""
    throttled_time: Nanoseconds | None = None
    """How long tasks had to wait for the next period."""


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """CPU statistics of one container."""

    usage: CpuUsage = CpuUsage()
    throttling: Throttling = Throttling()
    psi: Psi | None = None
    """How long tasks waited for a CPU. `None` where it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Cpuset:
    """The CPUs and memory nodes that a container is confined to, by the cpuset controller of cgroup v1.

    Flags are 0 or 1. `None` and empty where there is no such controller.
    """

    cpus: tuple[U16, ...] = ()
    """The numbers of the CPUs, in the kernel's order."""
    cpu_exclusive: U64 | None = None
    """Whether no sibling may have these CPUs."""
    mems: tuple[U16, ...] = ()
    """The numbers of the memory nodes, in the kernel's order."""
    mem_hardwall: U64 | None = None
    """Whether allocations of the kernel are confined too."""
    mem_exclusive: U64 | None = None
    """Whether no sibling may have these memory nodes."""
    memory_migrate: U64 | None = None
    """Whether pages move along when the memory nodes change."""
    memory_spread_page: U64 | None = None
    """Whether the page cache spreads evenly over the nodes."""
    memory_spread_slab: U64 | None = None
    """Whether the kernel's slab caches spread evenly over the nodes."""
    memory_pressure: U64 | None = None
    """How often tasks had to free memory in order to get some, lately: attempts per second, times 1000."""
    sched_load_balance: U64 | None = None
    """Whether the kernel balances load over these CPUs."""
    sched_relax_domain_level: S64 | None = None
    """How far the kernel searches for work for an idle CPU: a level of its scheduler, or -1 for its
    default."""


@dataclass(frozen=True, kw_only=True)
class MemoryEntry:
    """Usage of one kind of memory."""

    limit: Bytes | None = None
    """The most that may be used. `None` where the host can't know of a limit. Where it knows that there is
    none, the figure is the kernel's own on cgroup v1, and 2**64 - 1 on cgroup v2. 0 is a limit of 0."""
    usage: Bytes | None = None
    """What is in use now. `None` where this kind of memory is not accounted."""
    max: Bytes | None = None
    """The highest usage so far. `None` where it is not recorded."""
    failcnt: U64 | None = None
    """How many times usage ran into the limit. `None` where it is not counted."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory statistics of one container."""

    cache: Bytes | None = None
    """Page cache. `None` where it is not accounted."""
    usage: MemoryEntry = MemoryEntry()
    """Memory, page cache included."""
    swap: MemoryEntry = MemoryEntry()
    """Memory and swap together."""
    kernel: MemoryEntry = MemoryEntry()
    """Kernel memory."""
    kernel_tcp: MemoryEntry = MemoryEntry()
    """Kernel memory of TCP buffers."""
    raw: Mapping[str, U64] = field(default_factory=dict)
    """The lines of the kernel's `memory.stat`: names and figures, each in the unit of that line. Empty where
    there is no such file."""
    psi: Psi | None = None
    """How long tasks waited for memory. `None` where it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Pids:
    """Task statistics of one container."""

    current: U64 | None = None
    """Live tasks, which is what Linux calls threads. `None` where they are not counted."""
    limit: U64 | None = None
    """The most tasks that there may be. `None` where there is no limit, or none is known."""


@dataclass(frozen=True, kw_only=True)
class BlkioEntry:
    """Block I/O of one kind at one device. A figure that the kernel doesn't keep is `None`."""

    major: U64
    """The first part of the device's number."""
    minor: U64
    """The second part of the device's number."""
    op: str
    """The kind, in the kernel's words: `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`. Empty with
    figures for which the kernel tells no kinds apart."""
    io_service_bytes: Bytes | None = None
    """Data moved."""
    io_serviced: U64 | None = None
    """Requests served."""
    io_queued: U64 | None = None
    """Requests queued now."""
    io_service_time: Nanoseconds | None = None
    """Time from dispatch to completion of requests."""
    io_wait_time: Nanoseconds | None = None
    """Time that requests waited in queues."""
    io_merged: U64 | None = None
    """Requests that were merged into others."""
    io_time: Milliseconds | None = None
    """Time that the device was the container's."""
    sectors: U64 | None = None
    """Data moved, in sectors of 512 bytes."""


@dataclass(frozen=True, kw_only=True)
class Blkio:
    """Block I/O of one container and all groups below its own."""

    entries: tuple[BlkioEntry, ...] = ()
    """What went to and from each device, in the kernel's order. Empty where the kernel doesn't count it, or
    there was nothing to count."""
    psi: Psi | None = None
    """How long tasks waited for I/O. `None` where it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Hugetlb:
    """Huge pages of one size."""

    usage: Bytes | None = None
    """What is in use or reserved now. `None` where it is not accounted."""
    max: Bytes | None = None
    """The highest usage so far. `None` where it is not recorded."""
    failcnt: U64 | None = None
    """How many times usage ran into the limit. `None` where it is not counted."""


@dataclass(frozen=True, kw_only=True)
class L3CacheInfo:
    """What the L3 cache offers."""

    cbm_mask: str
    """The bits that a mask may have, in hexadecimal."""
    min_cbm_bits: U64
    """The fewest bits that a mask must have."""
    num_closids: U64
    """The most groups that there may be."""


@dataclass(frozen=True, kw_only=True)
class MemBwInfo:
    """What the control of memory bandwidth offers."""

    bandwidth_gran: U64
    """The step between two limits, in per cent."""
    delay_linear: U64
    """1 where delay grows with the limit in a line, otherwise 0."""
    min_bandwidth: U64
    """The lowest limit, in per cent."""
    num_closids: U64
    """The most groups that there may be."""


@dataclass(frozen=True, kw_only=True)
class MbmStats:
    """Memory bandwidth used through one L3 cache."""

    mbm_total_bytes: Bytes
    """Data moved."""
    mbm_local_bytes: Bytes
    """Of that, to and from the memory next to it."""


@dataclass(frozen=True, kw_only=True)
class CmtStats:
    """Use of one L3 cache."""

    llc_occupancy: Bytes
    """What of it is the container's."""


@dataclass(frozen=True, kw_only=True)
class IntelRdt:
    """Caches and memory bandwidth by Intel's Resource Director Technology, from the kernel's `resctrl`.

    `None` and empty where there is none, or the container has no group there.
    """

    l3_cache_info: L3CacheInfo | None = None
    """What the processor's L3 cache offers."""
    l3_cache_schema_root: str | None = None
    """The L3 line of the root group's `schemata`."""
    l3_cache_schema: str | None = None
    """The L3 line of the container's `schemata`."""
    mem_bw_info: MemBwInfo | None = None
    """What the control of memory bandwidth offers."""
    mem_bw_schema_root: str | None = None
    """The MB line of the root group's `schemata`."""
    mem_bw_schema: str | None = None
    """The MB line of the container's `schemata`."""
    schemata: tuple[str, ...] = ()
    """All lines of the container's `schemata`."""
    mbm_stats: tuple[MbmStats, ...] = ()
    """Memory bandwidth used, by L3 cache."""
    cmt_stats: tuple[CmtStats, ...] = ()
    """Cache used, by L3 cache."""


@dataclass(frozen=True, kw_only=True)
class NetworkInterface:
    """Traffic of one network interface, as seen from inside the container."""

    name: str
    """As the container calls it."""
    rx_bytes: Bytes
    """Data received."""
    rx_packets: U64
    """Packets received."""
    rx_errors: U64
    """Packets received that were bad."""
    rx_dropped: U64
    """Packets received that found no room."""
    tx_bytes: Bytes
    """Data sent."""
    tx_packets: U64
    """Packets sent."""
    tx_errors: U64
    """Packets that could not be sent."""
    tx_dropped: U64
    """Packets to be sent that found no room."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What one container uses, and what it may use."""

    cpu: Cpu = Cpu()
    cpuset: Cpuset = Cpuset()
    memory: Memory = field(default_factory=Memory)
    pids: Pids = Pids()
    blkio: Blkio = Blkio()
    hugetlb: Mapping[str, Hugetlb] = field(default_factory=dict)
    """Huge pages by their size, as the kernel names it: `2MB`. Empty where they are not accounted."""
    intel_rdt: IntelRdt = IntelRdt()
    network_interfaces: tuple[NetworkInterface, ...] = ()
    """The interfaces of the container's network namespace, but for the loopback interface. Empty where there
    are none, or the container shares the namespace of its host."""


@dataclass(frozen=True, kw_only=True)
class StatsEvent:
    """An event of type `stats`."""

    id: str
    """The ID of the container."""
    data: Stats
    """The container's figures."""
