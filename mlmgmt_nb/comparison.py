"""The comparison of answers in scoring tests, replays and canaries."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["same"]


def same(expected: Any, answer: Any, tolerance: float) -> bool:
    """Return whether two values are equal within a tolerance.

    Args:
        expected, answer: JSON values.
        tolerance: maximum relative or absolute difference between two numbers.
    """
    if isinstance(expected, (list, tuple)) and isinstance(answer, (list, tuple)):
        return len(expected) == len(answer) and all(
            same(e, a, tolerance) for e, a in zip(expected, answer, strict=True)
        )
    if isinstance(expected, dict) and isinstance(answer, dict):
        return expected.keys() == answer.keys() and all(same(expected[k], answer[k], tolerance) for k in expected)
    if _are_numbers(expected, answer):
        try:
            return math.isclose(expected, answer, rel_tol=tolerance, abs_tol=tolerance)
        except OverflowError:  # an integer that is too large for a float
            return bool(expected == answer)
    return bool(expected == answer)


def _are_numbers(one: Any, other: Any) -> bool:
    return (
        isinstance(one, (int, float))
        and isinstance(other, (int, float))
        and not isinstance(one, bool)
        and not isinstance(other, bool)
    )
