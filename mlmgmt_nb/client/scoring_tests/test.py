"""Scoring tests: cases against a live service, under load if wanted, and a report that a notebook or CI can gate on.

The requests are sent by processes of their own (see `generator`), and judged here. An answer that a case has had before
is not judged again: a check is a function of input and answer.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict, Unpack

import msgspec

from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import Cases
from mlmgmt_nb.client.scoring_tests.generator import Outcome, Plan, Target
from mlmgmt_nb.client.scoring_tests.processes import Load
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.results import JudgedOutcome, ResultStore
from mlmgmt_nb.client.waiting import wait_for
from mlmgmt_nb.errors import MlmgmtError, ScoringError, UsageError

__all__ = ["Check", "LoadOptions", "ScoringTest", "StopCondition", "described"]

Check = Callable[[Any, Any], bool | None]
"""Given the input and the answer: whether the answer is right. May raise AssertionError to say why it is not."""

_PROGRESS_SECONDS = 0.25
_STOP_SECONDS = 3.0
_CALLERS_PER_PROCESS = 16


class LoadOptions(TypedDict, total=False):
    """How a scoring test sends its requests.

    Attributes:
        requests: how many to send, from the first case again after the last; every case once when not given, unless
            there is a `duration`.
        concurrency: how many are under way at the same time; 1 when not given.
        duration: seconds after which no more are sent.
        rate: requests due in a second; as many as the service answers when not given.
        tolerance: numbers that differ by no more than this, relatively or absolutely, are the same.
        timeout: seconds until an answer counts as missing; 60 when not given.
        processes: how many send them; one for every 16 under way at the same time, and for no more than half of the
            processors, when not given.
    """

    requests: int | None
    concurrency: int
    duration: float | None
    rate: float | None
    tolerance: float
    timeout: float
    processes: int | None


class StopCondition(NamedTuple):
    """The end of a test: a number of requests, a number of seconds, or the first of both."""

    requests: int | None
    duration: float | None

    def part(self, count: int, seconds: float) -> float:
        """Return the part that is done, from 0 to 1."""
        parts = [count / self.requests if self.requests else 0.0, seconds / self.duration if self.duration else 0.0]
        return min(1.0, max(parts))


class ScoringTest:
    """A test that can be run once.

    Example:
        >>> test = ws.services.scoring_test("iris", [[[5.1, 3.5, 1.4, 0.2]]], requests=20, concurrency=2)
        >>> test.start()
        >>> test.result(timeout=60).summary["answered"]
        20

    Args:
        scorer: the service's scoring URL and key.
        cases: what to send, in this order, again from the start when there are more requests than cases.
        name: of the service, for displays.
        check: tells right answers from wrong ones; by default an answer is compared with what the case expects.
        against: another service whose answers are what is expected. It is asked after each answer.
        expect: name under which an answer that is an object has what is compared.
        **options: see `LoadOptions`.

    Attributes:
        store: what is known so far. May be read from any thread.
        goal: what is to be sent.
        processes: how many send it.
        failure: why it could not be run, if so.

    Raises:
        UsageError: the arguments do not go together.
    """

    def __init__(
        self,
        scorer: Scorer,
        cases: Cases,
        *,
        name: str = "",
        check: Check | None = None,
        against: Scorer | None = None,
        expect: str | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        _check_options(options)
        if check is not None and against is not None:
            raise UsageError("check and against cannot be combined", field="against", fix="Give one of them.")
        requests, duration = options.get("requests"), options.get("duration")
        if requests is None and duration is None:
            requests = len(cases)
        concurrency = options.get("concurrency", 1)
        self._connections = min(concurrency, requests or concurrency)
        self.processes = min(options.get("processes") or _processes(self._connections), self._connections)
        self._rate, self._timeout = options.get("rate"), options.get("timeout", 60.0)
        self._scorer, self._against, self._cases = scorer, against, cases
        self.name = name
        self.goal = StopCondition(requests, duration)
        self.store = ResultStore(
            _Judge(cases, check, expect, options.get("tolerance", 0.0), is_compared=against is not None)
        )
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._is_partial = False
        self._callbacks: list[Callable[[], None]] = []
        self.failure: Exception | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """End it for the forked process: the test runs in the parent."""
        has_ended = self._ended.is_set()
        self._stopped, self._ended, self._callbacks = threading.Event(), threading.Event(), []
        self._ended.set()
        if not has_ended:
            self.failure = MlmgmtError(
                "the scoring test runs in the process that this one was forked from",
                fix="Get the report in that process.",
            )

    # azure-core's verbs, for who has it run in a thread

    def start(self) -> None:
        """Run it in a thread of its own; see `result`."""
        self._thread = threading.Thread(target=self._run_apart, name="scoring-test", daemon=True)
        self._thread.start()

    def _run_apart(self) -> None:
        """Run the test; an interrupt of the main thread never finds it half done."""
        try:
            with Load(self._plans()) as load:
                self._follow(load)
        except Exception as error:  # noqa: BLE001 - `run` and `result` raise it
            self.failure = error
        finally:
            self._ended.set()
            self._notify()

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, or for `timeout` seconds; return whether it has ended."""
        return wait_for(self._ended, timeout)

    def result(self, timeout: float | None = None) -> ScoringReport:
        """Wait until it has ended and return the report.

        Raises:
            MlmgmtError: it could not be run, or has not ended after `timeout` seconds.
        """
        if not self.wait(timeout):
            raise MlmgmtError(
                "the scoring test is still running", fix="`stop()` ends it; `report()` returns the results so far."
            )
        if self.failure is not None:
            raise self.failure
        return self.report()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    @property
    def is_partial(self) -> bool:
        """Whether what is known is not all: it was stopped before its end, or has not ended."""
        return self._is_partial or not self._ended.is_set()

    def add_change_callback(self, callback: Callable[[], None]) -> None:
        """Add a callback, which is called about ten times a second while the test runs, and at its end.

        It is called in the thread that runs the test and must be short.
        """
        self._callbacks.append(callback)

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()

    def stop(self) -> None:
        """Send no more requests; `run` returns the results so far. May be called from any thread."""
        self._stopped.set()

    def report(self) -> ScoringReport:
        """Return the results so far; all of them once the test has ended."""
        return ScoringReport(self.store, name=self.name, processes=self.processes, partial=self.is_partial)

    def run(self, on_progress: Callable[[ScoringReport], None] | None = None) -> ScoringReport:
        """Send the requests and judge the answers. An interrupt ends the test early and keeps the results so far.

        Args:
            on_progress: called a few times a second with the report so far, in this thread. Its numbers move on.

        Raises:
            MlmgmtError: the requests could not be sent at all.
        """
        self.start()
        try:
            while not self._ended.wait(_PROGRESS_SECONDS):
                if on_progress is not None:
                    on_progress(self.report())
            if on_progress is not None:
                on_progress(self.report())
        except KeyboardInterrupt:
            self.stop()
            self._ended.wait(_STOP_SECONDS + 1)
        self._thread.join(1.0)
        if self.failure is not None:
            raise self.failure
        return self.report()

    def __str__(self) -> str:
        known, goal = self.store.numbers, self.goal
        of = f" of {goal.requests:,}" if goal.requests else ""
        rate = known.requests / known.seconds if known.seconds else 0.0
        counts = f"{known.passed:,} passed, {known.failed:,} failed, {known.errored:,} errored"
        speed = f"{rate:,.0f} a second, p95 {1000 * self.store.percentile(95):.3g} ms"
        state = "ended" if self.done() else "running"
        return f"scoring test of {self.name}, {state}: {known.requests:,}{of} requests, {counts}, {speed}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def _follow(self, load: Load) -> None:
        while not load.is_over:
            self._take(load, 0.1)
            if self._stopped.is_set() and not load.is_over:
                self._is_partial = True
                self._finish(load)
                return

    def _take(self, load: Load, timeout: float) -> None:
        if (arrived := load.next(timeout)) is not None:
            self.store.add(*arrived)
            self._notify()

    def _finish(self, load: Load) -> None:
        """Collect the results that are still arriving."""
        load.stop()
        deadline = time.perf_counter() + _STOP_SECONDS
        while not load.is_over and (left := deadline - time.perf_counter()) > 0:
            self._take(load, left)

    def _plans(self) -> list[Plan]:
        step = self.processes
        return [
            Plan(
                Target(self._scorer.scoring_uri, self._scorer.key),
                list(self._cases.bodies),
                Target(self._against.scoring_uri, self._against.key) if self._against else None,
                first,
                step,
                self.goal.requests,
                len(range(first, self._connections, step)),
                self.goal.duration,
                self._rate,
                self._timeout,
            )
            for first in range(step)
        ]


