"""The component, its limits, its imports and its exports."""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from types import NoneType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, get_args

import wasmtime
from wasmtime import component as wasm
from wasmtime.component import Variant

from .codec import Mismatch, convert
from .records import Bytes, EventOut, Nanoseconds, Stats, StatsEvent, U64

Format: TypeAlias = Literal["gvisor", "runc"]
"""The format of a line of JSON: that of `runsc events`, or that of `runc events`."""


class Error(Exception):
    """An error of a call. The text is a message without a final full stop."""

    case: ClassVar[str]
    """The contract's name for this error. `failed` is not part of the contract."""


class ContainerNotFound(Error):
    """The sandbox has no container of that ID. A host raises it, too; the text is gVisor's in any case."""

    case = "container-not-found"


class NoContainer(Error):
    """The sandbox has no container at all."""

    case = "no-container"


class Unavailable(Error):
    """The host failed to get a fact. The text is the host's.

    A host raises it, or any other exception, which is then the cause of this one.
    """

    case = "unavailable"


class Unsupported(Error):
    """The component does not offer what was requested."""

    case = "unsupported"


class ComponentFailed(Error):
    """The component can't be used, trapped, exceeded a limit, or returned a value that the contract does not allow."""

    case = "failed"


_ERRORS = {error.case: error for error in (ContainerNotFound, NoContainer, Unavailable, Unsupported)}


class Sandbox(Protocol):
    """Facts about one sandbox, which a host reports.

    A sandbox is what containers share: a gVisor sandbox with all containers of a pod, or, for runtimes whose
    containers share nothing, one container.

    One object is one sample: all its results are consistent. Results are facts; shares, fallbacks, rounding and
    formats are up to the component. It calls each function at most once during one call, in this order.

    A function that fails raises `ContainerNotFound` if there is no such container, and otherwise `Unavailable` with
    an explanation, which reaches the caller unchanged. Any other exception counts as the latter, and so does a
    result of another type or out of range.
    """

    def pids_count(self, container: str, /) -> U64:
        """Returns the number of live tasks (threads) of `container`.

        It is 0 for a container that is created but not started, and for one whose tasks have all ended. If this
        function fails, no other is called.
        """

    def memory_usage(self) -> Bytes | None:
        """Returns the memory in use by the whole sandbox. `None` if memory is not accounted."""

    def container_count(self) -> U64:
        """Returns the number of containers in the sandbox: the root container counts, and so do containers that are
        created but not started, and containers that have ended but are not deleted."""

    def root_container(self) -> str:
        """Returns the ID of the root container: the one that was created first, a pod's `pause`.

        It is only called if there are several containers.
        """

    def cpu_usage(self) -> list[tuple[str, Nanoseconds]]:
        """Returns the CPU time of each container that has a live thread group, in any order. Reaped children
        count."""

    def cgroup_cpu_usage(self) -> Nanoseconds | None:
        """Returns the CPU time of the whole sandbox as the host's cgroup accounts it. `None` if the sandbox has no
        cgroup of its own, or CPU time is not accounted there.

        An error counts as `None`. `Events.event` and `Events.event_json` do not call it.
        """

    def container_stats(self, container: str, /) -> Stats | None:
        """Returns the statistics that the host measures for `container` alone. `None` if it can only measure the
        whole sandbox.

        `Events.event` and `Events.event_json` do not call it.
        """


@dataclass(frozen=True)
class Limits:
    """Limits on one call of a component."""

    time: float = 10.0
    """Seconds, host functions included. A component is stopped after that time and never before, but a host
    function that blocks is not."""
    memory: int = 64 << 20
    """Bytes of the component's memory. It limits the size of results, too."""

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


