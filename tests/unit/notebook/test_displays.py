"""Everything that a workspace returns has a short `repr`, and a display as text and as escaped HTML."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from mlmgmt_nb import client
from mlmgmt_nb.client import Pager, Poller, Workspace
from mlmgmt_nb.client.audit import Audit
from mlmgmt_nb.client.changes.contents import Contents
from mlmgmt_nb.client.changes.difference import Change, Difference
from mlmgmt_nb.client.computes import ComputeList
from mlmgmt_nb.client.deploying.proposals import AccountServices
from mlmgmt_nb.client.deploying.verification import DeployedService
from mlmgmt_nb.client.deployments import Deployments
from mlmgmt_nb.client.drift.report import Drift
from mlmgmt_nb.client.http.paging import Page
from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.replays.pairs import Pairs
from mlmgmt_nb.client.replays.replay import Endpoint
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.test import ScoringTest
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.client.services.replaying import ReplayCases
from mlmgmt_nb.contract import AsyncOperationStatus, Deployment, Image, Manifest, Model, ServiceResponse
from mlmgmt_nb.contract.changes import Candidate
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.notebook.display import formatters
from mlmgmt_nb.notebook.display.card import Card
from mlmgmt_nb.packaging.package import Package
from mlmgmt_nb.short_repr import LONGEST

HOSTILE = "<b>'&\"</b>\x1b[31m" * 40
AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
KEY = "secret-key-of-a-service"
PUBLIC = (Workspace, Models, Manifests, Images, Operations, AccountServices, Deployments, Audit)
SIMPLE = {str: HOSTILE, Any: HOSTILE, int: 7, float: 0.5, bool: True, bytes: b"<b>", dt.datetime: AT, Path: Path("/x")}
PLAIN = (str, bool, int, float, type(None), dict, list, Path, pd.DataFrame)
"""Types that are not ours."""


def returned() -> set[type]:
    """Return every type that a public method or property returns, by its type hints, and those of items and results."""
    names = {"Package": Package, "pd": pd, **of_client()}
    found = set[type]()
    for cls in PUBLIC:
        for name, member in inspect.getmembers(cls):
            function = member.fget if isinstance(member, property) else member
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            space = {**names, **vars(inspect.getmodule(function))}
            hint = function.__annotations__["return"]
            found.update(parts(eval(hint, space)))
    return {kind for kind in found if kind not in PLAIN}


def of_client() -> dict[str, Any]:
    """Return the public names of the modules of the client, some of which others import for their type hints only."""
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(client.__path__, "mlmgmt_nb.client.")
    ]
    return {name: getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}


def parts(hint: Any) -> Iterator[type]:
    origin = get_origin(hint)
    if isinstance(hint, type) and origin is None:
        yield hint
    if isinstance(origin, type) and not origin.__module__.startswith(("collections", "types", "typing", "builtins")):
        yield origin
    for part in get_args(hint):
        yield from parts(part)


def filled(hint: Any, name: str = "") -> Any:
    """Return a value of a type whose texts are long, and have markup and control characters."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return filled(inner[0], name)
    if origin is Literal:
        return inner[0]
    if origin in {typing.Union, types.UnionType}:
        return filled(next(part for part in inner if part is not type(None)), name)
    if origin in {list, collections.abc.Sequence}:
        return [filled(inner[0], name)] * 30
    if origin in {dict, collections.abc.Mapping}:
        return {f"{HOSTILE}{number}": filled(inner[1], name) for number in range(30)}
    if origin is tuple:
        return (filled(inner[0], name),) * 30
    if hint in SIMPLE:
        return SIMPLE[hint]
    hints = typing.get_type_hints(hint, include_extras=True)
    fields = getattr(hint, "__struct_fields__", None) or getattr(hint, "_fields", None)
    if fields is None:
        fields = [field.name for field in dataclasses.fields(hint)]
    return hint(**{field: filled(hints[field], field) for field in fields})


class Listed:
    """A transport whose list has hostile models."""

    base_url = "http://x/accounts/a"
    clock = None

    def send(self, *_: Any, **__: Any) -> Any:
        import requests

        answer = requests.Response()
        answer.status_code = 200
        answer._content = msgspec.json.encode({"value": [filled(Model)] * 30})
        return answer