def _check_options(options: LoadOptions) -> None:
    for name in ("requests", "concurrency", "duration", "rate", "timeout", "processes"):
        value: Any = options.get(name)
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}", field=name, fix="Give a number above 0.")
    if options.get("tolerance", 0.0) < 0:
        raise UsageError("tolerance is negative", field="tolerance", fix="Give 0 or a small number such as 1e-6.")


def _processes(callers: int) -> int:
    return max(1, min(callers // _CALLERS_PER_PROCESS, (os.cpu_count() or 1) // 2))


class _Judge:
    """Judge outcomes."""

    def __init__(
        self, cases: Cases, check: Check | None, expect: str | None, tolerance: float, *, is_compared: bool
    ) -> None:
        self._cases, self._check, self._expect = cases, check, expect
        self._tolerance, self._is_compared = tolerance, is_compared

    def __call__(self, outcome: Outcome) -> JudgedOutcome:
        expected, passed = self._cases.expected[outcome.case], None
        answer, error = _answer(outcome.status, outcome.content)
        if not error and self._is_compared:
            expected, error = _reference(outcome)
        if not error:
            try:
                passed = self._right(outcome.case, expected, answer)
            except AssertionError as wrong:
                passed, error = False, str(wrong)
            except Exception as mistake:  # noqa: BLE001 - the user's own check
                error = f"the check raised {type(mistake).__name__}: {mistake}"
        if passed is False and self._check is not None and not error:
            error = "the check returned False"
        return JudgedOutcome(outcome.case, outcome.status, passed, expected, answer, error)

    def _right(self, case: int, expected: Any, answer: Any) -> bool | None:
        if self._check is not None:
            verdict = self._check(self._cases.given(case), answer)
            return None if verdict is None else bool(verdict)
        if expected is None and not self._is_compared:
            return None
        return same(expected, self._part(answer, expected), self._tolerance)

    def _part(self, answer: Any, expected: Any) -> Any:
        """Return the part of an answer to compare: the item of a one-item list, or the expected column of an object."""
        if self._is_compared:
            return answer
        if isinstance(answer, list) and len(answer) == 1 and not isinstance(expected, list):
            answer = answer[0]
        if isinstance(answer, dict) and not isinstance(expected, dict) and self._expect in answer:
            return answer[self._expect]
        return answer


def same(expected: Any, answer: Any, tolerance: float) -> bool:
    """Return whether two values are the same, numbers within the tolerance."""
    if isinstance(expected, (list, tuple)) and isinstance(answer, (list, tuple)):
        return len(expected) == len(answer) and all(
            same(e, a, tolerance) for e, a in zip(expected, answer, strict=True)
        )
    if isinstance(expected, dict) and isinstance(answer, dict):
        return expected.keys() == answer.keys() and all(same(expected[k], answer[k], tolerance) for k in expected)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (expected, answer))
    if numbers:
        return math.isclose(expected, answer, rel_tol=tolerance, abs_tol=tolerance)
    return bool(expected == answer)


def _answer(status: int, content: bytes) -> tuple[Any, str]:
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
    expected, error = _answer(outcome.other_status, outcome.other_content)
    return expected, error and f"the other service: {error}"


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content.decode(errors="replace")


def described(scorer: Scorer) -> Mapping[str, Any]:
    """Return the Swagger description of the service; empty if it has none."""
    try:
        return scorer.swagger()
    except ScoringError as error:
        if error.status_code == 404:
            return {}
        raise
