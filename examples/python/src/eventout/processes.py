"""Processes of this machine as containers, from Linux' `/proc`."""

import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .events import ContainerNotFound, Unavailable
from .records import Bytes, Cpu, CpuUsage, Memory, MemoryEntry, SandboxUsage, Stats, U64

_PROC = Path("/proc")
_TRIES = 10


class ProcessTree:
    """A process and its living descendants as a sandbox of one container: one reading, made when it is first
    asked.

    Descendants that have ended count in CPU time, as far as their parents waited for them. Those that have lost
    their parent don't count, nor do those that the kernel hides from this user. Of memory that processes share,
    each has its part, so that all parts add up to what is in use. To see that takes the right to trace a process.
    """

    def __init__(self, pid: int) -> None:
        self.container = str(pid)
        """The ID of the container: the number of the first process."""
        self._pid = pid

    def pids_count(self, container: str, /) -> U64:
        return self._of(container).tasks

    def update_memory_usage(self) -> None:
        pass

    def usage(self) -> SandboxUsage:
        reading = self._reading
        return SandboxUsage(
            memory=reading.memory,
            container_count=1,
            cpu={self.container: reading.user + reading.kernel},
        )

    def cgroup_cpu_usage(self) -> None:
        return None

    def container_stats(self, container: str, /) -> Stats:
        reading = self._of(container)
        return Stats(
            cpu=Cpu(usage=CpuUsage(user=reading.user, kernel=reading.kernel)),
            memory=Memory(swap=MemoryEntry(usage=reading.memory + reading.swap)),
        )

    def _of(self, container: str) -> "_Reading":
        if container != self.container:
            raise ContainerNotFound(container)
        return self._reading

    @cached_property
    def _reading(self) -> "_Reading":
        try:
            for _ in range(_TRIES):
                tree = _tree(self._pid)
                reading = _Reading(tree)
                if all(process.has_settled() for process in tree):
                    return reading
        except OSError as error:
            raise Unavailable(f"cannot read {error.filename}: {error.strerror}") from error
        raise Unavailable(f"cannot read process {self._pid}: its descendants come and go too fast")


class _Reading:
    """What the processes of a tree use together: CPU time in nanoseconds, memory in bytes."""

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
    """What `/proc/PID/stat` says. Times are in the kernel's ticks."""

    pid: int
    parent: int
    start: int
    tasks: int
    """Its live threads. A zombie has none."""
    user: int
    kernel: int
    reaped_user: int
    reaped_kernel: int
    """What its children used that it waited for, and theirs."""

    def has_settled(self) -> bool:
        """Whether none of the CPU time in the tree has since moved to this process, or from it to its parent:
        depending on which was read first, that would count twice, or not at all."""
        now = _process(self.pid)
        if now is None or now.start != self.start:
            return self.user + self.kernel + self.reaped_user + self.reaped_kernel == 0
        return (now.reaped_user, now.reaped_kernel) == (self.reaped_user, self.reaped_kernel)


def _tree(root: int) -> list[_Process]:
    """The process and its descendants."""
    first = _process(root)
    pids = [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdecimal()]
    # A thread has a folder too, though nobody lists it.
    if first is None or first.tasks == 0 or root not in pids:
        raise ContainerNotFound(root)
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
    """`None` where there is no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name before it, in parentheses, may hold anything.
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
    """What of the memory in use is the process's, and what of the swap space. A zombie has none, nor has a thread
    of the kernel."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except ProcessLookupError:
        return 0, 0
    except FileNotFoundError:
        if _process(pid) is None:
            return 0, 0
        raise
    figures = {name: rest.split() for name, colon, rest in (line.partition(b":") for line in lines)}
    return int(figures[b"Pss"][0]) * 1024, int(figures[b"SwapPss"][0]) * 1024
