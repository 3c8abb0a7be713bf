"""Scoring tests: cases against a live service, under load if wanted, and a report that a notebook or CI can gate on.

The load is made by threads with one kept connection each and bodies that are encoded beforehand, so that the client
costs little; the report says how much. With a `rate`, requests are due at fixed times and a late one is measured from
when it was due: a slow answer is not hidden by the requests that it kept from being sent (coordinated omission).
Without one, each thread sends its next request when it has its answer, and latencies are those of such callers.
"""

from __future__ import annotations

import http.client
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack
from urllib.parse import urlsplit

import msgspec

from mlmgmt_nb.client.report import Result, ScoringReport
from mlmgmt_nb.client.scoring import Scorer, encode_input, swagger_arguments
from mlmgmt_nb.errors import ScoringError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Case", "Check", "LoadOptions", "ScoringTest", "cases_of", "described"]

Check = Callable[[Any, Any], bool | None]
"""Given the input and the answer: whether the answer is right. May raise AssertionError to say why it is not."""

_PROGRESS_SECONDS = 0.25


class Case(NamedTuple):
    """One input, the body of its request, and what its answer should be (None where nothing is expected)."""

    given: Any
    body: bytes
    expected: Any = None


def cases_of(data: pd.DataFrame | Sequence[Any], swagger: Mapping[str, Any], expect: str | None) -> list[Case]:
    """The cases in a DataFrame, a row each, or in a list of inputs as `services.run` takes them.

    Args:
        data: the inputs.
        swagger: the service's own description; names the argument that a row is for.
        expect: the column, or the key of each input, that holds the expected answer and is not sent.

    Raises:
        UsageError: there is no case, or no such column, or an input cannot be written as JSON.
    """
    arguments = swagger_arguments(swagger)
    rows = _rows(data, expect)
    if not rows:
        raise UsageError("there are no cases", field="cases", fix="Give a DataFrame with a row for each case.")
    return [Case(given, encode_input(given, arguments), expected) for given, expected in rows]


def _rows(data: Any, expect: str | None) -> list[tuple[Any, Any]]:
    if hasattr(data, "iloc"):
        if expect is not None and expect not in data.columns:
            known = ", ".join(map(str, data.columns))
            raise UsageError(f"the cases have no column {expect!r}", field="expect", fix=f"They have: {known}.")
        expected = [None] * len(data) if expect is None else data[expect].tolist()
        inputs = data if expect is None else data.drop(columns=[expect])
        return [(inputs.iloc[[number]], expected[number]) for number in range(len(data))]
    if expect is None:
        return [(given, None) for given in data]
    rows = []
    for number, given in enumerate(data):
        if not isinstance(given, dict) or expect not in given:
            raise UsageError(
                f"case {number} has no {expect!r}", field="expect", fix="Each case must have what is expected."
            )
        rows.append(({name: value for name, value in given.items() if name != expect}, given[expect]))
    return rows


class LoadOptions(TypedDict, total=False):
    """How a scoring test sends its requests.

    Attributes:
        requests: how many to send, from the first case again after the last; every case once when not given, unless
            there is a `duration`.
        concurrency: threads that send them; 1 when not given.
        duration: seconds after which no more are sent.
        rate: requests due in a second; as many as the service answers when not given.
        tolerance: numbers that differ by no more than this, relatively or absolutely, are the same.
        timeout: seconds until an answer counts as missing; 60 when not given.
    """

    requests: int | None
    concurrency: int
    duration: float | None
    rate: float | None
    tolerance: float
    timeout: float


