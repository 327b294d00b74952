"""Events in InfluxDB's line protocol, for InfluxDB 2 and later.

A component of the world `formatter`. The README describes the points of an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wit_world.imports.types import Psi, Stats, StatsEvent

Field = tuple[str, str]
"""A field's key and its value, as text."""


class Format:
    """The export of the component."""

    def format(self, event: StatsEvent) -> str:
        """Returns the points of the event, one a line. There are none if no value is known."""
        return "\n".join(points(event))


def points(event: StatsEvent) -> Iterator[str]:
    def point(measurement: str, fields: Iterator[Field], **tags: str) -> Iterator[str]:
        """Yields one line, or none without fields, and omits a tag without a value. The protocol has neither."""
        written = [f"{key}={value}" for key, value in fields]
        if written:
            series = [measurement]
            for key, value in sorted({**tags, "id": event.id}.items()):
                if value:
                    series.append(f"{key}={escaped(value)}")
            yield f"{','.join(series)} {','.join(written)}"

    data = event.data
    yield from point("container", container(data))
    usage = data.cpu.usage
    columns = zip_longest(usage.percpu, usage.percpu_kernel, usage.percpu_user)
    for cpu, (total, kernel, user) in enumerate(columns):
        row = {"total_ns": total, "kernel_ns": kernel, "user_ns": user}
        yield from point("container_cpu", values(row), cpu=str(cpu))
    for entry in data.blkio.entries:
        row = vars(entry).copy()
        device = f"{row.pop('major')}:{row.pop('minor')}"
        fields = values(row, io_service_time="_ns", io_wait_time="_ns", io_time="_ms")
        yield from point("container_blkio", fields, device=device, op=entry.op)
    for size, pages in data.hugetlb:
        fields = values(vars(pages), usage="_bytes", max="_bytes")
        yield from point("container_hugetlb", fields, size=size)
    for interface in data.network_interfaces:
        yield from point("container_network", values(vars(interface)), interface=interface.name)


def container(data: Stats) -> Iterator[Field]:
    """Yields the values that a container has one of."""
    yield from values(vars(data.cpu.usage), "cpu_", total="_ns", kernel="_ns", user="_ns")
    yield from values(vars(data.cpu.throttling), "cpu_", throttled_time="_ns")
    yield from pressure(data.cpu.psi, "cpu_psi_")
    cpuset = vars(data.cpuset).copy()
    level = cpuset.pop("sched_relax_domain_level")
    yield from values(cpuset, "cpuset_")
    if level is not None:
        # The only value that may be negative.
        yield "cpuset_sched_relax_domain_level", f"{level}i"
    memory = data.memory
    yield from values({"cache": memory.cache}, "memory_", cache="_bytes")
    for kind, entry in (
        ("", memory.usage),
        ("swap_", memory.swap),
        ("kernel_", memory.kernel),
        ("kernel_tcp_", memory.kernel_tcp),
    ):
        yield from values(vars(entry), f"memory_{kind}", limit="_bytes", usage="_bytes", max="_bytes")
    # The prefix ensures that no key is empty or one that the database reserves.
    yield from values({escaped(name): value for name, value in memory.raw}, "memory_stat_")
    yield from pressure(memory.psi, "memory_psi_")
    yield from values(vars(data.pids), "pids_")
    yield from pressure(data.blkio.psi, "blkio_psi_")


def pressure(psi: Psi | None, prefix: str) -> Iterator[Field]:
    """Yields percentages of time, which are floating-point numbers to the database, and total times."""
    for kind, data in vars(psi).items() if psi else ():
        for period in ("avg10", "avg60", "avg300"):
            part = getattr(data, period)
            yield f"{prefix}{kind}_{period}_percent", f"{part // 100}.{part % 100:02}"
        yield f"{prefix}{kind}_total_us", f"{data.total}u"


def values(record: dict[str, object], prefix: str = "", **units: str) -> Iterator[Field]:
    """Yields the known integers and booleans of a record. `units` has the units that names lack.

    Every integer is unsigned to the database, whatever its size, since a field never changes its type.
    """
    for name, value in record.items():
        if isinstance(value, bool):
            yield f"{prefix}{name}", str(value).lower()
        elif isinstance(value, int):
            yield f"{prefix}{name}{units.get(name, '')}", f"{value}u"


def escaped(text: str) -> str:
    """Returns a tag's value, or a part of a field's key, as the protocol has it.

    Spaces, commas and equals signs get a backslash. The protocol has no control characters, and parsers disagree
    about other backslashes: those are percent-encoded as in URLs, a newline as `%0A`, and so is the percent sign
    itself. So texts that differ stay different.
    """
    return text.translate(ESCAPES)


def percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


ESCAPES = str.maketrans(
    {character: percent(character) for character in map(chr, [*range(0x20), *range(0x7F, 0xA0), *b"%\\"])}
    | {character: f"\\{character}" for character in " ,="}
)