def example(kind: type) -> Any:
    transport: Any = Listed()
    made: dict[type, Any] = {
        Pager: lambda: Pager(transport, "models_list", Model, {"name": HOSTILE}),
        Page: lambda: Page([filled(Model)] * 30, "token"),
        Poller: lambda: _poller(transport),
        ProposedChange: lambda: ProposedChange(None, filled(Candidate)),  # type: ignore[arg-type]
        Difference: lambda: Difference(old=HOSTILE, new=HOSTILE, changes=[filled(Change)] * 30, notes=[HOSTILE]),
        Endpoint: lambda: Endpoint("iris", "http://x/score", KEY),
        ReplayCases: lambda: ReplayCases([b"<b>"] * 100),
        ReplayReport: lambda: ReplayReport(Pairs(0.0), old=HOSTILE, new=HOSTILE, goal=5),
        ScoringReport: lambda: _test().report(),
        ScoringTest: _test,
        Contents: lambda: Contents(name=HOSTILE, packages={HOSTILE: HOSTILE}),
        Drift: lambda: Drift(
            service=HOSTILE, identifier=HOSTILE, sample_rows=5, collected_rows=5, columns=[], notes=[HOSTILE]
        ),
        ComputeList: lambda: ComputeList([{"id": "local", "state": HOSTILE}]),
        Workspace: lambda: Workspace(transport),
    }
    return made[kind]() if kind in made else filled(kind)


def _poller(transport: Any) -> Any:
    return Operations(transport).poller("6f1c2a0e-0000-4000-8000-000000000001")


def _test() -> ScoringTest:
    nobody: Any = None
    return ScoringTest(Scorer(nobody, "http://127.0.0.1:9/score", KEY), cases_of([[1]], {}, None), name=HOSTILE)


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()  # type: ignore[no-untyped-call]
    formatters.register(shell, lambda _: None)
    yield shell
    formatters.unregister(shell)


def test_a_list_has_times_without_an_age(shell: InteractiveShell) -> None:
    assert shell.display_formatter is not None
    for pager in (example(Pager), example(Page)):
        data, _ = shell.display_formatter.format(pager)  # type: ignore[no-untyped-call]
        words = data["text/plain"].splitlines()[1].split()
        assert "created" in words
        assert "age" not in words
        assert ">age<" not in data["text/html"]


TYPES = sorted(returned() - {Any}, key=lambda kind: kind.__qualname__)


def test_the_types_are_found() -> None:
    assert {Service, Model, Candidate, Pager, Poller, LogPart, Package, Drift, ProposedChange} <= set(TYPES)


@pytest.mark.parametrize("kind", [*TYPES, Page, DeployedService, Workspace], ids=lambda kind: kind.__qualname__)
def test_a_short_repr_and_two_displays(kind: Any, shell: InteractiveShell) -> None:
    value = example(kind)
    assert isinstance(value, list) or len(repr(value)) < LONGEST
    assert "\n" not in repr(value)
    assert KEY not in repr(value) + str(value)
    if isinstance(value, (Model, Manifest, Image, ServiceResponse, Deployment, AsyncOperationStatus)):
        assert str(value) == repr(value)
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(value)  # type: ignore[no-untyped-call]
    assert data["text/plain"]
    if isinstance(value, (str, list, tuple)):
        assert data["text/plain"] != repr(value)
    assert data["text/html"]
    assert "<b>'" not in data["text/html"], "not escaped"
    assert "\x1b" not in data["text/plain"]
    assert KEY not in data["text/plain"] + data["text/html"]


def test_a_repr_names_what_it_is() -> None:
    model = Model(name="iris", version=3, id="some-id", mime_type="text/plain", url="http://x")
    assert repr(model) == "Model(name='iris', version=3, id='some-id')"
    assert repr([model]) == f"[{model!r}]"


def test_the_displays_can_be_removed() -> None:
    shell = InteractiveShell()  # type: ignore[no-untyped-call]
    formatters.register(shell, lambda _: None)
    formatters.unregister(shell)
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(example(Model))  # type: ignore[no-untyped-call]
    assert "text/html" not in data


def test_times_have_no_age_which_a_saved_notebook_would_keep() -> None:
    card = Card("model", "m", None, [("created", AT), ("ended", AT.replace(tzinfo=None))])
    for shown in (card.text(), card.html()):
        assert shown.count("2026-01-02 00:00:00 UTC") == 2
        assert " old" not in shown
