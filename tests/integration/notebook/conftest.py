"""A real IPython with the extension, and an embedded service for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from mlmgmt_nb import local

DRIVER = "import json\n\ndef run(body):\n    return {'got': json.loads(body)}\n"


class Cell(NamedTuple):
    """What a cell gave: its result, what it printed, its error."""

    result: Any
    out: str
    error: BaseException | None
    outputs: list[Any]


class Notebook:
    """Runs cells in an IPython of its own."""

    def __init__(self) -> None:
        self.shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))  # type: ignore[no-untyped-call]
        self.run("%load_ext mlmgmt_nb")

    def run(self, code: str) -> Cell:
        """Run a cell that is expected to succeed."""
        cell = self.attempt(code)
        assert cell.error is None, cell.error
        return cell

    def attempt(self, code: str) -> Cell:
        """Run a cell."""
        with capture_output() as captured:
            ran = self.shell.run_cell(code, store_history=True)  # type: ignore[no-untyped-call]
        return Cell(ran.result, captured.stdout, ran.error_in_exec or ran.error_before_exec, captured.outputs)

    def complete(self, text: str) -> list[str]:
        """Return what completes the text, at its end."""
        with provisionalcompleter():
            return [found.text for found in self.shell.Completer.completions(text, len(text))]

    def shown(self, value: Any, mime_type: str = "text/plain") -> str:
        """How a value is displayed."""
        assert self.shell.display_formatter is not None
        formats, _ = self.shell.display_formatter.format(value)  # type: ignore[no-untyped-call]
        return str(formats.get(mime_type, ""))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("notebook") / "home"
    local.ensure(home)
    yield home
    local.stop(home)


@pytest.fixture
def environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a driver and a model, and settings that name the service."""
    for name in ("MLMGMT_BASE_URL", "MLMGMT_TOKEN", "MLMGMT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLMGMT_HOME", str(home))
    monkeypatch.setenv("MLMGMT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "model.bin").write_text("m")
    return tmp_path


@pytest.fixture
def notebook(environment: Path) -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    notebook.run("%unload_ext mlmgmt_nb")
