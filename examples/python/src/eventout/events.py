"""The component, what it may take, what it asks and what it answers."""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, get_args

import wasmtime
from wasmtime import component as wasm
from wasmtime.component import Variant

from .codec import Mismatch, codec
from .records import EventOut, Nanoseconds, SandboxUsage, Stats, StatsEvent, U64

Dialect: TypeAlias = Literal["runsc", "runc"]
"""Whose format a stats line has: that of `runsc events`, or that of `runc events`."""


class Error(Exception):
    """Why there is no event. The text is a whole message."""

    case: ClassVar[str]
    """What the contract calls this error. The contract does not know `failed`."""


class ContainerNotFound(Error):
    """The sandbox has no container of that ID: the caller's mistake, or the container has gone.

    A host raises it for the same reason. The text that callers see is gVisor's, whatever the host's was.
    """

    case = "container-not-found"


class NoContainer(Error):
    """The sandbox has no container at all any more."""

    case = "no-container"


class Unavailable(Error):
    """The host failed to tell a fact. The text is the host's.

    A host raises it, or any other exception, to say so. That exception is the cause of the one that the
    caller sees.
    """

    case = "unavailable"


class Unsupported(Error):
    """The component can't do what was asked of it."""

    case = "unsupported"


class ComponentFailed(Error):
    """The component can't be used, trapped, exceeded a limit, or answered what the contract does not allow."""

    case = "failed"


_ERRORS = {error.case: error for error in (ContainerNotFound, NoContainer, Unavailable, Unsupported)}


class Sandbox(Protocol):
    """What a component asks of its host: facts about one sandbox.

    A sandbox is what containers share: a gVisor sandbox with all containers of a pod, or, where containers
    share nothing, one container alone.

    One object is one reading: all its answers are of one moment, so that they fit together. Answers are
    facts; shares, fallbacks, rounding and formats are the component's business. They are asked for in the
    order in which they stand here.

    A function that can't answer raises: `ContainerNotFound`, where there is no such container, and otherwise
    `Unavailable` with an explanation, which reaches the caller as it is. Any other exception counts as the
    latter, and so does an answer that is not of the type, or an int that is out of range.
    """

    def pids_count(self, container: str, /) -> U64:
        """The number of live tasks (threads) of `container`.

        It is 0 for a container that was created and not yet started, and for one whose tasks have all ended.
        Where this fails, nothing else is asked.
        """

    def update_memory_usage(self) -> None:
        """Brings the memory of `usage` up to date, where that takes an effort of its own.

        Its error is ignored.
        """

    def usage(self) -> SandboxUsage:
        """What the containers of the sandbox share. Among several, a root container must be named."""

    def cgroup_cpu_usage(self) -> Nanoseconds | None:
        """The CPU time of the whole sandbox by the account of the host's cgroup, in nanoseconds. `None` where
        the sandbox has no cgroup of its own, or CPU time is not accounted there.

        An error counts as `None`. It is not asked for by `event` and `event_json`.
        """

    def container_stats(self, container: str, /) -> Stats | None:
        """What the host measures for `container` alone. `None` where it can only see the whole sandbox.

        It is not asked for by `event` and `event_json`.
        """


@dataclass(frozen=True)
class Limits:
    """What one call of a component may take."""

    time: float = 10.0
    """How long it may take, in seconds, the host's answers included. It is stopped after that time and never
    before, but a function of the host that blocks is not. What it has answered by then is read to its end."""
    memory: int = 64 << 20
    """How much memory the component may have, in bytes. It bounds what is to be read, too."""

    def __post_init__(self) -> None:
        if not 0 < self.time <= 1e9:
            raise ValueError("the time must be more than 0 and up to 1e9 seconds")
        if not 0 < self.memory < 2**63:
            raise ValueError("the memory must be from 1 to 2**63 - 1 bytes")


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.epoch_interruption = True
    return wasmtime.Engine(config)


_ENGINE = _engine()


