"""Data of `service run` that is the name of a file without `@`, and sample files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.commands.verbs.deploy import read_sample
from mlmgmt_nb.commands.verbs.services.scoring import is_file_name
from mlmgmt_nb.errors import UsageError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("rows.json", True),
        ("data/rows.csv", True),
        ("my rows.json", True),
        ("here", True),  # it exists
        ("nowhere", False),
        ("1.5", False),
        ("true", False),
        ('{"file": "rows.json"}', False),
        ("[rows.json", False),
        ("a.b\nc.d", False),
        ("@rows.json", False),
        ("", False),
        ([1.5], False),
    ],
)
def test_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: object, expected: bool) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    assert is_file_name(given) is expected


@pytest.mark.parametrize(
    ("name", "content"), [("rows.json", b"{"), ("rows.csv", b""), ("rows.csv", b"\xff\xfe\xfa"), ("rows.json", b"\xff")]
)
def test_a_damaged_sample_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"--sample: .*{name} cannot be read: "):
        read_sample(tmp_path / name)
