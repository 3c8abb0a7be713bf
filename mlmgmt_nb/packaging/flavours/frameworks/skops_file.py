"""Reproducible skops files: the same model has the same bytes, so that deploying it again does not add a version.

skops names objects and files by their memory addresses, and stores the time in the members of its zip archive.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import Any

__all__ = ["renumbered"]

_SCHEMA = "schema.json"
_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that zip archives support."""


def renumbered(content: bytes) -> bytes:
    """Return a skops file with sequential numbers as names, sorted members, and the same date for all members."""
    numbers: dict[str, int] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = _replaced(json.loads(archive.read(_SCHEMA)), numbers)
        members = {_file(name, numbers): archive.read(name) for name in archive.namelist() if name != _SCHEMA}
    members[_SCHEMA] = json.dumps(schema, indent=2).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _DATE), members[name])
    return target.getvalue()


def _replaced(node: Any, numbers: dict[str, int]) -> Any:
    if isinstance(node, list):
        return [_replaced(part, numbers) for part in node]
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    for key, part in node.items():
        if key == "__id__" and isinstance(part, int):
            made[key] = _number(str(part), numbers)
        elif key == "file" and isinstance(part, str):
            made[key] = _file(part, numbers)
        else:  # in a user's dict with these keys, the values are nodes
            made[key] = _replaced(part, numbers)
    return made


def _file(name: str, numbers: dict[str, int]) -> str:
    path = PurePosixPath(name)
    return f"{_number(path.stem, numbers)}{path.suffix}"


def _number(name: str, numbers: dict[str, int]) -> int:
    return numbers.setdefault(name, len(numbers) + 1)
