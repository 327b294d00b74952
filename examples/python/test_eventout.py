"""What the package promises. To be run with the Python that has it: `python test_eventout.py`."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from unittest import mock

from wasmtime.component import Record, U64

sys.dont_write_bytecode = True
import eventout
import replay
from eventout import Events, Limits, ProcessTree, SandboxUsage, Stats, processes
from eventout.codec import Mismatch, codec
from eventout.records import ContainerId, Nanoseconds

HERE = Path(__file__).parent
EVENTS = Events()
USAGE = SandboxUsage(memory=100, container_count=2, root_container="pause", cpu={"web": 5, "pause": 1})


class Sandbox:
    """A pod of two. Tests put other answers in the place of functions."""

    def __init__(self, **answers: Any) -> None:
        for name, answer in answers.items():
            setattr(self, name, answer if callable(answer) else lambda *_, answer=answer: answer)

    def pids_count(self, container: str) -> int:
        if container not in ("pause", "web"):
            raise eventout.ContainerNotFound
        return 3

    def update_memory_usage(self) -> None:
        pass

    def usage(self) -> SandboxUsage:
        return USAGE

    def cgroup_cpu_usage(self) -> int | None:
        return None

    def container_stats(self, container: str) -> Stats | None:
        return None


def every_field(hint: Any, numbers: Iterator[int]) -> Any:
    """A value of that type in which nothing is absent, and all numbers differ."""
    args, origin = get_args(hint), get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint, include_extras=True)
        return hint(**{field.name: every_field(hints[field.name], numbers) for field in dataclasses.fields(hint)})
    if origin is tuple:
        return (every_field(args[0], numbers), every_field(args[0], numbers))
    if origin is Mapping:
        return {key: every_field(args[1], numbers) for key in ("a", "\u2028é")}
    if origin is Annotated:
        return args[1].stop - 1 - next(numbers)
    return f'"{next(numbers)}\n' if hint is str else every_field(args[0], numbers)


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


class Answers(unittest.TestCase):
    def test_a_typed_event_is_what_its_json_says(self) -> None:
        stats = every_field(Stats, iter(range(1000)))
        self.assertEqual(stats.memory.usage.limit.bit_length(), 64)
        sandbox = Sandbox(container_stats=stats)
        event = EVENTS.stats(sandbox, "web")
        self.assertEqual(event, eventout.StatsEvent(id="web", data=stats))
        line = EVENTS.stats_json(sandbox, "web", "runc")
        value = dict(json.loads(line, object_pairs_hook=replay.Object))
        self.assertEqual((value["type"], value["id"]), ("stats", "web"))
        self.assertEqual(replay.read(Stats, value["data"]), stats)

    def test_an_event_has_the_share_of_one_container_and_the_cpu_time_of_all(self) -> None:
        event = EVENTS.event(Sandbox(), "web")
        self.assertEqual(
            event,
            eventout.EventOut(id="web", pids=3, memory=100, container_usage={"pause": 1, "web": 5}),
        )
        self.assertEqual(list(event.container_usage), ["pause", "web"])
        line = json.loads(EVENTS.event_json(Sandbox(), "web"))
        self.assertEqual(line["containerUsage"], event.container_usage)
        self.assertEqual(line["event"]["data"]["memory"]["usage"]["usage"], event.memory)

    def test_figures_of_containers_cross_as_one_text_and_come_back(self) -> None:
        cross = codec(Mapping[ContainerId, Nanoseconds])
        for usage in ({}, {"": 1}, {"a": 1, "": 2}, {"a": 0, "\u00e9": 2**64 - 1}):
            self.assertEqual(cross.lift(cross.lower(usage)), usage)
        for containers, usage in (("", [1, 2]), ("a", []), ("a\0b", [1]), ("a", None), (None, [])):
            broken: Any = Record()
            broken.containers, broken.usage = containers, usage
            with self.assertRaises(Mismatch):
                cross.lift(broken)

    def test_what_is_not_known_is_none_and_zero_is_zero(self) -> None:
        known = Stats(memory=eventout.Memory(usage=eventout.MemoryEntry(usage=0)))
        data = EVENTS.stats(Sandbox(container_stats=known, usage=replace(USAGE, cpu={})), "web").data
        self.assertEqual((data.memory.usage.usage, data.memory.usage.limit), (0, None))
        self.assertEqual((data.cpu.usage.total, data.pids.current), (None, 3))

    def test_figures_are_exact_over_the_whole_range(self) -> None:
        for figure in (0, 2**53 + 1, 2**63, 2**64 - 1):
            usage = SandboxUsage(memory=figure, container_count=1, cpu={"web": figure})
            sandbox = Sandbox(pids_count=figure, usage=usage)
            event = EVENTS.event(sandbox, "web")
            self.assertEqual((event.pids, event.memory), (figure, figure))
            self.assertEqual(event.container_usage, {"web": figure})
            line = EVENTS.event_json(sandbox, "web")
            self.assertTrue(line.endswith(f'"containerUsage":{{"web":{figure}}}}}'), line)

    def test_a_sweep_has_an_answer_for_each_container(self) -> None:
        lines = EVENTS.sweep_json(Sandbox(), ["web", "gone", "pause"], "runsc")
        self.assertEqual(lines[0], EVENTS.stats_json(Sandbox(), "web", "runsc"))
        self.assertIsInstance(lines[1], eventout.ContainerNotFound)
        self.assertEqual(lines[2], EVENTS.stats_json(Sandbox(), "pause", "runsc"))

    def test_a_kill_is_told_without_a_sandbox(self) -> None:
        self.assertEqual(EVENTS.oom_json('a"'), '{"type":"oom","id":"a\\""}')


class Errors(unittest.TestCase):
    def setUp(self) -> None:
        self.events = Events()
        self.instances = list(self.events._instances)

    def assert_alive(self) -> None:
        """The instance is the one that there was, and works."""
        self.assertEqual(self.events._instances, self.instances)
        self.assertEqual(self.events.event(Sandbox(), "web").memory, 100)

    def test_a_container_that_is_not_there_is_told_in_gvisors_words(self) -> None:
        for call in (
            lambda: self.events.event(Sandbox(), 'no "such"'),
            lambda: self.events.stats_json(Sandbox(), 'no "such"', "runc"),
        ):
            with self.assertRaises(eventout.ContainerNotFound) as raised:
                call()
            self.assertEqual(str(raised.exception), r'container "no \"such\"" not found')
            self.assertEqual(raised.exception.case, "container-not-found")
        with self.assertRaises(eventout.NoContainer):
            self.events.event(Sandbox(usage=replace(USAGE, container_count=0)), "web")
        self.assert_alive()

    def test_an_exception_of_the_host_is_an_unavailable_fact(self) -> None:
        class Worst(Exception):
            def __str__(self) -> str:
                raise self

        for error, text in (
            (eventout.Unavailable("it is \ud800 frozen"), r"it is \ud800 frozen"),
            (KeyError("x"), "KeyError: 'x'"),
            (RecursionError("deep"), "RecursionError: deep"),
            (Worst(), "Worst"),
        ):
            for name in ("pids_count", "usage"):
                with self.assertRaises(eventout.Unavailable) as raised:
                    self.events.event(Sandbox(**{name: raising(error)}), "web")
                self.assertEqual(str(raised.exception), text)
                self.assertIs(raised.exception.__cause__, error)
        with self.assertRaises(eventout.Unavailable):
            self.events.stats(Sandbox(container_stats=raising(OSError())), "web")
        self.assert_alive()

    def test_the_errors_of_best_efforts_do_not_count(self) -> None:
        sandbox = Sandbox(update_memory_usage=raising(OSError()), cgroup_cpu_usage=raising(OSError()))
        self.assertEqual(self.events.stats(sandbox, "web").data.cpu.usage.total, 5)

    def test_what_the_contract_does_not_allow_never_crosses(self) -> None:
        def wrong(value: Any) -> Any:
            return value

        def cpu(figure: Any) -> Stats:
            return Stats(cpu=eventout.Cpu(usage=eventout.CpuUsage(percpu=figure)))

        largest = 2**64 - 1
        for name, answer, text in (
            ("pids_count", -1, f"the answer must be from 0 to {largest}"),
            ("pids_count", True, "the answer must be an int, not bool"),
            ("usage", 100, "the answer must be a SandboxUsage, not int"),
            ("usage", replace(USAGE, memory=2**64), f"memory must be from 0 to {largest}"),
            ("usage", replace(USAGE, memory=10**9999), f"memory must be from 0 to {largest}"),
            ("usage", replace(USAGE, memory=wrong(1.0)), "memory must be an int, not float"),
            ("usage", replace(USAGE, container_count=wrong(None)), "container_count must be an int, not NoneType"),
            ("usage", replace(USAGE, root_container=wrong(b"pause")), "root_container must be a str, not bytes"),
            ("usage", replace(USAGE, root_container="\udcff"), "root_container has a lone surrogate in it"),
            ("usage", replace(USAGE, root_container="a\0b"), "root_container has a NUL in it"),
            ("usage", replace(USAGE, cpu=wrong([("web", 1)])), "cpu must be a mapping, not list"),
            ("usage", replace(USAGE, cpu={"web": -1}), f"cpu['web'] must be from 0 to {largest}"),
            ("usage", replace(USAGE, cpu={"a\0b": 1}), r"cpu has the key 'a\x00b', which has a NUL in it"),
            ("usage", replace(USAGE, cpu=wrong({3: 1})), "cpu has the key 3, which must be a str, not int"),
            ("container_stats", {}, "the answer must be a Stats, not dict"),
            ("container_stats", cpu([1]), "cpu.usage.percpu must be a tuple, not list"),
            ("container_stats", cpu((1, -1)), f"cpu.usage.percpu[1] must be from 0 to {largest}"),
            (
                "container_stats",
                Stats(cpuset=eventout.Cpuset(cpus=(2**16,))),
                "cpuset.cpus[0] must be from 0 to 65535",
            ),
            (
                "container_stats",
                Stats(intel_rdt=eventout.IntelRdt(schemata=("\ud800",))),
                "intel_rdt.schemata[0] has a lone surrogate in it",
            ),
        ):
            with self.assertRaises(eventout.Unavailable) as raised:
                self.events.stats(Sandbox(**{name: answer}), "web")
            self.assertEqual(str(raised.exception), f"{name}: {text}")
        self.assert_alive()

    def test_an_interrupt_in_a_host_function_reaches_the_caller(self) -> None:
        asked = []

        def update_memory_usage() -> None:
            asked.append("update_memory_usage")
            signal.raise_signal(signal.SIGINT)

        def usage() -> SandboxUsage:
            asked.append("usage")
            return USAGE

        with self.assertRaises(KeyboardInterrupt):
            self.events.event(Sandbox(update_memory_usage=update_memory_usage, usage=usage), "web")
        self.assertEqual(asked, ["update_memory_usage"])
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

    def test_what_the_caller_asks_for_is_checked(self) -> None:
        events: Any = self.events
        with self.assertRaises(ValueError):
            events.oom_json("\udcff")
        with self.assertRaises(ValueError):
            events.sweep_json(Sandbox(), ["web", "\udcff"], "runc")
        with self.assertRaises(ValueError):
            events.stats_json(Sandbox(), "web", "crun")
        with self.assertRaises(TypeError):
            events.event(Sandbox(), 1)
        for limits in ({"time": 0}, {"time": float("nan")}, {"memory": -1}):
            with self.assertRaises(ValueError):
                Limits(**limits)
        self.assert_alive()

    def test_host_functions_may_ask_for_events_and_threads_may_share_them(self) -> None:
        def usage() -> SandboxUsage:
            return replace(USAGE, memory=self.events.event(Sandbox(), "web").memory + 1)

        memory = []

        def thread() -> None:
            for _ in range(20):
                memory.append(self.events.event(Sandbox(usage=usage), "web").memory)

        threads = [threading.Thread(target=thread) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(memory, [101] * 80)


def component(body: str) -> eventout.Component:
    """A component that answers all with what `body` does; it asks that the memory be brought up to date with `$ask`."""
    exports = ("event", "event-json", "stats", "stats-json", "sweep-json", "oom-json")
    wat = f"""(component
      (import "eventout:stats/sandbox@0.1.0" (instance $sandbox
        (type $e (variant (case "container-not-found") (case "unavailable" string)))
        (export "error" (type $error (eq $e)))
        (export "update-memory-usage" (func (result (result (error $error)))))))
      (core module $libc
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (alias core export $libc "realloc" (core func $realloc))
      (core func $ask
        (canon lower (func $sandbox "update-memory-usage") (memory $memory) (realloc $realloc)))
      (core module $main
        (import "host" "ask" (func $ask (param i32)))
        (import "libc" "memory" (memory 1))
        (func (export "run") (param i32 i32) (result i32) {body}))
      (core instance $main (instantiate $main
        (with "host" (instance (export "ask" (func $ask)))) (with "libc" (instance $libc))))
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
        too_much = Sandbox(usage=replace(USAGE, root_container="x" * (8 << 20)))
        self.assert_fails("^the component failed: ", lambda: events.event(too_much, "web"))
        self.assertEqual(events.event(Sandbox(), "web").memory, 100)
        self.assertNotEqual(events._instances, before)

    def test_a_component_that_does_not_end_is_stopped(self) -> None:
        for body in ("(loop br 0) unreachable", "(loop (call $ask (i32.const 64)) (br 0)) unreachable"):
            events = Events(component(body), Limits(time=0.2))
            for _ in range(2):
                began = time.monotonic()
                self.assert_fails("it took longer than 0.2 s", lambda: events.oom_json("web"))
                self.assertTrue(0.2 <= time.monotonic() - began < 5)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_it_is_stopped_in_a_forked_process_too(self) -> None:
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

    def test_a_component_that_wants_too_much_memory_is_refused(self) -> None:
        self.assert_fails("^cannot use the component: .*memory", lambda: Events(limits=Limits(memory=1 << 16)))

    def test_what_breaks_the_contract_is_an_error(self) -> None:
        # The text at 64 is "a\nb", which is more than a line; its address and length are at 0.
        lines = "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))"
        text = "(i32.store (i32.const 64) (i32.const 0x620a61))"
        events = Events(component(f"{lines} {text} (i32.const 0)"))
        breaks = "^the component breaks the contract: "
        self.assert_fails(breaks + "oom-json: the answer has more than one line", lambda: events.oom_json("web"))
        self.assert_fails(breaks + "event: the answer must be a record", lambda: events.event(Sandbox(), "web"))
        self.assert_fails(breaks + "stats-json: ", lambda: events.stats_json(Sandbox(), "web", "runc"))
        self.assert_fails(breaks + "sweep-json: ", lambda: events.sweep_json(Sandbox(), ["web"], "runc"))

    def test_what_is_no_component_of_the_contract_is_refused(self) -> None:
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
        """A shell that runs `script`, and says when it has got to `echo`. All its processes are ended."""
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

    def test_children_that_have_ended_count_in_cpu_time(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        with self.running(f"{sys.executable} -c '{burn}'; echo; sleep 99") as pid:
            usage = EVENTS.stats(ProcessTree(pid), str(pid)).data.cpu.usage
            assert usage.total is not None and usage.user is not None and usage.kernel is not None
            self.assertGreater(usage.total, 250_000_000)
            self.assertLess(usage.total, 30_000_000_000)
            self.assertEqual(usage.user + usage.kernel, usage.total)

    def test_a_process_that_has_ended_is_not_found_and_loses_nothing_else(self) -> None:
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

    def test_cpu_time_that_moves_during_a_reading_makes_it_void(self) -> None:
        def write(pid: int, used: int, reaped: int) -> None:
            Path(folder, str(pid)).mkdir(exist_ok=True)
            stat = f"{pid} (a) S 5 0 0 0 0 0 0 0 0 0 {used} 0 {reaped} 0 0 0 1 0 77\n"
            Path(folder, str(pid), "stat").write_text(stat)

        with tempfile.TemporaryDirectory() as folder, mock.patch("eventout.processes._PROC", Path(folder)):
            for used, reaped, void in ((9, 0, False), (9, 3, True)):
                write(6, used=1, reaped=0)
                process = processes._process(6)
                assert process is not None
                write(6, used=used, reaped=reaped)
                self.assertEqual(process.has_settled(), not void)
            for used, void in ((0, False), (1, True)):
                write(6, used=used, reaped=0)
                process = processes._process(6)
                assert process is not None
                Path(folder, "6", "stat").unlink()
                self.assertEqual(process.has_settled(), not void)

    def test_a_zombie_has_ended(self) -> None:
        zombie = subprocess.Popen(["true"])
        try:
            os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
            with self.assertRaises(eventout.ContainerNotFound):
                EVENTS.event(ProcessTree(zombie.pid), str(zombie.pid))
        finally:
            zombie.wait()

    def test_what_stands_in_proc_may_be_anything(self) -> None:
        def stat(pid: int, parent: int, reaped: int = 0) -> str:
            return f"{pid} (a) R 9 (b\n) S {parent} 0 0 0 0 0 0 0 0 0 1 2 {reaped} 0 0 0 3 0 77\n"

        with tempfile.TemporaryDirectory() as folder, mock.patch("eventout.processes._PROC", Path(folder)):
            # Two processes that are each other's parents.
            for pid, parent in ((5, 6), (6, 5), (7, 1)):
                Path(folder, str(pid)).mkdir()
                Path(folder, str(pid), "stat").write_text(stat(pid, parent))
                Path(folder, str(pid), "smaps_rollup").write_text("x rollup\nPss: 4 kB\nSwapPss: 1 kB\n")
            event = EVENTS.stats(ProcessTree(5), "5")
            self.assertEqual((event.data.pids.current, event.data.memory.usage.usage), (6, 8192))
            self.assertEqual(event.data.memory.swap.usage, 10240)

            Path(folder, "6", "smaps_rollup").unlink()
            Path(folder, "6", "smaps_rollup").mkdir()
            with self.assertRaisesRegex(eventout.Unavailable, "^cannot read .*/6/smaps_rollup: Is a directory$"):
                EVENTS.event(ProcessTree(5), "5")
            for nonsense in ("", "5 (a) S 1", stat(7, 1, reaped=-(10**30)), "\0" * 9):
                Path(folder, "7", "stat").write_text(nonsense)
                with self.assertRaises(eventout.Unavailable):
                    EVENTS.event(ProcessTree(7), "7")


class Replay(unittest.TestCase):
    def replay(self, scenario: bytes) -> "subprocess.CompletedProcess[bytes]":
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.write(scenario)
            file.flush()
            return subprocess.run([sys.executable, HERE / "replay.py", file.name], capture_output=True)

    def test_three_lines_of_each_container_and_of_one_that_is_not_there(self) -> None:
        containers = '[{"id":"a","pids":1},{"id":"b","pids":0,"error":"gone é"}]'
        instant = f'{{"root":"a","memory_bytes":3,"containers":{containers}}}'
        replayed = self.replay(f"\n{instant}\n{instant}".encode())
        self.assertEqual((replayed.returncode, replayed.stderr), (0, b""))
        lines = replayed.stdout.decode().splitlines()
        self.assertEqual(len(lines), 2 * 3 * 3)
        self.assertEqual(lines[3:6], ["error unavailable: gone é"] * 3)
        nobody = r'error container-not-found: container "no such \"container\"" not found'
        self.assertEqual(lines[6:9], [nobody] * 3)

    def test_a_scenario_that_is_not_valid_prints_nothing_but_where_and_why(self) -> None:
        def of(container: str) -> str:
            return f'{{"root":"a","memory_bytes":3,"containers":[{{"id":"a","pids":1{container}}}]}}'

        def stats(stats: str) -> str:
            return of(f',"stats":{stats}')

        for line, text in (
            (stats('{"memory":{"usagee":{}}}'), 'containers[0].stats.memory: unknown key "usagee"'),
            (stats('{"blkio":{"io":[]}}'), 'containers[0].stats.blkio: unknown key "io"'),
            (stats('{"cpu":{"throttling":{"throttled_time":1}}}'), 'unknown key "throttled_time"'),
            (stats('{"cpu":{},"cpu":{}}'), 'containers[0].stats: duplicate key "cpu"'),
            (stats('{"pids":{"limit":18446744073709551616}}'), "containers[0].stats.pids.limit: expected an integer"),
            (stats('{"pids":{"limit":1.0}}'), "containers[0].stats.pids.limit: expected an integer"),
            (stats('{"cpuset":{"cpus":[1,-1]}}'), "cpuset.cpus[1]: expected an integer from 0 to 65535"),
            (stats('{"cpu":{"psi":{"some":{"avg10":29.355}}}}'), "cpu.psi.some.avg10: expected a per cent"),
            (stats('{"network_interfaces":[{}]}'), 'network_interfaces[0]: missing key "Name"'),
            (stats('{"hugetlb":[]}'), "containers[0].stats.hugetlb: expected an object"),
            (of(',"pids":1'), 'containers[0]: duplicate key "pids"'),
            (of(',"cpu_ns":true'), "containers[0].cpu_ns: expected an integer"),
            (of(r',"error":"\ud800"'), "containers[0].error: it has a lone surrogate in it"),
            (of('},{"id":"a","pids":1'), 'duplicate container ID "a"'),
            (of("").replace('"a"', r'"\u0000"'), "containers[0].id: container ID"),
            (of("").replace('"root":"a"', '"root":"b"'), 'root container "b" is not among the containers'),
            (of("").replace("3", "NaN"), "NaN is not JSON"),
            (of("").replace("3", "9" * 5000), "2: "),
            ('{"root":"a"}', 'missing key "memory_bytes"'),
            ("[" * 100_000, "2: "),
            ("{", "2: "),
        ):
            with self.assertRaises(replay.Invalid, msg=line[:99]) as raised:
                list(replay.parse(f"{of('')}\n{line}\n".encode()))
            self.assertTrue(str(raised.exception).startswith("2: "), raised.exception)
            self.assertIn(text, str(raised.exception))
        for scenario, why in (
            (b"", " there is no instant in it"),
            (b"\n \n", " there is no instant in it"),
            (b"\n\xff", "2: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
            (b'{"root":1}', "1: root: expected a string"),
        ):
            replayed = self.replay(scenario)
            self.assertEqual((replayed.returncode, replayed.stdout), (1, b""))
            self.assertRegex(replayed.stderr.decode(), rf"^replay\.py: not a valid scenario: \S+\.jsonl:{why}\n$")


if __name__ == "__main__":
    unittest.main()
