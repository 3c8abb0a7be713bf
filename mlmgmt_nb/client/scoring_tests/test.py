"""Scoring tests: cases against a live service, optionally under load, and a report that can gate a notebook or CI.

Separate processes send the requests (see `mlmgmt_nb.load_generator`); this process judges the answers. An answer that a
case has had before is not judged again: a check is a function of input and answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Unpack

from mlmgmt_nb.client.bodies import check_keywords
from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import Cases
from mlmgmt_nb.client.scoring_tests.judging import Check, Judge
from mlmgmt_nb.client.scoring_tests.options import LoadOptions, StopCondition, check_options, default_processes
from mlmgmt_nb.client.scoring_tests.processes import Load
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.results import ResultStore
from mlmgmt_nb.client.waiting import wait_for
from mlmgmt_nb.errors import MlmgmtError, UsageError
from mlmgmt_nb.load_generator.messages import Plan, Target
from mlmgmt_nb.short_repr import cut

__all__ = ["ScoringTest"]

_PROGRESS_SECONDS = 0.25
_STOP_SECONDS = 3.0


class ScoringTest:
    """A test that can be run once.

    Example:
        >>> test = ws.services.scoring_test("iris", [[[5.1, 3.5, 1.4, 0.2]]], requests=20, concurrency=2)
        >>> test.start()
        >>> test.result(timeout=60).summary["answered"]
        20

    Args:
        scorer: the service's scoring URL and key.
        cases: the inputs, sent in this order, and again from the start if there are more requests than cases.
        name: name of the service, for displays.
        check: returns whether an answer is right; by default an answer is compared with the expected one.
        against: another service, whose answers are the expected ones. It gets each request after this service.
        expect: the property of the answer to compare, if answers are objects.
        **options: see `LoadOptions`.

    Attributes:
        store: the results so far. May be read from any thread.
        goal: the number of requests or seconds after which the test ends.
        processes: number of processes that send requests.
        failure: the reason why the test could not run, or None.

    Raises:
        UsageError: the arguments cannot be combined.
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
        check_keywords("test", options, LoadOptions.__annotations__)
        check_options(options)
        if check is not None and against is not None:
            raise UsageError("check and against cannot be combined", field="against", fix="Give one of them.")
        requests, duration = options.get("requests"), options.get("duration")
        if requests is None and duration is None:
            requests = len(cases)
        concurrency = options.get("concurrency", 1)
        self._connections = min(concurrency, requests or concurrency)
        self.processes = min(options.get("processes") or default_processes(self._connections), self._connections)
        self._rate, self._timeout = options.get("rate"), options.get("timeout", 60.0)
        self._scorer, self._against, self._cases = scorer, against, cases
        self.name = name
        self.goal = StopCondition(requests, duration)
        self.store = ResultStore(
            Judge(cases, check, expect, options.get("tolerance", 0.0), is_compared=against is not None)
        )
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._is_partial = False
        self._callbacks: list[Callable[[], None]] = []
        self.failure: Exception | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Mark the test as ended in the forked process: it runs in the parent."""
        has_ended = self._ended.is_set()
        self._stopped, self._ended, self._callbacks = threading.Event(), threading.Event(), []
        self._ended.set()
        if not has_ended:
            self.failure = MlmgmtError(
                "the scoring test runs in the process that this one was forked from",
                fix="Get the report in that process.",
            )

    # the verbs of azure-core, for tests that run in a thread

    def start(self) -> None:
        """Start the test in a thread; see `result`."""
        self._thread = threading.Thread(target=self._run_apart, name="scoring-test", daemon=True)
        self._thread.start()

    def _run_apart(self) -> None:
        """Run the test in its thread, which an interrupt of the main thread does not reach."""
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
        """Wait at most `timeout` seconds until the test has ended; return whether it has."""
        return wait_for(self._ended, timeout)

    def result(self, timeout: float | None = None) -> ScoringReport:
        """Wait until it has ended and return the report.

        Raises:
            MlmgmtError: the test could not run, or has not ended after `timeout` seconds.
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
        """Whether `stop` was called."""
        return self._stopped.is_set()

    @property
    def is_partial(self) -> bool:
        """Whether the results are incomplete: the test was stopped early, or has not ended."""
        return self._is_partial or not self._ended.is_set()

    def add_change_callback(self, callback: Callable[[], None]) -> None:
        """Add a callback, which is called about ten times a second while the test runs, and at its end.

        The thread of the test calls it, so it must be short.
        """
        self._callbacks.append(callback)

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()

    def stop(self) -> None:
        """Send no more requests; `run` returns the results so far. May be called from any thread."""
        self._stopped.set()

    def report(self) -> ScoringReport:
        """Return the results so far, which are complete once the test has ended."""
        return ScoringReport(self.store, name=self.name, processes=self.processes, partial=self.is_partial)

    def run(self, on_progress: Callable[[ScoringReport], None] | None = None) -> ScoringReport:
        """Send the requests and judge the answers. An interrupt ends the test early and keeps the results so far.

        Args:
            on_progress: called a few times a second with the report so far, in this thread. Its numbers change with the
                test.

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
        return f"scoring test of {cut(self.name)}, {state}: {known.requests:,}{of} requests, {counts}, {speed}"

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
