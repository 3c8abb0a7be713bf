"""A service that was stopped stays stopped: clicks, displays and completions do not start it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mlmgmt_nb import connect, local
from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands import COMMANDS, Session
from mlmgmt_nb.commands.completion import Completer
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.notebook.panels import DeployPanel, OperationPanel, ScoringPanel, ServicePanel, WorkspacePanel
from mlmgmt_nb.notebook.panels.keys.view import KeysPanel
from mlmgmt_nb.notebook.panels.panel import Panel
from tests.integration.notebook.conftest import DRIVER
from tests.support.waiting import eventually

DRIVERS = Path(__file__).parents[2] / "drivers"

PANELS: dict[str, Callable[[Workspace], Panel]] = {
    "workspace": WorkspacePanel,
    "service": lambda ws: ServicePanel(ws, "steady"),
    "keys": lambda ws: KeysPanel(ws, "steady"),
    "deploy": lambda ws: DeployPanel(ws, name="other", driver=str(DRIVERS / "plain" / "score.py")),
    "scoring": lambda ws: ScoringPanel(ws, "steady"),
}
CLICKS: list[tuple[str, Callable[[Any], object]]] = [
    ("workspace", lambda panel: panel._on_message({"do": "tab", "value": "services"})),
    ("workspace", lambda panel: panel._on_message({"do": "refresh"})),
    ("workspace", lambda panel: panel._on_message({"do": "filter", "name": "name", "value": "m"})),
    ("workspace", lambda panel: panel._on_message({"do": "follow", "kind": "services", "value": "0" * 32})),
    ("service", lambda panel: panel._on_message({"act": "regenerate", "which": "Primary", "name": "steady"})),
    ("service", lambda panel: panel._on_message({"act": "delete", "name": "steady"})),
    (
        "keys",
        lambda panel: panel.do(lambda: panel._handle({"act": "regenerate", "which": "Primary", "name": "steady"})),
    ),
    ("deploy", lambda panel: panel.do(panel._begin)),
    ("deploy", lambda panel: panel._on_message({"act": "set", "values": {"models": "unknown"}})),
    ("deploy", lambda panel: (panel.state.begin(), panel._run())),
    ("scoring", lambda panel: panel.send()),
]


class Stopped(NamedTuple):
    """A service that was stopped beside open panels."""

    home: Path
    panels: dict[str, Panel]
    operation: OperationPanel
    session: Session

    def stays(self) -> bool:
        """Return whether it still is stopped; stop it for the next test."""
        return local.find(self.home) is None or not local.stop(self.home)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "score.py").write_text(DRIVER)
    (folder / "model.bin").write_text("m")
    home = folder / "home"
    session = Session(COMMANDS, config=Config(folder / "config.toml", {"MLMGMT_HOME": str(home)}))
    with connect(home=home) as ws:
        ws.deploy("steady", model=folder / "model.bin", driver=folder / "score.py")
        operation = OperationPanel(ws.services.update("steady", num_replicas=1))
        operation.wait(timeout=60)
        panels = {name: make(ws) for name, make in PANELS.items()}
        for name in ("workspace", "service"):
            panels[name].show()
        assert session.workspace.services.get("steady").name == "steady"
        assert local.stop(home) is True
        yield Stopped(home, panels, operation, session)
        local.stop(home)


@pytest.mark.parametrize("number", range(len(CLICKS)))
def test_a_click_in_a_panel_offers_to_start_it(stopped: Stopped, number: int) -> None:
    name, click = CLICKS[number]
    panel = stopped.panels[name]
    panel._stopped = None
    click(panel)
    eventually(lambda: not panel.is_working, what="the end of the work")
    assert stopped.stays()
    assert panel.error is not None
    assert "is stopped" in panel.error.what
    assert panel._stopped == stopped.home


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_that_is_displayed_again(stopped: Stopped, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    stopped.panels[name].show()
    assert stopped.stays()
    assert name != "service" or "is stopped" in capsys.readouterr().out


def test_an_operation_that_is_shown(stopped: Stopped) -> None:
    stopped.operation.progress.poll()
    assert stopped.stays()
    assert "is stopped" in stopped.operation.progress.log_error


def test_a_completion(stopped: Stopped) -> None:
    assert Completer(stopped.session, patience=60).complete("service show -n ").candidates == []
    assert stopped.stays()
