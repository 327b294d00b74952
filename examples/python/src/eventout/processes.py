"""Processes of this machine as containers, from Linux' `/proc`."""

import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .events import ContainerNotFound, Unavailable
from .records import Bytes, Cpu, CpuUsage, Memory, MemoryEntry, Nanoseconds, Stats, U64

_PROC = Path("/proc")
_TRIES = 10


class ProcessTree:
    """A process and its living descendants as a sandbox of one container: one sample, taken by the first call.

    The CPU time of descendants that have ended is included if their parents waited for them. Orphaned descendants are
    not, nor are those that the kernel hides from this user. Memory that processes share is divided among them
    (proportional set size), which takes the permission to trace them.
    """

    def __init__(self, pid: int) -> None:
        self.container = str(pid)
        """The ID of the container: the PID of the first process."""
        self._pid = pid

    def pids_count(self, container: str, /) -> U64:
        if container != self.container:
            raise ContainerNotFound
        return self._sample.tasks

    def memory_usage(self) -> Bytes:
        return self._sample.memory

    def container_count(self) -> U64:
        return 1

    def root_container(self) -> str:
        return self.container

    def cpu_usage(self) -> list[tuple[str, Nanoseconds]]:
        return [(self.container, self._sample.user + self._sample.kernel)]

    def cgroup_cpu_usage(self) -> None:
        return None

    def container_stats(self, container: str, /) -> Stats:
        sample = self._sample
        return Stats(
            cpu=Cpu(usage=CpuUsage(user=sample.user, kernel=sample.kernel)),
            memory=Memory(swap=MemoryEntry(usage=sample.memory + sample.swap)),
        )

    @cached_property
    def _sample(self) -> "_Sample":
        try:
            for _ in range(_TRIES):
                tree = _tree(self._pid)
                sample = _Sample(tree)
                if all(process.is_unchanged() for process in tree):
                    return sample
        except OSError as error:
            raise Unavailable(f"cannot read {error.filename}: {error.strerror}") from error
        raise Unavailable(f"cannot read process {self._pid}: its descendants start and end too often")


class _Sample:
    """Sums over the processes of a tree: CPU time in nanoseconds, memory in bytes."""

    def __init__(self, tree: list["_Process"]) -> None:
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        self.tasks = sum(process.tasks for process in tree)
        self.user = sum(process.user + process.reaped_user for process in tree) * tick
        self.kernel = sum(process.kernel + process.reaped_kernel for process in tree) * tick
        memory = [_memory(process.pid) for process in tree]
        self.memory = sum(resident for resident, _ in memory)
        self.swap = sum(swapped for _, swapped in memory)


@dataclass(frozen=True)
class _Process:
    """Values of `/proc/PID/stat`. Times are in clock ticks."""

    pid: int
    parent: int
    start: int
    tasks: int
    """Number of live threads. A zombie has none."""
    user: int
    kernel: int
    reaped_user: int
    reaped_kernel: int
    """CPU time of the children that it waited for, and of theirs."""

    def is_unchanged(self) -> bool:
        """Returns whether no CPU time has moved since, from an ended child to this process or from it to its parent,
        where it would count twice or not at all."""
        now = _process(self.pid)
        if now is None or now.start != self.start:
            return self.user + self.kernel + self.reaped_user + self.reaped_kernel == 0
        return (now.reaped_user, now.reaped_kernel) == (self.reaped_user, self.reaped_kernel)


def _tree(root: int) -> list[_Process]:
    """Returns a process and its descendants."""
    first = _process(root)
    pids = [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdecimal()]
    # A thread has a directory, too, but is not listed.
    if first is None or first.tasks == 0 or root not in pids:
        raise ContainerNotFound
    children: dict[int, list[_Process]] = defaultdict(list)
    for pid in pids:
        try:
            process = _process(pid)
        except PermissionError:
            continue  # The kernel hides it.
        if process is not None and pid != root:
            children[process.parent].append(process)
    tree = [first]
    for process in tree:
        tree += children[process.pid]
    return tree


def _process(pid: int) -> _Process | None:
    """Returns `None` if there is no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the program, in parentheses, may contain any character.
    state, *rest = stat.rpartition(b")")[2].split()
    numbers = [int(number) for number in rest[:19]]
    return _Process(
        pid=pid,
        parent=numbers[0],
        start=numbers[18],
        tasks=numbers[16] - (state in (b"Z", b"X")),
        user=numbers[10],
        kernel=numbers[11],
        reaped_user=numbers[12],
        reaped_kernel=numbers[13],
    )


def _memory(pid: int) -> tuple[Bytes, Bytes]:
    """Returns a process's share of memory and of swap space. A zombie has none, nor has a kernel thread."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except ProcessLookupError:
        return 0, 0
    except FileNotFoundError:
        if _process(pid) is None:
            return 0, 0
        raise
    values = {name: rest.split() for name, _, rest in (line.partition(b":") for line in lines)}
    return int(values[b"Pss"][0]) * 1024, int(values[b"SwapPss"][0]) * 1024