class _Watchdog:
    """Advances the epoch while calls are under way, so that each can be stopped, and sleeps otherwise."""

    TICK = 0.01
    """The time from one epoch to the next, in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._tick, name="eventout", daemon=True)
                thread.start()
                self._thread = thread
            self._calls += 1
            self._changed.notify()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._calls -= 1

    def _tick(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls > 0)
            time.sleep(self.TICK)
            _ENGINE.increment_epoch()


_WATCHDOG = _Watchdog()
if hasattr(os, "register_at_fork"):
    # A forked process has no thread but one.
    os.register_at_fork(after_in_child=_WATCHDOG.reset)


class _Interrupts:
    """Has Ctrl-C wait while wasmtime's own Python code runs in a call. What is raised there, ctypes drops, and
    wasmtime goes on with an answer that is none."""

    def __init__(self) -> None:
        self._held = False
        self._came = False

    def hold(self) -> None:
        # Python handles signals in this thread alone. Another handler than its own is the program's affair.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._held = True
            signal.signal(signal.SIGINT, self._note)

    def release(self) -> None:
        """Raises `KeyboardInterrupt` where one has been waiting."""
        if self._held:
            self._held = False
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._came = True


class Component:
    """A component that computes events, compiled. Any number of `Events` may share it."""

    def __init__(self, code: bytes) -> None:
        """Compiles `code`, WebAssembly in its binary or its text format.

        It raises `ComponentFailed` where that is not a component, or lacks a function of the contract.
        """
        try:
            self._code = wasm.Component(_ENGINE, code)
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"cannot compile the component: {_why(error)}") from error
        interface = self._code.get_export_index(_EVENTS)
        self._exports = {}
        for name in _ANSWERS:
            export = self._code.get_export_index(name, interface) if interface else None
            if export is None:
                raise ComponentFailed(f"cannot use the component: it has no function {name} in {_EVENTS}")
            self._exports[name] = export

    @staticmethod
    @cache
    def builtin() -> "Component":
        """The component that comes with this package. It is compiled once in a process."""
        return Component(resources.files(__package__).joinpath("eventout.wasm").read_bytes())


class Events:
    """Events of containers, as a component computes them.

    It may be used from any thread, and by a host's functions while they are asked. A call that fails leaves
    nothing behind that the next one could trip over.

    All functions raise an `Error` where there is no event. They raise `ValueError` for an ID that is not
    Unicode: one with a lone surrogate in it, as the names of files may have. `KeyboardInterrupt`, and whatever
    else a host's function raises that is no `Exception`, ends the call and reaches the caller.
    """

    def __init__(self, component: Component | None = None, limits: Limits = Limits()) -> None:
        """Makes the built-in component, or another, ready to run."""
        self._component = Component.builtin() if component is None else component
        self._limits = limits
        # Those that no call uses now. One that failed does not come back: what it left in its memory may be
        # anything.
        self._instances = [_Instance(self._component, limits)]

    def event(self, sandbox: Sandbox, container: str) -> EventOut:
        """gVisor's `containerManager.Event`, which has no CPU total, but the CPU time of all containers."""
        event: EventOut = self._call("event", sandbox, container)
        return event

    def event_json(self, sandbox: Sandbox, container: str) -> str:
        """The same as one line of JSON without the newline, as Go encodes gVisor's `EventOut`."""
        line: str = self._call("event-json", sandbox, container)
        return line

    def stats(self, sandbox: Sandbox, container: str) -> StatsEvent:
        """The event that `runsc events` prints, with the host's own measurements in place of estimates."""
        event: StatsEvent = self._call("stats", sandbox, container)
        return event

    def stats_json(self, sandbox: Sandbox, container: str, dialect: Dialect) -> str:
        """The same as one line of JSON without the newline, in the format of that runtime."""
        line: str = self._call("stats-json", sandbox, container, _known(dialect))
        return line

    def sweep_json(
        self, sandbox: Sandbox, containers: Iterable[str], dialect: Dialect
    ) -> list[str | Error]:
        """`stats_json` of several containers of one sandbox, in the same order.

        What they share is asked for once. An error about one container stands in its place instead of being
        raised.
        """
        asked = list(containers)
        lines: list[str | Error] = self._call("sweep-json", sandbox, asked, _known(dialect))
        if len(lines) != len(asked):
            raise ComponentFailed(f"the component gave {len(lines)} lines of {len(asked)} containers")
        return lines

    def oom_json(self, container: str) -> str:
        """The line, without the newline, by which `runc events` tells that the kernel killed a task of the
        container for want of memory."""
        line: str = self._call("oom-json", None, container)
        return line

    def _call(self, name: str, sandbox: Sandbox | None, about: str | list[str], *more: str) -> Any:
        for container in about if isinstance(about, list) else [about]:
            if not isinstance(container, str):
                raise TypeError(f"the ID of a container must be a str, not {type(container).__name__}")
            container.encode()  # Raises ValueError.
        try:
            instance = self._instances.pop()
        except IndexError:
            instance = _Instance(self._component, self._limits)
        answer = instance.call(name, sandbox, about, *more)
        self._instances.append(instance)
        if isinstance(answer, Error):
            raise answer
        return answer