class _EpochThread:
    """Increments the epoch during calls, so that each can be stopped, and sleeps otherwise."""

    TICK = 0.01
    """Seconds from one epoch to the next."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="eventout", daemon=True)
                thread.start()
                self._thread = thread
            self._calls += 1
            self._changed.notify()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._calls -= 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls > 0)
            time.sleep(self.TICK)
            _ENGINE.increment_epoch()


_EPOCHS = _EpochThread()
if hasattr(os, "register_at_fork"):
    # A forked process has no other threads.
    os.register_at_fork(after_in_child=_EPOCHS.reset)


class _Interrupts:
    """Delays Ctrl-C while wasmtime's own Python code runs in a call: ctypes drops an exception there, and wasmtime
    continues with a result that was never set."""

    def __init__(self) -> None:
        self._held = False
        self._came = False

    def hold(self) -> None:
        # Python handles signals in this thread alone. A handler of the program's own is its responsibility.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._held = True
            signal.signal(signal.SIGINT, self._note)

    def release(self) -> None:
        """Raises a delayed `KeyboardInterrupt`."""
        if self._held:
            self._held = False
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._came = True


class Component:
    """A compiled component that computes events. Any number of `Events` may share it."""

    def __init__(self, code: bytes) -> None:
        """Compiles `code`, WebAssembly in its binary or its text format.

        Raises `ComponentFailed` if it is not a component, or lacks a function of the contract.
        """
        try:
            self._code = wasm.Component(_ENGINE, code)
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"cannot compile the component: {_message(error)}") from error
        interface = self._code.get_export_index(_EVENTS)
        self._exports = {}
        for name in _EXPORTS:
            export = self._code.get_export_index(name, interface) if interface else None
            if export is None:
                raise ComponentFailed(f"cannot use the component: it has no function {name} in {_EVENTS}")
            self._exports[name] = export

    @staticmethod
    @cache
    def builtin() -> "Component":
        """Returns the component of this package, which is compiled once in a process."""
        return Component(resources.files(__package__).joinpath("eventout.wasm").read_bytes())


class Events:
    """Events of containers, as a component computes them.

    All threads may share it, and host functions may call it. A call that fails does not affect the next one.

    All functions raise an `Error` if there is no event, and `ValueError` for an ID with a lone surrogate, as the
    names of files may have. `KeyboardInterrupt`, and any other exception of a host function that is not an
    `Exception`, ends the call and reaches the caller.
    """

    def __init__(self, component: Component | None = None, limits: Limits = Limits()) -> None:
        """Instantiates `component`, or the built-in one."""
        self._component = Component.builtin() if component is None else component
        self._limits = limits
        # Instances without a call. One that failed is dropped: its memory may be in any state.
        self._instances = [_Instance(self._component, limits)]

    def event(self, sandbox: Sandbox, container: str) -> EventOut:
        """Returns gVisor's `containerManager.Event`, which has no CPU total, but the CPU time of all containers."""
        event: EventOut = self._call("event", sandbox, container)
        return event

    def event_json(self, sandbox: Sandbox, container: str) -> str:
        """Returns `event` as one line of JSON without the newline, as Go encodes gVisor's `EventOut`."""
        line: str = self._call("event-json", sandbox, container)
        return line

    def stats(self, sandbox: Sandbox, container: str) -> StatsEvent:
        """Returns the event that `runsc events` prints, with the host's own statistics in place of computed ones."""
        event: StatsEvent = self._call("stats", sandbox, container)
        return event

    def stats_json(self, sandbox: Sandbox, container: str, format: Format) -> str:
        """Returns `stats` as one line of JSON without the newline, as Go encodes it in `format`."""
        if format not in get_args(Format):
            raise ValueError(f"unknown format {format!r}")
        line: str = self._call("stats-json", sandbox, container, format)
        return line

    def oom_json(self, container: str) -> str:
        """Returns the line, without the newline, that `runc events` prints for an OOM kill in `container`."""
        line: str = self._call("oom-json", None, container)
        return line

    def _call(self, name: str, sandbox: Sandbox | None, container: str, *args: str) -> Any:
        if not isinstance(container, str):
            raise TypeError(f"the ID of a container must be a str, not {type(container).__name__}")
        container.encode()  # Raises ValueError.
        try:
            instance = self._instances.pop()
        except IndexError:
            instance = _Instance(self._component, self._limits)
        result = instance.call(name, sandbox, container, *args)
        self._instances.append(instance)
        if isinstance(result, Error):
            raise result
        return result


