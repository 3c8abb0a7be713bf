"""The file of clusters that `env kubernetes` writes: valid, or as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.commands.flags import COMMON
from mlmgmt_nb.commands.grammar import parse_flags
from mlmgmt_nb.commands.verbs.clusters import COMMANDS
from mlmgmt_nb.errors import UsageError

(COMMAND,) = COMMANDS


def configure(home: Path, *words: str) -> dict[str, Any]:
    """Run the command with a service that knows all clusters of the file; return what the file has then."""
    file = home / "clusters.toml"

    def computes() -> list[dict[str, Any]]:
        known = tomllib.loads(file.read_text()) if file.exists() else {}
        return [{"id": name, "state": "ready"} for name in known]

    session = SimpleNamespace(
        setting={"home": str(home), "base_url": None}.get,
        workspace=SimpleNamespace(computes=computes),
        config=SimpleNamespace(profile=lambda: ("default", ""), set=lambda *_: None),
    )
    arguments: Any = parse_flags(COMMAND, words, COMMON, "mlmgmt")
    COMMAND.run(session, arguments)
    return tomllib.loads(file.read_text())


def test_another_exposure_drops_settings_that_it_excludes(tmp_path: Path) -> None:
    configure(tmp_path, "--expose", "ingress", "--host", "h", "--tls-secret", "t", "--namespace", "n")
    file = tmp_path / "clusters.toml"
    file.write_text(f'{file.read_text()}ingress-class = "nginx"\nannotations = {{ a = "b" }}\n')
    found = configure(tmp_path, "--expose", "loadbalancer")["kubernetes"]
    assert found == {"expose": "loadbalancer", "host": "h", "namespace": "n", "annotations": {"a": "b"}}
    assert configure(tmp_path, "--expose", "front-door")["kubernetes"] == {"expose": "front-door", "namespace": "n"}


@pytest.mark.parametrize(
    ("words", "field", "problem", "fix"),
    [
        (("--expose", "ingress"), "host", "expose = ingress needs host", "--host"),
        (("--expose", "front-door", "--host", "h"), "expose", "host needs expose", "--expose"),
        (("--tls-secret", "t"), "expose", "tls-secret needs expose = ingress", "--expose"),
        (("-n", "Team_A"), "name", "'Team_A' cannot name a cluster", "--name"),
        (("-n", "local", "--context", "c"), "name", "'local' cannot name a cluster", "--name"),
    ],
)
@pytest.mark.parametrize("before", ["", "# mine\n[kubernetes]\n"], ids=["no file", "a file"])
def test_settings_that_are_not_valid_change_nothing(
    tmp_path: Path, words: tuple[str, ...], field: str, problem: str, fix: str, before: str
) -> None:
    file = tmp_path / "clusters.toml"
    if before:
        file.write_text(before)
    with pytest.raises(UsageError, match=problem) as raised:
        configure(tmp_path, *words)
    assert raised.value.field == field
    assert fix in str(raised.value.fix)
    assert [each.read_text() for each in tmp_path.iterdir()] == [before] * bool(before)


def test_a_misspelled_name_does_not_become_a_second_name_of_a_cluster(tmp_path: Path) -> None:
    assert configure(tmp_path, "-n", "staging") == {"staging": {}}
    with pytest.raises(UsageError, match=r"\[staging\] and \[stagign\] are the same namespace") as raised:
        configure(tmp_path, "-n", "stagign")
    assert (raised.value.field, raised.value.fix) == ("namespace", "Give each cluster a --namespace of its own.")
    assert configure(tmp_path, "-n", "test", "--namespace", "test") == {"staging": {}, "test": {"namespace": "test"}}


def test_another_damaged_table_is_not_blamed_on_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text('[west]\nhost = "h"\n')
    with pytest.raises(UsageError, match=r"\[west\]: host needs expose") as raised:
        configure(tmp_path, "--namespace", "n")
    assert (raised.value.field, raised.value.fix) == ("name", "Correct that file.")
    assert file.read_text() == '[west]\nhost = "h"\n'


def test_flags_repair_their_own_table(tmp_path: Path) -> None:
    (tmp_path / "clusters.toml").write_text('[kubernetes]\nexpose = "ingress"\n')
    assert configure(tmp_path, "--host", "h") == {"kubernetes": {"expose": "ingress", "host": "h"}}


def test_the_first_command_of_a_new_user_makes_the_state_folder(tmp_path: Path) -> None:
    home = tmp_path / "share" / "mlmgmt-nb"
    assert configure(home, "--namespace", "models") == {"kubernetes": {"namespace": "models"}}
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot be changed") as raised:
        configure(tmp_path / "taken" / "home", "--namespace", "models")
    assert raised.value.fix == f"Check who may read that file and write to {tmp_path / 'taken' / 'home'}."