class ScoringTest:
    """A test that can be run once.

    Args:
        scorer: the service's scoring URL and key.
        cases: what to send, in this order, again from the start when there are more requests than cases.
        check: tells right answers from wrong ones; by default an answer is compared with what the case expects.
        against: another service whose answers are what is expected.
        expect: name under which an answer that is an object has what is compared.
        **options: see `LoadOptions`.

    Raises:
        UsageError: the arguments do not go together.
    """

    def __init__(
        self,
        scorer: Scorer,
        cases: Sequence[Case],
        *,
        check: Check | None = None,
        against: Scorer | None = None,
        expect: str | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        for name in ("requests", "concurrency", "duration", "rate", "timeout"):
            value: Any = options.get(name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}", field=name, fix="Give a number above 0.")
        if check is not None and against is not None:
            raise UsageError("check and against exclude each other", field="against", fix="Give one of them.")
        self._tolerance = options.get("tolerance", 0.0)
        if self._tolerance < 0:
            raise UsageError("tolerance is negative", field="tolerance", fix="Give 0 or a small number such as 1e-6.")
        requests, self._duration, self._rate = options.get("requests"), options.get("duration"), options.get("rate")
        concurrency, self._timeout = options.get("concurrency", 1), options.get("timeout", 60.0)
        self._scorer, self._cases, self._check, self._against = scorer, cases, check, against
        self._expect = expect
        self._requests = requests if requests is not None or self._duration is not None else len(cases)
        self._concurrency = min(concurrency, self._requests or concurrency)
        self._results: list[Result] = []
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._client_seconds = 0.0
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Sends no more requests; `run` returns what there is. May be called from any thread."""
        self._stopped.set()

    def run(self, on_progress: Callable[[ScoringReport], None] | None = None) -> ScoringReport:
        """Sends the requests and judges the answers. An interrupt ends it early and keeps what there is.

        Args:
            on_progress: called a few times a second with the report so far, in this thread.
        """
        begun = time.perf_counter()
        threads = [
            threading.Thread(target=self._work, args=(begun,), name=f"scoring-test-{number}", daemon=True)
            for number in range(self._concurrency)
        ]
        for thread in threads:
            thread.start()
        interrupted = False
        try:
            while any(thread.is_alive() for thread in threads):
                self._wait(threads)
                if on_progress is not None:
                    on_progress(self._report(begun, partial=True))
        except KeyboardInterrupt:
            interrupted = True
            self.stop()
            for thread in threads:
                thread.join(self._timeout)
        return self._report(begun, partial=interrupted or self._stopped.is_set())

    def _wait(self, threads: Sequence[threading.Thread]) -> None:
        deadline = time.perf_counter() + _PROGRESS_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.perf_counter()))

    def _report(self, begun: float, *, partial: bool) -> ScoringReport:
        with self._lock:
            results, client_seconds = list(self._results), self._client_seconds
        return ScoringReport(results, time.perf_counter() - begun, client_seconds=client_seconds, partial=partial)

    # in the threads

    def _work(self, begun: float) -> None:
        wire = _Wire(self._scorer, self._timeout)
        other = _Wire(self._against, self._timeout) if self._against else None
        cpu = time.thread_time()
        try:
            while (number := self._next(begun)) is not None:
                due = begun + number / self._rate if self._rate else time.perf_counter()
                case = number % len(self._cases)
                result = self._judged(case, wire.post(self._cases[case].body, due), other, due - begun)
                with self._lock:
                    self._results.append(result)
        finally:
            with self._lock:
                self._client_seconds += time.thread_time() - cpu
            wire.close()
            if other is not None:
                other.close()

    def _next(self, begun: float) -> int | None:
        """The number of the next request, once it is due; None when there is none."""
        number = next(self._numbers)
        if self._requests is not None and number >= self._requests:
            return None
        due = begun + number / self._rate if self._rate else time.perf_counter()
        if self._duration is not None and due - begun >= self._duration:
            return None
        if self._stopped.wait(max(0.0, due - time.perf_counter())):
            return None
        return number

    def _judged(self, number: int, answered: _Answered, other: _Wire | None, at: float) -> Result:
        case, expected, passed, error = self._cases[number], self._cases[number].expected, None, answered.error
        if not error and other is not None:
            reference = other.post(case.body, time.perf_counter())
            expected, error = reference.value, reference.error and f"the other service: {reference.error}"
        if not error:
            try:
                passed = self._right(case, expected, answered.value)
            except AssertionError as wrong:
                passed, error = False, str(wrong)
            except Exception as mistake:  # noqa: BLE001 - the user's own check
                error = f"the check raised {type(mistake).__name__}: {mistake}"
        return Result(
            number, at, answered.seconds, answered.status, passed, expected, answered.value, error or "", answered.id
        )

    def _right(self, case: Case, expected: Any, answer: Any) -> bool | None:
        if self._check is not None:
            verdict = self._check(case.given, answer)
            return None if verdict is None else bool(verdict)
        if expected is None and self._against is None:
            return None
        return same(expected, self._part(answer, expected), self._tolerance)

    def _part(self, answer: Any, expected: Any) -> Any:
        """What of an answer is compared: of a list of one its item, of an object what the expected column names."""
        if self._against is not None:
            return answer
        if isinstance(answer, list) and len(answer) == 1 and not isinstance(expected, list):
            answer = answer[0]
        if isinstance(answer, dict) and not isinstance(expected, dict) and self._expect in answer:
            return answer[self._expect]
        return answer


def same(expected: Any, answer: Any, tolerance: float) -> bool:
    """Whether two values are the same, numbers within the tolerance."""
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


class _Answered(NamedTuple):
    """What became of a request. `seconds` count from when it was due."""

    status: int
    seconds: float
    value: Any = None
    error: str = ""
    id: str = ""


class _Wire:
    """One kept connection to a scoring URL."""

    def __init__(self, scorer: Scorer, timeout: float) -> None:
        parts = urlsplit(scorer.scoring_uri)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._path = parts.path
        self._headers = {"Content-Type": "application/json"}
        if scorer.key:
            self._headers["Authorization"] = f"Bearer {scorer.key}"

    def post(self, body: bytes, due: float) -> _Answered:
        try:
            try:
                answer, content = self._ask(body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The service closed the kept connection, as it may between two requests.
                self._connection.close()
                answer, content = self._ask(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return _Answered(0, time.perf_counter() - due, error=f"no answer: {error or type(error).__name__}")
        seconds = time.perf_counter() - due
        request_id = answer.headers.get("x-ms-request-id", "")
        value = _decoded(content)
        if answer.status == 200:
            return _Answered(200, seconds, value, id=request_id)
        message = value.get("message", "") if isinstance(value, dict) else str(value)
        return _Answered(answer.status, seconds, None, f"{answer.status}: {message}"[:500], request_id)

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        return answer, answer.read()

    def close(self) -> None:
        self._connection.close()


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content.decode(errors="replace")


def described(scorer: Scorer) -> Mapping[str, Any]:
    """The service's own description; none for a service that gives none."""
    try:
        return scorer.swagger()
    except ScoringError as error:
        if error.status_code == 404:
            return {}
        raise
