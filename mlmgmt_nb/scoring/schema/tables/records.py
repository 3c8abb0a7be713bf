"""Elements of structured arrays: JSON objects with a member for each field, or lists in the order of the fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from mlmgmt_nb.scoring.schema.tables.columns import Column, swagger_of_dtype
from mlmgmt_nb.scoring.schema.tables.places import distinct_problems
from mlmgmt_nb.scoring.schema.types import InputError, describe

__all__ = ["Elements", "elements_of", "swagger_of_elements"]


class Elements(Protocol):
    """A converter of JSON values to an array of one data type.

    Attributes:
        dtype: the data type.
        kind: NumPy's letter for it; V for records.
    """

    dtype: Any
    kind: str

    def convert(self, values: Sequence[Any], path: Callable[[int], str]) -> Any:
        """Return an array with one element for each value; raises `InputError`."""


def elements_of(dtype: Any, objects: str | None = None) -> Elements:
    """Return the converter for elements or fields of a data type, or of the type of all objects."""
    if dtype.names:
        return Records(dtype)
    return Column(None, dtype, objects) if dtype.subdtype is None else SubarrayElements(dtype)


def swagger_of_elements(dtype: Any) -> dict[str, Any]:
    """Return the Swagger schema of one element."""
    if dtype.names:
        properties = {name: swagger_of_elements(dtype[name]) for name in dtype.names}
        return {"type": "object", "properties": properties}
    if dtype.subdtype is None:
        return swagger_of_dtype(dtype)
    base, shape = dtype.subdtype
    made = swagger_of_elements(base)
    for _ in shape:
        made = {"type": "array", "items": made}
    return made


class Records:
    """Elements with named fields."""

    kind = "V"

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self._fields = {name: elements_of(dtype[name]) for name in dtype.names}

    def convert(self, values: Sequence[Any], path: Callable[[int], str]) -> Any:
        rows = self._rows(values, path)
        columns, problems = {}, []
        for place, (name, elements) in enumerate(self._fields.items()):
            try:
                columns[name] = elements.convert([row[place] for row in rows], partial(_member, path, name))
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        made = np.empty(len(rows), dtype=self._fitting(columns))
        for name, column in columns.items():
            made[name] = column
        return made

    def _fitting(self, columns: dict[str, Any]) -> Any:
        """Return the data type, with text fields widened if needed, because NumPy would truncate text."""
        widest = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
        grown = any(column.dtype.itemsize > self.dtype[name].base.itemsize for name, column in columns.items())
        return np.dtype(widest) if grown else self.dtype

    def _rows(self, values: Sequence[Any], path: Callable[[int], str]) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = []
        for value in values:
            if isinstance(value, dict) and value.keys() == self._fields.keys():
                rows.append([value[name] for name in self._fields])
            elif isinstance(value, list) and len(value) == len(self._fields):
                rows.append(value)
        if len(rows) < len(values):
            raise InputError(distinct_problems(values, self._mismatch, path, are_rows=False))
        return rows

    def _mismatch(self, value: Any) -> Iterator[tuple[str, str]]:
        """Yield the fields with a problem, each with the problem."""
        listed = ", ".join(self._fields)
        if isinstance(value, list) and len(value) == len(self._fields):
            return
        if not isinstance(value, dict):
            yield "", f"expected an object with the fields {listed}"
            return
        yield from ((f".{name}", "this field is missing") for name in self._fields if name not in value)
        yield from ((f".{n}", f"unknown field; the fields are {listed}") for n in value if n not in self._fields)


class SubarrayElements:
    """Elements that are arrays of a fixed shape themselves; only in fields."""

    kind = "V"

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        base, self._shape = dtype.subdtype
        self._elements = elements_of(base)

    def convert(self, values: Sequence[Any], path: Callable[[int], str]) -> Any:
        parts: list[tuple[str, Any]] = []
        for place, value in enumerate(values):
            self._flatten(value, self._shape, path(place), parts)
        array = self._elements.convert([value for _, value in parts], lambda place: parts[place][0])
        return array.reshape((len(values), *self._shape))

    def _flatten(self, value: Any, shape: tuple[int, ...], path: str, parts: list[tuple[str, Any]]) -> None:
        if not shape:
            parts.append((path, value))
            return
        if not isinstance(value, list) or len(value) != shape[0]:
            got = f"{len(value)} values" if isinstance(value, list) else describe(value)
            raise InputError([f"{path}: expected a list of {shape[0]} values, got {got}"])
        for place, item in enumerate(value):
            self._flatten(item, shape[1:], f"{path}[{place}]", parts)


def _member(path: Callable[[int], str], name: str, place: int) -> str:
    return f"{path(place)}.{name}"
