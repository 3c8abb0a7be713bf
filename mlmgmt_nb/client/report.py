"""What a scoring test found out."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from mlmgmt_nb.errors import ScoringTestFailed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "ScoringReport"]

_SHOWN_FAILURES = 10
_PERCENTILES = (50, 90, 95, 99)


class Result(NamedTuple):
    """One request of a scoring test.

    Attributes:
        case: number of the case, from 0.
        at: seconds after the start when it was due.
        seconds: from when it was due until its answer was there.
        status: HTTP status, 0 for no answer.
        passed: whether the answer was right; None where nothing was expected or there was no answer to judge.
        expected, answer: the two values.
        error: why there is no right answer, where that is known.
        request_id: finds the request in the service's log.
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


class ScoringReport:
    """The results of a scoring test.

    Args:
        results: what became of the requests.
        seconds: how long it took.
        client_seconds: CPU time that the client itself took in this time.
        partial: whether it was stopped before its end.
    """

    def __init__(self, results: Sequence[Result], seconds: float, *, client_seconds: float, partial: bool) -> None:
        self._results = results
        self._seconds = seconds
        self._client_seconds = client_seconds
        self.partial = partial

    @property
    def results(self) -> pd.DataFrame:
        """A row for each request; the columns are the attributes of `Result`."""
        import pandas as pd

        return pd.DataFrame(self._results, columns=list(Result._fields)).astype({"passed": "boolean"})

    @property
    def failures(self) -> list[Result]:
        """The requests whose answer was wrong or missing."""
        return [result for result in self._results if result.passed is False or result.error]

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts, requests per second, latencies in milliseconds, and the client's own share of the time."""
        results = self._results
        count = len(results)
        errored = sum(1 for result in results if result.passed is None and result.error)
        latencies = sorted(result.seconds * 1000 for result in results)
        return {
            "requests": count,
            "answered": sum(1 for result in results if result.status == 200),
            "passed": sum(1 for result in results if result.passed),
            "failed": sum(1 for result in results if result.passed is False),
            "errored": errored,
            "seconds": round(self._seconds, 3),
            "requests_per_second": round(count / self._seconds, 1) if self._seconds else 0.0,
            **{f"p{percent}_ms": round(percentile(latencies, percent), 3) for percent in _PERCENTILES},
            "max_ms": round(latencies[-1], 3) if latencies else 0.0,
            "client_ms_per_request": round(1000 * self._client_seconds / count, 3) if count else 0.0,
            "client_share": round(self._client_seconds / self._seconds, 3) if self._seconds else 0.0,
            "partial": self.partial,
        }

    def assert_ok(self, *, p95_ms: float | None = None) -> None:
        """Does nothing when every answer was right (or nothing was expected of it) and in time.

        Args:
            p95_ms: the longest 95th percentile of the latencies, in milliseconds.

        Raises:
            ScoringTestFailed: an answer was wrong or missing, there was none at all, or they took too long.
        """
        summary, failures = self.summary, self.failures
        if not summary["requests"]:
            raise ScoringTestFailed("the scoring test sent no request", self)
        if failures:
            lines = [_line(result) for result in failures[:_SHOWN_FAILURES]]
            more = [f"... and {len(failures) - len(lines)} more"] if len(failures) > len(lines) else []
            first = f"{len(failures)} of {summary['requests']} requests have a wrong answer or none:"
            raise ScoringTestFailed("\n  ".join([first, *lines, *more]), self)
        if p95_ms is not None and summary["p95_ms"] > p95_ms:
            raise ScoringTestFailed(
                f"the 95th percentile is {summary['p95_ms']} ms, and at most {p95_ms} ms is right", self
            )

    def to_junit(self) -> str:
        """JUnit XML: a test for each case, failed when any of its requests did not get the right answer."""
        by_case: dict[int, list[Result]] = {}
        for result in self._results:
            by_case.setdefault(result.case, []).append(result)
        suite = ElementTree.Element("testsuite", name="scoring", tests=str(len(by_case)), time=f"{self._seconds:.3f}")
        failed = errored = 0
        for case, results in sorted(by_case.items()):
            seconds = sum(result.seconds for result in results)
            test = ElementTree.SubElement(
                suite, "testcase", name=f"case {case}", classname="scoring", time=f"{seconds:.6f}"
            )
            wrong = [result for result in results if result.passed is False]
            missing = [result for result in results if result.passed is None and result.error]
            failed, errored = failed + bool(wrong), errored + bool(missing and not wrong)
            if wrong or missing:
                kind = "failure" if wrong else "error"
                ElementTree.SubElement(test, kind, message=_xml(_line((wrong or missing)[0])))
        suite.set("failures", str(failed))
        suite.set("errors", str(errored))
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)

    def to_html(self) -> str:
        """The summary and the first failures as HTML."""
        rows = "".join(
            f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in self.summary.items()
        )
        failures = "".join(f"<li>{html.escape(_line(result))}</li>" for result in self.failures[:_SHOWN_FAILURES])
        return f"<table>{rows}</table>" + (f"<p>Not right:</p><ol>{failures}</ol>" if failures else "")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        lines = [f"{name:<22} {value}" for name, value in self.summary.items()]
        return "\n".join([*lines, *(f"  {_line(result)}" for result in self.failures[:_SHOWN_FAILURES])])

    __repr__ = __str__


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent are not above; 0 for no values."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def _line(result: Result) -> str:
    what = result.error or f"expected {result.expected!r}, got {result.answer!r}"
    return f"case {result.case}: {what}" + (f" (request {result.request_id})" if result.request_id else "")


def _xml(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return "".join(c if c in "\t\n\r" or ord(c) >= 32 else "\ufffd" for c in text)
