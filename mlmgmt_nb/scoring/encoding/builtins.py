"""Convert any value to the types of JSON: dicts with text keys, lists, text, numbers, booleans and null.

NumPy and pandas are not imported here: their values can exist only if something else imported them.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import UserString, abc
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec

from mlmgmt_nb.scoring.encoding.walk import SCALARS, JsonFormError, Walk, has_seconds, type_name, whole_offset

__all__ = ["is_plain", "key_text", "to_builtins"]

_LISTS = frozenset({list, tuple})
_PLAIN = SCALARS | _LISTS | {dict}
_ITERABLES: tuple[type[Iterable[Any]], ...] = (abc.Sequence, abc.Set, abc.MappingView)  # type: ignore[assignment]


def to_builtins(value: Any) -> Any:
    """Return a value as dicts with text keys, lists and types that the encoder writes itself.

    Raises:
        JsonFormError: a part has no JSON form; the error has its path.
    """
    try:
        return Walk(_convert)(value)
    except RecursionError:
        raise JsonFormError("a structure that is nested too deeply") from None


def _convert(value: Any, walk: Walk) -> Any:
    for module, convert in _LIBRARIES:
        if module in sys.modules:
            made = convert(value, walk)
            if made is not NotImplemented:
                return made
    made = _scalar(value, walk)
    return made if made is not NotImplemented else _structure(value, walk)


def _structure(value: Any, walk: Walk) -> Any:
    if isinstance(value, Mapping):
        return walk.members(value)
    if isinstance(value, _ITERABLES):
        return walk.items(value)
    if isinstance(value, msgspec.Struct):
        return walk(msgspec.to_builtins(value, enc_hook=walk))
    names = _field_names(value)
    if names is not None:
        return walk.members({name: getattr(value, name) for name in names})
    if not isinstance(value, type):
        for method in ("tolist", "isoformat"):  # tensors and times of other libraries
            if callable(getattr(value, method, None)):
                return walk(getattr(value, method)())
    raise JsonFormError(f"{type_name(value)}, which has no JSON form")


def key_text(key: Any) -> str:
    """Return the text of a key of an object.

    Raises:
        JsonFormError: the key has no JSON form.
    """
    return Walk(_convert).key_text(key)


def is_plain(value: Any) -> bool:
    """Return whether an encodable value has only builtins with text keys, because other keys could collide."""
    if type(value) is list and SCALARS.issuperset(map(type, value)):
        return True  # the common case, in a fraction of the time
    level = [value]
    while True:
        kinds = set(map(type, level))
        if kinds <= SCALARS:
            return True
        if not kinds <= _PLAIN:
            return False
        dicts = [item for item in level if type(item) is dict] if dict in kinds else ()
        if not {str}.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        lists = [item for item in level if type(item) is list or type(item) is tuple] if kinds & _LISTS else ()
        level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]


def _scalar(value: Any, walk: Walk) -> Any:
    """Return a single value of the standard library, or NotImplemented."""
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


def _clock(value: time) -> time | str:
    if has_seconds(value.utcoffset()):
        raise JsonFormError(f"the time {value}, whose offset has seconds", "Give it with an offset of whole minutes.")
    return value if type(value) is time else value.isoformat()


def _moment(value: datetime) -> datetime | str:
    moment = whole_offset(value)
    return moment if type(moment) is datetime else moment.isoformat()


# how the encoder treats subclasses; the order matters, because a datetime is a date
_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (UserString, str),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes),
    (bytearray, bytes),
    (memoryview, bytes),
    (Decimal, _decimal),
    (datetime, _moment),
    (date, date.isoformat),
    (time, _clock),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
    (UUID, str),
    (PurePath, str),
)


def _field_names(value: Any) -> list[str] | None:
    """Return the names of the fields of an instance of a dataclass or an attrs class."""
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
