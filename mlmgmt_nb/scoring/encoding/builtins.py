"""Any value as what JSON is made of: dicts with text keys, lists, text, numbers, booleans and null.

NumPy and pandas are never imported here: a value of theirs can only exist when somebody has imported them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec

__all__ = ["ENCODER", "JsonFormError", "Walk", "is_plain", "key_text", "to_builtins", "whole_offset"]

ENCODER = msgspec.json.Encoder(decimal_format="number")
"""Writes what `to_builtins` makes."""

_SCALARS = frozenset({str, int, float, bool, type(None)})
_LISTS = frozenset({list, tuple})
_PLAIN = _SCALARS | _LISTS | {dict}
# the encoder writes these by itself
_LEAVES = _SCALARS | {date, time, timedelta, UUID, bytes, bytearray}
_ITERABLES: tuple[type[Iterable[Any]], ...] = (abc.Sequence, abc.Set, abc.MappingView)  # type: ignore[assignment]


class JsonFormError(TypeError):
    """A value has no JSON form.

    Args:
        problem: names the value and says why, such as `object, which has no JSON form`.
        fix: a sentence that says what to do.

    Attributes:
        path: where the value is in what was to be written, such as `[0].age`; empty for the whole.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.path = ""

    def at(self, root: str) -> str:
        """The path with a name in front; empty for the whole."""
        return f"{root}{self.path}" if self.path else ""


class Walk:
    """Goes through one value; calling it converts a part."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __call__(self, value: Any) -> Any:
        """A part as builtins.

        Raises:
            JsonFormError: it has no JSON form; the path begins at this part.
        """
        if type(value) in _LEAVES:
            return value
        if id(value) in self._open:
            raise JsonFormError(f"a {type_name(value)} that contains itself")
        self._open.add(id(value))
        try:
            return self._convert(value)
        finally:
            self._open.discard(id(value))

    def at(self, step: str, value: Any) -> Any:
        """A part that is one step further down the path."""
        try:
            return self(value)
        except JsonFormError as error:
            error.path = step + error.path
            raise

    def items(self, values: Iterable[Any], suffix: str = "") -> list[Any]:
        """The parts of a list; `suffix` follows their position in the path."""
        items = list(values)
        if _LEAVES.issuperset(map(type, items)):
            return items
        return [self.at(f"[{place}]{suffix}", item) for place, item in enumerate(items)]

    def members(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        """The parts of an object.

        Raises:
            JsonFormError: two keys are the same text, besides what a call raises.
        """
        made: dict[str, Any] = {}
        for key, item in mapping.items():
            text = key if type(key) is str else key_text(key)
            if text in made:
                other = next(k for k in mapping if key_text(k) == text)
                raise JsonFormError(
                    f"a {type_name(mapping)} whose keys {other!r} and {key!r} are both {json.dumps(text)} in JSON",
                    "Rename one of them.",
                )
            made[text] = self.at(f".{text}", item)
        return made

    def _convert(self, value: Any) -> Any:
        if type(value) is dict:
            return self.members(value)
        if type(value) in (list, tuple):
            return self.items(value)
        for module, convert in _LIBRARIES:
            if module in sys.modules:
                made = convert(value, self)
                if made is not NotImplemented:
                    return made
        made = _scalar(value, self)
        return made if made is not NotImplemented else self._structure(value)

    def _structure(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.members(value)
        if isinstance(value, _ITERABLES):
            return self.items(value)
        if isinstance(value, msgspec.Struct):
            return self(msgspec.to_builtins(value, enc_hook=self))
        names = _field_names(value)
        if names is not None:
            return self.members({name: getattr(value, name) for name in names})
        if not isinstance(value, type):
            for method in ("tolist", "isoformat"):  # tensors and times of other libraries
                if callable(getattr(value, method, None)):
                    return self(getattr(value, method)())
        raise JsonFormError(f"{type_name(value)}, which has no JSON form")


def to_builtins(value: Any) -> Any:
    """A value as dicts with text keys, lists and what the encoder writes by itself.

    Raises:
        JsonFormError: a part has no JSON form; the error has its path.
    """
    try:
        return Walk()(value)
    except RecursionError:
        raise JsonFormError("a structure that is nested too deeply") from None


def is_plain(value: Any) -> bool:
    """Whether a value that the encoder took consists of builtins with text keys only: other keys could collide."""
    if type(value) is list and _SCALARS.issuperset(map(type, value)):
        return True  # the usual answer, in a fraction of the time
    level = [value]
    while True:
        kinds = set(map(type, level))
        if kinds <= _SCALARS:
            return True
        if not kinds <= _PLAIN:
            return False
        dicts = [item for item in level if type(item) is dict] if dict in kinds else ()
        if not {str}.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        lists = [item for item in level if type(item) is list or type(item) is tuple] if kinds & _LISTS else ()
        level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]


def key_text(key: Any) -> str:
    """The text of a key of an object.

    Raises:
        JsonFormError: the key has none.
    """
    if isinstance(key, Enum):
        return key_text(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, tuple):
        return str(key)
    try:
        plain = to_builtins(key)
        text = plain if isinstance(plain, str) else ENCODER.encode(plain).decode()
    except JsonFormError as error:
        raise JsonFormError(f"a key that is {error.problem}") from None
    if text[:1] in ("[", "{") and not isinstance(plain, str):
        raise JsonFormError(f"a key that is {type_name(key)}, which has no JSON form")
    return text.strip('"') if text is not plain else text


def type_name(value: Any) -> str:
    """The name of a value's type, for messages."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _scalar(value: Any, walk: Walk) -> Any:
    """A single value of the standard library, or NotImplemented."""
    if isinstance(value, Enum):
        return walk(value.value)
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    return NotImplemented


