"""Gates: conditions on the numbers of a scoring test that hold, do not hold, or cannot be decided yet.

Each number has a confidence interval of 95 %. A condition holds if it is true everywhere in the intervals, fails if it
is false everywhere, and is inconclusive otherwise: more requests narrow the intervals.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mlmgmt_nb import intervals
from mlmgmt_nb.client.scoring_tests.timeline import percentile
from mlmgmt_nb.errors import ScoringTestFailed, UsageError

__all__ = [
    "FEWEST",
    "NAMES",
    "REPLAY_NAMES",
    "Condition",
    "Gate",
    "Number",
    "Verdict",
    "exact",
    "judged",
    "latency",
    "latency_at",
    "passed",
    "percentile_bounds",
    "share",
]

Condition = str | Callable[[Any], bool | None]
"""A gate: a condition, or a function of the report that returns whether it has passed, or None if that is not clear."""

FEWEST = 20
"""Gates on fewer requests are inconclusive."""
NAMES = ("agree", "errors", "requests", "p50", "p95", "p99", "old.p50", "old.p95", "old.p99")
"""Names that a gate can use."""
REPLAY_NAMES = (*NAMES, "lost", "old.errors", "memory", "old.memory")
"""Names that a gate of a replay can use."""


class Number(NamedTuple):
    """A number with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        exact = self.low == self.high
        return f"{self.value:.6g}" if exact else f"{self.value:.6g} ({self.low:.6g} to {self.high:.6g})"


@dataclass(frozen=True)
class Verdict:
    """The verdict of a gate.

    Attributes:
        gate: the condition.
        outcome: `passed`, `failed` or `inconclusive`.
        requests: number of requests that it is based on.
        numbers: the numbers that the condition names, with their confidence intervals.
        reason: why it is inconclusive.
    """

    gate: str
    outcome: Literal["passed", "failed", "inconclusive"]
    requests: int
    numbers: Mapping[str, Number]
    reason: str = ""

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} = {number}" for name, number in self.numbers.items())
        facts = "; ".join(filter(None, [numbers, f"{self.requests} requests", self.reason]))
        return f"gate {self.outcome}: {self.gate} [{facts}]"


def exact(value: float) -> Number:
    """Return a number without uncertainty."""
    return Number(value, value, value)


def share(count: int, total: int) -> Number:
    """Return a share of at least one request."""
    return Number(count / total, *intervals.of_share(count, total))


def percentile_bounds(percent: float, total: int) -> tuple[float, float]:
    """Return the percentages whose values bound a percentile, from the order statistics of this many values."""
    low, high = intervals.of_percentile(percent / 100, total)
    return 100 * low, 100 * high


def latency_at(at: Callable[[float], float], percent: int, count: int) -> Number:
    """Return a percentile of latencies in milliseconds, with its confidence interval.

    Args:
        at: returns any percentile in seconds.
        percent: the percentile.
        count: number of latencies.
    """
    low, high = percentile_bounds(percent, count)
    return Number(*(round(1000 * at(part), 3) for part in (percent, low, high)))


def latency(ordered: Sequence[float], percent: int) -> Number:
    """Return a percentile of latencies in milliseconds, with its confidence interval, from sorted seconds."""
    return latency_at(lambda part: percentile(ordered, part), percent, len(ordered))


