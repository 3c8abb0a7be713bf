"""Updates that a gate decides on: the candidate answers the same requests as the service first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.errors import NotFoundError, OperationFailed, ScoringTestFailed, UsageError
from tests.support.waiting import eventually

DRIVER = """\
import json
import os

def init():
    pass

def run(body):
    return {"word": os.environ["WORD"], "got": json.loads(body)}
"""
CASES = json.dumps([[number] for number in range(25)])


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Session:
    return Session(COMMANDS, config=Config(tmp_path / "config.toml", {"MLMGMT_HOME": str(home)}))


def update(shell: Session, *flags: str) -> Any:
    answer = shell.execute(["service", "update", "-n", "gated", "--cases", CASES, *flags]).value
    return answer.result(60)


def test_a_gate_decides_on_an_update(ws: Workspace, shell: Session, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "model.bin").write_text("one")
    junit = tmp_path / "gate.xml"
    ws.deploy(
        "gated",
        model=tmp_path / "model.bin",
        driver=tmp_path / "score.py",
        environment={"WORD": "a"},
        secrets={"TOKEN": "1"},
        recording=True,
    )
    with pytest.raises(ScoringTestFailed, match=r"agree = 0 .*25 requests"):
        update(shell, "--env", "WORD=b", "--gate", "agree >= 0.5", "--junit", str(junit))
    assert ElementTree.parse(junit).getroot().get("failures") == "1"
    with pytest.raises(ScoringTestFailed, match="gate inconclusive"):
        update(shell, "--replica-max-concurrent-requests", "20", "--gate", "agree >= 0.99")
    with pytest.raises(NotFoundError):
        ws.services.change("gated")
    (tmp_path / "broken.py").write_text(
        "def init():\n    raise ValueError('no such file')\n\ndef run(body):\n    pass\n"
    )
    with pytest.raises(OperationFailed, match="no such file"):
        update(shell, "-f", str(tmp_path / "broken.py"), "--gate", "agree >= 0.5", "--junit", str(junit))
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert "no such file" in next(suite.iter("error")).get("message", "")
    with pytest.raises(NotFoundError):
        ws.services.change("gated")
    assert ws.services.run("gated", [0])["word"] == "a"
    assert len(ws.deployments.list(service="gated").to_frame()) == 1

    updated = update(shell, "--env", "WORD=c", "--gate", "errors == 0 and lost == 0", "--reason", "new word")
    assert (updated.last_change.change, updated.last_change.reason) == ("promote", "new word")
    verdict, evidence = updated.last_change.evidence.split("\n")
    assert verdict == "gate passed: errors == 0 and lost == 0 [errors = 0, lost = 0; 25 requests]"
    assert json.loads(evidence)["fields"]["word"] == {"values": 25, "moved": 25, **dict.fromkeys(NUMBERS)}
    assert ws.services.run("gated", ["promoted"])["word"] == "c"
    eventually(lambda: ["promoted"] in ws.services.requests("gated")["request"].tolist(), what="the recorded request")

    change = ws.services.propose("gated", environment={"WORD": "d"})
    report = change.replay(cases=[[1]] * 20)
    with pytest.raises(ScoringTestFailed, match="inconclusive"):
        change.promote_if(lambda report: None, report)
    assert change.refresh().run([1])["word"] == "d"
    with pytest.raises(ScoringTestFailed, match="failed"):
        change.promote_if(lambda report: report.summary["different"] == 0, report)
    with pytest.raises(NotFoundError):
        change.refresh()
    ws.services.delete("gated")


def failed(gate: Any) -> bool:
    raise ValueError("no such column")


def error_of(junit: Path) -> str:
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    return next(suite.iter("error")).get("message", "")


def test_every_end_without_a_report_is_an_error_in_the_file(ws: Workspace, shell: Session, tmp_path: Path) -> None:
    junit = tmp_path / "gate.xml"
    flags = ["--gate", "errors == 0", "--junit", str(junit)]
    (tmp_path / "score.py").write_text(DRIVER)
    ws.deploy("gated-errors", driver=tmp_path / "score.py", environment={"WORD": "a"})
    own = ["service", "update", "-n", "gated-errors"]
    images = len(ws.images.list().to_frame())

    junit.write_text("an earlier pass")
    (tmp_path / "other.py").write_text(f"{DRIVER}\n")
    with pytest.raises(UsageError, match="has no recorded requests") as caught:
        shell.execute([*own, "-f", str(tmp_path / "other.py"), *flags])
    assert error_of(junit) == caught.value.message
    assert len(ws.images.list().to_frame()) == images  # no image is built for a trial without requests
    with pytest.raises(NotFoundError):
        ws.services.change("gated-errors")

    for command in (
        [*own, "--cases", CASES, "--env", "WORD=b"],
        ["service", "replay", "-n", "gated-errors", "--to", "gated-errors", "--cases", CASES],
        ["service", "test", "-n", "gated-errors", "--cases", CASES],
    ):
        junit.write_text("an earlier pass")
        with pytest.raises(UsageError, match="no such column"):
            shell.execute([*command, "--gate", failed, "--junit", str(junit)])
        assert "failed raised ValueError: no such column" in error_of(junit)
    with pytest.raises(NotFoundError):
        ws.services.change("gated-errors")

    junit.write_text("an earlier pass")
    with pytest.raises(UsageError, match="cannot be read"):
        shell.execute([*own, "--cases", "@none.json", *flags])
    assert "none.json cannot be read" in error_of(junit)

    for command in (
        ["service", "update", "-n", "nobody", *flags],
        ["service", "replay", "-n", "nobody", "--to", "gated-errors", *flags],
        ["service", "mirror", "-n", "nobody", *flags],
        ["service", "test", "-n", "nobody", "--cases", CASES, *flags],
    ):
        junit.write_text("an earlier pass")
        with pytest.raises(NotFoundError, match="nobody"):
            shell.execute(command)
        assert "nobody" in error_of(junit)
    ws.services.delete("gated-errors")


NUMBERS = ("old_mean", "new_mean", "shift", "shift_low", "shift_high", "largest_shift")


def test_flags_of_a_gate_need_one(shell: Session) -> None:
    with pytest.raises(UsageError, match="--junit needs --gate"):
        shell.execute(["service", "update", "-n", "gated", "--junit", "gate.xml"])
    with pytest.raises(UsageError, match="is not a condition"):
        shell.execute(["service", "update", "-n", "gated", "--gate", "agree >="])
