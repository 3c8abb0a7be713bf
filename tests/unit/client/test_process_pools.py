"""Pools of processes, of the standard library and of joblib: workspaces go there, answers and errors come back."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky import ProcessPoolExecutor as Loky

from mlmgmt_nb import errors
from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.credentials import TokenFile
from mlmgmt_nb.client.http.transport import Location, Transport
from mlmgmt_nb.errors import NotFoundError
from mlmgmt_nb.scoring.compat.unavailable import NotAvailableError
from mlmgmt_nb.scoring.errors import LoadError, RequestError
from mlmgmt_nb.scoring.schema.types import InputError
from tests.unit.client.conftest import Answer, Seen, Server

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

DEADLINE = 60
PARTS = ["models", "manifests", "images", "services", "operations"]
"""The lists of a workspace that every account has."""


@pytest.fixture
def ws(server: Server, tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "token").write_text("the-secret-token")
    server.script = answer
    with Workspace(Transport(Location(server.base_url, TokenFile(tmp_path / "token")))) as ws:
        yield ws


def answer(seen: Seen) -> Answer:
    assert seen.headers["Authorization"] == "Bearer the-secret-token"
    if seen.path.count("/") > 1:
        return Answer(404, {"code": "NotFound", "message": f"none is {seen.path}", "details": [["a", "b"]]})
    return Answer(200, {"value": []})


def pool(kind: str) -> Executor:
    if kind == "loky":
        loky: Executor = Loky(max_workers=2)
        return loky
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))


def listed(ws: Workspace, part: str) -> tuple[list[Any], int]:
    return list(getattr(ws, part).list()), os.getpid()


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver", "loky"])
def test_a_workspace_and_its_errors(ws: Workspace, kind: str) -> None:
    assert listed(ws, "models")[0] == [], "a connection is open"
    with pool(kind) as workers:
        answers = list(workers.map(partial(listed, ws), PARTS, timeout=DEADLINE))
        assert [found for found, _ in answers] == [[]] * len(PARTS)
        assert os.getpid() not in {process for _, process in answers}
        with pytest.raises(NotFoundError) as caught:
            workers.submit(ws.models.get, "00000000-0000-0000-0000-000000000000").result(DEADLINE)
        # Its pool goes on: an error that cannot be restored would have ended it.
        assert workers.submit(listed, ws, "models").result(DEADLINE)[0] == []
    assert caught.value.status_code == 404
    assert caught.value.request_id
    assert "no model has the id" in str(caught.value)
    assert listed(ws, "models")[0] == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_each_part_of_a_workspace(ws: Workspace, copied: Callable[[Any], Any]) -> None:
    parts = {name: part for name, part in vars(ws).items() if not name.startswith("_") and hasattr(part, "__dict__")}
    assert set(PARTS) <= set(parts)
    for name, part in parts.items():
        assert b"the-secret" not in pickle.dumps(part)
        other = copied(part)
        assert type(other) is type(part)
        if name in PARTS:
            assert list(other.list()) == []


ARGUMENTS: dict[str, Any] = {
    "status_code": 404,
    "home": Path("home"),
    "proof": {"rows": 1},
    "report": {"rows": 1},
    "details": [("a", "b")],
    "retry_after": 2.5,
    "status": 400,
    "headers": {"a": "b"},
    "problems": ["a: first", "b: second"],
}


def made(kind: type[BaseException]) -> BaseException:
    """Return an error with all arguments."""
    names = [name for name in inspect.signature(kind).parameters if name not in {"self", "args", "kwargs"}]
    return kind(**{name: ARGUMENTS.get(name, f"the {name}") for name in names})


PUBLIC = [getattr(errors, name) for name in errors.__all__]
OF_DRIVERS = [LoadError, RequestError, InputError, NotAvailableError]


@pytest.mark.parametrize("kind", [*PUBLIC, *OF_DRIVERS])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_comes_back_as_it_was(kind: type[BaseException], protocol: int) -> None:
    error = made(kind)
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
