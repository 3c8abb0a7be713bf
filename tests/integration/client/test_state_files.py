"""The state folder when somebody deletes, damages or fills it: found again, one sentence, never a second service."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from mlmgmt_nb import errors, local
from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.client.http.passive import passive
from tests.conftest import mlmgmt
from tests.support.components import missing
from tests.support.searches import long_search
from tests.support.waiting import eventually


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    local.stop(folder)


def running(home: Path) -> list[psutil.Process]:
    """Process of the service of a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _lose(*names: str) -> Callable[[Path], None]:
    def lose(home: Path) -> None:
        for name in names:
            (home / name).unlink(missing_ok=True)

    return lose


def _damage(home: Path) -> None:
    (home / "service.json").write_bytes(b"\xff{")


LOSSES: dict[str, Callable[[Path], None]] = {
    "its record": _lose("service.json"),
    "its lock file": _lose("service.lock"),
    "both": _lose("service.json", "service.lock"),
    "the sense of its record": _damage,
}


@pytest.mark.parametrize(
    "loss", [pytest.param(loss, marks=[long_search] if loss.startswith("its") else []) for loss in LOSSES]
)
def test_a_service_that_lost_a_file_is_found_and_stopped(home: Path, loss: str) -> None:
    pid = local.ensure(home).pid
    LOSSES[loss](home)
    assert "already running" in mlmgmt("serve", "--home", home, code=1)
    assert local.ensure(home).pid == pid
    LOSSES[loss](home)
    assert local.stop(home) is True
    assert running(home) == []


def test_a_service_that_does_not_respond_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlmgmt_nb.local.endpoint._PING_SECONDS", 0.1)
    monkeypatch.setattr("mlmgmt_nb.local.lifecycle._SETTLE_SECONDS", 0.1)
    pid = local.ensure(home).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for ask in (local.locate, local.resume, local.stop, partial(local.ensure, timeout=3)):
            with pytest.raises(errors.LocalServiceError, match="does not respond") as caught:
                ask(home)
            assert not isinstance(caught.value, errors.ServiceStoppedError)
            assert f"(process {pid})" in caught.value.message
            assert f"kill -9 {pid}" in (caught.value.fix or "")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_lost_lock_file_is_made_again(home: Path) -> None:
    local.ensure(home)
    (home / "service.lock").unlink()
    eventually((home / "service.lock").exists, what="the lock file")
    assert (home / "service.lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [None, b"short", *(pytest.param(text, marks=long_search) for text in (b"", b"\xff\0", b"another" * 9))]
)
def test_a_lost_token_is_written_again(home: Path, content: bytes | None) -> None:
    local.ensure(home)
    token = home / "token"
    before = token.read_bytes()
    if content is None:
        token.unlink()
    else:
        token.write_bytes(content)
    eventually(lambda: token.exists() and token.read_bytes() == before, what="the token")
    assert token.stat().st_mode & 0o777 == 0o600
    assert list(connect(home=home).services.list()) == []


def test_a_token_that_was_written_between_two_runs_is_used(home: Path) -> None:
    local.ensure(home)
    local.stop(home)
    (home / "token").write_text("n" * 43)
    assert list(connect(home=home).services.list()) == []
    assert (home / "token").read_text() == "n" * 43


def test_stop_returns_when_the_process_has_ended(home: Path) -> None:
    for _ in range(3):
        pid = local.ensure(home).pid
        local.stop(home)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("garbage", [pytest.param(b"", marks=long_search), b"\xff\0\xfe{"])
@pytest.mark.parametrize("name", ["mlmgmt.db", "port", "installation", "id", "service.json", "database"])
def test_garbage_in_a_state_file_is_one_sentence_or_mended(home: Path, name: str, garbage: bytes) -> None:
    local.ensure(home)
    local.stop(home)
    (home / name).write_bytes(garbage)
    error = _start_of(home)
    if error is None:
        assert running(home)
        return
    assert name in error.message
    assert "Traceback" not in error.message
    assert len(str(error).splitlines()) == 2, error
    (home / name).unlink()


def _start_of(home: Path) -> errors.LocalServiceError | None:
    try:
        local.ensure(home)
    except errors.LocalServiceError as error:
        return error
    return None


class TestOnlyLooking:
    """Who only looks does not start a service that was stopped."""

    def test_after_a_stop(self, home: Path) -> None:
        ws = connect(home=home)
        local.stop(home)
        with passive():
            with pytest.raises(errors.ServiceStoppedError, match="is stopped"):
                list(ws.services.list())
            with pytest.raises(errors.ServiceStoppedError, match="is stopped"):
                ws.models.register("http://host/model.bin")
        assert running(home) == []
        assert list(ws.services.list()) == []  # a user who asks means it

    def test_after_a_crash(self, home: Path) -> None:
        ws = connect(home=home)
        os.kill(local.ensure(home).pid, signal.SIGKILL)
        with passive():
            assert list(ws.services.list()) == []

    def test_what_a_crash_left_behind_is_stopped(self, home: Path) -> None:
        os.kill(local.ensure(home).pid, signal.SIGKILL)
        eventually(lambda: running(home) == [], what="its end")
        assert local.stop(home) is False
        with pytest.raises(errors.ServiceStoppedError):
            local.resume(home)


class TestFullDisk:
    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
            missing("a small disk", "run as root, where a tmpfs can be mounted")
        yield folder
        local.stop(folder / "home")
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def fill(self, small: Path) -> None:
        with (small / "fill").open("ab", buffering=0) as file:
            for size in (2**20, 4096, 1):
                try:
                    while True:
                        file.write(b"0" * size)
                except OSError:
                    continue

    @pytest.fixture
    def ws(self, small: Path) -> Workspace:
        (small.parent / "score.py").write_text("def init():\n    pass\n\ndef run(body):\n    return body\n")
        (small.parent / "model.bin").write_text("7")
        ws = connect(home=small / "home")
        ws.deploy("echo", model=str(small.parent / "model.bin"), driver=str(small.parent / "score.py"), timeout=120)
        return ws

    @pytest.mark.parametrize("is_stopped", [True, False])
    def test_a_start_on_a_full_disk_answers_from_what_is_there(
        self, small: Path, ws: Workspace, is_stopped: bool
    ) -> None:
        """More than once in a row: the reserve is used up by then."""
        for _ in range(1 if is_stopped else 2):
            if is_stopped:
                local.stop(small / "home")
            else:
                os.kill(local.ensure(small / "home").pid, signal.SIGKILL)
                eventually(lambda: running(small / "home") == [], what="its end")
            self.fill(small)
            again = connect(home=small / "home")
            assert [one.name for one in again.services.list()] == ["echo"]
            eventually(partial(_answers, again), what="an answer of the service")
        (small / "fill").unlink()
        assert ws.models.register("http://host/late.bin").version == 1
        eventually(lambda: (small / "home" / "reserve").exists(), what="the reserve")
        assert "nothing is missing" in mlmgmt("check", "--home", small / "home")


def _answers(ws: Workspace) -> bool:
    try:
        return bool(ws.services.run("echo", 1) == 1)
    except errors.MlmgmtError:
        return False