class Gate:
    """A condition such as `agree >= 0.99 and p95 <= 1.2 * old.p95 and errors == 0`.

    It has numbers, the names in `NAMES`, `+ - * /`, comparisons, `and`, `or` and `not`, and nothing else: it is not
    run as Python.

    Args:
        text: the condition.
        names: the names that it can use.

    Raises:
        UsageError: the condition is not valid, uses another name, compares only constants, or divides by a constant 0.
    """

    def __init__(self, text: str, names: Sequence[str] = NAMES) -> None:
        self.text = text.strip()
        try:
            self._condition = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise _refusal(f"{self.text!r} is not a condition: {error}", names) from None
        try:
            _truth(self._condition, dict.fromkeys(names, exact(1.0)))
        except RecursionError:
            raise _refusal("it is nested too deeply", names) from None
        except OverflowError:
            raise _refusal("an integer is too large", names) from None
        except UsageError as error:
            raise _refusal(error.message.removeprefix("gate: "), names) from None
        if constant := _constant_part(self._condition):
            raise _refusal(constant, names)
        used = _names_in(self._condition)
        self.names = tuple(name for name in names if name in used)

    def judge(self, numbers: Mapping[str, Number], requests: int) -> Verdict:
        """Return the verdict.

        Args:
            numbers: the numbers of the test, by name.
            requests: number of requests that they are based on.
        """
        named = {name: numbers[name] for name in self.names if name in numbers}
        missing = [name for name in self.names if name not in numbers]
        if missing or requests < FEWEST:
            lacking = f"no {missing[0]} was measured" if missing else f"at least {FEWEST} requests are needed"
            return Verdict(self.text, "inconclusive", requests, named, lacking)
        holds = _truth(self._condition, named)
        if holds is None:
            zero = next((divisor for divisor in _divisors(self._condition) if _value(divisor, named).value == 0), None)
            reason = "more requests narrow the intervals" if zero is None else f"the divisor `{ast.unparse(zero)}` is 0"
            return Verdict(self.text, "inconclusive", requests, named, reason)
        return Verdict(self.text, "passed" if holds else "failed", requests, named)


def judged(
    condition: Condition, report: Any, numbers: Mapping[str, Number], requests: int, names: Sequence[str] = NAMES
) -> Verdict:
    """Return the verdict of a condition or function.

    Args:
        condition: a condition, or a function that is called with the report. It returns True if the gate has passed,
            False if it has failed, and None if that is not clear; an AssertionError fails it, with the reason. With
            fewer than 20 requests it is not called.
        report: the report.
        numbers: the numbers of the report, by name.
        requests: number of requests that they are based on.
        names: the names that a condition can use.

    Raises:
        UsageError: the condition is not valid, or the function raised an exception or returned something else.
    """
    if isinstance(condition, str):
        return Gate(condition, names).judge(numbers, requests)
    if not callable(condition):
        raise _refusal(f"{condition!r} is neither a condition nor a function", names)
    name = getattr(condition, "__name__", type(condition).__name__)
    if requests < FEWEST:
        return Verdict(name, "inconclusive", requests, numbers, f"at least {FEWEST} requests are needed")
    try:
        holds, reason = condition(report), ""
    except AssertionError as error:
        holds, reason = False, str(error)
    except Exception as error:
        raise UsageError(
            f"gate: {name} raised {type(error).__name__}: {error}{_line_of(error)}",
            field="gate",
            fix="Correct the function, and try it with `report.gate(FUNCTION)`.",
        ) from error
    if holds is not None and type(holds).__name__ not in {"bool", "bool_"}:  # NumPy's booleans are valid too
        raise UsageError(
            f"gate: {name} returned {holds!r}",
            field="gate",
            fix="Return True if the gate has passed, False if it has failed, and None if that is not clear.",
        )
    outcome: Literal["passed", "failed", "inconclusive"] = "passed" if holds else "failed"
    if holds is None:
        outcome, reason = "inconclusive", "the function returned None"
    return Verdict(name, outcome, requests, numbers, reason)


def _line_of(error: Exception) -> str:
    """Return the line of a function that raised, below the frame that called it; "" if it is not written in Python."""
    frame = error.__traceback__ and error.__traceback__.tb_next
    return f" (line {frame.tb_lineno} of {frame.tb_frame.f_code.co_filename})" if frame else ""


def passed(verdict: Verdict, report: Any) -> Verdict:
    """Return a verdict that is `passed`.

    Raises:
        ScoringTestFailed: the verdict is another one. The error has the report.
    """
    if verdict.outcome != "passed":
        raise ScoringTestFailed(str(verdict), report)
    return verdict