class _Instance:
    """One instance of a component, with the memory and the functions that are its own."""

    def __init__(self, component: Component, limits: Limits) -> None:
        self._limits = limits
        self._host = _Host()
        self._store = wasmtime.Store(_ENGINE)
        # Wasmtime limits each memory, so there may be one. An element of a table takes 16 bytes.
        self._store.set_limits(limits.memory, table_elements=1 << 16, instances=16, tables=8, memories=1)
        linker = wasm.Linker(_ENGINE)
        with linker.root() as root, root.add_instance(_SANDBOX) as functions:
            self._host.define(functions)
        try:
            with self._in_time():
                instance = linker.instantiate(self._store, component._code)
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"cannot use the component: {self._why(error)}") from error
        self._functions = {
            name: instance.get_func(self._store, export) for name, export in component._exports.items()
        }

    def call(self, name: str, sandbox: Sandbox | None, *args: str | list[str]) -> Any:
        """What the component answers. An error that it answers is returned."""
        function: Any = self._functions[name]
        call = _Call(sandbox)
        self._host.call = call
        try:
            with self._in_time(), call:
                answer = function(self._store, *args)
            answer = _ANSWERS[name](answer)
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"the component failed: {self._why(error)}") from error
        except Exception as error:
            # Of a component with other types than the contract's, wasmtime can't make Python's values.
            raise ComponentFailed(f"the component breaks the contract: {name}: {error}") from error
        finally:
            self._host.call = None
        for each in answer if isinstance(answer, list) else [answer]:
            if isinstance(each, Unavailable):
                each.__cause__ = call.causes.get(str(each))
        return answer

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        ticks = math.ceil(self._limits.time / _Watchdog.TICK) + 1
        with _WATCHDOG:
            self._store.set_epoch_deadline(ticks)
            yield

    def _why(self, error: wasmtime.WasmtimeError) -> str:
        why = _why(error)
        return f"it took longer than {self._limits.time} s" if why == "wasm trap: interrupt" else why


class _Host:
    """The functions that an instance may call. They outlive it, so they know nothing else of it."""

    def __init__(self) -> None:
        self.call: _Call | None = None

    def define(self, functions: wasm.LinkerInstance) -> None:
        """Makes them those of the contract."""
        for name, lower in _BARE.items():
            functions.add_func(name, partial(self._bare, name, lower))
        for name, lower in _TAGGED.items():
            functions.add_func(name, partial(self._tagged, name, lower))

    def _bare(self, name: str, lower: "_Conversion", _store: object, *args: str) -> Any:
        return self._answer(name, lower, args)[1]

    def _tagged(self, name: str, lower: "_Conversion", _store: object, *args: str) -> Variant:
        return Variant(*self._answer(name, lower, args))

    def _answer(self, name: str, lower: "_Conversion", args: tuple[str, ...]) -> tuple[str, Any]:
        if self.call is None:
            return "err", "there is no call under way"
        return self.call.answer(name.replace("-", "_"), lower, args)


