"""The report of a scoring test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlmgmt_nb.charts import still
from mlmgmt_nb.client.scoring_tests.gate import (
    Condition,
    Number,
    Verdict,
    exact,
    judged,
    latency,
    latency_at,
    passed,
    share,
)
from mlmgmt_nb.client.scoring_tests.html import CLIENT_BOUND, is_client_bound, picture
from mlmgmt_nb.client.scoring_tests.junit import TestCase, gate_junit, junit
from mlmgmt_nb.client.scoring_tests.results import Result, ResultStore
from mlmgmt_nb.client.scoring_tests.timeline import percentile
from mlmgmt_nb.errors import ScoringTestFailed
from mlmgmt_nb.short_repr import cut

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "ScoringReport"]

_SHOWN_FAILURES = 10
_PERCENTILES = (50, 90, 95, 99)
_OF_GATES = (50, 95, 99)


class ScoringReport:
    """The results of a scoring test.

    Example:
        >>> report = ws.services.test("iris", [[[5.1, 3.5, 1.4, 0.2]]], requests=3)
        >>> report.results[["case", "answer"]]
           case answer
        0     0    [0]
        1     0    [0]
        2     0    [0]
        >>> report.to_junit().count("<testcase")
        1

    Args:
        store: the results of the requests.
        name: name of the service.
        processes: number of processes that sent the requests.
        partial: whether it was stopped before its end, or still runs.
    """

    def __init__(self, store: ResultStore, *, name: str = "", processes: int = 1, partial: bool = False) -> None:
        self._store = store
        self._processes = processes
        self.name = name
        self.partial = partial

    @property
    def results(self) -> pd.DataFrame:
        """A row for each request; the columns are the attributes of `Result`."""
        import pandas as pd

        return pd.DataFrame(self._store.columns(), columns=list(Result._fields)).astype({"passed": "boolean"})

    @property
    def failures(self) -> list[Result]:
        """The first 1,000 requests whose answer was wrong or missing; `results` has all."""
        return self._store.failures()

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts, requests per second, latencies in milliseconds, and the client's own share.

        `client_share` is the share of the time that the processes that send the requests were busy. Near 1, the test
        measured the limit of the client. `client_late_ms` is the maximum delay of the client in sending a request.
        """
        numbers, latencies = self._store.numbers, sorted(self._store.durations())
        count, seconds = numbers.requests, numbers.seconds
        others = self._store.others
        return {
            "requests": count,
            "answered": numbers.answered,
            "passed": numbers.passed,
            "failed": numbers.failed,
            "errored": numbers.errored,
            "seconds": round(seconds, 3),
            "requests_per_second": round(count / seconds, 1) if seconds else 0.0,
            **{f"p{percent}_ms": round(1000 * percentile(latencies, percent), 3) for percent in _PERCENTILES},
            "max_ms": round(1000 * latencies[-1], 3) if latencies else 0.0,
            **{f"against_p{p}_ms": round(1000 * others.percentile(p), 3) for p in _PERCENTILES if others.count},
            "client_ms_per_request": round(1000 * numbers.client_seconds / count, 3) if count else 0.0,
            "client_share": round(numbers.client_seconds / seconds / self._processes, 3) if seconds else 0.0,
            "client_late_ms": round(1000 * numbers.late, 3),
            "partial": self.partial,
        }

    def gate(self, condition: Condition) -> Verdict:
        """Return the verdict of a gate on the numbers of the test: passed, failed or inconclusive.

        Example:
            >>> report = ws.services.test("iris", [[[5.1, 3.5, 1.4, 0.2]]], requests=100)
            >>> report.gate("errors == 0 and p95 < 60_000").outcome
            'passed'
            >>> report.gate("agree >= 0.99").reason
            'no agree was measured'

        Args:
            condition: a function of this report, see `Condition`, or text such as
                `agree >= 0.99 and p95 <= 1.2 * old.p95 and errors == 0`. `agree` is the share of right answers,
                `errors` the number of requests without an answer, `requests` their number; `p50`, `p95` and `p99` are
                latencies in milliseconds; names with `old.` refer to the service that it is compared with.

        Raises:
            UsageError: the condition is not valid.
        """
        return judged(condition, self, self._numbers(), self._store.numbers.requests)

    def _numbers(self) -> dict[str, Number]:
        """Return the numbers that gates can name, each with its confidence interval."""
        known, durations = self._store.numbers, sorted(self._store.durations())
        numbers = {"errors": exact(known.errored), "requests": exact(known.requests)}
        if judged := known.passed + known.failed:
            numbers["agree"] = share(known.passed, judged)
        for percent in _OF_GATES:
            if durations:
                numbers[f"p{percent}"] = latency(durations, percent)
            if (others := self._store.others).count:
                numbers[f"old.p{percent}"] = latency_at(others.percentile, percent, others.count)
        return numbers

    def assert_ok(self, *, p95_ms: float | None = None) -> None:
        """Raise an error unless every answer was right (if an answer was expected) and in time.

        Example:
            >>> report = ws.services.test("iris", [[[5.1, 3.5, 1.4, 0.2]]], expect=lambda rows, answer: answer == [1])
            >>> report.assert_ok()
            Traceback (most recent call last):
            ...
            mlmgmt_nb.errors.ScoringTestFailed: 1 of 1 requests have a wrong answer or none:
            ...

        Args:
            p95_ms: maximum 95th percentile of the latencies, in milliseconds.

        Raises:
            ScoringTestFailed: an answer was wrong or missing, nothing was answered, or the answers took too long.
        """
        summary, failures = self.summary, self._store.failures(_SHOWN_FAILURES)
        if not summary["requests"]:
            raise ScoringTestFailed("the scoring test sent no request", self)
        if failures:
            wrong = summary["failed"] + summary["errored"]
            lines = [_line(result) for result in failures]
            more = [f"... and {wrong - len(lines)} more"] if wrong > len(lines) else []
            first = f"{wrong} of {summary['requests']} requests have a wrong answer or none:"
            raise ScoringTestFailed("\n  ".join([first, *lines, *more]), self)
        if p95_ms is not None and summary["p95_ms"] > p95_ms:
            raise ScoringTestFailed(f"the 95th percentile is {summary['p95_ms']} ms; the limit is {p95_ms} ms", self)

    def to_junit(self, verdict: Verdict | None = None) -> str:
        """Return JUnit XML: a test for each case, which fails if any of its requests did not get the right answer.

        Args:
            verdict: the verdict of a gate. Then the gate is the only test, and answers that differ do not fail tests of
                their own.
        """
        if verdict is not None:
            return gate_junit(f"scoring {self.name}", self._store.numbers.seconds, verdict)
        seconds: dict[int, float] = {}
        wrong: dict[int, Result] = {}
        for result in self._store.results():
            seconds[result.case] = seconds.get(result.case, 0.0) + result.seconds
            if (result.passed is False or result.error) and result.case not in wrong:
                wrong[result.case] = result
        tests = [
            TestCase(
                f"case {case}",
                "scoring",
                seconds[case],
                "" if case not in wrong else "failure" if wrong[case].passed is False else "error",
                _line(wrong[case]) if case in wrong else "",
            )
            for case in sorted(seconds)
        ]
        return junit(f"scoring {self.name}", self._store.numbers.seconds, tests)

    def assert_gate(self, condition: Condition) -> Verdict:
        """Return the verdict of a gate that passed; raise for all others.

        Args:
            condition: as `gate` takes it.

        Raises:
            UsageError: the condition is not valid.
            ScoringTestFailed: it failed or is inconclusive.
        """
        return passed(self.gate(condition), self)

    def to_html(self) -> str:
        """Return the numbers, the latencies and the first failures as HTML that needs no script and no other file."""
        return picture(self._store, self.name, self.summary)

    def _repr_html_(self) -> str:
        return still(self.to_html())

    def __str__(self) -> str:
        lines = [f"{name:<22} {value}" for name, value in self.summary.items()]
        if is_client_bound(self.summary):
            lines.append(CLIENT_BOUND)
        return "\n".join([*lines, *(f"  {_line(result)}" for result in self._store.failures(_SHOWN_FAILURES))])

    def __repr__(self) -> str:
        known = self._store.numbers
        counts = f"{known.passed:,} passed, {known.failed:,} failed, {known.errored:,} errored"
        return f"<ScoringReport of {cut(self.name)}: {known.requests:,} requests, {counts}>"


def _line(result: Result) -> str:
    if result.passed is False:
        what = f"{result.error or f'expected {result.expected!r}'}, got {result.answer!r}"
    else:
        what = result.error
    return f"case {result.case}: {what}" + (f" (request {result.request_id})" if result.request_id else "")
