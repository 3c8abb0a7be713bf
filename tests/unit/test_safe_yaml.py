"""YAML of others, wherever it is read: in conda files that are sent or built, and in cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlmgmt_nb.client.applications.conda import rewritten
from mlmgmt_nb.client.applications.requirements import Bundle
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook import execution
from mlmgmt_nb.safe_yaml import YamlError, read_yaml
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.conda import read_conda, read_content

_BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
UNREADABLE = {
    "open": "a: [",
    "deep": "[" * 20_000,
    "a date": "a: 2001-99-99",
    "a number": f"a: {'9' * 5000}",
    "tags": "a: !!timestamp x",
    "a truth": "a: !!bool x",
    "a class": "a: !!python/object:os.system x",
    "a control character": "a: \x01",
}
NO_CONDA_FILES = {
    **UNREADABLE,
    "pip of aliases": f"{_BOMB}\ndependencies: [{{pip: [*a39]}}]",
    "channels of aliases": f"{_BOMB}\ndependencies: []\nchannels: [*a39]",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_all_errors_are_one(name: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(UNREADABLE[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def _sent(file: Path) -> object:
    return rewritten(file, Bundle(), any_python=False)


def _built(file: Path) -> object:
    return read_conda(read_content(file))


@pytest.mark.parametrize(("read", "error"), [(_sent, UsageError), (_built, BuildError)])
@pytest.mark.parametrize("name", NO_CONDA_FILES)
def test_a_conda_file(tmp_path: Path, name: str, read: Callable[[Path], object], error: type[Exception]) -> None:
    (tmp_path / "conda.yml").write_text(NO_CONDA_FILES[name])
    with pytest.raises(error, match="not a conda environment file"):
        read(tmp_path / "conda.yml")


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_cell(name: str) -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        execution._flags(COMMANDS[0].flags, UNREADABLE[name])
