"""Words of other tools get one sentence with our command, wherever they are typed."""

from __future__ import annotations

import importlib
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import mlmgmt_nb
from mlmgmt_nb import other_tools as tools
from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands import COMMANDS, Session
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.line import read_line

SITE = Path(__file__).parents[2] / ".docs"
ENTRIES = [entry for tables in (tools.COMMANDS, tools.PYTHON) for table in tables.values() for entry in table]
TYPED = [entry for table in tools.COMMANDS.values() for entry in table]
NAMES = sorted({e.original.partition(".")[0] for t in tools.PYTHON.values() for e in t if e.original[0].isupper()})


@pytest.fixture(params=["mlmgmt", "%mlmgmt"])
def session(request: Any, tmp_path: Path) -> Session:
    return Session(COMMANDS, config=Config(tmp_path / "config.toml", {}), prog=request.param)


def refusal(session: Session, *words: str) -> str:
    with pytest.raises(UsageError) as refused:
        session.execute(words)
    return str(refused.value)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.original)
def test_each_command_of_ours_is_one(entry: tools.Counterpart, tmp_path: Path) -> None:
    session = Session(COMMANDS, config=Config(tmp_path / "config.toml", {}))
    command, rest = session.find(entry.command.split())
    assert command is not None
    assert rest == []
    if entry.python and not entry.python.startswith("poller"):
        compile(entry.python.replace("=...", "=None"), entry.original, "eval")


@pytest.mark.parametrize("entry", TYPED, ids=lambda entry: entry.original)
def test_commands_of_theirs(session: Session, entry: tools.Counterpart) -> None:
    known = {command.words for command in COMMANDS}
    for start in ((), ("az", "ml")):
        words = [*start, *entry.original.split()]
        if tuple(words) in known:
            continue
        said = refusal(session, *words, "-n", "x")
        assert f"`{session.prog} {entry.command}`" in said, said
        assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("az ml model register -m x", "model register"),
        ("az ml service create realtime -n iris", "service create"),
        ("az ml account modelmanagement create -n a", "account create"),
        ("az ml service", "service"),
        ("ml service list", "service list"),
        ("create online-endpoint", "service create"),
        ("ws = Workspace.from_config()", "account set"),
        ("Webservice.deploy_from_model(ws, 'x')", "service create"),
        ("ml_client.online_endpoints.invoke(endpoint_name='x')", "service run"),
        ("service.get_logs()", "service logs"),
        ("MLClient(DefaultAzureCredential())", "account set"),
        ("azureml.core.Model.register(ws)", "model register"),
    ],
)
def test_lines(session: Session, line: str, ours: str) -> None:
    assert f"`{session.prog} {ours}`" in refusal(session, *line.split())


def test_in_a_cell(session: Session) -> None:
    tokens = read_line(" ws = Workspace.from_config()", eval).tokens
    assert "`connect()`" in refusal(session, *tokens)


@pytest.mark.parametrize("words", [("cake",), ("service", "bake"), ("x.y",), ("az", "vm", "list"), ("list", "models")])
def test_other_words_are_still_unknown(session: Session, words: tuple[str, ...]) -> None:
    said = refusal(session, *words)
    assert "azureml" not in said
    assert "azure-ai-ml" not in said


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Workspace"])
def test_names_of_the_package(name: str) -> None:
    for use in (f"from mlmgmt_nb import {name}", f"import mlmgmt_nb; mlmgmt_nb.{name}"):
        with pytest.raises(
            UsageError, match=rf"`{name}` belongs to [^.]*\.\nUse `.*`, or `mlmgmt .*` in a cell or shell"
        ):
            exec(use, {})


def test_names_of_the_workspace() -> None:
    account = "http://127.0.0.1:9/api/subscriptions/s/resourceGroups/g/accounts/a"
    with mlmgmt_nb.connect(base_url=account, token="none") as ws:
        for owner, name, ours in (
            (Workspace, "from_config", "connect()"),
            (Workspace, "get", "connect()"),
            (ws, "webservices", "ws.services.list()"),
            (ws, "online_endpoints", "ws.services"),
            (ws, "jobs", "ws.models.register"),
        ):
            assert not hasattr(owner, name)
            with pytest.raises(AttributeError, match=f"`{re.escape(ours)}"):
                getattr(owner, name)
        for owner in (Workspace, ws):
            for name in ("cake", "_repr_html_", "__wrapped__"):
                with pytest.raises(AttributeError, match=f"'Workspace' has no attribute '{name}'"):
                    getattr(owner, name)
        with pytest.raises(AttributeError, match="has no attribute 'cake'"):
            mlmgmt_nb.cake  # noqa: B018
        assert pickle.loads(pickle.dumps(ws)).base_url == ws.base_url


def test_the_guide_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    page = importlib.import_module("generated").filled((SITE / "guides" / "moving.md").read_text())
    sys.modules.pop("generated")
    for entry in ENTRIES:
        assert re.search(
            rf"^\| `(az ml )?{re.escape(entry.original)}` \| .*`mlmgmt {entry.command}`", page, re.MULTILINE
        )
