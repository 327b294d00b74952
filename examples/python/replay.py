"""Prints the events of a scenario: for each instant, for each of its containers and for one that is not there, the
event in gVisor's format, and the stats in gVisor's format and in runc's.

    replay.py SCENARIO
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import eventout
from eventout import BasisPoints, Blkio, BlkioEntry, Bytes, CmtStats, ContainerId, Dialect, MbmStats, Memory
from eventout import Nanoseconds, NetworkInterface, Psi, SandboxUsage, Stats, Throttling, U64

LIMIT = 256 << 20
"""The largest scenario, in bytes: it is held in memory."""
NOBODY = 'no such "container"'
"""The ID of a container that is not there."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container of an instant."""

    id: ContainerId
    pids: U64
    """Its live tasks (threads)."""
    cpu_ns: Nanoseconds | None = None
    """Its CPU time. `None` where it has no live thread group."""
    stats: Stats | None = None
    """What is measured for it alone. `None` where that can't be done."""
    error: str | None = None
    """Why it could not be read, if it could not."""


@dataclass(frozen=True, kw_only=True)
class Instant:
    """A line of a scenario, which answers a component as a sandbox."""

    dialect: Dialect = "runsc"
    root: str
    memory_bytes: Bytes
    cgroup_cpu_ns: Nanoseconds | None = None
    containers: tuple[Container, ...]
    update_memory_error: str | None = None

    def pids_count(self, container: str, /) -> U64:
        found = self._find(container)
        if found.error is not None:
            raise eventout.Unavailable(found.error)
        return found.pids

    def update_memory_usage(self) -> None:
        if self.update_memory_error is not None:
            raise eventout.Unavailable(self.update_memory_error)

    def usage(self) -> SandboxUsage:
        return SandboxUsage(
            memory=self.memory_bytes,
            container_count=len(self.containers),
            root_container=self.root,
            cpu={each.id: each.cpu_ns for each in self.containers if each.cpu_ns is not None},
        )

    def cgroup_cpu_usage(self) -> Nanoseconds | None:
        return self.cgroup_cpu_ns

    def container_stats(self, container: str, /) -> Stats | None:
        return self._find(container).stats

    def _find(self, container: str) -> Container:
        for each in self.containers:
            if each.id == container:
                return each
        raise eventout.ContainerNotFound(container)


class Invalid(ValueError):
    """What is wrong with a scenario, and where."""

    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(f"{where.lstrip('.')}: {why}" if where else why)
        self.why = why
        self.where = where


class Object(list[tuple[str, Any]]):
    """The keys and values of a JSON object, in their order. Keys may stand there twice."""


def parse(scenario: bytes) -> Iterator[Instant]:
    """The instants of a scenario. It raises `Invalid`, which begins with the number of the line."""
    for number, line in enumerate(scenario.split(b"\n"), 1):
        if not line.strip(b" \t\r\f"):
            continue
        try:
            value = json.loads(line.decode(), object_pairs_hook=Object, parse_constant=not_a_number)
            instant: Instant = read(Instant, value)
            check(instant)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{number}: {error}") from error
        yield instant


def not_a_number(text: str) -> None:
    raise Invalid(f"{text} is not JSON")


def check(instant: Instant) -> None:
    """Each ID is there once, and that of the root container is there."""
    ids: set[str] = set()
    for container in instant.containers:
        if container.id in ids:
            raise Invalid(f"duplicate container ID {quote(container.id)}")
        ids.add(container.id)
    if ids and instant.root not in ids:
        raise Invalid(f"root container {quote(instant.root)} is not among the containers")


def read(hint: Any, value: Any, where: str = "") -> Any:
    """A JSON value as what the type annotation says; `where` is its place in what it is part of."""
    try:
        return read_as(hint, get_origin(hint), get_args(hint), value)
    except Invalid as error:
        raise Invalid(error.why, where + error.where) from None


