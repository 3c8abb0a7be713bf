"""Errors of the client in the words of commands."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.advice import advice
from mlmgmt_nb.errors import ConflictError, DriverError, ScoringError, UsageError

(CREATE,) = [command for command in COMMANDS if command.words == ("service", "create")]


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        ("Give another name, or `if_exists='update'`.", "Give another name, or `--if-exists update`."),
        ("Give `driver='score.py'`; a function needs none.", "Give `--driver score.py`; a function needs none."),
        ("`schema='a.json'` or `conda='b.yml'`.", "`--schema-file a.json` or `--conda-file b.yml`."),
        ("`ws.manifests.list()` lists the existing manifests.", "`mlmgmt manifest list` lists the existing manifests."),
        ("`ws.services.get('iris')` shows its error.", "`mlmgmt service show -n iris` shows its error."),
        ("Use `unknown='x'`.", "Use `unknown='x'`."),
        ("Give one of update, reuse.", "Give one of update, reuse."),
        (None, None),
    ],
)
def test_a_fix_names_flags(fix: str | None, shown: str | None) -> None:
    for error in (ConflictError("it exists", status_code=409, fix=fix), UsageError("it is wrong", fix=fix)):
        with pytest.raises(type(error)) as caught, advice("mlmgmt", CREATE.flags, None):
            raise error
        assert caught.value.fix == shown


@pytest.mark.parametrize("kind", [ScoringError, DriverError])
@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        (
            "`ws.services.logs(...)` has the traceback, under request 1a-2.",
            "`mlmgmt service logs -n iris --request-id 1a-2` has the traceback.",
        ),
        ("`ws.services.logs(...)` has the log.", "`mlmgmt service logs -n iris` has the log."),
        ("`ws.services.keys(...)` returns them.", "`mlmgmt service keys -n iris --show` returns them."),
        (None, None),
    ],
)
def test_a_fix_of_scoring_names_commands(kind: type[ScoringError], fix: str | None, shown: str | None) -> None:
    with pytest.raises(kind) as caught, advice("mlmgmt", CREATE.flags, SimpleNamespace(service="iris")):
        raise kind("it failed", status_code=500, fix=fix)
    assert caught.value.fix == shown
