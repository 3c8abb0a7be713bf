"""What the panel of a change knows and does, against a real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.errors import ScoringTestFailed, UsageError
from mlmgmt_nb.notebook.panels import ChangePanel
from mlmgmt_nb.notebook.panels.change.state import ChangeState
from tests.support.waiting import eventually

NAME = "changing"
DRIVER = "import json\n\ndef run(body):\n    return {version} * json.loads(body)\n"


@pytest.fixture(scope="module")
def ws(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Yield a workspace with a service that doubles its input."""
    driver = tmp_path_factory.mktemp("changing") / "score.py"
    driver.write_text(DRIVER.format(version=2))
    with connect(home=home) as ws:
        ws.deploy(NAME, driver=driver)
        yield ws
        ws.services.delete(NAME)


@pytest.fixture
def propose(ws: Workspace, tmp_path: Path) -> Callable[[], ChangePanel]:
    """Return a function that proposes to triple the input, and returns the panel of the change."""

    def propose() -> ChangePanel:
        driver = tmp_path / "score.py"
        driver.write_text(DRIVER.format(version=3))
        return ChangePanel(ws.services.propose(NAME, driver=driver, reason="<three>"))

    return propose


def refused(state: ChangeState, error: type[Exception], match: str, **given: str) -> None:
    with pytest.raises(error, match=match):
        state.promote(**given)


def test_a_change_is_tried_and_promoted(propose: Callable[[], ChangePanel], ws: Workspace) -> None:
    panel = propose()
    state = panel.state
    assert state.poll() == 1.0
    assert state.diff is not None
    assert "score.py" in str(state.diff)
    assert "&lt;three&gt;" in panel.html()
    state.send("5")
    assert state.answer == "15"
    with pytest.raises(UsageError, match="the request is not JSON"):
        state.send("five")
    with pytest.raises(UsageError, match="no recorded requests"):
        state.replay("1000")
    with pytest.raises(UsageError, match="'many' is not a number"):
        state.replay("many")
    with pytest.raises(UsageError, match="not a list"):
        state.replay("", "5")
    refused(state, UsageError, "needs a report", name=NAME, gate="lost == 0")
    state.replay("", f"[{', '.join('0' * 30)}]")
    assert "30 requests were replayed" in state.note
    with pytest.raises(UsageError, match="no request of service"):
        state.compare_mirrored()
    state.start_mirror("10", "100")
    assert "mirror of 100 % of the requests, running: 0 pairs" in panel.text()
    assert panel.shown()["mirrors"]
    state.stop_mirror()
    assert not panel.shown()["mirrors"]
    state.start_canary("25, 100", "60")
    assert "25 % of the requests, step 1 of 2" in panel.text()
    with pytest.raises(UsageError, match="'some' is not a number"):
        state.start_canary("some", "")
    with pytest.raises(UsageError, match="agree: 'most' is not a number"):
        state.start_canary("25", "0", "most")
    state.stop_canary()
    state.start_canary("25", "0", "95")
    assert state.canary is not None
    assert state.canary.min_agree == 0.95
    state.stop_canary()
    assert panel.shown()["active"] is False
    refused(state, UsageError, "is not the name of this service", name="other")
    refused(state, ScoringTestFailed, "gate failed: errors > 0", name=NAME, gate="errors > 0")
    refused(state, UsageError, "warm: 'long' is not a number", name=NAME, warm="long")
    assert not state.is_over
    state.promote(NAME, "three is more", "lost == 0 and agree >= 0.8", "5")
    assert state.is_open
    eventually(lambda: state.poll() is None, what="the end of the promotion")
    assert state.note == f"The change serves {NAME} now."
    assert panel.shown()["over"]
    service = ws.services.get(NAME)
    assert service.last_change is not None
    assert service.last_change.reason == "three is more"
    assert service.last_change.kept_until is not None
    assert "gate passed: lost == 0" in (service.last_change.evidence or "")
    assert ws.services.run(NAME, 5) == 15
    keys = ws.services.keys(NAME)
    shown = f"{panel.shown()}{panel.html()}{panel.text()}"
    assert not [key for key in (keys.primary_key, keys.secondary_key) if key and key in shown]


def test_a_change_is_discarded_here_or_elsewhere(propose: Callable[[], ChangePanel], ws: Workspace) -> None:
    state = propose().state
    state.discard()
    assert state.is_over
    assert state.poll() is None
    assert state.note == f"The change of {NAME} is discarded."
    state = propose().state
    assert ws.services.discard(NAME)
    assert state.poll() is None
    assert "was promoted or discarded" in state.note
