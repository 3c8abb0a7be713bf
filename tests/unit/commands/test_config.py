"""Settings, their order of precedence, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.errors import UsageError


def test_arguments_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('profile = "team"\n[profiles.team]\nhome = "/file"\ncompute = "file"\noutput = "csv"\n')
    config = Config(path, {"MLMGMT_HOME": "/env", "MLMGMT_COMPUTE": "env", "MLMGMT_TOKEN": "very-secret"})
    found = config.settings({"home": "/given"})
    assert (found["home"].value, found["home"].source) == ("/given", "the argument --home")
    assert (found["compute"].value, found["compute"].source) == ("env", "the environment: MLMGMT_COMPUTE")
    assert (found["output"].value, found["output"].source) == ("csv", f"{path}: [profiles.team]")
    assert (found["base_url"].value, found["base_url"].source) == (None, "default")
    assert (found["profile"].value, found["profile"].source) == ("team", str(path))
    assert found["token"].value == "***"
    assert "very-secret" not in repr(found)


def test_file_is_written_and_keeps_comments(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.toml"
    config = Config(path, {})
    config.set("team", {"home": '/a "b"', "output": "json"})
    path.write_text("# mine\n" + path.read_text())
    config.use("team")
    config.set("team", {"output": None})
    assert path.read_text().startswith("# mine\n")
    assert config.profiles() == {"default": {}, "team": {"home": '/a "b"'}}
    assert Config(path, {}).settings({})["home"].value == '/a "b"'
    assert Config(path, {"MLMGMT_PROFILE": "default"}).settings({})["home"].value is None
    assert config.settings({}, profile="default")["home"].value is None


def test_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    config = Config(path, {})
    with pytest.raises(UsageError, match="unknown setting 'colour'"):
        config.set("team", {"colour": "red"})
    with pytest.raises(UsageError, match="profile 'nope' does not exist"):
        config.use("nope")
    with pytest.raises(UsageError, match=r"profile 'nope' does not exist \(the environment: MLMGMT_PROFILE\)"):
        Config(path, {"MLMGMT_PROFILE": "nope"}).settings({})
    path.write_text("profile = [")
    with pytest.raises(UsageError, match=r"config.toml cannot be read"):
        config.settings({})
    path.write_text("[profiles]\nteam = 1\n")
    with pytest.raises(UsageError, match=r"a profile is a table, such as \[profiles.team\]") as caught:
        config.settings({})
    assert caught.value.fix == "Correct that file."
