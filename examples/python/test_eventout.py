"""Tests of the package. They run with the Python that has it: `python test_eventout.py`."""

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from unittest import mock

from wasmtime.component import U64

sys.dont_write_bytecode = True
import eventout
import replay
from eventout import Events, Limits, ProcessTree, Stats, processes

HERE = Path(__file__).parent
EVENTS = Events()


def setUpModule() -> None:
    # A job that a shell runs in the background begins with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Sandbox:
    """A pod of two. Tests replace functions, or their results."""

    def __init__(self, **results: Any) -> None:
        for name, result in results.items():
            setattr(self, name, result if callable(result) else lambda *_, result=result: result)

    def pids_count(self, container: str) -> int:
        if container not in ("pause", "web"):
            raise eventout.ContainerNotFound
        return 3

    def memory_usage(self) -> int | None:
        return 100

    def container_count(self) -> int:
        return 2

    def root_container(self) -> str:
        return "pause"

    def cpu_usage(self) -> list[tuple[str, int]]:
        return [("web", 5), ("pause", 1)]

    def cgroup_cpu_usage(self) -> int | None:
        return None

    def container_stats(self, container: str) -> Stats | None:
        return None


def every_field(hint: Any, numbers: Iterator[int]) -> Any:
    """Returns a value of that type in which every option is set, and all numbers differ."""
    args, origin = get_args(hint), get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint, include_extras=True)
        return hint(**{field.name: every_field(hints[field.name], numbers) for field in dataclasses.fields(hint)})
    if origin is list:
        return [every_field(args[0], numbers), every_field(args[0], numbers)]
    if origin is tuple:
        return tuple(every_field(arg, numbers) for arg in args)
    if origin is Annotated:
        return args[1].stop - 1 - next(numbers)
    if hint is bool:
        return next(numbers) % 2 == 0
    return f'"{next(numbers)}\n\u2028é' if hint is str else every_field(args[0], numbers)


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


class Results(unittest.TestCase):
    def test_every_field_crosses(self) -> None:
        stats = every_field(Stats, iter(range(1000)))
        self.assertEqual(stats.memory.usage.limit.bit_length(), 64)
        event = EVENTS.stats(Sandbox(container_stats=stats), "web")
        self.assertEqual(event, eventout.StatsEvent(id="web", data=stats))
        plain = dataclasses.asdict(stats)
        self.assertEqual(EVENTS.stats(Sandbox(container_stats=plain), "web"), event)
        line = EVENTS.stats_json(Sandbox(container_stats=stats), "web", "runc")
        data = json.loads(line)["data"]
        self.assertEqual(data["memory"]["raw"], dict(stats.memory.raw))
        self.assertEqual(data["network_interfaces"][1]["TxDropped"], stats.network_interfaces[1].tx_dropped)

    def test_an_event_has_the_share_of_one_container_and_the_cpu_time_of_all(self) -> None:
        event = EVENTS.event(Sandbox(), "web")
        usage = [("pause", 1), ("web", 5)]
        self.assertEqual(event, eventout.EventOut(id="web", pids=3, memory=100, container_usage=usage))
        line = json.loads(EVENTS.event_json(Sandbox(), "web"))
        self.assertEqual(line["containerUsage"], dict(usage))
        self.assertEqual(line["event"]["data"]["memory"]["usage"]["usage"], event.memory)

    def test_not_known_is_none_and_zero_is_zero(self) -> None:
        known = Stats(memory=eventout.Memory(usage=eventout.MemoryEntry(usage=0)))
        data = EVENTS.stats(Sandbox(container_stats=known, cpu_usage=[]), "web").data
        self.assertEqual((data.memory.usage.usage, data.memory.usage.limit), (0, None))
        self.assertEqual((data.cpu.usage.total, data.pids.current), (None, 3))
        self.assertIsNone(EVENTS.event(Sandbox(memory_usage=None), "web").memory)

    def test_integers_are_exact_over_the_whole_range(self) -> None:
        for value in (0, 2**53 + 1, 2**63, 2**64 - 1):
            usage = [("web", value)]
            sandbox = Sandbox(pids_count=value, memory_usage=value, container_count=1, cpu_usage=usage)
            event = EVENTS.event(sandbox, "web")
            self.assertEqual((event.pids, event.memory, event.container_usage), (value, value, usage))
            line = EVENTS.event_json(sandbox, "web")
            self.assertTrue(line.endswith(f'"containerUsage":{{"web":{value}}}}}'), line)

    def test_an_oom_kill_needs_no_sandbox(self) -> None:
        self.assertEqual(EVENTS.oom_json('a"'), '{"type":"oom","id":"a\\""}')

    def test_the_host_in_the_documentation_prints_an_event(self) -> None:
        root = HERE.parent.parent
        text = (root / "docs/embedding.md").read_text()
        host = re.search("^## A host in Python$.*?^```python\n(.*?)^```$.*?^```json\n(.*?)^```$", text, re.M | re.S)
        assert host is not None
        self.assertLessEqual(host[1].count("\n"), 40)
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.chdir(root):
            exec(host[1], {})
        self.assertEqual(printed.getvalue(), host[2])


