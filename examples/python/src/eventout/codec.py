"""Values of the contract's types, made from what a host, a component or JSON has.

Wasmtime truncates integers that are out of range, and an exception of its own code costs the instance. So values
are checked before they cross.
"""

from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from wasmtime.component import Record


class Mismatch(Exception):
    """A value that its type does not allow. The text says where it is, and what was expected."""


def convert(hint: Any, value: Any, where: str) -> Any:
    """Returns `value` as a value of the type `hint`, in the form that wasmtime takes.

    A record may be an object of its class, one of wasmtime's, or a dictionary. `where` names the value in the
    text of the `Mismatch` that is raised if it does not have the type.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Union or origin is UnionType:
        return None if value is None else convert(args[0], value, where)
    if is_dataclass(hint) and isinstance(value, dict | Record):
        return _record(hint, value, where)
    if origin is list and isinstance(value, list | tuple):
        return [convert(args[0], each, f"{where}[{at}]") for at, each in enumerate(value)]
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(args):
        return tuple(convert(arg, each, f"{where}[{at}]") for at, (arg, each) in enumerate(zip(args, value)))
    if origin is Annotated and type(value) is int and value in args[1]:
        return value
    if origin is Literal and value in args:
        return value
    if hint is bool and type(value) is bool:
        return value
    if hint is object:
        return value
    # A lone surrogate, as in the name of a file that is not UTF-8, can't cross.
    if hint is str and type(value) is str and value.encode(errors="replace").decode() == value:
        return value
    raise Mismatch(f"{where}: expected {_expected(hint, origin, args)}")


def _record(record: Any, values: dict[str, Any] | Record, where: str) -> Any:
    if isinstance(values, Record):
        values = {name.replace("-", "_"): value for name, value in vars(values).items()}
    known = _fields(record)
    converted = {}
    for name, value in values.items():
        if name not in known:
            raise Mismatch(f"{where}: unknown field {name!a}")
        converted[name] = convert(known[name][1], value, f"{where}.{name}")
    for name, (field, _) in known.items():
        if name not in converted and field.default is MISSING and field.default_factory is MISSING:
            raise Mismatch(f"{where}: missing field {name!a}")
    return record(**converted)


@cache
def _fields(record: Any) -> dict[str, tuple[Field[Any], Any]]:
    hints = get_type_hints(record, include_extras=True)
    return {field.name: (field, hints[field.name]) for field in fields(record)}


def _expected(hint: Any, origin: Any, args: tuple[Any, ...]) -> str:
    if origin is Annotated:
        return f"an int from {args[1].start} to {args[1].stop - 1}"
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple:
        return f"{len(args)} values"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"a record {hint.__name__}"
    return {str: "a str of Unicode", bool: "a bool"}.get(hint, "a list")