def read_as(hint: Any, origin: Any, args: tuple[Any, ...], value: Any) -> Any:
    if hint is Blkio:
        return read_blkio(value)
    if hint == BasisPoints:
        return read_percent(value)
    if is_dataclass(hint):
        return read_record(hint, value)
    if origin is tuple:
        # Go makes null of an empty list.
        if value is None and args[0] in (NetworkInterface, MbmStats, CmtStats):
            return ()
        if type(value) is not list:
            raise Invalid("expected a list")
        return tuple(read(args[0], each, f"[{at}]") for at, each in enumerate(value))
    if origin is Mapping:
        return {read(str, key): read(args[1], each, f".{key}") for key, each in pairs(value)}
    if origin is Literal:
        if value not in args:
            raise Invalid(f"expected {' or '.join(map(quote, args))}")
        return value
    if origin is Annotated and args[0] is int:
        if type(value) is not int or value not in args[1]:
            raise Invalid(f"expected an integer from {args[1].start} to {args[1].stop - 1}")
        return value
    if hint in (str, ContainerId):
        if type(value) is not str:
            raise Invalid("expected a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Invalid("it has a lone surrogate in it") from None
        if hint == ContainerId and "\0" in value:
            raise Invalid(f"container ID {quote(value)} has a NUL in it")
        return value
    return None if value is None else read(args[0], value)


def read_record(record: Any, value: Any) -> Any:
    hints = get_type_hints(record, include_extras=True)
    by_key = {json_name(record, field.name): field for field in fields(record)}
    found: dict[str, Any] = {}
    for key, each in pairs(value):
        field = by_key.get(key)
        if field is None:
            raise Invalid(f"unknown key {quote(key)}")
        if field.name in found:
            raise Invalid(f"duplicate key {quote(key)}")
        found[field.name] = read(hints[field.name], each, f".{key}")
    for key, field in by_key.items():
        if field.name in found or field.default is not MISSING or field.default_factory is not MISSING:
            continue
        # In runc's records, what is 0 or empty may be left out.
        if record in (Instant, Container) or (record, key) == (NetworkInterface, "Name"):
            raise Invalid(f"missing key {quote(key)}")
        hint = hints[field.name]
        found[field.name] = read(hint, Object() if is_dataclass(hint) else "" if hint is str else 0)
    return record(**found)


def json_name(record: Any, name: str) -> str:
    """What runc calls a field: most have the contract's names."""
    words = name.split("_")
    if record is NetworkInterface:
        return "".join(word.capitalize() for word in words)
    if record is Throttling:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return "kernelTCP" if (record, name) == (Memory, "kernel_tcp") else name


@dataclass(frozen=True, kw_only=True)
class Account:
    """An entry of one of runc's lists of block I/O."""

    major: U64 = 0
    minor: U64 = 0
    op: str = ""
    value: U64 = 0


COLUMNS = {
    "ioServiceBytesRecursive": "io_service_bytes",
    "ioServicedRecursive": "io_serviced",
    "ioQueueRecursive": "io_queued",
    "ioServiceTimeRecursive": "io_service_time",
    "ioWaitTimeRecursive": "io_wait_time",
    "ioMergedRecursive": "io_merged",
    "ioTimeRecursive": "io_time",
    "sectorsRecursive": "sectors",
}
"""Each list of runc's block I/O, and the figure of a row that it holds."""


def read_blkio(value: Any) -> Blkio:
    """runc has a list for each figure; the contract has a row for each device and kind."""
    lists: dict[str, tuple[Account, ...]] = {}
    psi = None
    seen = set()
    for key, each in pairs(value):
        if key in seen:
            raise Invalid(f"duplicate key {quote(key)}")
        seen.add(key)
        if key == "psi":
            psi = read(Psi | None, each, ".psi")
        elif key in COLUMNS:
            lists[key] = read(tuple[Account, ...], each, f".{key}")
        else:
            raise Invalid(f"unknown key {quote(key)}")
    rows: list[dict[str, Any]] = []
    for key, column in COLUMNS.items():
        # Rows are shared as long as the lists have one order, which the kernel's have.
        next_row = 0
        for account in lists.get(key, ()):
            same = {"major": account.major, "minor": account.minor, "op": account.op}
            at = next((at for at in range(next_row, len(rows)) if same.items() <= rows[at].items()), len(rows))
            if at == len(rows):
                rows.append(same)
            rows[at][column] = account.value
            next_row = at + 1
    return Blkio(entries=tuple(BlkioEntry(**row) for row in rows), psi=psi)


def read_percent(value: Any) -> BasisPoints:
    """A per cent, which runc prints with two decimal places, as hundredths of one."""
    largest = (2**32 - 1) / 100
    if type(value) in (int, float) and 0 <= value <= largest:
        hundredths: int = round(value * 100)
        if hundredths / 100 == value:
            return hundredths
    raise Invalid("expected a per cent with up to two decimal places")


def pairs(value: Any) -> Object:
    if not isinstance(value, Object):
        raise Invalid("expected an object")
    return value


def quote(text: str) -> str:
    return json.dumps(text[:64]) + "..." * (len(text) > 64)


def lines(events: eventout.Events, instant: Instant, container: str) -> Iterator[str]:
    """What is printed of one container."""
    questions: list[Callable[[], str]] = [
        lambda: events.event_json(instant, container),
        lambda: events.stats_json(instant, container, "runsc"),
        lambda: events.stats_json(instant, container, "runc"),
    ]
    for ask in questions:
        try:
            yield ask()
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
        with open(name, "rb") as file:
            scenario = file.read(LIMIT + 1)
        if len(scenario) > LIMIT:
            raise Invalid(f" it is larger than {LIMIT} bytes")
        # All is checked before anything is printed.
        instants = list(parse(scenario))
        if not instants:
            raise Invalid(" there is no instant in it")
    except OSError as error:
        sys.exit(f"replay.py: cannot read scenario {name}: {error.strerror}")
    except Invalid as error:
        sys.exit(f"replay.py: not a valid scenario: {name}:{error}")
    events = eventout.Events()
    for instant in instants:
        for container in [*(each.id for each in instant.containers), NOBODY]:
            for line in lines(events, instant, container):
                sys.stdout.buffer.write(line.encode() + b"\n")


if __name__ == "__main__":
    main()
