"""Events in InfluxDB's line protocol, for InfluxDB 2 and later.

A component of the world `formatter`. The README tells what becomes of an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wit_world.imports.types import Psi, Stats, StatsEvent

Field = tuple[str, str]
"""A field's key and its value, as they are written."""


class Format:
    """What the component exports."""

    def format(self, event: StatsEvent) -> str:
        """The points of the event, one a line. There are none where no figure is known."""
        return "\n".join(points(event))


def points(event: StatsEvent) -> Iterator[str]:
    def point(measurement: str, fields: Iterator[Field], **tags: str) -> Iterator[str]:
        """One line, or none where there is no field. A tag without a value is left out. The protocol has neither."""
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
        yield from point("container_cpu", figures(row), cpu=str(cpu))
    for entry in data.blkio.entries:
        row = vars(entry).copy()
        device = f"{row.pop('major')}:{row.pop('minor')}"
        fields = figures(row, io_service_time="_ns", io_wait_time="_ns", io_time="_ms")
        yield from point("container_blkio", fields, device=device, op=entry.op)
    for size, pages in data.hugetlb:
        fields = figures(vars(pages), usage="_bytes", max="_bytes")
        yield from point("container_hugetlb", fields, size=size)
    for interface in data.network_interfaces:
        yield from point("container_network", figures(vars(interface)), interface=interface.name)
    rdt = data.intel_rdt
    for cache, known in enumerate(zip_longest(rdt.mbm_stats, rdt.cmt_stats)):
        row = {key: value for each in known if each for key, value in vars(each).items()}
        yield from point("container_rdt", figures(row, llc_occupancy="_bytes"), cache=str(cache))


def container(data: Stats) -> Iterator[Field]:
    """The figures that a container has one of."""
    yield from figures(vars(data.cpu.usage), "cpu_", total="_ns", kernel="_ns", user="_ns")
    yield from figures(vars(data.cpu.throttling), "cpu_", throttled_time="_ns")
    yield from pressure(data.cpu.psi, "cpu_psi_")
    cpuset = vars(data.cpuset).copy()
    level = cpuset.pop("sched_relax_domain_level")
    yield from figures(cpuset, "cpuset_")
    if level is not None:
        # The only figure that may be negative.
        yield "cpuset_sched_relax_domain_level", f"{level}i"
    memory = data.memory
    yield from figures({"cache": memory.cache}, "memory_", cache="_bytes")
    for kind, entry in (
        ("", memory.usage),
        ("swap_", memory.swap),
        ("kernel_", memory.kernel),
        ("kernel_tcp_", memory.kernel_tcp),
    ):
        yield from figures(vars(entry), f"memory_{kind}", limit="_bytes", usage="_bytes", max="_bytes")
    # With this in front, no key is empty or one that the database reserves.
    yield from figures({escaped(name): figure for name, figure in memory.raw}, "memory_stat_")
    yield from pressure(memory.psi, "memory_psi_")
    yield from figures(vars(data.pids), "pids_")
    yield from pressure(data.blkio.psi, "blkio_psi_")
    if cache := data.intel_rdt.l3_cache_info:
        yield from figures(vars(cache), "rdt_l3_cache_")
    if bandwidth := data.intel_rdt.mem_bw_info:
        units = {"bandwidth_gran": "_percent", "min_bandwidth": "_percent"}
        yield from figures(vars(bandwidth), "rdt_mem_bw_", **units)


def pressure(psi: Psi | None, prefix: str) -> Iterator[Field]:
    """Parts of time in per cent, which are floating-point numbers to the database, and times altogether."""
    for kind, data in vars(psi).items() if psi else ():
        for period in ("avg10", "avg60", "avg300"):
            part = getattr(data, period)
            yield f"{prefix}{kind}_{period}_percent", f"{part // 100}.{part % 100:02}"
        yield f"{prefix}{kind}_total_us", f"{data.total}u"


def figures(record: dict[str, object], prefix: str = "", **units: str) -> Iterator[Field]:
    """The figures of a record that are known. `units` are for those whose names don't have theirs in them.

    All are unsigned integers to the database, small or not, since a field has one type for good.
    """
    for name, value in record.items():
        if isinstance(value, int):
            yield f"{prefix}{name}{units.get(name, '')}", f"{value}u"


def escaped(text: str) -> str:
    """A tag's value, or a part of a field's key.

    The protocol has backslashes before spaces, commas and equals signs. It can't hold control characters, and
    parsers disagree about all other backslashes. Those are written as URLs have them, a newline as `%0A`, and so is
    the per cent sign itself. So texts that differ stay different.
    """
    return text.translate(ESCAPES)


def percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


ESCAPES = str.maketrans(
    {character: percent(character) for character in map(chr, [*range(0x20), *range(0x7F, 0xA0), *b"%\\"])}
    | {character: f"\\{character}" for character in " ,="}
)
