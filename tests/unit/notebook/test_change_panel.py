"""What the panel of a change says about a canary, without a notebook."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mlmgmt_nb.contract.traffic import Answers, Canary, CanaryStep, Mirror
from mlmgmt_nb.notebook.panels.change.tables import breaking, canary_html, canary_text, canary_words, mirror_words

STEPS = [CanaryStep(share=5), CanaryStep(share=25)]
OLD, NEW = Answers(requests=1900, errors=19, p95=0.01), Answers(requests=100, errors=8, p95=0.0215)


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (None, "No canary: callers get answers of the current deployment only."),
        (Canary(steps=STEPS, step=1), "25 % of the requests, step 2 of 2: not decided yet"),
        (Canary(steps=STEPS[:1], state="Waiting"), "5 % of the requests: not decided: more requests decide"),
        (Canary(steps=STEPS, step=1, state="Passed"), "25 % of the requests, step 2 of 2: good enough"),
        (Canary(steps=STEPS, state="TakenBack"), "0 % of the requests: worse, so it was taken back"),
        (Canary(steps=STEPS, state="Stopped"), "0 % of the requests: stopped"),
    ],
)
def test_the_share_and_the_verdict_in_words(canary: Canary | None, words: str) -> None:
    assert canary_words(canary) == words


def test_both_sides_and_the_reason() -> None:
    canary = Canary(steps=STEPS, state="TakenBack", reason="errors 8 % <against> 1 %", old=OLD, new=NEW)
    text = canary_text(canary)
    assert "  current: 1,900 requests, 19 (1 %) errors, p95 10.0 ms" in text
    assert "  candidate: 100 requests, 8 (8 %) errors, p95 21.5 ms" in text
    shown = canary_html(canary)
    assert "errors 8 % &lt;against&gt; 1 %" in shown
    cells = [cell.text for cell in ElementTree.fromstring(f"<div>{shown}</div>").iter("td")]
    assert cells == ["current", "1,900", "19 (1 %)", "10.0 ms", "candidate", "100", "8 (8 %)", "21.5 ms"]
    assert canary_html(None) == ""
    assert ", 0 errors, p95 \n" in canary_text(Canary(steps=STEPS))


def test_a_mirror_in_words() -> None:
    mirror = Mirror(share=20, pairs=1200, dropped=3, state="Ended", reason="its time is over")
    assert mirror_words(mirror) == (
        "mirror of 20 % of the requests, ended: 1,200 pairs of answers, 3 dropped, 0 skipped. its time is over"
    )
    assert mirror_words(None) == ""


def test_what_breaks_callers_is_escaped() -> None:
    assert breaking([]) == ""
    assert "<li>Callers who send `&lt;age&gt;` will be refused.</li>" in breaking(
        ["Callers who send `<age>` will be refused."]
    )
