"""Pollers: one thread for all, `Retry-After`, failures of the operation and of the network, and waits that resume."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client import Poller, Workspace, connect
from mlmgmt_nb.client.polling import watcher
from mlmgmt_nb.contract import Image
from tests.support.waiting import DEADLINE, eventually
from tests.unit.client.conftest import Answer, Seen, Server


class Builds:
    """A service that builds images: each operation goes through the given states, one at a look."""

    def __init__(self, server: Server, *states: str, retry_after: str | None = None) -> None:
        self.server = server
        self.states = states
        self.looks: dict[str, int] = {}
        self.times: list[float] = []
        self.retry_after = retry_after
        self.error: dict[str, Any] | None = None
        self.log = ""
        self.lists: int | None = None  # how often the list was requested; None if the server has none
        server.script = self.answer

    def answer(self, seen: Seen) -> Answer:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        if seen.method == "POST":
            name = seen.json["name"]
            location = f"{self.server.base_url}/operations/op-{name}"
            return Answer(202, b"", {"Operation-Location": location})
        kind, _, id_ = seen.path.removeprefix("/").partition("/")
        if id_.endswith("/buildLog"):
            return Answer(200, self.log.encode()) if self.log else Answer(404, {"code": "NotFound", "message": "gone"})
        if kind == "images":
            log = f"{self.server.base_url}/images/{id_}/buildLog"
            return Answer(200, {"id": id_, "name": id_, "imageBuildLogUri": log})
        if not id_:
            return self._list()
        self.times.append(time.monotonic())
        look = self.looks[id_] = self.looks.get(id_, 0) + 1
        state = self.states[min(look, len(self.states)) - 1]
        location = f"{self.server.base_url}/images/{id_.removeprefix('op-')}"
        body = {"id": id_, "operationType": "Image", "state": state, "resourceLocation": location, "error": self.error}
        return Answer(200, body, headers)

    def _list(self) -> Answer:
        if self.lists is None:
            return Answer(404, {"code": "NoSuchPath", "message": "not here"})
        self.lists += 1
        state = self.states[0]
        location = f"{self.server.base_url}/images/image-"
        newest = [
            {"id": f"op-image-{n}", "operationType": "Image", "state": state, "resourceLocation": f"{location}{n}"}
            for n in range(15)
        ]
        return Answer(200, {"value": newest})


def poller_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mlmgmt-poller"]


def create(workspace: Workspace, name: str = "iris") -> Poller[Image]:
    return workspace.images.create(name, "manifest-1")


def test_result_is_the_image(server: Server, workspace: Workspace) -> None:
    Builds(server, "NotStarted", "Running", "Succeeded")
    poller = create(workspace)
    assert server.seen[0].json == {
        "name": "iris",
        "manifestId": "manifest-1",
        "computeResourceId": "local",
        "imageType": "Docker",
    }
    assert len(server.seen) == 1
    assert poller.operation is None
    assert poller.result(DEADLINE).id == "iris"
    assert poller.done()
    assert poller.status() == "Succeeded"
    assert poller.wait().state == "Succeeded"
    assert repr(poller) == "<Poller of operation op-iris: Succeeded>"


def test_many_pollers_share_one_thread_that_ends(server: Server, workspace: Workspace) -> None:
    before = len(poller_threads())
    builds = Builds(server, "Running")
    pollers = [create(workspace, f"image-{n}") for n in range(20)]
    assert len(poller_threads()) == before
    for poller in pollers:
        assert not poller.done()
    eventually(lambda: len(builds.looks) == 20)
    assert len(poller_threads()) == before + 1
    builds.states = ("Succeeded",)
    names = {poller.result(DEADLINE).id for poller in pollers}
    assert names == {f"image-{n}" for n in range(20)}
    eventually(lambda: len(poller_threads()) == before)


def test_many_operations_are_polled_by_one_list(server: Server, workspace: Workspace) -> None:
    earlier = set(poller_threads())
    builds = Builds(server, "Running")
    builds.lists = 0
    pollers = [create(workspace, f"image-{n}") for n in range(20)]
    for poller in pollers:
        assert not poller.done()
    eventually(lambda: all(poller.operation is not None for poller in pollers) and (builds.lists or 0) > 1)
    assert builds.looks.keys() >= {f"op-image-{n}" for n in range(15, 20)}  # no longer among the newest
    single = sum(builds.looks.get(f"op-image-{n}", 0) for n in range(15))
    assert single <= 9  # before there were many
    builds.states = ("Succeeded",)
    assert {poller.result(DEADLINE).id for poller in pollers} == {f"image-{n}" for n in range(20)}
    eventually(lambda: not set(poller_threads()) - earlier)


def test_failure_carries_the_operation_and_the_log(server: Server, workspace: Workspace) -> None:
    builds = Builds(server, "Running", "Failed")
    builds.error = {
        "code": "DriverSyntaxError",
        "message": "score.py:3: invalid syntax",
        "details": [{"code": "L", "message": "line 3"}],
    }
    poller = create(workspace)
    with pytest.raises(errors.OperationFailed) as caught:
        poller.result(DEADLINE)
    error = caught.value
    assert error.operation.error.code == "DriverSyntaxError"
    assert error.log_uri == f"{server.base_url}/images/iris/buildLog"
    assert error.continuation_token == "op-iris"
    assert str(error).splitlines() == [
        "score.py:3: invalid syntax; the operation of the image ended Failed",
        "  line 3",
        f"The log is at {error.log_uri}",
    ]
    assert poller.wait().state == "Failed"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        pytest.param("BuildFailed", ["  ... 12 lines before", *(f"  output {n}" for n in range(12, 20))], id="command"),
        pytest.param("RequirementsFailed", [], id="reason"),
    ],
)
def test_the_output_of_a_build_is_shown_where_the_reason_does_not_explain_it(
    server: Server, workspace: Workspace, code: str, shown: list[str]
) -> None:
    builds = Builds(server, "Failed")
    builds.error = {"code": code, "message": "x", "details": [{"code": "L", "message": "line 3"}]}
    builds.log = "[2/3] requirements\n" + "".join(f"output {line}\n" for line in range(20)) + "the build failed: x\n"
    with pytest.raises(errors.OperationFailed) as caught:
        create(workspace).result(DEADLINE)
    expected = ["x; the operation of the image ended Failed", *shown, "  line 3"]
    assert str(caught.value).splitlines()[:-1] == expected, "at most ten lines, with those of the operation"


def test_timeout_can_be_resumed(server: Server, workspace: Workspace) -> None:
    builds = Builds(server, "Running")
    with pytest.raises(errors.OperationTimeout, match=r"op-iris has not ended after 0\.05 s") as caught:
        create(workspace).result(timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    builds.states = ("Succeeded",)
    resumed: Poller[Image] = Poller.from_continuation_token(workspace, caught.value.continuation_token)
    assert resumed.result(DEADLINE).id == "iris"
    assert workspace.operations.wait("op-iris", DEADLINE).state == "Succeeded"


def test_retry_after_is_obeyed(server: Server, workspace: Workspace) -> None:
    builds = Builds(server, "Running", "Succeeded", retry_after="1")
    create(workspace).wait(DEADLINE)
    assert builds.times[1] - builds.times[0] >= 1.0


def test_looks_come_less_often(server: Server, workspace: Workspace) -> None:
    builds = Builds(server, *["Running"] * 10, "Succeeded")
    create(workspace).wait(DEADLINE)
    gaps = [later - earlier for earlier, later in zip(builds.times, builds.times[1:], strict=False)]
    expected = [min(0.03 * 1.25**number, 0.2) for number in range(10)]
    assert [gap >= least for gap, least in zip(gaps, expected, strict=True)] == [True] * 10


def test_passing_errors_are_borne(server: Server, workspace: Workspace) -> None:
    builds = Builds(server, "Running", "Succeeded")
    troubles = [Answer(broken=True), Answer(503), Answer(500)]

    def script(seen: Seen) -> Answer:
        return troubles.pop() if troubles and seen.path.startswith("/operations") else builds.answer(seen)

    server.script = script
    assert create(workspace).result(DEADLINE).id == "iris"
    assert troubles == []


def test_lasting_errors_end_the_wait_and_it_can_go_on(
    server: Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_PATIENCE", 0.1)
    builds = Builds(server, "Succeeded")
    poller = create(workspace)
    server.script = lambda _: Answer(503)
    with pytest.raises(errors.ServerError):
        poller.wait(DEADLINE)
    assert not poller.operation
    eventually(poller.done)
    with pytest.raises(errors.ServerError):
        poller.result()
    server.script = builds.answer
    assert poller.wait(DEADLINE).state == "Succeeded"


def test_unknown_operation(server: Server, workspace: Workspace) -> None:
    server.script = lambda _: Answer(404, {"code": "NotFound", "message": "There is no operation 'x'."})
    with pytest.raises(errors.NotFoundError, match="no operation 'x'"):
        workspace.operations.poller("x").result(DEADLINE)


def test_credential_that_fails_is_told_to_who_waits(server: Server) -> None:
    class Broken:
        def get_token(self, *scopes: str) -> None:
            raise ConnectionError("no sign-in")

    with connect(base_url=server.base_url, credential=Broken()) as workspace:
        poller = workspace.operations.poller("op-x")
        for _ in range(2):
            with pytest.raises(errors.SignInError, match="no sign-in"):
                poller.wait(DEADLINE)


def test_callbacks(server: Server, workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    builds = Builds(server, "NotStarted", "Running", "Succeeded")
    called: list[Poller[Image]] = []
    changes: list[str] = []
    done = threading.Event()
    poller = create(workspace)

    def broken(_: Poller[Image]) -> None:
        raise ValueError("a mistake")

    poller.add_done_callback(broken)
    poller.add_change_callback(lambda poller: changes.append(poller.status()))
    poller.add_done_callback(called.append)
    poller.add_done_callback(lambda _: done.set())
    assert done.wait(DEADLINE)
    assert called == [poller]
    assert changes == ["NotStarted", "Running", "Succeeded"]
    assert "a callback of operation op-iris failed" in caplog.text
    looks = builds.looks["op-iris"]
    poller.add_done_callback(called.append)
    assert called == [poller, poller]
    assert builds.looks["op-iris"] == looks


def test_closing_the_workspace_wakes_who_waits(server: Server, workspace: Workspace) -> None:
    Builds(server, "Running")
    poller = create(workspace)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            poller.wait()
        except errors.UsageError as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    eventually(lambda: poller.operation is not None)
    workspace.close()
    workspace.close()
    waiter.join(DEADLINE)
    assert "the workspace was closed" in str(caught[0])
    with pytest.raises(errors.UsageError, match="the workspace is closed"):
        create(workspace).wait()


def test_accepted_without_a_location(server: Server, workspace: Workspace) -> None:
    server.answers(Answer(202))
    with pytest.raises(errors.ServerError, match="without an Operation-Location"):
        create(workspace)
