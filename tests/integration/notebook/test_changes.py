"""Magics that change services with evidence, in a real IPython."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.errors import UsageError
from tests.integration.notebook.conftest import Notebook
from tests.support.waiting import eventually


def test_a_rollback_in_a_cell(notebook: Notebook, environment: Path) -> None:
    notebook.run("%mlmgmt service create -n back -m model.bin -f score.py -r python --reason first")
    notebook.run("%mlmgmt service update -n back -z 2")
    service = notebook.run("%mlmgmt service rollback -n back --reason 'too slow'").result.result()
    assert (service.num_replicas, service.last_change.reason) == (1, "too slow")
    assert "rollback by owner of the state folder: too slow" in notebook.shown(service)
    listed = notebook.run("%mlmgmt deployment list -n back").result
    assert list(listed["change"]) == ["rollback", "update", "create"]
    assert list(listed["reason"].fillna("")) == ["too slow", "", "first"]
    first = notebook.run("%mlmgmt deployment show -i {listed}".replace("{listed}", listed["id"].iloc[2])).result
    assert "create by owner of the state folder: first" in notebook.shown(first)


def test_a_difference_in_a_cell(notebook: Notebook, environment: Path) -> None:
    notebook.run("%mlmgmt service create -n changed -m model.bin -f score.py -r python")
    driver = environment / "score.py"
    driver.write_text(driver.read_text() + "# <new>\n")
    found = notebook.run("%mlmgmt service diff -n changed -f score.py -m model.bin -z 2").result
    assert isinstance(found, Difference)
    assert [(change.kind, change.name) for change in found.changes] == [
        ("driver", "score.py"),
        ("setting", "num_replicas"),
    ]
    assert "+# <new>" in notebook.shown(found)
    assert "+# &lt;new&gt;" in notebook.shown(found, "text/html")
    printed = notebook.run("%mlmgmt service diff -n changed --against changed -o json").result
    assert json.loads(printed)["changes"] == []
    with pytest.raises(UsageError, match="cannot be combined"):
        raise notebook.attempt("%mlmgmt service diff -n changed --against changed -f score.py").error or AssertionError


def test_a_candidate_in_cells(notebook: Notebook, environment: Path) -> None:
    notebook.run("%mlmgmt service create -n tried -m model.bin -f score.py -r python")
    change = notebook.run("%mlmgmt service propose -n tried -z 2 --reason 'more callers'").result.result()
    assert [str(one) for one in change.diff.changes] == ["num_replicas: 1 -> 2"]
    replayed = change.replay([[[5.1, 3.5, 1.4, 0.2]]])
    assert (replayed.summary["equal"], replayed.summary["lost"]) == (1, 0)
    shown = notebook.shown(change)
    assert all(words in shown for words in (change.url, "more callers", "%mlmgmt service promote -n tried", "removed"))
    canary = notebook.run("%mlmgmt service canary -n tried --share 5,100 --minutes 10").result
    assert "5 % of the requests (steps: 5, 100)" in notebook.shown(canary)
    stopped = notebook.run("%mlmgmt service canary -n tried --stop").result
    assert stopped.candidate.canary.state == "Stopped"
    wrong = notebook.attempt("%mlmgmt service canary -n tried --share some").error
    assert "'some' is not a number" in str(wrong)
    mirror = notebook.run("%mlmgmt service mirror -n tried --minutes 5 --share 100").result
    assert "Running: 100 % of the requests, 0 pairs" in notebook.shown(mirror)

    def copied() -> int:
        notebook.run("%mlmgmt service run -n tried -d '[[5.1, 3.5, 1.4, 0.2]]'")
        pairs: int = change.refresh().candidate.mirror.pairs
        return pairs

    eventually(copied, what="the first copy")
    report = notebook.run("%mlmgmt service mirror -n tried").result
    assert (report.summary["errors"], report.summary["different"]) == (0, 0)
    few = notebook.attempt("%mlmgmt service mirror -n tried --gate 'lost == 0'").error
    assert "inconclusive" in str(few)
    assert notebook.run("%mlmgmt service mirror -n tried --stop").result.candidate.mirror.state == "Stopped"
    assert notebook.run("%mlmgmt service candidate -n tried").result.url == change.url
    service = notebook.run("%mlmgmt service show -n tried").result
    assert change.url in notebook.shown(service)
    wrong = notebook.attempt("%mlmgmt service promote -n tried --keep-warm long").error
    assert "--keep-warm: 'long' is not a number" in str(wrong)
    promoted = notebook.run("%mlmgmt service promote -n tried --evidence report.html --keep-warm 5").result.result()
    assert "; the earlier replicas are kept until" in notebook.shown(promoted)
    assert (promoted.num_replicas, promoted.last_change.evidence) == (2, "report.html")
    assert "promote by owner of the state folder: more callers" in notebook.shown(promoted)
    discarded = notebook.run("%mlmgmt service discard -n tried").result
    assert notebook.shown(discarded) == "tried had no candidate"
    refused = notebook.attempt("%mlmgmt service promote -n tried").error
    assert refused is not None
    assert "propose a change first" in str(refused)
