"""How a scoring test goes, as its panel shows it; without a notebook."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from mlmgmt_nb.client import ScoringTest
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.notebook.display.shown import is_shown_here
from mlmgmt_nb.notebook.panels.scoring_test.view import ScoringTestPanel, ScoringTestProgress
from tests.integration.client.scripted import ScriptedServer, plain
from tests.support.waiting import eventually


async def echo(_: int, body: bytes) -> bytes:
    return plain(body if body != b"[3]" else b'"<script>"')


def loaded(url: str, **options: Any) -> ScoringTest:
    nobody: Any = None
    cases = cases_of([[number] for number in range(5)], {}, None)
    return ScoringTest(
        Scorer(nobody, url, "canary"), cases, name="<echo>", check=lambda given, answer: given == answer, **options
    )


def test_before_it_starts() -> None:
    progress = ScoringTestProgress(loaded("http://127.0.0.1:9/score"))
    shown = progress.shown()
    assert (shown["completed"], shown["part"], shown["running"]) == ("0 of 5 requests", 0.0, True)
    assert progress.text() == (
        "scoring test of <echo>, running: 0 of 5 requests, 0 passed, 0 failed, 0 errored, 0 a second, p95 0 ms"
    )


def test_while_it_runs_and_when_it_was_stopped() -> None:
    with ScriptedServer(echo) as server:
        test = loaded(server.url, duration=600, rate=200.0)
        progress = ScoringTestProgress(test)
        changes: list[bool] = []
        test.add_change_callback(lambda: changes.append(test.done()))
        test.start()
        eventually(lambda: test.store.numbers.failed)
        assert ", 0 of 600 s" in progress.completed()
        assert "Running" in progress.verdict()
        assert "&quot;&lt;script&gt;&quot;" in progress.html()
        assert 'role="progressbar"' in progress.html()
        test.stop()
        test.result(30)
    assert changes[-1]
    assert not all(changes)
    assert progress.state == "failed, stopped before its end"
    assert "Failed" in progress.verdict()
    assert "&lt;echo&gt;" in progress.html()
    assert "<script>" not in progress.html()
    ElementTree.fromstring(progress.html())
    assert "canary" not in f"{progress.shown()}{progress.text()}{progress.html()}{test!r}"


def test_in_a_terminal_the_panel_just_runs() -> None:
    with ScriptedServer(echo) as server:
        panel = ScoringTestPanel(loaded(server.url))
        report = panel.run()
    assert report.summary["requests"] == 5
    assert not is_shown_here(report)
    assert panel.progress.state == "failed"
