"""The proof of a package: the answer of a fresh process, compared with the answer of the object in the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["MAX_ROWS", "Difference", "Proof", "compare"]

MAX_ROWS = 100
"""Maximum number of sample rows that the proof uses."""

_SHOWN = 5


@dataclass(frozen=True)
class Difference:
    """A value that differs.

    Attributes:
        path: its location in the answer, such as `[3]` or `[0].low`.
        expected: the value from the notebook.
        got: the value from the package.
    """

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path or 'the answer'}: {self.got!r} instead of {self.expected!r}"


@dataclass(frozen=True)
class Proof:
    """The result of running a package in a fresh process.

    Attributes:
        rows: number of sample rows that it answered.
        compared: whether the answers were compared with an object in the notebook. For a model file, there is none.
        largest: the largest tolerated difference between two numbers, relative to the larger number or at least 1.
        differences: the first values that differ by more than the tolerance.
        seconds: duration of the process.
        shows_values: whether its text shows the values that differ, or only their locations. Values from a sensitive
            sample must not appear in the output of a notebook.
    """

    rows: int
    compared: bool
    largest: float = 0.0
    differences: tuple[Difference, ...] = ()
    seconds: float = 0.0
    shows_values: bool = True

    def statement(self, largest: float = 0.0) -> str:
        """Return the proof as the predicate of a sentence about a service whose answers were also compared.

        Args:
            largest: the largest difference between the answers of the service and of the fresh process.
        """
        if not self.compared:
            return f"answers {self._rows} as a fresh process did"
        return f"answers {self._rows} as the notebook does, {_precision(max(self.largest, largest))}"

    @property
    def _rows(self) -> str:
        return f"{self.rows} row{'s' if self.rows != 1 else ''}"

    def __str__(self) -> str:
        rows = self._rows
        if not self.compared:
            return f"answered {rows} in a fresh process"
        if self.differences:
            return "\n".join(["the answers differ:", *(f"  {self._shown(one)}" for one in self.differences)])
        return f"{rows} answered in a fresh process, equal to the notebook {_precision(self.largest)}"

    def _shown(self, difference: Difference) -> str:
        return str(difference) if self.shows_values else difference.path or "the answer"


def _precision(largest: float) -> str:
    return "bit for bit" if largest == 0 else f"within {largest:.1g}"


def compare(expected: Any, got: Any, tolerance: float) -> tuple[float, tuple[Difference, ...]]:
    """Compare two answers, as plain JSON values.

    Args:
        expected: the answer of the notebook.
        got: the answer of the package.
        tolerance: maximum relative difference of two numbers. Labels and structure must be equal.

    Returns:
        the largest tolerated difference, and the first values that differ.
    """
    largest = 0.0
    differences: list[Difference] = []
    for path, left, right in _pairs(expected, got, ""):
        distance = _distance(left, right)
        if distance <= tolerance:
            largest = max(largest, distance)
        elif len(differences) < _SHOWN:
            differences.append(Difference(path, left, right))
    return largest, tuple(differences)


def _pairs(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the corresponding values of two structures and their paths; whole parts where the structures differ."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from _pairs(left[key], right[key], f"{path}.{key}" if path else key)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (left_item, right_item) in enumerate(zip(left, right, strict=True)):
            yield from _pairs(left_item, right_item, f"{path}[{index}]")
    else:
        yield path, left, right


def _distance(left: Any, right: Any) -> float:
    """Return the relative difference of two numbers; for other values, 0 if they are equal and infinity otherwise."""
    if left == right and isinstance(left, bool) == isinstance(right, bool):
        return 0.0
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (left, right)):
        return math.inf
    # Below 1, the difference is absolute: probabilities of 1e-17 and 0 count as equal.
    return float(abs(left - right) / max(abs(left), abs(right), 1.0))
