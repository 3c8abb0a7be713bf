"""`ScoringTestPanel`: a scoring test while it runs, with its numbers, latencies and failures."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.client import ScoringReport, ScoringTest
from mlmgmt_nb.client.scoring_tests.html import charts, failures, numbers, verdict
from mlmgmt_nb.notebook.display.cards import badge
from mlmgmt_nb.notebook.display.html import Trouble, escape, progress_bar
from mlmgmt_nb.notebook.display.shown import note_shown
from mlmgmt_nb.notebook.panels.frontend import front
from mlmgmt_nb.notebook.panels.panel import Panel

__all__ = ["Course", "ScoringTestPanel"]

_QUIET_SECONDS = 0.4
"""What takes no longer needs no panel."""


class Course:
    """How a test goes, as what a panel shows; without any display.

    Args:
        test: the test.

    Attributes:
        is_waited_for: whether the cell waits for its end.
    """

    def __init__(self, test: ScoringTest) -> None:
        self._test = test
        self.is_waited_for = False

    @property
    def title(self) -> str:
        return f"Scoring test of {self._test.name}"

    @property
    def state(self) -> str:
        """In a word or two."""
        known = self._test.tally.numbers
        if not self._test.done():
            return "stopping" if self._test.is_stopped else "running"
        word = "failed" if known.failed + known.errored else "passed" if known.passed else "answered"
        return f"{word}, stopped before its end" if self._test.is_partial else word

    def verdict(self) -> str:
        """Return the state as HTML."""
        if not self._test.done():
            return badge("Running") + (" stopping" if self._test.is_stopped else "")
        return verdict(self._test.tally.numbers, partial=self._test.is_partial)

    def far(self) -> str:
        """How far it is."""
        known, goal = self._test.tally.numbers, self._test.goal
        parts = [
            f"{known.requests:,} of {goal.requests:,} requests" if goal.requests else f"{known.requests:,} requests"
        ]
        if goal.duration:
            parts.append(f"{known.seconds:.0f} of {goal.duration:g} s")
        return ", ".join(parts)

    def part(self) -> float:
        """How much of it is done, from 0 to 1."""
        known = self._test.tally.numbers
        return self._test.goal.part(known.requests, known.seconds)

    def shown(self) -> dict[str, Any]:
        """Return what the front end draws."""
        return {
            "title": self.title,
            "state": self.verdict(),
            "far": self.far(),
            "part": round(self.part(), 3),
            "running": not self._test.done(),
            "waiting": self.is_waited_for,
            "body": numbers(self._test.tally, self._share()) + charts(self._test.tally),
            "failures": failures(self._test.tally),
        }

    def _share(self) -> float:
        known = self._test.tally.numbers
        return known.client_seconds / known.seconds / self._test.processes if known.seconds else 0.0

    def text(self) -> str:
        """For where there is no HTML."""
        if self._test.done():
            return f"{self.title}: {self.state}\n{self._test.report()}"
        return str(self._test)

    def html(self) -> str:
        """As it is now, without buttons."""
        if self._test.done():
            return self._test.report().to_html()
        shown = self.shown()
        head = f"<b>{escape(shown['title'])}</b> {shown['state']} {escape(shown['far'])}"
        bar = progress_bar("requests sent", shown["part"])
        return f"<div>{head}</div>{bar}{shown['body']}{shown['failures']}"


class ScoringTestPanel(Panel):
    """Shows a scoring test in a notebook, while it runs and when it has ended.

    `run` has the cell wait for it; displaying the panel instead, as in
    `ScoringTestPanel(ws.services.scoring_test("iris", cases))`, starts the test in the background. Its button stops the
    test and keeps what there is, and so does an interrupt of the cell that waits.

    Args:
        test: the test, not started yet.
        **feeds: see `Panel`.
    """

    def __init__(self, test: ScoringTest, **feeds: Any) -> None:
        super().__init__(**feeds)
        self.test = test
        self.course = Course(test)
        self._widget: Any = None
        self._is_started = False

    def run(self) -> ScoringReport:
        """Run the test; shows it unless it ends in a moment.

        Raises:
            MlmgmtError: the requests could not be sent.
        """
        self._is_started = self.course.is_waited_for = True
        begun = self._clock()

        def on_progress(_: ScoringReport) -> None:
            if not self._is_displayed and self.course.part() < 1 and self._clock() - begun > _QUIET_SECONDS:
                self.show()

        self.test.add_change_callback(self._changed)
        try:
            report = self.test.run(on_progress)
        finally:
            self.course.is_waited_for = False
            self.close()
        if self._is_displayed:
            note_shown(report)
        return report

    def start(self) -> None:
        """Start the test in the background, unless it has been started."""
        with self.lock:
            if self._is_started:
                return
            self._is_started = True
        self.test.add_change_callback(self._changed)
        self.test.start()

    def show(self) -> None:
        """Display it, and start the test if nobody has."""
        self.start()
        super().show()

    def _changed(self) -> None:
        """In the thread of the test."""
        if self.test.failure is not None:
            self.fail(Trouble.of(self.test.failure))
        self.changed()

    # Panel

    def text(self) -> str:
        return self.course.text()

    def html(self) -> str:
        return self.course.html()

    def build(self) -> Any:
        self._widget = front("scoring_test", self.course.shown(), self._told)
        return self._widget

    def draw(self) -> None:
        self._widget.shown = self.course.shown()

    def _told(self, message: dict[str, Any]) -> None:
        if message.get("do") == "stop":
            self.test.stop()
            self.changed()
