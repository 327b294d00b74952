"""Prints the events of a scenario: for each container of each sample, and for an ID that no container has, the
event, the stats in gVisor's format, and the stats in runc's.

    replay.py SCENARIO
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import eventout
from eventout import Bytes, ContainerNotFound, Format, Nanoseconds, Stats, U64
from eventout.codec import Mismatch, convert

NOBODY = 'no such "container"'
"""The ID that no container has."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container in a line of a scenario."""

    id: str
    pids_count: U64
    cpu_usage: Nanoseconds | None = None
    stats: Stats | None = None
    error: str | None = None
    details: object = None
    """Names and settings, which no component sees."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A sandbox in a line of a scenario."""

    format: Format = "gvisor"
    root_container: str
    memory_usage: Bytes | None = None
    cgroup_cpu_usage: Nanoseconds | None = None
    containers: list[Container]


class Sandbox:
    """Host functions that report the facts of a scenario."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.containers = {container.id: container for container in facts.containers}

    def pids_count(self, container: str, /) -> U64:
        return self._find(container).pids_count

    def memory_usage(self) -> Bytes | None:
        return self.facts.memory_usage

    def container_count(self) -> U64:
        return len(self.containers)

    def root_container(self) -> str:
        return self.facts.root_container

    def cpu_usage(self) -> list[tuple[str, Nanoseconds]]:
        return [(each.id, each.cpu_usage) for each in self.facts.containers if each.cpu_usage is not None]

    def cgroup_cpu_usage(self) -> Nanoseconds | None:
        return self.facts.cgroup_cpu_usage

    def container_stats(self, container: str, /) -> Stats | None:
        return self._find(container).stats

    def _find(self, container: str) -> Container:
        found = self.containers.get(container)
        if found is None:
            raise ContainerNotFound
        if found.error is not None:
            raise eventout.Unavailable(found.error)
        return found


def samples(scenario: bytes) -> Iterator[list[Sandbox]]:
    """Yields the sandboxes of each line. Raises `ValueError` for a line that is not valid, with its number."""
    for number, line in enumerate(scenario.split(b"\n"), 1):
        if line.strip():
            try:
                value = json.loads(line.decode())
                value = value if isinstance(value, list) else [value]
                sandboxes = [Sandbox(facts) for facts in convert(list[Facts], value, "sandboxes")]
                check(sandboxes)
            except (ValueError, RecursionError, Mismatch) as error:
                raise ValueError(f"{number}: {error}") from error
            yield sandboxes


def check(sandboxes: list[Sandbox]) -> None:
    """Raises `ValueError` for an ID that occurs twice, and for a root container that is not listed."""
    seen = set()
    for sandbox in sandboxes:
        for container in sandbox.facts.containers:
            if container.id in seen:
                raise ValueError(f"duplicate container ID {container.id!a}")
            seen.add(container.id)
        if sandbox.containers and sandbox.facts.root_container not in sandbox.containers:
            raise ValueError(f"root container {sandbox.facts.root_container!a} is not among the containers")


def lines(events: eventout.Events, sandbox: Sandbox, container: str) -> Iterator[str]:
    """Yields the lines of one container."""
    calls: list[Callable[[], str]] = [
        lambda: events.event_json(sandbox, container),
        lambda: events.stats_json(sandbox, container, "gvisor"),
        lambda: events.stats_json(sandbox, container, "runc"),
    ]
    for call in calls:
        try:
            yield call()
        except eventout.ComponentFailed:
            raise
        except eventout.Error as error:
            yield f"error {error.case}: {error}"


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if len(sys.argv) != 2:
        sys.exit("usage: replay.py SCENARIO")
    name = sys.argv[1]
    try:
        # All lines are checked before the first one is printed.
        scenario = list(samples(Path(name).read_bytes()))
    except OSError as error:
        sys.exit(f"replay.py: cannot read scenario {name}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"replay.py: invalid scenario: {name}:{error}")
    events = eventout.Events()
    for sandboxes in scenario:
        listed = [(sandbox, container) for sandbox in sandboxes for container in sandbox.containers]
        for sandbox, container in listed + [(sandbox, NOBODY) for sandbox in sandboxes[:1]]:
            for line in lines(events, sandbox, container):
                sys.stdout.buffer.write(line.encode() + b"\n")


if __name__ == "__main__":
    main()
