"""A client that lives through a fork: no lock, connection, thread or credential session is shared with the parent.

Also copies: `pickle` and `deepcopy` of a workspace give one that connects anew, and no secret is in the pickle.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from mlmgmt_nb.client import SignIn, Workspace, connect
from mlmgmt_nb.client.http.credentials import AzureToken, StaticToken, TokenFile
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.client.http.transport import Location, Transport
from mlmgmt_nb.client.polling import WatchedOperation, Watcher
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.errors import SignInError, UsageError
from mlmgmt_nb.notebook.panels.refresh import RefreshThread
from mlmgmt_nb.notebook.panels.worker import Worker
from tests.support.waiting import eventually
from tests.unit.client.conftest import Answer, Seen, Server

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

DEADLINE = 20
STATUS = {"id": "op", "operationType": "Image", "resourceLocation": "/images/i"}


class Child:
    """A forked process that runs a function; `result` is what it gave, as JSON has it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pipe, end = os.pipe()
        self._process = os.fork()
        if self._process:
            os.close(end)
            return
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(DEADLINE)  # one that hangs ends without a result
        try:
            answer = {"result": work()}
        except BaseException:  # noqa: BLE001 - told to the parent
            answer = {"raised": traceback.format_exc()}
        os.write(end, json.dumps(answer).encode())
        os._exit(0)

    def result(self) -> Any:
        with os.fdopen(self._pipe) as pipe:
            text = pipe.read()
        os.waitpid(self._process, 0)
        assert text, "the forked process hung"
        answer = json.loads(text)
        assert "raised" not in answer, answer["raised"]
        return answer["result"]


