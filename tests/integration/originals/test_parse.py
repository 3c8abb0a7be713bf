"""Inputs are parsed as by `inference-schema` and the parser of `azureml-inference-server-http`, but for the differences
in `differences.toml`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.originals.differences import check
from tests.integration.originals.parse_rows import groups

SIDE = Path(__file__).with_name("parse_side.py")


def test_inputs_are_parsed_alike(original_python: Path, tmp_path: Path) -> None:
    table = groups()
    theirs = outcomes(original_python, "theirs", table, tmp_path)
    ours = outcomes(Path(sys.executable), "ours", table, tmp_path)
    assert len(ours) == sum(len(group["rows"]) for group in table) > 390
    problems = check("parse", theirs, ours)
    assert not problems, "\n".join(problems)


def outcomes(python: Path, side: str, table: list[dict[str, Any]], folder: Path) -> dict[str, dict[str, Any]]:
    """Return what becomes of each row: its value, or that it was refused, whatever the message."""
    command = [str(python), str(SIDE), side]
    parsed = subprocess.run(command, input=json.dumps(table), cwd=folder, capture_output=True, text=True, timeout=120)
    assert parsed.returncode == 0, parsed.stderr
    return {row: {"value": found.get("value", "refused")} for row, found in json.loads(parsed.stdout).items()}
