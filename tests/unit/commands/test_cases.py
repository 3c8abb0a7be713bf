"""Cases and data of commands that are in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.commands.verbs.services.cases import cases_in
from mlmgmt_nb.commands.verbs.services.scoring import _data
from mlmgmt_nb.errors import UsageError


def test_cases_in_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"--cases: none.json cannot be read") as caught:
        cases_in("@none.json")
    assert caught.value.fix == f"Check the path; it is relative to {tmp_path}."
    (tmp_path / "cases.csv").write_bytes(b"")
    with pytest.raises(UsageError, match=r"--cases: cases.csv cannot be read") as caught:
        cases_in("@cases.csv")
    assert caught.value.fix == "Give a .csv or .json file in UTF-8."


def test_data_in_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"--data: none.json cannot be read: No such file") as caught:
        _data("@none.json")
    assert caught.value.fix == f"Check the path; it is relative to {tmp_path}."


def test_cases_in_files_as_other_programs_write_them(tmp_path: Path) -> None:
    """With a byte order mark, as PowerShell writes JSON, and with a name in upper case."""
    (tmp_path / "cases.json").write_text("[1, 2]", encoding="utf-8-sig")
    assert cases_in(f"@{tmp_path}/cases.json") == [1, 2]
    (tmp_path / "CASES.CSV").write_text("a\n1\n", encoding="utf-8-sig")
    assert cases_in(f"@{tmp_path}/CASES.CSV").to_dict("list") == {"a": [1]}
