"""What is known and shown of an operation, without a notebook."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.logs import LogPart
from mlmgmt_nb.client.polling import Watch, Watcher
from mlmgmt_nb.contract import AsyncOperationStatus, ErrorDetail, ErrorResponse
from mlmgmt_nb.errors import NotFoundError
from mlmgmt_nb.notebook.panels.operation import Progress

FAILED = ErrorResponse(
    code="BuildFailed",
    message="<script>alert(1)</script>",
    details=[ErrorDetail(code="Step", message="$.assets[0]: gone"), ErrorDetail(code="Log", message="http://log")],
)


class Server:
    """One operation and its log."""

    def __init__(self, kind: Literal["Image", "Service"]) -> None:
        self.status = AsyncOperationStatus(id="op", operation_type=kind, state="Running")
        self.log = ""
        self.time = 0.0
        self.missing = False

    def read(self, _: AsyncOperationStatus, offset: int, tail: int | None) -> LogPart:
        if self.missing:
            raise NotFoundError("no log here", status_code=404)
        return LogPart(self.log[offset:], len(self.log))

    def progress(self) -> Progress:
        watch = Watch("op")
        watch.seen(self.status)
        nobody: Any = None
        poller: Poller[Any] = Poller(
            watch,
            Watcher(lambda _: (self.status, None), slowest=3600.0),
            load=nobody,
            log_uri=nobody,
            read_log=self.read,
        )
        self.watch = watch
        return Progress(poller, clock=lambda: self.time)

    def ends(self, state: Any, error: ErrorResponse | None = None) -> None:
        self.status = AsyncOperationStatus(id="op", operation_type=self.status.operation_type, state=state, error=error)
        self.watch.seen(self.status)


def test_stages_of_a_build() -> None:
    server = Server("Image")
    progress = server.progress()
    server.log = "[1/4] models of manifest 'iris' version 1\n"
    progress.look()
    assert progress.stage() == "step 1 of 4: models of manifest 'iris' version 1"
    server.log += "model 'iris': iris.pkl\n[3/4] requirements\n$ uv <b>\n"
    server.time = 2.5
    progress.look()
    assert progress.text() == "image Running, 2 s, step 3 of 4: requirements"
    shown = progress.html()
    assert 'role="progressbar" aria-label="step 3 of 4: requirements"' in shown
    assert 'aria-valuenow="62"' in shown
    assert "$ uv &lt;b&gt;" in shown
    server.ends("Succeeded")
    progress.look()
    server.time = 60.0
    assert progress.text() == "image Succeeded, 2 s"
    assert "progressbar" not in progress.html()
    assert "<summary>log</summary>" in progress.html()


def test_a_failure_has_its_reasons_and_its_log() -> None:
    server = Server("Image")
    progress = server.progress()
    server.log = "Traceback (most recent call last):\n"
    server.ends("Failed", FAILED)
    progress.look()
    assert progress.text() == "image Failed, 0 s\n<script>alert(1)</script>\n$.assets[0]: gone"
    assert '<div role="alert">&lt;script&gt;alert(1)&lt;/script&gt;</div>' in progress.html()
    assert "Traceback" in progress.html()
    assert "http://log" not in progress.html()


@pytest.mark.parametrize("end", ["deployed", "the deployment failed: x", "the deployment was cancelled"])
def test_a_service_shows_the_log_of_its_last_rollout_only(end: str) -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = f"old\n[mlmgmt] {end}\nnew\n"
    progress.look()
    assert list(progress.lines) == ["new"]
    server.log += "[mlmgmt] deployed\n"
    progress.look()
    assert list(progress.lines) == ["new", "[mlmgmt] deployed"]


def test_a_rollout_that_has_ended_already_is_shown_whole() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = "old\n[mlmgmt] deployed\nnew\n[mlmgmt] deployed\n"
    progress.look()
    assert list(progress.lines) == ["new", "[mlmgmt] deployed"]


def test_a_log_that_cannot_be_read_is_told_and_forgotten() -> None:
    server = Server("Service")
    progress = server.progress()
    server.missing = True
    progress.look()
    assert "its log cannot be read: no log here" in progress.html()
    server.missing = False
    server.log = "there\n"
    progress.look()
    assert "cannot be read" not in progress.html()
    assert "there" in progress.html()


def test_many_lines_are_bounded() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = "".join(f"line {n}\n" for n in range(100_000))
    progress.look()
    assert len(progress.lines) == 60
    assert progress.html().count("line ") == 6
