"""The records of the contract, and the units of their values.

`None` means that a value is not known. It never stands for 0, nor 0 for it.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import wasmtime.component

__all__ = ["U16", "U64", "S64", "Bytes", "Nanoseconds", "Microseconds", "Milliseconds", "HundredthsOfPercent"]
__all__ += ["EventOut", "StatsEvent", "Stats", "Cpu", "CpuUsage", "Throttling", "Cpuset", "Memory", "MemoryEntry"]
__all__ += ["Pids", "Blkio", "BlkioEntry", "Hugetlb", "NetworkInterface", "Psi", "PsiData"]

U16: TypeAlias = Annotated[int, range(2**16)]
U64: TypeAlias = Annotated[int, range(2**64)]
S64: TypeAlias = Annotated[int, range(-(2**63), 2**63)]

Bytes: TypeAlias = U64
"""A size in bytes."""
Nanoseconds: TypeAlias = U64
"""A duration in nanoseconds."""
Microseconds: TypeAlias = U64
"""A duration in microseconds, the unit of the kernel for pressure."""
Milliseconds: TypeAlias = U64
"""A duration in milliseconds, the unit of the kernel for the time of block devices."""
HundredthsOfPercent: TypeAlias = Annotated[int, range(2**32)]
"""A percentage in hundredths, the resolution of the kernel: 2935 is 29.35 %."""


class Record(wasmtime.component.Record):
    """A record that wasmtime takes: it gets fields by the names of the contract, such as `container-usage`."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return object.__getattribute__(self, name.replace("-", "_"))


@dataclass(frozen=True, kw_only=True)
class EventOut(Record):
    """The result of gVisor's `containerManager.Event`."""

    id: str
    """The ID of the container."""
    pids: U64
    """The number of live tasks (threads)."""
    memory: Bytes | None
    """The container's share of the sandbox's memory. `None` if memory is not accounted."""
    container_usage: list[tuple[str, Nanoseconds]]
    """The CPU time of each container of the sandbox that has a live thread group, ordered by the bytes of the
    IDs."""


@dataclass(frozen=True, kw_only=True)
class PsiData(Record):
    """Pressure of one kind."""

    avg10: HundredthsOfPercent
    """Average over the last 10 seconds."""
    avg60: HundredthsOfPercent
    """Average over the last 60 seconds."""
    avg300: HundredthsOfPercent
    """Average over the last 300 seconds."""
    total: Microseconds
    """Total time."""


@dataclass(frozen=True, kw_only=True)
class Psi(Record):
    """Pressure stall information of Linux: time lost because a resource was short."""

    some: PsiData
    """Time in which at least one task waited."""
    full: PsiData
    """Time in which all tasks waited at once. All values are 0 if the kernel does not report it."""


@dataclass(frozen=True, kw_only=True)
class CpuUsage(Record):
    """CPU time consumed since the container was created."""

    kernel: Nanoseconds | None = None
    """Time in the kernel. `None` if user and kernel time are not accounted separately."""
    user: Nanoseconds | None = None
    """Time in user space. `None` if user and kernel time are not accounted separately."""
    total: Nanoseconds | None = None
    """Total time, which need not equal `kernel` plus `user`. `None` if CPU time is not accounted."""
    percpu: list[Nanoseconds] = field(default_factory=list)
    """Time on each CPU, in the order of the CPU numbers. Empty if it is not known."""
    percpu_kernel: list[Nanoseconds] = field(default_factory=list)
    """Time in the kernel on each CPU."""
    percpu_user: list[Nanoseconds] = field(default_factory=list)
    """Time in user space on each CPU."""


@dataclass(frozen=True, kw_only=True)
class Throttling(Record):
    """Throttling by a CPU quota. `None` without that controller."""

    periods: U64 | None = None
    """Number of periods that have passed."""
    throttled_periods: U64 | None = None
    """Number of periods in which the quota was used up."""
    throttled_time: Nanoseconds | None = None
    """Total time that tasks were throttled."""


@dataclass(frozen=True, kw_only=True)
class Cpu(Record):
    """CPU statistics."""

    usage: CpuUsage = field(default_factory=CpuUsage)
    throttling: Throttling = Throttling()
    psi: Psi | None = None
    """Time that tasks waited for a CPU. `None` if it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Cpuset(Record):
    """The cpuset controller of cgroup v1: its interface files. `None` and empty without that controller."""

    cpus: list[U16] = field(default_factory=list)
    """Numbers of the CPUs that tasks may run on, in the kernel's order."""
    cpu_exclusive: bool | None = None
    """Exclusive use of the CPUs among sibling cgroups."""
    mems: list[U16] = field(default_factory=list)
    """Numbers of the memory nodes that tasks may use, in the kernel's order."""
    mem_hardwall: bool | None = None
    """Confinement of kernel allocations to the memory nodes."""
    mem_exclusive: bool | None = None
    """Exclusive use of the memory nodes among sibling cgroups."""
    memory_migrate: bool | None = None
    """Migration of pages when the memory nodes change."""
    memory_spread_page: bool | None = None
    """Even spread of the page cache over the memory nodes."""
    memory_spread_slab: bool | None = None
    """Even spread of slab caches over the memory nodes."""
    memory_pressure: U64 | None = None
    """Recent rate of direct reclaims: attempts per second, times 1000."""
    sched_load_balance: bool | None = None
    """Load balancing over the CPUs."""
    sched_relax_domain_level: S64 | None = None
    """Level of scheduling domains that is searched for work for an idle CPU. -1 is the kernel's default."""


