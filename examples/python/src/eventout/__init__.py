"""Stats events of containers, computed by a WebAssembly component.

The component holds the accounting and the format. This package gives it a `Sandbox` of facts, keeps it within
`Limits`, and hands on its answers:

    events = eventout.Events()
    sandbox = eventout.ProcessTree(os.getpid())  # or one of your own
    event = events.stats(sandbox, sandbox.container)
    print(event.data.memory.usage.usage)  # bytes
    print(events.stats_json(sandbox, sandbox.container, "runc"))
"""

from .events import (
    Component,
    ComponentFailed,
    ContainerNotFound,
    Dialect,
    Error,
    Events,
    Limits,
    NoContainer,
    Sandbox,
    Unavailable,
    Unsupported,
)
from .processes import ProcessTree
from .records import (
    BasisPoints,
    Blkio,
    BlkioEntry,
    Bytes,
    CmtStats,
    ContainerId,
    Cpu,
    CpuUsage,
    Cpuset,
    EventOut,
    Hugetlb,
    IntelRdt,
    L3CacheInfo,
    MbmStats,
    MemBwInfo,
    Memory,
    MemoryEntry,
    Microseconds,
    Milliseconds,
    Nanoseconds,
    NetworkInterface,
    Pids,
    Psi,
    PsiData,
    S64,
    Stats,
    StatsEvent,
    Throttling,
    U16,
    U64,
)

__all__ = [
    "BasisPoints",
    "Blkio",
    "BlkioEntry",
    "Bytes",
    "CmtStats",
    "Component",
    "ComponentFailed",
    "ContainerId",
    "ContainerNotFound",
    "Cpu",
    "CpuUsage",
    "Cpuset",
    "Dialect",
    "Error",
    "EventOut",
    "Events",
    "Hugetlb",
    "IntelRdt",
    "L3CacheInfo",
    "Limits",
    "MbmStats",
    "MemBwInfo",
    "Memory",
    "MemoryEntry",
    "Microseconds",
    "Milliseconds",
    "Nanoseconds",
    "NetworkInterface",
    "NoContainer",
    "Pids",
    "ProcessTree",
    "Psi",
    "PsiData",
    "S64",
    "Sandbox",
    "Stats",
    "StatsEvent",
    "Throttling",
    "U16",
    "U64",
    "Unavailable",
    "Unsupported",
]
