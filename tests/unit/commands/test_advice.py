"""Errors of the client in the words of commands."""

from __future__ import annotations

import pytest

from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.advice import advice
from mlmgmt_nb.errors import ConflictError, UsageError

(CREATE,) = [command for command in COMMANDS if command.words == ("service", "create")]


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        ("Give another name, or `if_exists='update'`.", "Give another name, or `--if-exists update`."),
        ("Give `driver='score.py'`; a function needs none.", "Give `--driver score.py`; a function needs none."),
        ("`schema='a.json'` or `conda='b.yml'`.", "`--schema-file a.json` or `--conda-file b.yml`."),
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
