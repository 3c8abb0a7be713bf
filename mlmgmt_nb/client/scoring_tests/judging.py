"""Judge the answers of a scoring test: by the expected answers, another service, or a check of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mlmgmt_nb.client.scoring_tests.cases import Cases
from mlmgmt_nb.client.scoring_tests.results import JudgedOutcome
from mlmgmt_nb.comparison import same
from mlmgmt_nb.load_generator.messages import Outcome

__all__ = ["Check", "Judge", "answer_of"]

Check = Callable[[Any, Any], bool | None]
"""Returns whether the answer to an input is right. May raise AssertionError with the reason why it is not."""


class Judge:
    """Judge outcomes: passed, failed, or not answered."""

    def __init__(
        self, cases: Cases, check: Check | None, expect: str | None, tolerance: float, *, is_compared: bool
    ) -> None:
        self._cases, self._check, self._expect = cases, check, expect
        self._tolerance, self._is_compared = tolerance, is_compared

    def __call__(self, outcome: Outcome) -> JudgedOutcome:
        expected, passed, compared = self._cases.expected[outcome.case], None, None
        answer, error = answer_of(outcome.status, outcome.content)
        if not error and self._is_compared:
            expected, error = _reference(outcome)
        if not error:
            try:
                compared = self._part(answer, expected)
                passed = self._right(outcome.case, expected, answer, compared)
            except AssertionError as wrong:
                passed, error = False, str(wrong)
            except Exception as mistake:  # noqa: BLE001 - the user's own check
                error = f"the check raised {type(mistake).__name__}: {mistake}"
        if passed is False and self._check is not None and not error:
            error = "the check returned False"
        return JudgedOutcome(outcome.case, outcome.status, passed, expected, answer, error, compared)

    def _right(self, case: int, expected: Any, answer: Any, compared: Any) -> bool | None:
        if self._check is not None:
            verdict = self._check(self._cases.given(case), answer)
            return None if verdict is None else bool(verdict)
        if expected is None and not self._is_compared:
            return None
        return same(expected, compared, self._tolerance)

    def _part(self, answer: Any, expected: Any) -> Any:
        """Return the part of an answer to compare: the item of a one-item list, or the expected column of an object."""
        if self._is_compared:
            return answer
        if isinstance(answer, list) and len(answer) == 1 and not isinstance(expected, list):
            answer = answer[0]
        if isinstance(answer, dict) and not isinstance(expected, dict) and self._expect in answer:
            return answer[self._expect]
        return answer


def answer_of(status: int, content: bytes) -> tuple[Any, str]:
    """Return the answer, or the reason why there is none."""
    if status == 0:
        return None, content.decode(errors="replace")
    value = _decoded(content)
    if status == 200:
        return value, ""
    message = value.get("message", "") if isinstance(value, dict) else str(value)
    return None, f"{status}: {message}"[:500]


def _reference(outcome: Outcome) -> tuple[Any, str]:
    """Return the answer of the other service, or the reason why there is none."""
    if outcome.other_status < 0:
        return None, "the test was stopped before the other service was asked"
    expected, error = answer_of(outcome.other_status, outcome.other_content)
    return expected, error and f"the other service: {error}"


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content.decode(errors="replace")