def _refusal(problem: str, names: Sequence[str] = NAMES) -> UsageError:
    return UsageError(
        f"gate: {problem}",
        field="gate",
        fix=f"Compare {', '.join(names)} and numbers, such as `agree >= 0.99 and p95 <= 1.2 * old.p95`.",
    )


def _truth(node: ast.expr, numbers: Mapping[str, Number]) -> bool | None:
    """Return whether a condition holds everywhere in the intervals (True), nowhere (False), or in a part (None)."""
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return _all([_truth(part, numbers) for part in parts])
        case ast.BoolOp(op=ast.Or(), values=parts):
            return _not(_all([_not(_truth(part, numbers)) for part in parts]))
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return _not(_truth(part, numbers))
        case ast.Compare(left=left, ops=kinds, comparators=rights):
            values = [_value(side, numbers) for side in (left, *rights)]
            return _all([_compared(*pair) for pair in zip(kinds, values, values[1:], strict=False)])
    raise _refusal(f"`{ast.unparse(node)}` is not a comparison")


def _all(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def _not(part: bool | None) -> bool | None:
    return None if part is None else not part


def _compared(kind: ast.cmpop, left: Number, right: Number) -> bool | None:
    match kind:
        case ast.LtE():
            return True if left.high <= right.low else False if left.low > right.high else None
        case ast.Lt():
            return _not(_compared(ast.LtE(), right, left))
        case ast.GtE():
            return _compared(ast.LtE(), right, left)
        case ast.Gt():
            return _not(_compared(ast.LtE(), left, right))
        case ast.Eq():
            return _all([_compared(ast.LtE(), left, right), _compared(ast.LtE(), right, left)])
        case ast.NotEq():
            return _not(_compared(ast.Eq(), left, right))
    raise _refusal("only < <= > >= == != compare numbers")


def _value(node: ast.expr, numbers: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return exact(float(value))
        case ast.Name() | ast.Attribute() if (name := _name(node)) in numbers:
            return numbers[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            value, low, high = _value(inner, numbers)
            return Number(-value, -high, -low)
        case ast.BinOp(left=left, op=kind, right=right):
            return _combined(kind, _value(left, numbers), _value(right, numbers))
    raise _refusal(f"`{ast.unparse(node)}` is not known")


def _combined(kind: ast.operator, left: Number, right: Number) -> Number:
    """Return the result of an operation, with the interval of all possible results."""
    match kind:
        case ast.Add():
            return Number(left.value + right.value, left.low + right.low, left.high + right.high)
        case ast.Sub():
            return Number(left.value - right.value, left.low - right.high, left.high - right.low)
        case ast.Mult():
            ends = [a * b for a in left[1:] for b in right[1:]]
            return Number(left.value * right.value, min(ends), max(ends))
        case ast.Div():
            if right.low <= 0 <= right.high:
                return Number(math.inf, -math.inf, math.inf)
            return _combined(ast.Mult(), left, Number(1 / right.value, 1 / right.high, 1 / right.low))
    raise _refusal("only + - * / combine numbers")


def _constant_part(condition: ast.expr) -> str | None:
    """Return the problem of a condition whose result does not depend on the report; None if it does not have one."""
    for node in ast.walk(condition):
        if isinstance(node, ast.Compare) and not _names_in(node):
            return f"`{ast.unparse(node)}` does not name a number of the report"
    for divisor in _divisors(condition):
        if not _names_in(divisor) and _value(divisor, {}).value == 0:
            return f"`{ast.unparse(divisor)}` is 0, and nothing can be divided by it"
    return None


def _divisors(condition: ast.expr) -> list[ast.expr]:
    parts = [node for node in ast.walk(condition) if isinstance(node, ast.BinOp)]
    return [part.right for part in parts if isinstance(part.op, ast.Div)]


def _names_in(node: ast.expr) -> set[str]:
    return {_name(part) for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute))}


def _name(node: ast.expr) -> str:
    return ast.unparse(node)
