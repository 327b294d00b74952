"""How values of the contract's types cross to a component and back."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

from wasmtime.component import Record


class Mismatch(Exception):
    """A value that the contract doesn't allow. The text says where in an answer it is, and what is wrong."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.where = ""

    def __str__(self) -> str:
        return f"{self.where.lstrip('.') or 'the answer'} {self.why}"

    def inside(self, step: str) -> "Mismatch":
        """The same, seen from a value that has this one as `step`."""
        self.where = step + self.where
        return self


class Codec(Protocol):
    """How values of one type cross. Both ways raise `Mismatch` for what is not of that type."""

    @abstractmethod
    def lower(self, value: object) -> Any:
        """The user's value as wasmtime takes it."""

    @abstractmethod
    def lift(self, value: object) -> Any:
        """What wasmtime gave as the user's value."""


@cache
def codec(hint: Any) -> Codec:
    """How values with the type annotation `hint` cross."""
    args = get_args(hint)
    match get_origin(hint):
        case None if hint is None:
            return _Nothing()
        case None if hint is str:
            return _Text()
        case None if is_dataclass(hint):
            return _Record(hint)
        case origin if origin is Annotated and isinstance(args[1], range):
            return _Int(args[1])
        case origin if origin is Annotated:
            return _Text(nul=False)
        case origin if origin is Union or origin is UnionType:
            return _Optional(codec(args[0]))
        case origin if origin is tuple:
            return _List(codec(args[0]))
        case origin if origin is Mapping:
            pairs = _Map(codec(args[0]), codec(args[1]))
            # The contract has no other map of IDs.
            return pairs if args[0] is str else _ContainerCpu(pairs)
        case _:
            raise TypeError(f"the contract has no {hint}")


class _Nothing(Codec):
    def lower(self, value: object) -> None:
        if value is not None:
            raise Mismatch(f"must be None, not {type(value).__name__}")

    lift = lower


class _Int(Codec):
    """Wasmtime cuts what is too large, and takes a bool for a number."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def lower(self, value: object) -> int:
        if type(value) is not int:
            raise Mismatch(f"must be an int, not {type(value).__name__}")
        if value not in self.numbers:
            raise Mismatch(f"must be from {self.numbers.start} to {self.numbers.stop - 1}")
        return value

    lift = lower


class _Text(Codec):
    def __init__(self, nul: bool = True) -> None:
        self.nul = nul

    def lower(self, value: object) -> str:
        if type(value) is not str:
            raise Mismatch(f"must be a str, not {type(value).__name__}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Mismatch("has a lone surrogate in it") from None
        if not self.nul and "\0" in value:
            raise Mismatch("has a NUL in it")
        return value

    def lift(self, value: object) -> str:
        if not isinstance(value, str):
            raise Mismatch(f"must be a str, not {type(value).__name__}")
        return value


class _Optional(Codec):
    def __init__(self, some: Codec) -> None:
        self.some = some

    def lower(self, value: object) -> Any:
        return None if value is None else self.some.lower(value)

    def lift(self, value: object) -> Any:
        return None if value is None else self.some.lift(value)


class _List(Codec):
    """A list for wasmtime, a tuple for the user."""

    def __init__(self, element: Codec) -> None:
        self.element = element

    def lower(self, value: object) -> list[Any]:
        if not isinstance(value, tuple):
            raise Mismatch(f"must be a tuple, not {type(value).__name__}")
        lowered = []
        for at, element in enumerate(value):
            try:
                lowered.append(self.element.lower(element))
            except Mismatch as mismatch:
                raise mismatch.inside(f"[{at}]") from None
        return lowered

    def lift(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Mismatch(f"must be a list, not {type(value).__name__}")
        return tuple(map(self.element.lift, value))


class _Map(Codec):
    """A list of pairs for wasmtime, a mapping for the user."""

    def __init__(self, key: Codec, value: Codec) -> None:
        self.key = key
        self.value = value

    def lower(self, value: object) -> list[tuple[Any, Any]]:
        if not isinstance(value, Mapping):
            raise Mismatch(f"must be a mapping, not {type(value).__name__}")
        lowered = []
        for name, figure in value.items():
            try:
                name = self.key.lower(name)
            except Mismatch as mismatch:
                raise Mismatch(f"has the key {name!a}, which {mismatch.why}") from None
            try:
                lowered.append((name, self.value.lower(figure)))
            except Mismatch as mismatch:
                raise mismatch.inside(f"[{name!a}]") from None
        return lowered

    def lift(self, value: object) -> dict[Any, Any]:
        if not isinstance(value, list) or not all(
            isinstance(pair, tuple) and len(pair) == 2 for pair in value
        ):
            raise Mismatch("must be a list of pairs")
        return {self.key.lift(name): self.value.lift(figure) for name, figure in value}


class _ContainerCpu(Codec):
    """A `container-cpu` for wasmtime, in which all IDs are one text, a mapping for the user."""

    def __init__(self, pairs: _Map) -> None:
        self.pairs = pairs

    def lower(self, value: object) -> Any:
        pairs = self.pairs.lower(value)
        lowered: Any = Record()
        lowered.containers = "\0".join(container for container, _ in pairs)
        lowered.usage = [figure for _, figure in pairs]
        return lowered

    def lift(self, value: object) -> dict[Any, Any]:
        containers = self.pairs.key.lift(getattr(value, "containers", None))
        usage = getattr(value, "usage", None)
        if not isinstance(usage, list):
            raise Mismatch(f"must have a list of figures, not {type(usage).__name__}")
        ids = containers.split("\0") if containers or usage else []
        if len(ids) != len(usage):
            raise Mismatch(f"has {len(usage)} figures of {len(ids)} containers")
        return self.pairs.lift(list(zip(ids, usage)))


class _Record(Codec):
    """Wasmtime's records have the names of the contract, which are no identifiers of Python."""

    def __init__(self, record: Any) -> None:
        hints = get_type_hints(record, include_extras=True)
        self.record = record
        self.fields = [
            (each.name, each.name.replace("_", "-"), codec(hints[each.name]))
            for each in fields(record)
        ]

    def lower(self, value: object) -> Record:
        if not isinstance(value, self.record):
            raise Mismatch(f"must be a {self.record.__name__}, not {type(value).__name__}")
        lowered = Record()
        for name, theirs, each in self.fields:
            try:
                setattr(lowered, theirs, each.lower(getattr(value, name)))
            except Mismatch as mismatch:
                raise mismatch.inside(f".{name}") from None
        return lowered

    def lift(self, value: object) -> Any:
        if not isinstance(value, Record):
            raise Mismatch(f"must be a record, not {type(value).__name__}")
        lifted = {}
        for name, theirs, each in self.fields:
            try:
                lifted[name] = each.lift(getattr(value, theirs, None))
            except Mismatch as mismatch:
                raise mismatch.inside(f".{name}") from None
        return self.record(**lifted)
