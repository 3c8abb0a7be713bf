"""What is known and shown of an operation, without a notebook."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import pytest

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.polling import WatchedOperation, Watcher
from mlmgmt_nb.contract import AsyncOperationStatus, ComputeResource, ErrorDetail, ErrorResponse, Image, ServiceResponse
from mlmgmt_nb.errors import NotFoundError
from mlmgmt_nb.notebook.panels.operation.state import Progress

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
        self.resource: Any = Image(name="<iris>", version=3, image_location="/images/1")

    def read(self, _: AsyncOperationStatus, offset: int, tail: int | None) -> LogPart:
        if self.missing:
            raise NotFoundError("no log here", status_code=404)
        return LogPart(self.log[offset:], len(self.log))

    def load(self, _: AsyncOperationStatus) -> Any:
        if self.missing:
            raise NotFoundError("gone", status_code=404)
        return self.resource

    def progress(self) -> Progress:
        watch = WatchedOperation("op")
        watch.update(self.status)
        nobody: Any = None
        poller: Poller[Any] = Poller(
            watch,
            Watcher(lambda _: (self.status, None), slowest=3600.0),
            load=self.load,
            log_uri=nobody,
            read_log=self.read,
        )
        self.watch = watch
        return Progress(poller, clock=lambda: self.time)

    def ends(self, state: Any, error: ErrorResponse | None = None, **times: Any) -> None:
        kind, location = self.status.operation_type, "http://server/made/1"
        self.status = AsyncOperationStatus(
            id="op", operation_type=kind, state=state, error=error, resource_location=location, **times
        )
        self.watch.update(self.status)


def test_stages_of_a_build() -> None:
    server = Server("Image")
    progress = server.progress()
    server.log = "[1/4] models of manifest 'iris' version 1\n"
    progress.poll()
    assert progress.stage() == "step 1 of 4: models of manifest 'iris' version 1"
    server.log += "model 'iris': iris.pkl\n[3/4] requirements\n$ uv <b>\n"
    server.time = 2.5
    progress.poll()
    assert progress.text() == "image Running, 2 s, step 3 of 4: requirements"
    shown = progress.html()
    server.log += "[mlmgmt] packages: downloading scipy (33.7MiB), 1 of 2 done, 8 packages in all\n"
    progress.poll()
    assert progress.stage() == (
        "step 3 of 4: requirements, downloading scipy (33.7MiB), 1 of 2 done, 8 packages in all"
    )
    server.log += "[4/4] build context\n"
    progress.poll()
    assert progress.stage() == "step 4 of 4: build context"
    assert 'role="progressbar" aria-label="step 3 of 4: requirements"' in shown
    assert 'aria-valuenow="62"' in shown
    assert "$ uv &lt;b&gt;" in shown
    server.ends("Succeeded")
    progress.poll()
    server.time = 60.0
    assert progress.text() == "image Succeeded, 2 s\nimage <iris> version 3: /images/1"
    assert "progressbar" not in progress.html()
    made = '<a href="http://server/made/1" target="_blank" rel="noopener">image &lt;iris&gt; version 3</a>'
    assert f"{made} \N{MIDDLE DOT} /images/1" in progress.html()
    assert "<summary>log</summary>" in progress.html()


def test_a_failure_has_its_reasons_and_its_log() -> None:
    server = Server("Image")
    progress = server.progress()
    server.log = "Traceback (most recent call last):\n"
    server.ends("Failed", FAILED)
    progress.poll()
    assert progress.text() == "image Failed, 0 s\n<script>alert(1)</script>\n$.assets[0]: gone"
    assert "<b>&lt;script&gt;alert(1)&lt;/script&gt;</b><br>$.assets[0]: gone</div>" in progress.html()
    assert 'role="alert"' in progress.html()
    assert "<summary>driver's traceback</summary>" in progress.html()
    assert "http://log" not in progress.html()


@pytest.mark.parametrize("end", ["deployed", "the deployment failed: x", "the deployment was cancelled"])
def test_a_service_shows_the_log_of_its_last_rollout_only(end: str) -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = f"old\n[mlmgmt] {end}\nnew\n"
    progress.poll()
    assert list(progress.lines) == ["new"]
    server.log += "[mlmgmt] deployed\n"
    progress.poll()
    assert list(progress.lines) == ["new", "[mlmgmt] deployed"]


def test_a_rollout_that_has_ended_already_is_shown_whole() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = "old\n[mlmgmt] deployed\nnew\n[mlmgmt] deployed\n"
    progress.poll()
    assert list(progress.lines) == ["new", "[mlmgmt] deployed"]


def test_a_log_that_cannot_be_read_is_told_and_forgotten() -> None:
    server = Server("Service")
    progress = server.progress()
    server.missing = True
    progress.poll()
    assert "the log cannot be read: no log here" in progress.html()
    server.missing = False
    server.log = "there\n"
    progress.poll()
    assert "cannot be read" not in progress.html()
    assert "there" in progress.html()


def test_many_lines_are_bounded() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = "".join(f"line {n}\n" for n in range(100_000))
    progress.poll()
    assert len(progress.lines) == 500
    assert progress.html().count("line ") == 6
    server.ends("Failed", FAILED)
    progress.poll()
    assert progress.html().count("line ") == 60


def test_stages_of_a_service() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = "[mlmgmt] replicas ready 0/3\nloads\n"
    progress.poll()
    assert progress.text() == "service Running, 0 s, replicas ready 0/3"
    assert 'aria-label="replicas ready 0/3" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"' in progress.html()
    server.log += "[mlmgmt] replicas ready 2/3\n"
    progress.poll()
    assert progress.stage() == "replicas ready 2/3"
    assert 'aria-valuenow="67"' in progress.html()
    server.resource = ServiceResponse(compute_resource=ComputeResource(), name="iris", scoring_uri="http://here/score")
    server.ends("Succeeded")
    progress.poll()
    assert progress.text() == "service Succeeded, 0 s\nservice iris: http://here/score"
    assert '<a href="http://here/score" target="_blank" rel="noopener">http://here/score</a>' in progress.html()


def test_what_was_made_and_is_gone_again_is_no_trouble() -> None:
    server = Server("Service")
    progress = server.progress()
    server.missing = True
    server.ends("Succeeded")
    progress.poll()
    assert progress.text() == "service Succeeded, 0 s"


CHAINED = """\
[mlmgmt] replica 1 starts
Traceback (most recent call last):
ValueError: of another time
[mlmgmt] replica 2 starts
Traceback (most recent call last):
KeyError: 'first'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
ValueError: second
[mlmgmt] replica 2 ended
"""


def test_the_traceback_is_the_last_one_with_its_causes() -> None:
    server = Server("Service")
    progress = server.progress()
    server.log = CHAINED
    progress.poll()
    assert progress.traceback() == []  # it goes on
    server.ends("Failed", FAILED)
    assert progress.traceback() == CHAINED.splitlines()[4:-1]


def test_time_is_that_of_the_operation_where_the_server_tells_it() -> None:
    server = Server("Image")
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=90)
    server.status = AsyncOperationStatus(id="op", operation_type="Image", state="Running", created_time=began)
    progress = server.progress()
    progress.poll()
    assert 90 <= progress.seconds < 150
    server.ends("Succeeded", created_time=began, end_time=began + dt.timedelta(seconds=42))
    assert progress.seconds == 42
