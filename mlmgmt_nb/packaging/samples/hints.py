"""Type hints and defaults of functions: the types of arguments that callers send as JSON."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import enum
import inspect
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.scoring.schema import ArgumentType
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.types import InputError

__all__ = ["conversion", "default_literal", "hinted_type", "needs_conversion", "type_hints", "value_by_hint"]

_NATIVE = (bool, int, float, str, list, dict)
_TEXT = (dt.datetime, dt.date, dt.time, dt.timedelta, bytes, bytearray)
_OTHER_NAMES: dict[Any, str] = {
    collections.abc.Mapping: "dict",
    collections.abc.MutableMapping: "dict",
    collections.abc.Sequence: "list",
    collections.abc.MutableSequence: "list",
    collections.abc.Iterable: "list",
    collections.abc.Collection: "list",
}
_IN_JSON = frozenset({*(kind.__name__ for kind in _NATIVE), "any"})
_NONE = type(None)


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a function; an empty dict if a name in them cannot be resolved."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def hinted_type(name: str, hint: Any) -> ArgumentType:
    """Return the schema type of an argument from only its hint.

    Raises:
        UsageError: JSON does not have the type.
    """
    kind = _name_of(hint)
    if kind is None:
        shown = getattr(hint, "__name__", str(hint))
        raise UsageError(
            f"sample: without one, the argument {name!r} needs a type that JSON has, and {shown} is not one",
            field="sample",
            fix="Give a sample if JSON has a form for such values, or else a function that makes them: "
            f"`lambda {name}: function({conversion(name, hint)})`.",
        )
    return PlainType(kind)


def needs_conversion(hint: Any) -> bool:
    """Return whether values of a hint need conversion from JSON: it is a dataclass, a pydantic model, or an enum."""
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields") or issubclass(hint, enum.Enum)
    )


def conversion(name: str, hint: Any) -> str:
    """Return source code that converts an argument from JSON to a class."""
    shown = getattr(hint, "__name__", str(hint))
    is_enum = isinstance(hint, type) and issubclass(hint, enum.Enum)
    return f"{shown}({name})" if is_enum else f"{shown}(**{name})"


def value_by_hint(value: Any, hint: Any) -> tuple[Any, ArgumentType] | None:
    """Return a sample as a service passes it, and its type from the hint; None if the sample has another type.

    A hint has more information than one value, such as whether numbers may have decimals or values may be missing.
    """
    kind = None if hint in (None, Any, object) else _name_of(hint)
    if kind is None or kind not in _IN_JSON:
        return None
    if value is None:
        return (None, PlainType(kind)) if _allows_none(hint) else None
    try:
        passed = PlainType(kind).parse(value, "")
    except InputError:
        return None
    return passed, PlainType(kind, PlainType.from_sample(passed).example)


def default_literal(parameter: inspect.Parameter, hint: Any) -> str | None:
    """Return the default of an argument as source for a driver; None if it has no default or it cannot be written.

    An argument that may be None has the default None.
    """
    default = parameter.default
    if default is parameter.empty:
        return "None" if _allows_none(hint) else None
    return _literal(default) if _is_plain(default) else None


def _name_of(hint: Any) -> str | None:
    """Return the name of the schema type of a hint; None if JSON cannot express it."""
    if hint in (None, Any, object):
        return "any"
    alternatives = _alternatives(hint)
    if alternatives is not None:
        return _name_of_any({_name_of(part) for part in alternatives})
    if isinstance(hint, typing.NewType):
        return _name_of(hint.__supertype__)
    if typing.is_typeddict(hint):
        return "dict"
    if not all(_name_of(part) in _IN_JSON for part in typing.get_args(hint) if part not in (..., _NONE)):
        return None
    return _name_of_class(typing.get_origin(hint) or hint)


def _alternatives(hint: Any) -> list[Any] | None:
    """Return the hints of a union, or the types of the values of a literal, without None; None for other hints."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [part for part in arguments if part is not _NONE]
    if origin is typing.Literal:
        return [type(value) for value in arguments if value is not None]
    return None


def _name_of_any(names: set[str | None]) -> str | None:
    """Return the name of the schema type for alternative hints, given their names."""
    if len(names) == 1:
        return names.pop()
    return "any" if names <= _IN_JSON else None


def _name_of_class(kind: Any) -> str | None:
    if kind in (*_NATIVE, tuple, *_TEXT):
        return str(kind.__name__)
    return _OTHER_NAMES.get(kind) if isinstance(kind, collections.abc.Hashable) else None


def _allows_none(hint: Any) -> bool:
    return hint is _NONE or (
        typing.get_origin(hint) in (typing.Union, types.UnionType) and _NONE in typing.get_args(hint)
    )


def _is_plain(value: Any) -> bool:
    """Return whether a value can be written as source and is immutable."""
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return value is None or type(value) in (int, str, bool) or (type(value) is float and math.isfinite(value))


def _literal(value: Any) -> str:
    """Return a plain value as source, with the quotes that formatters prefer."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' * (len(value) == 1)})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
