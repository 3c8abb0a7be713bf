"""Expected and given answers side by side: a matrix of classes, or points and residuals of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.charts import Bars, histogram, matrix, points, short
from mlmgmt_nb.client.scoring_tests.results import JudgedOutcome

__all__ = ["Pair", "answer_charts", "answer_pairs"]

_MOST_PAIRS = 100_000
_MOST_CLASSES = 20
"""Integers with more distinct values count as numbers, not as classes."""
_SHOWN_CLASSES = 12
_BARS = 40
_OTHERS = "others"
_ROUNDING = 1e-9


class Pair(NamedTuple):
    """An expected value, the answer, and the number of requests that have both."""

    expected: Any
    answer: Any
    requests: int


def answer_pairs(outcomes: Iterable[tuple[JudgedOutcome, int]]) -> list[Pair]:
    """Return the values that were compared, one by one; at most 100,000.

    Args:
        outcomes: the distinct outcomes, each with its number of requests.
    """
    found: list[Pair] = []
    for judged, requests in outcomes:
        if judged.passed is not None and judged.expected is not None:
            found += (Pair(*pair, requests) for pair in _values(judged.expected, judged.compared))
        if len(found) >= _MOST_PAIRS:
            break
    return found[:_MOST_PAIRS]


def _values(expected: Any, answer: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the single values of two answers of the same form."""
    match expected, answer:
        case list(), list() if len(expected) == len(answer):
            for pair in zip(expected, answer, strict=True):
                yield from _values(*pair)
        case dict(), dict() if len(expected) == 1 and expected.keys() == answer.keys():
            yield from _values(*expected.values(), *answer.values())
        case ((str() | int() | float()), (str() | int() | float())):
            yield expected, answer


def answer_charts(pairs: Sequence[Pair], *, is_compared: bool) -> list[str]:
    """Return the charts of answers: a confusion matrix of classes, or points and residuals of numbers.

    Args:
        pairs: the values.
        is_compared: whether the expected values are the answers of another service.
    """
    if not pairs:
        return []
    sides = ("the other service", "this service") if is_compared else ("expected", "answered")
    labels = Counter[Any]()
    for expected, answer, requests in pairs:
        labels.update({expected: requests})
        labels.update({answer: requests})
    if _are_classes(labels):
        return [_confusion(pairs, labels, sides)]
    if all(map(_is_number, labels)):
        return _regression(pairs, sides)
    return []


def _are_classes(labels: Counter[Any]) -> bool:
    return len(labels) <= _MOST_CLASSES and not any(isinstance(label, float) and label % 1 for label in labels)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _confusion(pairs: Sequence[Pair], labels: Counter[Any], sides: tuple[str, str]) -> str:
    kept = {label for label, _ in labels.most_common(_SHOWN_CLASSES - (len(labels) > _SHOWN_CLASSES))}
    shown = {label: str(label) if label in kept else _OTHERS for label in labels}
    counts = Counter[tuple[str, str]]()
    for expected, answer, requests in pairs:
        counts.update({(shown[expected], shown[answer]): requests})
    ordered = sorted(kept, key=lambda label: (isinstance(label, str), label))
    rows = [*dict.fromkeys(map(str, ordered)), *([_OTHERS] if len(kept) < len(labels) else [])]
    return matrix(f"{sides[0]} and {sides[1]}".capitalize(), sides, rows, counts)


def _regression(pairs: Sequence[Pair], sides: tuple[str, str]) -> list[str]:
    numbers = [(float(expected), float(answer)) for expected, answer, _ in pairs]
    residuals = [answer - expected for expected, answer in numbers]
    name = "difference" if sides[1] == "this service" else "residual"
    return [
        points(f"{sides[0]} and {sides[1]}".capitalize(), numbers, sides, line="equal"),
        points(
            f"{name}s".capitalize(),
            [(expected, residual) for (expected, _), residual in zip(numbers, residuals, strict=True)],
            (sides[0], name),
            line="zero",
            note=_errors(residuals),
        ),
        _spread(f"How large {name}s are", residuals),
    ]


def _errors(residuals: Sequence[float]) -> str:
    """Return the mean, the mean absolute and the root mean squared error in words."""
    count = len(residuals)
    mean, absolute = math.fsum(residuals) / count, math.fsum(map(abs, residuals)) / count
    mean = 0.0 if abs(mean) < absolute * _ROUNDING else mean
    root = math.sqrt(math.fsum(each * each for each in residuals) / count)
    return f"mean {short(mean)}, mean absolute {short(absolute)}, root mean square {short(root)}"


def _spread(title: str, residuals: Sequence[float]) -> str:
    """Return a histogram of residuals, with 0 in its middle."""
    reach = max(map(abs, residuals)) or 1.0
    heights = [0] * (_BARS + 1)  # an odd number: the one in the middle is around 0
    for each in residuals:
        heights[min(_BARS, int((each + reach) / (2 * reach) * (_BARS + 1)))] += 1
    label = (
        f"{title}: from {short(min(residuals))} to {short(max(residuals))}, "
        f"{heights[_BARS // 2]:,} of {len(residuals):,} around 0"
    )
    ends = (short(-reach), short(reach))
    return histogram(title, label, [Bars("", heights)], ends, note="0 is in the middle", height=160)
