"""Recorded requests of a real service: by both ways of handling requests, until they are deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.errors import DriverError, ScoringTestFailed, UsageError
from tests.support.waiting import eventually

DRIVER = """\
import json
import os

def init():
    pass

def run(body):
    if "fail" in body:
        raise ValueError("4111 is wrong")
    return {"fast": os.environ.get("SCORING_FAST_PATH"), "card": "4111", "got": len(json.loads(body))}
"""


def test_requests_are_recorded_until_the_service_is_deleted(ws: Workspace, home: Path, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "model.bin").write_text("one")
    service = ws.deploy("recorded", model=tmp_path / "model.bin", driver=tmp_path / "score.py")
    folder = home / "requests" / (service.id or "")
    ws.services.run("recorded", {"before": 1})
    assert service.recording is None
    assert not folder.exists()

    for path in ("1", "0"):
        changed = ws.services.update(
            "recorded", recording={"redact": "card, name"}, environment={"SCORING_FAST_PATH": path}
        ).result()
        assert str(changed.recording) == "all requests, without card, name; at most 7 days and 100 MB"
        ws.services.run("recorded", {"card": "4111", "path": path})
        with pytest.raises(DriverError):
            ws.services.run("recorded", {"fail": 1})
    eventually(lambda: len(ws.services.requests("recorded")) == 4, what="four recorded requests")
    found = ws.services.requests("recorded")
    assert found["request"].tolist() == [
        {"card": "***", "path": "1"},
        {"fail": 1},
        {"card": "***", "path": "0"},
        {"fail": 1},
    ]
    assert found["answer"].tolist()[::2] == [{"fast": path, "card": "***", "got": 2} for path in ("1", "0")]
    assert found["status"].tolist() == [200, 500] * 2
    assert found["code"].tolist() == ["", "DriverError"] * 2
    assert found["deployment_id"].nunique() == 2
    assert found["time"].is_monotonic_increasing
    assert found.attrs["kept"] == 4
    assert not any(b"4111" in path.read_bytes() for path in folder.iterdir())
    assert ws.services.requests("recorded", last=1)["request"].tolist() == [{"fail": 1}]
    eventually(lambda: ws.services.metrics("recorded").recorded >= 2, what="the metric of the current replica")

    report = ws.services.replay("recorded", "recorded")
    assert [report.summary[name] for name in ("requests", "equal", "errors", "lost", "redacted")] == [4, 2, 2, 0, 4]
    assert ws.services.replay("recorded", ws.services.get("recorded").scoring_uri or "", cases=found).goal == 4
    assert report.old_memory is not None
    assert report.old_memory > 10**7
    some = found.copy()
    some.loc[0, "request"] = None  # as for a body that could not be redacted
    report = ws.services.replay("recorded", "recorded", cases=some)
    assert (report.goal, report.skipped, report.redacted) == (3, 1, 3)
    with pytest.raises(UsageError, match="no request in this DataFrame has a body"):
        ws.services.replay("recorded", "recorded", cases=some.head(1))

    ws.services.update("recorded", recording=False).result()
    ws.services.run("recorded", {"after": 1})
    assert str(ws.services.get("recorded").recording) == "off"
    assert len(ws.services.requests("recorded")) == 4  # replays are not recorded
    shell = Session(COMMANDS, config=Config(tmp_path / "config.toml", {"MLMGMT_HOME": str(home)}))
    shown = shell.execute(["service", "requests", "-i", "recorded", "--last", "3"]).value
    assert shown["request_id"].tolist() == found["request_id"].tolist()[1:]
    with pytest.raises(ScoringTestFailed, match="inconclusive"):
        shell.execute(["service", "replay", "-i", "recorded", "--to", "recorded", "--gate", "errors == 0"])
    page = tmp_path / "report.html"
    options = ["--cases", "[[1], [2]]", "--gate", "agree >= 0.5", "--html", str(page)]
    with pytest.raises(ScoringTestFailed, match="at least 20 requests"):
        shell.execute(["service", "replay", "-i", "recorded", "--to", "recorded", *options])
    assert "2 equal" in page.read_text()
    shell.execute(["service", "requests", "-i", "recorded", "--delete"])
    empty = ws.services.requests("recorded")
    assert empty.empty
    assert empty.dtypes.equals(found.dtypes)
    ws.services.delete("recorded")
    eventually(lambda: not folder.exists(), what="the folder to be removed")


@pytest.mark.parametrize(
    ("recording", "problem"),
    [
        ({"sample": 0}, "sample"),
        ({"sample": 1.5}, "sample"),
        ({"max_age": "soon"}, "'soon' is not an age"),
        ({"max_size": "big"}, "'big' is not a size"),
        ({"max_size": "1KB"}, "maxBytes"),
        ({"share": 1}, "no property 'share'"),
    ],
)
def test_settings_that_are_not_right_are_refused(ws: Workspace, recording: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        ws.services.check("recorded", recording=recording)
