"""The flags for environment variables and secrets: references are read, and values are in no message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import ServiceSettings
from mlmgmt_nb.commands.flags import VARIABLES, VariablesArguments
from mlmgmt_nb.commands.grammar import Command, parse_flags
from mlmgmt_nb.commands.variables import variables
from mlmgmt_nb.errors import UsageError

SECRET = "hunter2-and-more"
COMMAND = Command(("x",), "", "", lambda *_: None, VARIABLES, arguments=VariablesArguments)


def read(*tokens: Any) -> ServiceSettings:
    arguments = parse_flags(COMMAND, tokens, (), "mlmgmt x")
    assert isinstance(arguments, VariablesArguments)
    return variables(arguments)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN_HERE", SECRET)
    Path("vars.env").write_text("# a comment\nA=from file\nB=x=y\n\n")
    Path("token").write_text(SECRET + "\n")


def test_variables() -> None:
    assert read() == {"environment": None, "secrets": None}
    assert read("--env", "A=1", "--env-file", "vars.env", "--env", "C=")["environment"] == {
        "A": "1",
        "B": "x=y",
        "C": "",
    }
    assert read("--env", {"A": "1"}, "--env", "B=2")["environment"] == {"A": "1", "B": "2"}


def test_secrets_are_references() -> None:
    given = read("--secret", "A=env:TOKEN_HERE", "--secret", "TOKEN_HERE", "--secret", "B=file:token")
    assert given == {"environment": None, "secrets": {"A": SECRET, "TOKEN_HERE": SECRET, "B": SECRET}}
    assert read("--secret", {"A": SECRET})["secrets"] == {"A": SECRET}  # a Python value of the notebook


def test_removal() -> None:
    assert read("--remove-env", "A", "--env", "B=1") == {"environment": {"A": None, "B": "1"}, "secrets": {"A": None}}
    with pytest.raises(UsageError, match="A is also given a value"):
        read("--remove-env", "A", "--env", "A=1")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("--secret", f"A={SECRET}"), "--secret A: not a reference"),
        (("--secret", SECRET), "--secret: does not begin with the name"),
        (("--secret", f"A={SECRET}:x"), "--secret A: not a reference"),
        (("--secret", "A=env:NOT_SET"), "'NOT_SET' is not set"),
        (("--secret", "A=file:nowhere"), "No such file"),
        (("--env", "A"), "'A' is not NAME=VALUE"),
        (("--env", "A B=1"), "'A B' is not NAME=VALUE"),
        (("--env-file", "nowhere"), "nowhere: No such file"),
    ],
)
def test_mistakes_are_named_without_values(tokens: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(*tokens)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