@contextmanager
def held(*locks: Any) -> Iterator[None]:
    """Has another thread hold locks."""
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            release.wait(DEADLINE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(DEADLINE)
    try:
        yield
    finally:
        release.set()
        thread.join()


def echo(seen: Seen) -> Answer:
    return Answer(200, {"got": seen.json})


def asked(transport: Transport, first: int) -> list[int]:
    answers = [transport.send("POST", "/echo", body=json.dumps(first + i).encode()).json() for i in range(20)]
    return [answer["got"] for answer in answers]


@pytest.mark.parametrize("adapter", [None, HTTPAdapter()], ids=["own pool", "adapter of the user"])
def test_each_process_gets_its_own_answers(server: Server, adapter: HTTPAdapter | None) -> None:
    server.script = echo
    transport = Transport(Location(server.base_url, StaticToken("secret", "a test")), adapter=adapter)
    assert asked(transport, -100) == list(range(-100, -80)), "a connection is open in the pool"
    children = [Child(partial(asked, transport, 100 * n)) for n in range(1, 5)]
    assert asked(transport, 0) == list(range(20)), "the parent goes on"
    for n, child in enumerate(children, start=1):
        assert child.result() == list(range(100 * n, 100 * n + 20))
    transport.close()


def test_a_fork_of_a_fork(server: Server) -> None:
    server.script = echo
    with Workspace(Transport(Location(server.base_url, StaticToken("secret", "a test")))) as ws:
        assert asked(ws._transport, 0)
        inner = Child(lambda: [asked(ws._transport, 100), Child(lambda: asked(ws._transport, 200)).result()])
        assert inner.result() == [list(range(100, 120)), list(range(200, 220))]


def test_locks_that_another_thread_holds_are_free_in_the_child(server: Server) -> None:
    server.script = lambda seen: Answer(200, {**STATUS, "state": "Succeeded"})
    transport = Transport(Location(server.base_url, StaticToken("secret", "a test")))
    ws = Workspace(transport)
    azure = AzureToken(SimpleNamespace(get_token=lambda scope: SimpleNamespace(token="t", expires_on=9e9)))
    poller = ws.operations.poller("op")
    feed, worker, lock = RefreshThread(), Worker(), ForkLock(threading.RLock)
    watcher: Watcher = ws.operations.watcher

    def use() -> list[Any]:
        ticked, worked = threading.Event(), threading.Event()
        feed.follow(lambda: ticked.set())
        worker.do(worked.set)
        with transport._relocating, lock:
            return [azure.token(), poller.wait(5).state, ticked.wait(5), worked.wait(5)]

    locks = (transport._relocating, azure._lock, watcher._wake, poller._watch._lock, feed._changed, worker._lock, lock)
    with held(*locks):
        child = Child(use)
        assert child.result() == ["t", "Succeeded", True, True]
    ws.close()


def test_a_poller_goes_on_in_both(server: Server) -> None:
    state = {"now": "Running"}
    server.script = lambda seen: Answer(200, {**STATUS, "state": state["now"]})
    with Workspace(Transport(Location(server.base_url, StaticToken("secret", "a test")))) as ws:
        poller, changes = ws.operations.poller("op"), []
        poller.add_change_callback(lambda one: changes.append(one.status()))
        eventually(lambda: poller.operation, DEADLINE, "the first look")
        before = list(changes)
        child = Child(lambda: [poller.wait(DEADLINE).state, changes])
        state["now"] = "Succeeded"
        assert child.result() == ["Succeeded", before], "the callbacks are the parent's"
        assert poller.wait(DEADLINE).state == "Succeeded"
        eventually(lambda: changes[-1:] == ["Succeeded"], DEADLINE, "the parent's callback")


def test_a_watch_that_is_settled_stays_so() -> None:
    watch = WatchedOperation("op")
    watch.fail(UsageError("lost"))
    assert Child(watch.settled.is_set).result()


def test_a_credential_that_was_made_here_is_made_anew() -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(os.getpid())
        return SimpleNamespace(get_token=lambda scope: SimpleNamespace(token=str(made[-1]), expires_on=0))

    azure = AzureToken(make)
    parent = os.getpid()
    assert azure.token() == azure.token() == str(parent)
    child = Child(lambda: [azure.token(), os.getpid()]).result()
    assert child[0] == str(child[1])
    assert made == [parent]


def secrets_of(ws: Workspace) -> list[bytes]:
    token = ws._transport.credential.token()
    return [token.encode()] if token else []


def test_a_pickled_workspace_connects_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-secret-token")
    server.script = lambda seen: Answer(200, {"value": []})
    location = Location(server.base_url, TokenFile(tmp_path / "token"))
    with Workspace(Transport(location), interpreter="python", arguments={"home": "h"}, compute="docker") as ws:
        ws.services._scorers["iris"] = Scorer(ws._transport, "http://x/score", "the-secret-key")
        for data in (pickle.dumps(ws), pickle.dumps(ws.services)):
            assert b"the-secret" not in data
        for other in (pickle.loads(pickle.dumps(ws)), copy.deepcopy(ws)):
            assert (other.base_url, other.compute, dict(other.connect_arguments)) == (
                ws.base_url,
                "docker",
                {"home": "h"},
            )
            assert other._transport._session is not ws._transport._session
            assert other.operations.watcher is not ws.operations.watcher
            assert list(other.models.list()) == []
            assert server.seen[-1].headers["Authorization"] == "Bearer the-secret-token"
            other.close()


@pytest.mark.parametrize(
    "given",
    [{"token": "the-secret"}, {"credential": SimpleNamespace(get_token=lambda scope: None, secret="the-secret")}],
    ids=["token", "credential"],
)
def test_a_secret_that_was_given_stays_behind(
    server: Server, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLMGMT_TOKEN", raising=False)
    server.script = lambda seen: Answer(200, {"value": []})
    ws = connect(base_url=server.base_url, **given)
    data = pickle.dumps(ws)
    assert b"the-secret" not in data
    with pytest.raises(SignInError, match="contains no secrets"):
        list(pickle.loads(data).models.list())
    monkeypatch.setenv("MLMGMT_TOKEN", "another")
    assert list(pickle.loads(data).models.list()) == []
    assert server.seen[-1].headers["Authorization"] == "Bearer another"
    # A copy within the process keeps what opens the account.
    assert copy.deepcopy(ws)._transport.credential is ws._transport.credential


def test_a_way_to_sign_in_is_kept(server: Server) -> None:
    ws = connect(base_url=server.base_url, sign_in=SignIn("cli", tenant="contoso"))
    credential = pickle.loads(pickle.dumps(ws))._transport.credential
    assert credential._given.__self__ == SignIn("cli", tenant="contoso")


def test_what_cannot_be_copied_says_so(server: Server) -> None:
    with pytest.raises(UsageError, match="adapter"):
        pickle.dumps(connect(base_url=server.base_url, adapter=HTTPAdapter()))
    with connect(base_url=server.base_url) as ws:
        with pytest.raises(UsageError, match="continuation_token"):
            pickle.dumps(ws.operations.poller("op"))
        with pytest.raises(UsageError, match="Take its items"):
            copy.deepcopy(ws.models.list())
