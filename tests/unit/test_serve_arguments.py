"""The arguments of `mlmgmt serve` that are times: wrong ones are refused by name, wherever they come from."""

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
