"""Tests of the line protocol. They run in the directory where `build` puts this file."""

import unittest
from dataclasses import fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from influx import Format
from wit_world.imports import types
from wit_world.imports.types import StatsEvent


def unknown(record: type[Any]) -> Any:
    """Returns a record in which no optional value is set."""
    if is_dataclass(record):
        hints = get_type_hints(record)
        return record(*(unknown(hints[field.name]) for field in fields(record)))
    if record in (int, str):
        return record()
    return [] if get_origin(record) is list else None


class Points(unittest.TestCase):
    def setUp(self) -> None:
        self.event = unknown(StatsEvent)
        self.event.id = "web"

    def check(self, *lines: str) -> None:
        self.assertEqual(Format().format(self.event), "\n".join(lines))

    def test_nothing_is_known(self) -> None:
        self.event.data.blkio.entries = [unknown(types.BlkioEntry)]
        self.event.data.hugetlb = [("2MB", unknown(types.Hugetlb))]
        self.check()

    def test_zero_is_known(self) -> None:
        self.event.data.pids.current = 0
        self.check("container,id=web pids_current=0u")

    def test_the_largest_and_the_smallest_integer(self) -> None:
        self.event.data.memory.swap.limit = 2**64 - 1
        self.event.data.cpuset.sched_relax_domain_level = -1
        self.check(
            "container,id=web cpuset_sched_relax_domain_level=-1i,memory_swap_limit_bytes=18446744073709551615u"
        )

    def test_settings_are_booleans(self) -> None:
        self.event.data.cpuset.cpu_exclusive, self.event.data.cpuset.mem_hardwall = True, False
        self.event.data.cpuset.memory_pressure = 3
        self.check(
            "container,id=web cpuset_cpu_exclusive=true,cpuset_mem_hardwall=false,cpuset_memory_pressure=3u"
        )

    def test_pressure_is_a_percentage(self) -> None:
        self.event.data.blkio.psi = unknown(types.Psi)
        self.event.data.blkio.psi.some = types.PsiData(2935, 7, 10000, 4503692)
        self.check(
            "container,id=web blkio_psi_some_avg10_percent=29.35,blkio_psi_some_avg60_percent=0.07,"
            "blkio_psi_some_avg300_percent=100.00,blkio_psi_some_total_us=4503692u,blkio_psi_full_avg10_percent=0.00,"
            "blkio_psi_full_avg60_percent=0.00,blkio_psi_full_avg300_percent=0.00,blkio_psi_full_total_us=0u"
        )

    def test_rows(self) -> None:
        data = self.event.data
        data.cpu.usage.percpu, data.cpu.usage.percpu_user = [5, 6], [1]
        read, others = unknown(types.BlkioEntry), unknown(types.BlkioEntry)
        read.major, read.minor, read.op, read.io_service_bytes, read.io_wait_time = 8, 16, "Read", 4096, 3
        others.major, others.io_time = 254, 7
        data.blkio.entries = [read, others]
        data.hugetlb = [("1GB", types.Hugetlb(4194304, None, 3))]
        data.network_interfaces = [types.NetworkInterface("eth0", 1, 2, 3, 4, 5, 6, 7, 8)]
        self.check(
            "container_cpu,cpu=0,id=web total_ns=5u,user_ns=1u",
            "container_cpu,cpu=1,id=web total_ns=6u",
            "container_blkio,device=8:16,id=web,op=Read io_service_bytes=4096u,io_wait_time_ns=3u",
            "container_blkio,device=254:0,id=web io_time_ms=7u",
            "container_hugetlb,id=web,size=1GB usage_bytes=4194304u,failcnt=3u",
            "container_network,id=web,interface=eth0 rx_bytes=1u,rx_packets=2u,rx_errors=3u,rx_dropped=4u,"
            "tx_bytes=5u,tx_packets=6u,tx_errors=7u,tx_dropped=8u",
        )

    def test_names_are_escaped(self) -> None:
        self.event.data.memory.raw = [("a b", 1), ("c=d,e", 2), ("", 3)]
        for name, written in (
            ("a b,c=d", r"a\ b\,c\=d"),
            ("a\\,b", r"a%5C\,b"),
            ("a\nb\x7f\x85%0A", "a%0Ab%7F%C2%85%250A"),
            ('"é#😀', '"é#😀'),
        ):
            self.event.id = name
            self.check(rf"container,id={written} memory_stat_a\ b=1u,memory_stat_c\=d\,e=2u,memory_stat_=3u")
        self.event.id = ""
        self.check(r"container memory_stat_a\ b=1u,memory_stat_c\=d\,e=2u,memory_stat_=3u")


if __name__ == "__main__":
    unittest.main()