class _Instance:
    """An instance of a component, with a store of its own."""

    def __init__(self, component: Component, limits: Limits) -> None:
        self._limits = limits
        self._host = _Host()
        self._store = wasmtime.Store(_ENGINE)
        # The limit applies to each memory, so there may be one. An element of a table takes 16 bytes.
        self._store.set_limits(limits.memory, table_elements=1 << 16, instances=16, tables=8, memories=1)
        linker = wasm.Linker(_ENGINE)
        with linker.root() as root, root.add_instance(_SANDBOX) as functions:
            for name in _IMPORTS:
                functions.add_func(name, partial(self._host.function, name))
        try:
            with self._time_limit():
                instance = linker.instantiate(self._store, component._code)
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"cannot use the component: {self._message(error)}") from error
        self._functions = {
            name: instance.get_func(self._store, export) for name, export in component._exports.items()
        }

    def call(self, name: str, sandbox: Sandbox | None, *args: str) -> Any:
        """Returns the component's result, or the error that it returned."""
        function: Any = self._functions[name]
        call = self._host.call = _Call(sandbox)
        try:
            with self._time_limit(), call:
                result = function(self._store, *args)
            if isinstance(result, Variant):
                error = _ERRORS[result.tag](convert(str, result.payload, "error"))
                error.__cause__ = call.failure if isinstance(error, Unavailable) else None
                return error
            result = convert(_EXPORTS[name], result, "result")
            if isinstance(result, str) and "\n" in result:
                raise Mismatch("result: expected one line")
            return result
        except wasmtime.WasmtimeError as error:
            raise ComponentFailed(f"the component failed: {self._message(error)}") from error
        except Exception as error:
            # Wasmtime has exceptions of its own for results of types other than the contract's.
            raise ComponentFailed(f"the component breaks the contract: {name}: {error}") from error
        finally:
            self._host.call = None

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        ticks = math.ceil(self._limits.time / _EpochThread.TICK) + 1
        with _EPOCHS:
            self._store.set_epoch_deadline(ticks)
            yield

    def _message(self, error: wasmtime.WasmtimeError) -> str:
        message = _message(error)
        return f"it took longer than {self._limits.time} s" if message == "wasm trap: interrupt" else message


class _Host:
    """The host functions of an instance. They outlive it, so they have no reference to it."""

    def __init__(self) -> None:
        self.call: _Call | None = None

    def function(self, name: str, _store: object, *args: str) -> Any:
        ok, value = self.call.result(name, args) if self.call else (False, "no call is in progress")
        return Variant("ok" if ok else "err", value) if name in _TAGGED else value


class _Call:
    """A call of a component, in which a sandbox reports facts. No exception passes it to wasmtime."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self._sandbox = sandbox
        self._interrupts = _Interrupts()
        self._interrupt: BaseException | None = None
        self.failure: Exception | None = None
        """The last exception of the sandbox. The first one ends a call, except for `cgroup_cpu_usage`."""

    def __enter__(self) -> None:
        self._interrupts.hold()

    def __exit__(self, *_: object) -> None:
        self._interrupts.release()
        if self._interrupt is not None:
            raise self._interrupt

    def result(self, function: str, args: tuple[str, ...]) -> tuple[bool, Any]:
        """Returns whether a function of the sandbox succeeded, and its result or error."""
        if self._sandbox is None or self._interrupt is not None:
            return False, "the call is over"
        name = function.replace("-", "_")
        try:
            try:
                self._interrupts.release()
                value = getattr(self._sandbox, name)(*args)
                return True, convert(_IMPORTS[function], value, name)
            finally:
                self._interrupts.hold()
        except ContainerNotFound:
            return False, None
        except Exception as error:
            self.failure = error
            return False, _explanation(error)
        except BaseException as interrupt:
            self._interrupt = interrupt
            return False, "interrupted"


def _explanation(error: Exception) -> str:
    """Returns a host's exception as a text that can cross."""
    kind = type(error).__name__
    try:
        text = str(error) if isinstance(error, Unavailable | Mismatch) else f"{kind}: {error}"
    except BaseException:
        text = kind
    return text.encode(errors="backslashreplace").decode()


def _message(error: wasmtime.WasmtimeError) -> str:
    """Returns wasmtime's message in one line and without a backtrace."""
    what, _, causes = str(error).partition("\n\nCaused by:\n")
    lines = [what.partition("\n")[0], *causes.splitlines()]
    if lines[0].endswith("backtrace:"):
        del lines[0]
    return ": ".join(re.sub(r"^\s*(\d+: )?", "", line) for line in lines)


_SANDBOX = "eventout:stats/sandbox@0.1.0"
_EVENTS = "eventout:stats/events@0.1.0"

# The types of the results of all functions.
_IMPORTS: dict[str, Any] = {
    "pids-count": U64,
    "memory-usage": Bytes | None,
    "container-count": U64,
    "root-container": str,
    "cpu-usage": list[tuple[str, Nanoseconds]],
    "cgroup-cpu-usage": Nanoseconds | None,
    "container-stats": Stats | None,
}
# An error is None for `container-not-found`, and a str for `unavailable`. If a result may be None or a str, too,
# wasmtime needs a `Variant`.
_TAGGED = {name for name, hint in _IMPORTS.items() if hint is str or NoneType in get_args(hint)}
_EXPORTS: dict[str, Any] = {
    "event": EventOut,
    "event-json": str,
    "stats": StatsEvent,
    "stats-json": str,
    "oom-json": str,
}
