"""The results of a scoring test, while it runs and afterwards: every request in a few bytes, and counts."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.client.scoring_tests.timeline import Slice, Timeline
from mlmgmt_nb.load_generator.messages import Batch, Outcome
from mlmgmt_nb.scoring.histogram import Histogram

__all__ = ["JudgedOutcome", "Result", "ResultStore", "TestCounts"]

_KEPT_BYTES = 16 * 2**20
"""Answers are kept up to this total size of their JSON; later ones are cut."""
_BEGINNING = 200
_KEPT_FAILURES = 1000


class Result(NamedTuple):
    """One request of a scoring test.

    Attributes:
        case: number of the case, from 0.
        at: seconds from the start until it was due, or without a rate until it was sent.
        seconds: seconds from then until its answer.
        status: HTTP status, 0 for no answer.
        passed: whether the answer was right; None if no answer was expected or the service did not answer.
        expected, answer: the two values.
        error: why the answer is wrong or missing, if that is known.
        request_id: id of the request in the service's log.
    """

    case: int
    at: float
    seconds: float
    status: int
    passed: bool | None
    expected: Any
    answer: Any
    error: str
    request_id: str


class JudgedOutcome(NamedTuple):
    """An outcome with its verdict; see `Result`."""

    case: int
    status: int
    passed: bool | None
    expected: Any
    answer: Any
    error: str
    compared: Any = None
    """The part of the answer that was compared with the expected one."""


class TestCounts(NamedTuple):
    """The counts of a test so far.

    Attributes:
        requests: requests that were answered or given up.
        answered: requests with status 200.
        passed, failed, errored: number of right, wrong and missing answers.
        seconds: seconds since the start.
        client_seconds: CPU seconds of the processes that send requests.
        late: maximum delay in seconds with which the client sent a request.
    """

    requests: int = 0
    answered: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0
    seconds: float = 0.0
    client_seconds: float = 0.0
    late: float = 0.0


class ResultStore:
    """Collects batches of results. Other threads may read it.

    Args:
        judge: judges an outcome; called once for each distinct outcome.

    Attributes:
        numbers: the counts so far.
        latencies, others: latencies of the service, and of the one that it is compared with.
    """

    def __init__(self, judge: Callable[[Outcome], JudgedOutcome]) -> None:
        self._judge = judge
        self._lock = ForkLock()
        self._judged: list[JudgedOutcome] = []
        self._times: list[int] = []
        self._known: dict[Outcome, int] = {}
        self._places: dict[int, list[int]] = {}
        self._cpu: dict[int, float] = {}
        self._kept_bytes = 0
        self._at, self._seconds, self._outcomes = array("d"), array("d"), array("q")
        self._ids: list[str] = []
        self._failures: list[int] = []
        self._wrong: dict[int, list[int]] = {}
        self._timeline = Timeline()
        self.numbers = TestCounts()
        self.latencies, self.others = Histogram(), Histogram()

    def add(self, process: int, batch: Batch) -> None:
        """Add a batch from one of the processes."""
        # Outside the lock: a user's check may be slow.
        new = [self._place(outcome) for outcome in batch.new]
        with self._lock:
            places = self._places.setdefault(process, [])
            places.extend(new)
            self._cpu[process] = batch.cpu
            self._count(places, batch)
            for seconds in _floats(batch.other_seconds):
                self.others.add(seconds)

    def _place(self, outcome: Outcome) -> int:
        """Return the index of an outcome among the judged ones; another process may have had the same outcome."""
        place = self._known.get(outcome)
        if place is not None:
            return place
        judged, place = self._judge(outcome), len(self._judged)
        self._kept_bytes += len(outcome.content) + len(outcome.other_content)
        if self._kept_bytes <= _KEPT_BYTES:
            self._known[outcome] = place
        else:
            parts = {name: _excerpt(getattr(judged, name)) for name in ("answer", "expected", "compared")}
            judged = judged._replace(**parts)
        self._judged.append(judged)
        self._times.append(0)
        return place

    def _count(self, places: list[int], batch: Batch) -> None:
        outcomes = array("q")
        outcomes.frombytes(batch.outcomes)
        at, seconds = _floats(batch.at), _floats(batch.seconds)
        answered, passed, failed, errored = self.numbers[1:5]
        for due, took, place in zip(at, seconds, outcomes, strict=True):
            judged = self._judged[places[place]]
            wrong = judged.passed is False or bool(judged.error)
            if wrong:
                self._record_failure(places[place])
            answered += judged.status == 200
            passed += judged.passed is True
            failed += judged.passed is False
            errored += judged.passed is None and wrong
            self._outcomes.append(places[place])
            self._times[places[place]] += 1
            self.latencies.add(took)
            self._timeline.add(due + took, took, wrong=wrong)
        self._at.extend(at)
        self._seconds.extend(seconds)
        self._ids.extend(batch.ids.split("\n") if outcomes else ())
        known = self.numbers
        self.numbers = TestCounts(
            len(self._at),
            answered,
            passed,
            failed,
            errored,
            max(known.seconds, batch.clock),
            sum(self._cpu.values()),
            max(known.late, batch.late),
        )

    def _record_failure(self, place: int) -> None:
        """Record that the next request has this outcome, which is not right."""
        row = len(self._outcomes)
        if len(self._failures) < _KEPT_FAILURES:
            self._failures.append(row)
        if place in self._wrong:
            self._wrong[place][1] += 1
        elif len(self._wrong) < _KEPT_FAILURES:
            self._wrong[place] = [row, 1]

    def slices(self) -> tuple[float, list[Slice]]:
        """Return the seconds of a slice of time, and the answers in each slice."""
        with self._lock:
            return self._timeline.width, self._timeline.slices()

    def bars(self, most: int) -> list[tuple[float, float, int, int]]:
        """Return begin, end and counts (this service, the other one) of a limited number of ranges of latencies."""
        with self._lock:
            return self.latencies.bars(most, self.others)

    def outcomes(self) -> list[tuple[JudgedOutcome, int]]:
        """Return the distinct outcomes, each with its number of requests."""
        with self._lock:
            return list(zip(self._judged, self._times, strict=True))

    def percentile(self, percent: float) -> float:
        """Return the approximate latency in seconds that a percentage of the requests did not exceed."""
        with self._lock:
            return self.latencies.percentile(percent)

    def durations(self) -> list[float]:
        """Return the seconds of each request."""
        with self._lock:
            return self._seconds.tolist()

    def failures(self, most: int = _KEPT_FAILURES) -> list[Result]:
        """Return the first requests whose answer was wrong or missing; at most 1,000."""
        with self._lock:
            return [self._result(place) for place in islice(self._failures, most)]

    def failed_cases(self, most: int) -> list[tuple[Result, int]]:
        """Return the first distinct failures, each with its first request and its count."""
        with self._lock:
            return [(self._result(row), count) for row, count in islice(self._wrong.values(), most)]

    def results(self) -> list[Result]:
        """Return every request, in the order of the answers."""
        with self._lock:
            return [self._result(place) for place in range(len(self._outcomes))]

    def columns(self) -> dict[str, list[Any]]:
        """Return every request, as a list for each attribute of `Result`."""
        with self._lock:
            judged = [self._judged[place] for place in self._outcomes]
            return {
                "case": [one.case for one in judged],
                "at": self._at.tolist(),
                "seconds": self._seconds.tolist(),
                "status": [one.status for one in judged],
                "passed": [one.passed for one in judged],
                "expected": [one.expected for one in judged],
                "answer": [one.answer for one in judged],
                "error": [one.error for one in judged],
                "request_id": list(self._ids),
            }

    def _result(self, place: int) -> Result:
        judged = self._judged[self._outcomes[place]]
        return Result(
            judged.case,
            self._at[place],
            self._seconds[place],
            judged.status,
            judged.passed,
            judged.expected,
            judged.answer,
            judged.error,
            self._ids[place],
        )


def _floats(content: bytes) -> array[float]:
    made = array("d")
    made.frombytes(content)
    return made


def _excerpt(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= _BEGINNING else f"{text[:_BEGINNING]}… (not kept whole)"
