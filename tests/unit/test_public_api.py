"""The public API and the structure of the commands are those of the baseline, unless the changelog names a difference.

`public_api.json` is the baseline: what the package had before its modules were arranged in layers (commit f66f87f).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.grammar import Command
from mlmgmt_nb.commands.session import COMMON, WAITING

BASELINE: dict[str, Any] = json.loads(Path(__file__).with_name("public_api.json").read_text(encoding="utf-8"))
CHANGELOG = (Path(__file__).parents[2] / ".docs" / "changelog.md").read_text(encoding="utf-8")
MODULES = [
    "mlmgmt_nb",
    "mlmgmt_nb.client",
    "mlmgmt_nb.commands",
    "mlmgmt_nb.contract",
    "mlmgmt_nb.errors",
    "mlmgmt_nb.notebook",
    "mlmgmt_nb.notebook.panels",
    "mlmgmt_nb.packaging",
    "mlmgmt_nb.schema",
    "mlmgmt_nb.scoring.batching",
    "mlmgmt_nb.scoring.threads",
]


def flags_of(command: Command[Any]) -> dict[str, list[Any]]:
    return {flag.names: [flag.kind, list(flag.choices), flag.required, flag.default] for flag in command.flags}


def current() -> dict[str, Any]:
    """Return the structure of the baseline, for the package as it is."""
    return {
        "modules": {name: sorted(importlib.import_module(name).__all__) for name in MODULES},
        "commands": {
            command.name: {"flags": flags_of(command), "operations": list(command.operations), "waits": command.waits}
            for command in COMMANDS
        },
        "common": [flag.names for flag in (*WAITING, *COMMON)],
    }


def differences() -> Iterator[tuple[str, str]]:
    """Return the differences from the baseline: the place, and the word that the changelog must name."""
    now = current()
    for module in MODULES:
        for name in set(BASELINE["modules"][module]) ^ set(now["modules"][module]):
            yield module, name
    before, after = BASELINE["commands"], now["commands"]
    for name in before.keys() ^ after.keys():
        yield "commands", name
    for name in before.keys() & after.keys():
        old, new = before[name]["flags"], after[name]["flags"]
        for flag in old.keys() | new.keys():
            if old.get(flag) != new.get(flag):
                yield name, flag.split()[-1]
        for field in ("operations", "waits"):
            if before[name][field] != after[name][field]:
                yield name, name
    for flag in set(BASELINE["common"]) ^ set(now["common"]):
        yield "every command", flag.split()[-1]


@pytest.mark.parametrize(
    ("where", "word"), [pytest.param(*found, id=" ".join(found)) for found in sorted(set(differences()))]
)
def test_a_difference_from_the_baseline_is_named_in_the_changelog(where: str, word: str) -> None:
    assert word in CHANGELOG, f"{where}: {word} differs from the baseline, and .docs/changelog.md does not name it"


def test_every_public_name_exists() -> None:
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_every_command_has_help_and_an_example_that_it_accepts() -> None:
    for command in COMMANDS:
        assert command.help, command.name
        assert command.name in command.example, command.name