@dataclass(frozen=True, kw_only=True)
class MemoryEntry(Record):
    """Usage and limit of one kind of memory."""

    limit: Bytes | None = None
    """The limit. `None` if it is not known whether there is one. "Unlimited" is the kernel's own value on cgroup
    v1, and 2**64 - 1 on cgroup v2. 0 is a limit of 0."""
    usage: Bytes | None = None
    """Current usage. `None` if this kind of memory is not accounted."""
    max: Bytes | None = None
    """Highest usage so far. `None` if it is not recorded."""
    failcnt: U64 | None = None
    """Number of times that usage hit the limit. `None` if it is not counted."""


@dataclass(frozen=True, kw_only=True)
class Memory(Record):
    """Memory statistics."""

    cache: Bytes | None = None
    """Page cache. `None` if it is not accounted."""
    usage: MemoryEntry = MemoryEntry()
    """Memory, page cache included."""
    swap: MemoryEntry = MemoryEntry()
    """Memory and swap together."""
    kernel: MemoryEntry = MemoryEntry()
    """Kernel memory."""
    kernel_tcp: MemoryEntry = MemoryEntry()
    """Kernel memory for TCP buffers."""
    raw: list[tuple[str, U64]] = field(default_factory=list)
    """The entries of the interface file `memory.stat`: name and value, each name once. Empty if there is no such
    file."""
    psi: Psi | None = None
    """Time that tasks waited for memory. `None` if it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Pids(Record):
    """Task statistics."""

    current: U64 | None = None
    """Number of live tasks (threads). `None` if they are not counted."""
    limit: U64 | None = None
    """Limit on the number of tasks. `None` if there is no limit, or none is known."""


@dataclass(frozen=True, kw_only=True)
class BlkioEntry(Record):
    """Block I/O of one operation on one device. `None` for values that the kernel does not count."""

    major: U64
    """Major number of the device."""
    minor: U64
    """Minor number of the device."""
    op: str
    """The operation as the kernel names it: `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total`. Empty for
    values that are not counted by operation."""
    io_service_bytes: Bytes | None = None
    """Bytes transferred."""
    io_serviced: U64 | None = None
    """Number of requests completed."""
    io_queued: U64 | None = None
    """Number of requests queued at the time of the sample."""
    io_service_time: Nanoseconds | None = None
    """Total time between dispatch and completion of requests."""
    io_wait_time: Nanoseconds | None = None
    """Total time that requests waited in scheduler queues."""
    io_merged: U64 | None = None
    """Number of requests merged into others."""
    io_time: Milliseconds | None = None
    """Total time that the container had the device allocated."""
    sectors: U64 | None = None
    """Number of sectors (512 bytes) transferred."""


@dataclass(frozen=True, kw_only=True)
class Blkio(Record):
    """Block I/O of the container's cgroup and its descendants."""

    entries: list[BlkioEntry] = field(default_factory=list)
    """I/O by device and operation, in the kernel's order. Empty if it is not accounted, or if there was none."""
    psi: Psi | None = None
    """Time that tasks waited for I/O. `None` if it is not measured."""


@dataclass(frozen=True, kw_only=True)
class Hugetlb(Record):
    """Huge pages of one size."""

    usage: Bytes | None = None
    """Current usage, reservations included. `None` if it is not accounted."""
    max: Bytes | None = None
    """Highest usage so far. `None` if it is not recorded."""
    failcnt: U64 | None = None
    """Number of times that an allocation failed because of the limit. `None` if it is not counted."""


@dataclass(frozen=True, kw_only=True)
class NetworkInterface(Record):
    """Traffic of one network interface, as seen from inside the container."""

    name: str
    """Name of the interface inside the container."""
    rx_bytes: Bytes
    """Bytes received."""
    rx_packets: U64
    """Packets received."""
    rx_errors: U64
    """Packets received with errors."""
    rx_dropped: U64
    """Packets received and dropped."""
    tx_bytes: Bytes
    """Bytes sent."""
    tx_packets: U64
    """Packets sent."""
    tx_errors: U64
    """Packets that failed to be sent."""
    tx_dropped: U64
    """Packets dropped instead of sent."""


@dataclass(frozen=True, kw_only=True)
class Stats(Record):
    """Resource usage and limits of one container."""

    cpu: Cpu = field(default_factory=Cpu)
    cpuset: Cpuset = field(default_factory=Cpuset)
    memory: Memory = field(default_factory=Memory)
    pids: Pids = Pids()
    blkio: Blkio = field(default_factory=Blkio)
    hugetlb: list[tuple[str, Hugetlb]] = field(default_factory=list)
    """Huge pages by size, each size once, named as the kernel names it, such as `2MB`."""
    network_interfaces: list[NetworkInterface] = field(default_factory=list)
    """The interfaces of the container's network namespace, without the loopback interface. Empty if the container
    shares the network namespace of its host."""


@dataclass(frozen=True, kw_only=True)
class StatsEvent(Record):
    """An event of type `stats`."""

    id: str
    """The ID of the container."""
    data: Stats
    """The statistics of the container."""
