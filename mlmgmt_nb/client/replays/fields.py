"""The fields of two answers to the same request, and how much each field moved."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from mlmgmt_nb.comparison import same
from mlmgmt_nb.intervals import DEVIATIONS

__all__ = ["FieldChanges", "FieldPair", "pairs_of"]

MISSING = "(missing)"
_WHOLE = "answer"
_MOST_CLASSES = 20
_LONGEST_CLASS = 80
_MOST_PAIRS = 1000


class FieldPair(NamedTuple):
    """A field and its value in both answers."""

    field: str
    old: Any
    new: Any


def pairs_of(old: Any, new: Any, path: str = "") -> Iterator[FieldPair]:
    """Yield the fields of two answers. Items of lists are the same field; lists of different lengths are one value.

    Text that is JSON, as drivers of 2017 return it, is split into fields too.
    """
    old, new = _parsed(old), _parsed(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            inner = f"{path}.{name}" if path else str(name)
            yield from pairs_of(old.get(name, MISSING), new.get(name, MISSING), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from pairs_of(one, other, f"{path}[]" if path else "")
    else:
        yield FieldPair(path or _WHOLE, old, new)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


class FieldChanges:
    """The changes of one field.

    Attributes:
        values: number of values that were compared.
        moved: number of those that differ by more than the tolerance.
        classes: number of requests by pair of old and new value, for texts, booleans and whole numbers.
    """

    def __init__(self) -> None:
        self.values = self.moved = 0
        self.classes: Counter[tuple[Any, Any]] = Counter()
        self._numbers = 0
        self._old = self._new = self._shift = self._square = self._most = 0.0

    def add(self, old: Any, new: Any, tolerance: float) -> bool:
        """Count a pair of values; return whether they differ."""
        is_moved = not same(old, new, tolerance)
        self.values += 1
        self.moved += is_moved
        if _is_number(old) and _is_number(new):
            with contextlib.suppress(OverflowError):  # an integer that is too large for a float
                self._add_numbers(float(old), float(new))
        if _is_class(old) and _is_class(new) and len(self.classes) < _MOST_PAIRS:
            self.classes[old, new] += 1
        return is_moved

    def _add_numbers(self, old: float, new: float) -> None:
        shift = new - old
        if math.isfinite(shift):
            self._numbers += 1
            self._old, self._new, self._shift = self._old + old, self._new + new, self._shift + shift
            self._square += shift * shift
            self._most = max(self._most, shift, key=abs)

    @property
    def labels(self) -> list[Any]:
        """The classes; empty if the values are numbers, or too many."""
        found = sorted({value for pair in self.classes for value in pair}, key=lambda value: (str(type(value)), value))
        is_enumerable = sum(self.classes.values()) == self.values and len(found) <= _MOST_CLASSES
        return found if is_enumerable else []

    @property
    def matrix(self) -> list[list[int]]:
        """The number of values by old class (rows) and new class (columns)."""
        return [[self.classes[old, new] for new in self.labels] for old in self.labels]

    def numbers(self) -> dict[str, Any]:
        """Return the numeric shift, with the confidence interval of its mean (95 %); None for unknown values."""
        count = self._numbers
        if not count:
            return dict.fromkeys(("old_mean", "new_mean", "shift", "shift_low", "shift_high", "largest_shift"))
        mean = self._shift / count
        variance = max(0.0, self._square / count - mean * mean) * count / (count - 1) if count > 1 else math.inf
        half = DEVIATIONS * math.sqrt(variance / count)
        return {
            "old_mean": self._old / count,
            "new_mean": self._new / count,
            "shift": mean,
            "shift_low": mean - half,
            "shift_high": mean + half,
            "largest_shift": self._most,
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_class(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_CLASS
    return value is None or isinstance(value, (bool, int))
