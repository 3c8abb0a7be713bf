"""The parts of a `ChangePanel` as static HTML and text."""

from __future__ import annotations

from collections.abc import Sequence

from mlmgmt_nb.contract.traffic import Answers, Canary, Mirror
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.display.html import escape, table

__all__ = ["breaking", "canary_html", "canary_text", "canary_words", "mirror_words"]

_VERDICTS = {
    "Running": "not decided yet",
    "Waiting": "not decided: more requests decide",
    "Passed": "good enough",
    "TakenBack": "worse, so it was taken back",
    "Stopped": "stopped",
}
_COLUMNS = ("deployment", "requests", "errors", "p95")


def canary_words(canary: Canary | None) -> str:
    """Return the share of a canary in a few words. Screen readers announce changes of this text."""
    if canary is None:
        return "No canary: callers get answers of the current deployment only."
    steps = f", step {canary.step + 1} of {len(canary.steps)}" if canary.is_active and len(canary.steps) > 1 else ""
    return f"{canary.share:g} % of the requests{steps}: {_VERDICTS[canary.state]}"


def canary_text(canary: Canary) -> str:
    """Return the counts of both deployments and the reason for the verdict, as text for a terminal."""
    lines = [f"canary: {canary_words(canary)}"]
    lines += [
        f"  {name}: {requests} requests, {errors} errors, p95 {p95}" for name, requests, errors, p95 in _rows(canary)
    ]
    return "\n".join([*lines, *([f"  {canary.reason}"] if canary.reason else [])])


def canary_html(canary: Canary | None) -> str:
    """Return the counts of both deployments and the reason for the verdict, as HTML; "" without a canary."""
    if canary is None:
        return ""
    reason = f"<div>{badge(canary.state)} {escape(canary.reason)}</div>"
    return table(_COLUMNS, _rows(canary), label="answers during the canary") + reason


def _rows(canary: Canary) -> list[tuple[str, str, str, str]]:
    return [_row("current", canary.old), _row("candidate", canary.new)]


def _row(name: str, answers: Answers) -> tuple[str, str, str, str]:
    share = f" ({100 * answers.errors / answers.requests:.2g} %)" if answers.requests else ""
    p95 = "" if answers.p95 is None else f"{1000 * answers.p95:.1f} ms"
    return name, f"{answers.requests:,}", f"{answers.errors:,}{share}", p95


def mirror_words(mirror: Mirror | None) -> str:
    """Return the state and the counts of a mirror; "" without one."""
    if mirror is None:
        return ""
    counts = f"{mirror.pairs:,} pairs of answers, {mirror.dropped:,} dropped, {mirror.skipped:,} skipped"
    return f"mirror of {mirror.share:g} % of the requests, {mirror.state.lower()}: {counts}. {mirror.reason}".rstrip()


def breaking(sentences: Sequence[str]) -> str:
    """Return the changes that break callers as an alert; "" if there are none."""
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<div class="mlmgmt-alert"><b>Breaks callers</b><ul>{items}</ul></div>'
