"""The embedded service: found, started once however many ask, found again after it died, stopped."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb import errors, local
from mlmgmt_nb.client import connect


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "own home"
    yield home
    local.stop(home)


def test_started_once_when_ten_processes_ask(own_home: Path) -> None:
    code = "import sys; from mlmgmt_nb import local; print(local.ensure(sys.argv[1], timeout=60).pid)"
    command = [sys.executable, "-c", code, str(own_home)]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(10)]
    pids = {process.communicate(timeout=90)[0].strip() for process in asking}
    assert {process.returncode for process in asking} == {0}
    assert len(pids) == 1
    found = local.find(own_home)
    assert found is not None
    assert str(found.pid) in pids
    assert stat.S_IMODE(own_home.stat().st_mode) == 0o700
    assert stat.S_IMODE((own_home / "logs" / "service.log").stat().st_mode) == 0o600


def test_workspace_finds_a_service_that_came_back(own_home: Path) -> None:
    with connect(home=own_home) as ws:
        model = ws.models.register("http://host/model.bin")
        first = local.find(own_home)
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        assert ws.models.get(model.id or "") == model
        second = local.find(own_home)
        assert second is not None
        assert second.pid != first.pid
        assert local.stop(own_home) is True
        assert local.find(own_home) is None
        assert local.stop(own_home) is False
        assert ws.models.register("http://host/model.bin").version == 2


def test_record_of_a_process_that_is_gone(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "token").write_text("t")
    record = {
        "baseUrl": "http://127.0.0.1:1/accounts/x",
        "tokenFile": str(own_home / "token"),
        "pid": 1,
        "version": "0",
    }
    (own_home / "service.json").write_text(json.dumps(record))
    assert local.find(own_home) is None
    assert local.ensure(own_home).pid != 1


def test_damaged_record(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "service.json").write_text("{")
    with pytest.raises(errors.LocalServiceError, match=r"(?s)service.json is damaged.*Remove that file"):
        local.find(own_home)
    (own_home / "service.json").unlink()


def test_start_that_fails_shows_the_log(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(errors.LocalServiceError, match=r"(?s)exited at startup with code 1.*service\.log"):
        local.ensure(own_home)


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.LocalServiceError, match="cannot be used"):
        local.ensure(tmp_path / "file")


def test_where_the_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLMGMT_HOME", str(tmp_path / "env"))
    assert local.state_folder() == tmp_path / "env"
    assert local.state_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("MLMGMT_HOME")
    assert local.state_folder().name == "mlmgmt-nb"
    assert local.state_folder("~/x") == Path.home() / "x"