class _Call:
    """One call of a component, whose questions a sandbox answers. No exception gets past it to wasmtime."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self._sandbox = sandbox
        self._interrupts = _Interrupts()
        self._interrupt: BaseException | None = None
        self.causes: dict[str, Exception] = {}
        """The exceptions of the sandbox, by the texts that became of them."""

    def __enter__(self) -> None:
        self._interrupts.hold()

    def __exit__(self, *_: object) -> None:
        self._interrupts.release()
        if self._interrupt is not None:
            raise self._interrupt

    def answer(self, name: str, lower: "_Conversion", args: tuple[str, ...]) -> tuple[str, Any]:
        """A case of the contract's results, and what it holds."""
        if self._sandbox is None or self._interrupt is not None:
            return "err", "nothing more is answered"
        try:
            try:
                self._interrupts.release()
                return "ok", lower(getattr(self._sandbox, name)(*args))
            finally:
                self._interrupts.hold()
        except ContainerNotFound:
            return "err", None
        except Mismatch as mismatch:
            return "err", f"{name}: {mismatch}"
        except Exception as error:
            text = _explanation(error)
            self.causes[text] = error
            return "err", text
        except BaseException as interrupt:
            self._interrupt = interrupt
            return "err", "interrupted"


def _explanation(error: Exception) -> str:
    """A host's exception as a text that can cross."""
    kind = type(error).__name__
    try:
        text = str(error) if isinstance(error, Unavailable) else f"{kind}: {error}"
    except BaseException:
        text = kind
    return text.encode(errors="backslashreplace").decode()


def _why(error: wasmtime.WasmtimeError) -> str:
    """What wasmtime says, in one line and without a backtrace."""
    what, _, causes = str(error).partition("\n\nCaused by:\n")
    lines = [what.partition("\n")[0], *causes.splitlines()]
    if lines[0].endswith("backtrace:"):
        del lines[0]
    return ": ".join(re.sub(r"^\s*(\d+: )?", "", line) for line in lines)


_Conversion: TypeAlias = Callable[[object], Any]
"""A user's value as wasmtime takes it, or the other way round. It raises `Mismatch` for what is neither."""


def _known(dialect: Dialect) -> Dialect:
    if dialect not in get_args(Dialect):
        raise ValueError(f"there is no dialect {dialect!r}")
    return dialect


def _line(value: object) -> str:
    line: str = codec(str).lift(value)
    if "\n" in line:
        raise Mismatch("has more than one line")
    return line


def _or_error(lift: _Conversion) -> _Conversion:
    def lift_result(value: object) -> Any:
        if isinstance(value, Variant):
            return _ERRORS[value.tag](codec(str).lift(value.payload))
        return lift(value)

    return lift_result


def _lines(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Mismatch(f"must be a list, not {type(value).__name__}")
    return list(map(_or_error(_line), value))


_SANDBOX = "eventout:stats/sandbox@0.1.0"
_EVENTS = "eventout:stats/events@0.1.0"

# An error crosses to wasmtime as None, which is `container-not-found`, or as a str, which is `unavailable`. Where an
# answer may be None or a str too, a `Variant` tells them apart.
_BARE: dict[str, _Conversion] = {
    "pids-count": codec(U64).lower,
    "usage": codec(SandboxUsage).lower,
}
_TAGGED: dict[str, _Conversion] = {
    "update-memory-usage": codec(None).lower,
    "cgroup-cpu-usage": codec(Nanoseconds | None).lower,
    "container-stats": codec(Stats | None).lower,
}

# What a component answers, as the user's value.
_ANSWERS: dict[str, _Conversion] = {
    "event": _or_error(codec(EventOut).lift),
    "event-json": _or_error(_line),
    "stats": _or_error(codec(StatsEvent).lift),
    "stats-json": _or_error(_line),
    "sweep-json": _lines,
    "oom-json": _line,
}