class Errors(unittest.TestCase):
    def setUp(self) -> None:
        self.events = Events()
        self.instances = list(self.events._instances)

    def assert_alive(self) -> None:
        """Asserts that the instance is the same, and works."""
        self.assertEqual(self.events._instances, self.instances)
        self.assertEqual(self.events.event(Sandbox(), "web").memory, 100)

    def test_the_text_for_a_missing_container_is_gvisors(self) -> None:
        for call in (
            lambda: self.events.event(Sandbox(), 'no "such"'),
            lambda: self.events.stats_json(Sandbox(), 'no "such"', "runc"),
        ):
            with self.assertRaises(eventout.ContainerNotFound) as raised:
                call()
            self.assertEqual(str(raised.exception), r'container "no \"such\"" not found')
            self.assertEqual(raised.exception.case, "container-not-found")
        with self.assertRaises(eventout.NoContainer):
            self.events.event(Sandbox(container_count=0), "web")
        self.assert_alive()

    def test_an_exception_of_a_host_function_is_unavailable(self) -> None:
        class Worst(Exception):
            def __str__(self) -> str:
                raise self

        for error, text in (
            (eventout.Unavailable("it is \ud800 frozen"), r"it is \ud800 frozen"),
            (KeyError("x"), "KeyError: 'x'"),
            (RecursionError("deep"), "RecursionError: deep"),
            (Worst(), "Worst"),
        ):
            for name in ("pids_count", "memory_usage", "root_container", "cpu_usage"):
                with self.assertRaises(eventout.Unavailable) as raised:
                    self.events.event(Sandbox(**{name: raising(error)}), "web")
                self.assertEqual(str(raised.exception), text)
                self.assertIs(raised.exception.__cause__, error)
        failing = Sandbox(cgroup_cpu_usage=raising(KeyError()), container_stats=raising(OSError()))
        with self.assertRaises(eventout.Unavailable) as raised:
            self.events.stats(failing, "web")
        self.assertIsInstance(raised.exception.__cause__, OSError)
        self.assert_alive()

    def test_an_error_of_the_cgroups_cpu_usage_does_not_count(self) -> None:
        sandbox = Sandbox(cgroup_cpu_usage=raising(OSError()))
        self.assertEqual(self.events.stats(sandbox, "web").data.cpu.usage.total, 5)

    def test_a_value_that_the_contract_does_not_allow_never_crosses(self) -> None:
        def usage(**values: Any) -> Stats:
            return Stats(cpu=eventout.Cpu(usage=eventout.CpuUsage(**values)))

        def cpuset(**values: Any) -> Stats:
            return Stats(cpuset=eventout.Cpuset(**values))

        u64 = f"expected an int from 0 to {2**64 - 1}"
        for name, result, text in (
            ("pids_count", -1, f": {u64}"),
            ("pids_count", True, f": {u64}"),
            ("memory_usage", 2**64, f": {u64}"),
            ("memory_usage", 10**9999, f": {u64}"),
            ("memory_usage", 1.0, f": {u64}"),
            ("container_count", None, f": {u64}"),
            ("root_container", b"pause", ": expected a str of Unicode"),
            ("root_container", "\udcff", ": expected a str of Unicode"),
            ("cpu_usage", {"web": 1}, ": expected a list"),
            ("cpu_usage", [("web", -1)], f"[0][1]: {u64}"),
            ("cpu_usage", [(3, 1)], "[0][0]: expected a str of Unicode"),
            ("cpu_usage", [("web", 1, 2)], "[0]: expected 2 values"),
            ("container_stats", 100, ": expected a record Stats"),
            ("container_stats", {"cpuu": {}}, ": unknown field 'cpuu'"),
            ("container_stats", {"network_interfaces": [{}]}, ".network_interfaces[0]: missing field 'name'"),
            ("container_stats", usage(percpu={1}), ".cpu.usage.percpu: expected a list"),
            ("container_stats", usage(percpu=[1, -1]), f".cpu.usage.percpu[1]: {u64}"),
            ("container_stats", cpuset(cpus=[2**16]), ".cpuset.cpus[0]: expected an int from 0 to 65535"),
            ("container_stats", cpuset(mem_hardwall=1), ".cpuset.mem_hardwall: expected a bool"),
        ):
            with self.assertRaises(eventout.Unavailable) as raised:
                self.events.stats(Sandbox(**{name: result}), "web")
            self.assertEqual(str(raised.exception), name + text)
        self.assert_alive()

    def test_an_interrupt_in_a_host_function_reaches_the_caller(self) -> None:
        def interrupt() -> None:
            signal.raise_signal(signal.SIGINT)

        cpu_usage = mock.Mock()
        with self.assertRaises(KeyboardInterrupt):
            self.events.event(Sandbox(memory_usage=interrupt, cpu_usage=cpu_usage), "web")
        cpu_usage.assert_not_called()
        self.assertEqual(self.events.event(Sandbox(), "web").memory, 100)

    def test_an_interrupt_in_wasmtimes_code_reaches_the_caller(self) -> None:
        convert = U64.convert_to_c

        def interrupted(*args: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            convert(*args)

        with mock.patch.object(U64, "convert_to_c", interrupted), self.assertRaises(KeyboardInterrupt):
            self.events.event(Sandbox(), "web")
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.assertEqual(self.events.event(Sandbox(), "web").memory, 100)

    def test_arguments_of_the_caller_are_checked(self) -> None:
        events: Any = self.events
        with self.assertRaises(ValueError):
            events.oom_json("\udcff")
        with self.assertRaises(ValueError):
            events.stats_json(Sandbox(), "web", "crun")
        with self.assertRaises(TypeError):
            events.event(Sandbox(), 1)
        for limits in ({"time": 0}, {"time": float("nan")}, {"memory": -1}):
            with self.assertRaises(ValueError):
                Limits(**limits)
        self.assert_alive()

    def test_host_functions_may_call_the_component_and_threads_may_share_it(self) -> None:
        def memory_usage() -> int:
            return (self.events.event(Sandbox(), "web").memory or 0) + 1

        memory = []

        def thread() -> None:
            for _ in range(20):
                memory.append(self.events.event(Sandbox(memory_usage=memory_usage), "web").memory)

        threads = [threading.Thread(target=thread) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(memory, [101] * 80)


def component(body: str) -> eventout.Component:
    """Returns a component whose functions all have that body, which may call `container-count` as `$count`."""
    exports = ("event", "event-json", "stats", "stats-json", "oom-json")
    wat = f"""(component
      (import "eventout:stats/sandbox@0.1.0" (instance $sandbox
        (type $e (variant (case "container-not-found") (case "unavailable" string)))
        (export "error" (type $error (eq $e)))
        (export "container-count" (func (result (result u64 (error $error)))))))
      (core module $libc
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (alias core export $libc "realloc" (core func $realloc))
      (core func $count
        (canon lower (func $sandbox "container-count") (memory $memory) (realloc $realloc)))
      (core module $main
        (import "host" "count" (func $count (param i32)))
        (import "libc" "memory" (memory 1))
        (func (export "run") (param i32 i32) (result i32) {body}))
      (core instance $main (instantiate $main
        (with "host" (instance (export "count" (func $count)))) (with "libc" (instance $libc))))
      (func $run (param "container" string) (result string)
        (canon lift (core func $main "run") (memory $memory) (realloc $realloc)))
      (instance $events {" ".join(f'(export "{name}" (func $run))' for name in exports)})
      (export "eventout:stats/events@0.1.0" (instance $events)))"""
    return eventout.Component(wat.encode())


class Failures(unittest.TestCase):
    def assert_fails(self, text: str, call: Callable[[], object]) -> None:
        with self.assertRaisesRegex(eventout.ComponentFailed, text):
            call()

    def test_after_a_trap_the_next_call_has_a_new_instance(self) -> None:
        events = Events(limits=Limits(memory=4 << 20))
        before = list(events._instances)
        too_much = Sandbox(root_container="x" * (8 << 20))
        self.assert_fails("^the component failed: ", lambda: events.event(too_much, "web"))
        self.assertEqual(events.event(Sandbox(), "web").memory, 100)
        self.assertNotEqual(events._instances, before)

    def test_a_component_that_does_not_end_is_stopped(self) -> None:
        for body in ("(loop br 0) unreachable", "(loop (call $count (i32.const 64)) (br 0)) unreachable"):
            events = Events(component(body), Limits(time=0.2))
            for _ in range(2):
                began = time.monotonic()
                self.assert_fails("it took longer than 0.2 s", lambda: events.oom_json("web"))
                self.assertTrue(0.2 <= time.monotonic() - began < 60)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_a_component_that_does_not_end_is_stopped_in_a_forked_process(self) -> None:
        events = Events(component("(loop br 0) unreachable"), Limits(time=0.2))
        self.assert_fails("it took longer", lambda: events.oom_json("web"))
        child = os.fork()
        if child == 0:
            try:
                events.oom_json("web")
            except eventout.ComponentFailed:
                os._exit(0)
            finally:
                os._exit(1)
        for _ in range(100):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.1)
        else:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        self.assertEqual(status, 0)

    def test_a_component_that_needs_more_memory_than_the_limit_is_refused(self) -> None:
        self.assert_fails("^cannot use the component: .*memory", lambda: Events(limits=Limits(memory=1 << 16)))

    def test_a_result_that_breaks_the_contract_is_an_error(self) -> None:
        # The text at 64 is "a\nb", which is more than one line; its address and length are at 0.
        lines = "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))"
        text = "(i32.store (i32.const 64) (i32.const 0x620a61))"
        events = Events(component(f"{lines} {text} (i32.const 0)"))
        breaks = "^the component breaks the contract: "
        self.assert_fails(breaks + "oom-json: result: expected one line", lambda: events.oom_json("web"))
        self.assert_fails(breaks + "event: result: expected a record EventOut", lambda: events.event(Sandbox(), "web"))
        self.assert_fails(breaks + "stats-json: ", lambda: events.stats_json(Sandbox(), "web", "runc"))

    def test_code_that_is_not_a_component_of_the_contract_is_refused(self) -> None:
        for code, text in (
            (b"", "cannot compile the component: "),
            (b"\0asm\1\0\0\0", "cannot compile the component: .*attempted to parse a wasm module"),
            (b"(component)", "cannot use the component: it has no function event in "),
        ):
            with self.assertRaisesRegex(eventout.ComponentFailed, f"^{text}"):
                eventout.Component(code)


class Processes(unittest.TestCase):
    @contextmanager
    def running(self, script: str) -> Iterator[int]:
        """Runs `script` in a shell, up to its `echo`, and ends all its processes at last."""
        with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as shell:
            try:
                assert shell.stdout is not None
                shell.stdout.readline()
                yield shell.pid
            finally:
                os.killpg(shell.pid, signal.SIGKILL)

    def test_a_tree_counts_all_its_processes(self) -> None:
        with self.running("sleep 99 & echo; sleep 99; :") as pid:
            tree = ProcessTree(pid)
            for _ in range(100):
                tree = ProcessTree(pid)
                if tree.pids_count(tree.container) == 3:
                    break
                time.sleep(0.05)
            event = EVENTS.stats(tree, tree.container)
            self.assertEqual(event.data.pids.current, 3)
            self.assertGreater(event.data.memory.usage.usage or 0, 3 * 4096)

    def test_the_cpu_time_of_ended_children_is_included(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        with self.running(f"{sys.executable} -c '{burn}'; echo; sleep 99") as pid:
            usage = EVENTS.stats(ProcessTree(pid), str(pid)).data.cpu.usage
            assert usage.total is not None and usage.user is not None and usage.kernel is not None
            self.assertGreater(usage.total, 250_000_000)
            self.assertLess(usage.total, 30_000_000_000)
            self.assertEqual(usage.user + usage.kernel, usage.total)

    def test_a_process_that_has_ended_is_not_found_and_the_next_is_printed(self) -> None:
        with self.running("echo; sleep 99") as pid:
            pass
        me = os.getpid()
        printed = subprocess.run(
            [sys.executable, "-m", "eventout", str(pid), str(me)], capture_output=True, text=True
        )
        self.assertEqual(printed.returncode, 1)
        self.assertEqual(
            printed.stderr, f'eventout: cannot get stats of process {pid}: container "{pid}" not found\n'
        )
        self.assertEqual(json.loads(printed.stdout)["id"], str(me))

    def test_cpu_time_that_moves_during_a_sample_makes_it_invalid(self) -> None:
        def write(pid: int, used: int, reaped: int) -> None:
            Path(directory, str(pid)).mkdir(exist_ok=True)
            stat = f"{pid} (a) S 5 0 0 0 0 0 0 0 0 0 {used} 0 {reaped} 0 0 0 1 0 77\n"
            Path(directory, str(pid), "stat").write_text(stat)

        with tempfile.TemporaryDirectory() as directory, mock.patch("eventout.processes._PROC", Path(directory)):
            for used, reaped, changed in ((9, 0, False), (9, 3, True)):
                write(6, used=1, reaped=0)
                process = processes._process(6)
                assert process is not None
                write(6, used=used, reaped=reaped)
                self.assertEqual(process.is_unchanged(), not changed)
            for used, changed in ((0, False), (1, True)):
                write(6, used=used, reaped=0)
                process = processes._process(6)
                assert process is not None
                Path(directory, "6", "stat").unlink()
                self.assertEqual(process.is_unchanged(), not changed)

    def test_a_zombie_has_ended(self) -> None:
        zombie = subprocess.Popen(["true"])
        try:
            os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
            with self.assertRaises(eventout.ContainerNotFound):
                EVENTS.event(ProcessTree(zombie.pid), str(zombie.pid))
        finally:
            zombie.wait()

    def test_files_in_proc_may_have_any_content(self) -> None:
        def stat(pid: int, parent: int, reaped: int = 0) -> str:
            return f"{pid} (a) R 9 (b\n) S {parent} 0 0 0 0 0 0 0 0 0 1 2 {reaped} 0 0 0 3 0 77\n"

        with tempfile.TemporaryDirectory() as directory, mock.patch("eventout.processes._PROC", Path(directory)):
            # Two processes, each the other's parent.
            for pid, parent in ((5, 6), (6, 5), (7, 1)):
                Path(directory, str(pid)).mkdir()
                Path(directory, str(pid), "stat").write_text(stat(pid, parent))
                Path(directory, str(pid), "smaps_rollup").write_text("x rollup\nPss: 4 kB\nSwapPss: 1 kB\n")
            event = EVENTS.stats(ProcessTree(5), "5")
            self.assertEqual((event.data.pids.current, event.data.memory.usage.usage), (6, 8192))
            self.assertEqual(event.data.memory.swap.usage, 10240)

            Path(directory, "6", "smaps_rollup").unlink()
            Path(directory, "6", "smaps_rollup").mkdir()
            with self.assertRaisesRegex(eventout.Unavailable, "^cannot read .*/6/smaps_rollup: Is a directory$"):
                EVENTS.event(ProcessTree(5), "5")
            for nonsense in ("", "5 (a) S 1", stat(7, 1, reaped=-(10**30)), "\0" * 9):
                Path(directory, "7", "stat").write_text(nonsense)
                with self.assertRaises(eventout.Unavailable):
                    EVENTS.event(ProcessTree(7), "7")


class Replay(unittest.TestCase):
    def replay(self, scenario: bytes) -> "subprocess.CompletedProcess[bytes]":
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.write(scenario)
            file.flush()
            return subprocess.run([sys.executable, HERE / "replay.py", file.name], capture_output=True)

    def test_it_prints_three_lines_for_each_container_and_for_an_unknown_one(self) -> None:
        first = '{"root_container":"a","memory_usage":3,"containers":[{"id":"a","pids_count":1}]}'
        second = '{"root_container":"b","containers":[{"id":"b","pids_count":0,"error":"gone é"}]}'
        replayed = self.replay(f"\n{first}\n[{first},{second}]".encode())
        self.assertEqual((replayed.returncode, replayed.stderr), (0, b""))
        lines = replayed.stdout.decode().splitlines()
        nobody = [r'error container-not-found: container "no such \"container\"" not found'] * 3
        self.assertEqual(lines[3:6], nobody)
        self.assertEqual(lines[6:9], lines[:3])
        self.assertEqual(lines[9:], ["error unavailable: gone é"] * 3 + nobody)

    def test_an_invalid_scenario_prints_only_where_and_why(self) -> None:
        def of(container: str) -> str:
            return f'{{"root_container":"a","memory_usage":3,"containers":[{{"id":"a","pids_count":1{container}}}]}}'

        def stats(stats: str) -> str:
            return of(f',"stats":{stats}')

        u64 = f"expected an int from 0 to {2**64 - 1}"
        for line, text in (
            (stats('{"memory":{"usagee":{}}}'), ".containers[0].stats.memory: unknown field 'usagee'"),
            (stats('{"pids":{"limit":18446744073709551616}}'), f".containers[0].stats.pids.limit: {u64}"),
            (stats('{"pids":{"limit":1.0}}'), f".containers[0].stats.pids.limit: {u64}"),
            (stats('{"cpuset":{"cpus":[1,-1]}}'), ".cpuset.cpus[1]: expected an int from 0 to 65535"),
            (stats('{"network_interfaces":[{}]}'), ".network_interfaces[0]: missing field 'name'"),
            (stats('{"hugetlb":{}}'), ".containers[0].stats.hugetlb: expected a list"),
            (stats('{"hugetlb":[["2MB"]]}'), ".containers[0].stats.hugetlb[0]: expected 2 values"),
            (of(',"cpu_usage":true'), f".containers[0].cpu_usage: {u64}"),
            (of(r',"error":"\ud800"'), ".containers[0].error: expected a str of Unicode"),
            (of('},{"id":"a","pids_count":1'), "duplicate container ID 'a'"),
            (f'[{of("")},{of("")}]', "duplicate container ID 'a'"),
            (of("").replace(':"a"', ':"b"', 1), "root container 'b' is not among the containers"),
            (of("").replace("3", "NaN"), f"sandboxes[0].memory_usage: {u64}"),
            (of("").replace("3", "9" * 5000), "2: "),
            ('{"root_container":"a"}', "sandboxes[0]: missing field 'containers'"),
            (of("").replace("root_c", "root-c"), "sandboxes[0]: unknown field 'root-container'"),
            ('{"format":"crun"}', "sandboxes[0].format: expected 'gvisor' or 'runc'"),
            ("[" * 100_000, "2: "),
            ("{", "2: "),
            ("3", "2: sandboxes[0]: expected a record Facts"),
        ):
            with self.assertRaises(ValueError, msg=line[:99]) as raised:
                list(replay.samples(f"{of('')}\n{line}\n".encode()))
            self.assertTrue(str(raised.exception).startswith("2: "), raised.exception)
            self.assertIn(text, str(raised.exception))
        for scenario, why in (
            (b"\n\xff", "2: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
            (b'{"root_container":1}', "1: sandboxes[0].root_container: expected a str of Unicode"),
        ):
            replayed = self.replay(scenario)
            self.assertEqual((replayed.returncode, replayed.stdout), (1, b""))
            message = rf"^replay\.py: invalid scenario: \S+\.jsonl:{re.escape(why)}\n$"
            self.assertRegex(replayed.stderr.decode(), message)


if __name__ == "__main__":
    unittest.main()
