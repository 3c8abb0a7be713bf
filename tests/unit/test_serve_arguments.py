"""Arguments of `mlmgmt serve`: wrong ones are refused by name, wherever they come from."""

from __future__ import annotations

import pytest

from mlmgmt_nb.cli import main

TIMES = {
    "--keep-operations": "days",
    "--candidate-hours": "hours",
    "--start-timeout": "seconds",
    "--calm-seconds": "seconds",
    "--hang-timeout": "seconds",
    "--warm-start-seconds": "seconds",
}


@pytest.mark.parametrize("given", ["abc", "nan", "inf", "-1", "1e300", ""])
@pytest.mark.parametrize("flag", TIMES)
def test_a_wrong_time_is_refused(flag: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", f"{flag}={given}"])
    assert ended.value.code == 2
    assert f"argument {flag}: {given!r} is not a number of {TIMES[flag]}" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--candidate-hours", "--start-timeout", "--hang-timeout"])
def test_a_time_that_has_to_be_above_zero_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", f"{flag}=0"])
    assert ended.value.code == 2
    assert f"argument {flag}: '0' is not above 0" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--candidate-hours", "--warm-start-seconds"])
def test_a_wrong_variable_concerns_nobody_else(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"MLMGMT_{flag[2:].replace('-', '_').upper()}", "abc")
    with pytest.raises(SystemExit) as ended:
        main(["stop", "--help"])
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert f"argument {flag}: 'abc' is not a number of" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["65536", "99999999999999999999", "-1", "80.0", "http", "٣", ""])
def test_a_wrong_port_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", f"--port={given}"])
    assert ended.value.code == 2
    assert f"argument --port: {given!r} is not a port. Use 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["https://registry.example.org", "registry example.org", "host:port", "host/UPPER"])
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_wrong_registry_is_refused(
    given: str, by_variable: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if by_variable:
        monkeypatch.setenv("MLMGMT_REGISTRY", given)
    with pytest.raises(SystemExit) as ended:
        main(["serve"] if by_variable else ["serve", f"--registry={given}"])
    assert ended.value.code == 2
    assert f"argument --registry: {given!r} is not a registry. Use the form HOST" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "localhost:5000", "[::1]:5000/ml", "registry.example.org/team/ml"])
def test_other_registries_are_not(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLMGMT_REGISTRY", given)
    with pytest.raises(SystemExit):
        main(["serve", "--port=none"])
    assert "--registry" not in capsys.readouterr().err.partition("error:")[2]
