"""`ChangePanel`: a proposed change of a service, to try, promote or discard it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.contract.traffic import Canary, Mirror
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.display.cards import candidate_card
from mlmgmt_nb.notebook.display.html import escape
from mlmgmt_nb.notebook.panels.change.state import ChangeState
from mlmgmt_nb.notebook.panels.change.tables import breaking, canary_html, canary_text, canary_words, mirror_words
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel

__all__ = ["ChangePanel"]


class ChangePanel(Panel):
    """A proposed change: its differences, test requests, replays and canary, and its promotion or removal.

    A notebook shows it for each `ProposedChange`, such as `ws.services.change("iris")` at the end of a cell. It is
    updated while it is visible. A promotion needs the name of the service, and may depend on a gate.

    Args:
        change: the proposed change.
        **options: see `Panel`.

    Attributes:
        state: the state and actions of the panel.
    """

    def __init__(self, change: ProposedChange, **options: Any) -> None:
        super().__init__(**options)
        self.state = ChangeState(change, on_change=self.look_now, clock=self._clock)
        self._frontend: Any = None

    def text(self) -> str:
        """Return the text for a terminal: candidate, differences, canary, mirror and the last report."""
        state = self.state
        parts = [
            candidate_card(state.candidate).text(),
            *(f"breaks callers: {sentence}" for sentence in (state.diff.breaking if state.diff else ())),
            str(state.diff) if state.diff is not None else state.diff_error,
            canary_text(state.canary) if state.canary else "",
            mirror_words(state.mirror),
            str(state.report) if state.report else "",
            state.progress.text() if state.progress else "",
            state.note,
        ]
        return "\n".join(part for part in parts if part)

    def html(self) -> str:
        state = self.state
        note = f'<div role="status">{escape(state.note)}</div>' if state.note else ""
        canary = f"<div>{escape(canary_words(state.canary))}</div>{canary_html(state.canary)}" if state.canary else ""
        mirror = f"<div>{escape(mirror_words(state.mirror))}</div>" if state.mirror else ""
        progress = state.progress.html() if state.progress else ""
        tried = f"{canary}{mirror}{state.report.to_html() if state.report else ''}"
        return f"{candidate_card(state.candidate).html()}{note}{progress}{self._differences()}{tried}"

    def _differences(self) -> str:
        diff = self.state.diff
        if diff is None:
            return f"<div>{escape(self.state.diff_error)}</div>"
        return breaking(diff.breaking) + diff.to_html()

    def prepare(self, *, is_live: bool) -> None:  # noqa: ARG002 - both a terminal and the first picture need it
        self.state.poll()

    def build(self) -> Any:
        self._frontend = frontend("change", self.shown(), self._on_message)
        return self._frontend

    def draw(self) -> None:
        self._frontend.shown = self.shown()

    @passive()
    def look(self) -> float | None:
        pause = self.state.poll()
        self.changed()
        return pause

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend."""
        state, candidate = self.state, self.state.candidate
        report = state.report.to_html() if state.report else ""
        return {
            "name": state.name,
            "state": badge("Ended" if state.is_over else candidate.state or ""),
            "share": "" if state.is_over else canary_words(state.canary),
            "url": candidate.scoring_uri or "",
            "about": self._about(),
            "error": candidate.error.message if candidate.error else "",
            "differences": self._differences(),
            "canary": canary_html(state.canary),
            "active": _is_active(state.canary),
            "answer": state.answer,
            "mirror": mirror_words(state.mirror),
            "mirrors": _is_active(state.mirror),
            "mirrored": report if state.is_mirrored else "",
            "report": "" if state.is_mirrored else report,
            "progress": state.progress.html() if state.progress else "",
            "note": state.note,
            "open": state.is_open,
            "working": self.is_working,
            "over": state.is_over,
        }

    def _about(self) -> str:
        candidate = self.state.candidate
        reason = f": {candidate.reason}" if candidate.reason else ""
        end = f"; removed at {candidate.expires_at:%Y-%m-%d %H:%M} UTC" if candidate.expires_at else ""
        return f"proposed by {candidate.proposed_by}{reason}{end}"

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message of the frontend. Callbacks must return quickly, so the work is queued."""
        self.do(lambda: self._handle(message), at_once=message.get("act") in _AT_ONCE)

    def _handle(self, message: dict[str, Any]) -> None:
        """Perform the action of a message, in the worker thread."""
        state, act = self.state, str(message.get("act"))
        given = {name: str(message.get(name) or "") for name in _FIELDS}
        actions: dict[str, Callable[[], None]] = {
            "try": lambda: state.send(given["request"]),
            "replay": lambda: state.replay(given["last"], given["cases"]),
            "mirror": lambda: state.start_mirror(given["minutes"], given["share"]),
            "compare": state.compare_mirrored,
            "stop-mirror": state.stop_mirror,
            "canary": lambda: state.start_canary(given["share"], given["minutes"], given["agree"]),
            "stop": state.stop_canary,
            "promote": lambda: state.promote(given["name"], given["reason"], given["gate"], given["warm"]),
            "discard": state.discard,
        }
        actions[act]()
        self.look_now()


def _is_active(traffic: Canary | Mirror | None) -> bool:
    return traffic is not None and traffic.is_active


_FIELDS = ("request", "last", "cases", "share", "minutes", "agree", "name", "reason", "gate", "warm")
"""The text fields that messages of the frontend may have."""
_AT_ONCE = {"stop", "stop-mirror"}
"""Actions that do not wait for earlier work, such as a replay."""
