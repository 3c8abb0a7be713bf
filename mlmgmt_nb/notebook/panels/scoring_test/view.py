"""`ScoringTestPanel`: the live progress of a scoring test, with its counts, latencies and failures."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.client import ScoringReport, ScoringTest
from mlmgmt_nb.client.scoring_tests.html import answers, charts, failures, numbers, verdict
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.display.html import ErrorText, escape, progress_bar
from mlmgmt_nb.notebook.display.shown import note_shown
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel

__all__ = ["ScoringTestPanel", "ScoringTestProgress"]

_QUIET_SECONDS = 0.4
"""Shorter tests are not shown."""


class ScoringTestProgress:
    """The progress of a scoring test, as text and HTML, without display.

    Args:
        test: the test.

    Attributes:
        is_waited_for: whether the cell waits for the test.
    """

    def __init__(self, test: ScoringTest) -> None:
        self._test = test
        self.is_waited_for = False

    @property
    def title(self) -> str:
        return f"Scoring test of {self._test.name}"

    @property
    def state(self) -> str:
        """The state in a word or two."""
        known = self._test.store.numbers
        if not self._test.done():
            return "stopping" if self._test.is_stopped else "running"
        word = "failed" if known.failed + known.errored else "passed" if known.passed else "answered"
        return f"{word}, stopped before its end" if self._test.is_partial else word

    def verdict(self) -> str:
        """Return the state as HTML."""
        if not self._test.done():
            return badge("Running") + (" stopping" if self._test.is_stopped else "")
        return verdict(self._test.store.numbers, partial=self._test.is_partial)

    def completed(self) -> str:
        """Return the progress in words."""
        known, goal = self._test.store.numbers, self._test.goal
        parts = [
            f"{known.requests:,} of {goal.requests:,} requests" if goal.requests else f"{known.requests:,} requests"
        ]
        if goal.duration:
            parts.append(f"{known.seconds:.0f} of {goal.duration:g} s")
        return ", ".join(parts)

    def part(self) -> float:
        """Return the completed fraction, from 0 to 1."""
        known = self._test.store.numbers
        return self._test.goal.part(known.requests, known.seconds)

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend."""
        return {
            "title": self.title,
            "state": self.verdict(),
            "completed": self.completed(),
            "part": round(self.part(), 3),
            "running": not self._test.done(),
            "waiting": self.is_waited_for,
            "body": numbers(self._test.store, self._share()) + charts(self._test.store),
            "answers": answers(self._test.store) if self._test.done() else "",
            "failures": failures(self._test.store),
        }

    def _share(self) -> float:
        known = self._test.store.numbers
        return known.client_seconds / known.seconds / self._test.processes if known.seconds else 0.0

    def text(self) -> str:
        """Return the text for viewers without HTML."""
        if self._test.done():
            return f"{self.title}: {self.state}\n{self._test.report()}"
        return str(self._test)

    def html(self) -> str:
        """Return the current state as static HTML."""
        if self._test.done():
            return self._test.report().to_html()
        shown = self.shown()
        head = f"<b>{escape(shown['title'])}</b> {shown['state']} {escape(shown['completed'])}"
        bar = progress_bar("requests sent", shown["part"])
        return f"<div>{head}</div>{bar}{shown['body']}{shown['failures']}"


class ScoringTestPanel(Panel):
    """The live view of a scoring test in a notebook, while it runs and after it has ended.

    `run` waits for the test; displaying the panel instead, as in
    `ScoringTestPanel(ws.services.scoring_test("iris", cases))`, starts the test in the background. The Stop button, or
    an interrupt of the waiting cell, stops the test and keeps its results so far.

    Args:
        test: the test, which must not be started yet.
        **feeds: see `Panel`.
    """

    def __init__(self, test: ScoringTest, **feeds: Any) -> None:
        super().__init__(**feeds)
        self.test = test
        self.progress = ScoringTestProgress(test)
        self._widget: Any = None
        self._is_started = False

    def run(self) -> ScoringReport:
        """Run the test, and show it unless it ends quickly.

        Raises:
            MlmgmtError: the requests could not be sent.
        """
        self._is_started = self.progress.is_waited_for = True
        begun = self._clock()

        def on_progress(_: ScoringReport) -> None:
            if not self._is_displayed and self.progress.part() < 1 and self._clock() - begun > _QUIET_SECONDS:
                self.show()

        self.test.add_change_callback(self._changed)
        try:
            report = self.test.run(on_progress)
        finally:
            self.progress.is_waited_for = False
            self.close()
        if self._is_displayed:
            note_shown(report)
        return report

    def start(self) -> None:
        """Start the test in the background, unless it was started already."""
        with self.lock:
            if self._is_started:
                return
            self._is_started = True
        self.test.add_change_callback(self._changed)
        self.test.start()

    def show(self) -> None:
        """Display the panel, and start the test unless it was started already."""
        self.start()
        super().show()

    def _changed(self) -> None:
        """Show the new state of the test. The thread of the test calls it."""
        if self.test.failure is not None:
            self.fail(ErrorText.of(self.test.failure))
        self.changed()

    # Panel

    def text(self) -> str:
        return self.progress.text()

    def html(self) -> str:
        return self.progress.html()

    def build(self) -> Any:
        self._widget = frontend("scoring_test", self.progress.shown(), self._on_message)
        return self._widget

    def draw(self) -> None:
        self._widget.shown = self.progress.shown()

    def _on_message(self, message: dict[str, Any]) -> None:
        if message.get("do") == "stop":
            self.test.stop()
            self.changed()