def _decimal(value: Decimal) -> Decimal | None:
    if not value.is_finite():
        return None
    if math.isinf(float(value)):
        raise JsonFormError(f"the Decimal {value}, which is beyond the range of JSON's numbers")
    return value


def whole_offset(value: datetime) -> datetime:
    """The same moment with an offset that ISO 8601 can write, which has minutes and no seconds."""
    offset = value.utcoffset()
    return value.astimezone(UTC) if offset is not None and offset % timedelta(minutes=1) else value


def _moment(value: datetime) -> datetime | str:
    moment = whole_offset(value)
    return moment if type(moment) is datetime else moment.isoformat()


# what a subclass is to the encoder; the order matters, as a datetime is a date
_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes),
    (bytearray, bytes),
    (memoryview, bytes),
    (Decimal, _decimal),
    (datetime, _moment),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
    (UUID, str),
    (PurePath, str),
)


def _field_names(value: Any) -> list[str] | None:
    """The names of the fields of an instance of a dataclass or an attrs class."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _from_pandas(value: Any, walk: Walk) -> Any:
    from mlmgmt_nb.scoring.encoding.frames import convert

    return convert(value, walk)


def _from_numpy(value: Any, walk: Walk) -> Any:
    from mlmgmt_nb.scoring.encoding.arrays import convert

    return convert(value, walk)


def _from_spark(value: Any, walk: Walk) -> Any:
    if not type(value).__module__.startswith("pyspark."):
        return NotImplemented
    if hasattr(value, "collect") and hasattr(value, "schema"):
        twice = [name for place, name in enumerate(value.columns) if name in value.columns[:place]]
        if twice:
            raise JsonFormError(f"a DataFrame with two columns named {twice[0]!r}", "Rename one of them.")
        return walk.items(row.asDict(recursive=True) for row in value.collect())
    return value.toArray().tolist() if hasattr(value, "toArray") else NotImplemented  # a vector of pyspark.ml


_LIBRARIES: tuple[tuple[str, Callable[[Any, Walk], Any]], ...] = (
    ("pandas", _from_pandas),
    ("numpy", _from_numpy),
    ("pyspark", _from_spark),
)
