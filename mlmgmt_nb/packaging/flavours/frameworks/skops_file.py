"""skops files with the same bytes for the same model, so that deploying it again makes no new version.

skops names objects and files by their addresses in memory, and dates the members of its zip archive.
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
"""The first date that zip archives have."""


def renumbered(content: bytes) -> bytes:
    """Return a skops file with numbers as names, in the order of the model's parts, and one date for all members."""
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
        else:  # parts of a user's dict with these keys are nodes
            made[key] = _replaced(part, numbers)
    return made


def _file(name: str, numbers: dict[str, int]) -> str:
    path = PurePosixPath(name)
    return f"{_number(path.stem, numbers)}{path.suffix}"


def _number(name: str, numbers: dict[str, int]) -> int:
    return numbers.setdefault(name, len(numbers) + 1)
