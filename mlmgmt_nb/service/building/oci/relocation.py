"""Packages that were installed in a folder of this machine, as files of an image: the same wherever that folder was.

Scripts run the Python of the image, and files that describe where and when a package was built are removed. The list of
files of each package (`RECORD`) stays true.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["relocate"]

_PYTHON = re.compile(rb"#![^\n]*python[^\n]*\n|#!/bin/sh\n'''exec' [^\n]*python[^\n]*\n' '''\n")
"""The beginning of a script for Python. A long path is in the second line, where it is a command of the shell."""
_Rows = list[list[str]]


def relocate(library: Path, scripts: Path, interpreter: str) -> None:
    """Prepare packages for an image.

    Args:
        library: the folder that they were installed into, with their scripts in `bin`.
        scripts: the folder for their scripts, beside which the library will be as it is now.
        interpreter: path of Python in the image.
    """
    moved = _move_scripts(library, scripts, interpreter)
    for package in sorted(library.glob("*.dist-info")):
        removed = [path for path in package.iterdir() if _is_of_this_build(path)]
        for path in removed:
            path.unlink()
        _change_record(package / "RECORD", {f"{package.name}/{path.name}" for path in removed}, moved)


def _move_scripts(library: Path, target: Path, interpreter: str) -> dict[str, list[str]]:
    """Move scripts, and make them run the Python of the image. Return their new rows in lists of files, by name."""
    target.mkdir(parents=True, exist_ok=True)
    source = library / "bin"
    rows = {}
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        content = path.read_bytes()
        if begin := _PYTHON.match(content):
            content = f"#!{interpreter}\n".encode() + content[begin.end() :]
        moved = target / path.name
        moved.write_bytes(content)
        moved.chmod(0o755)
        rows[f"bin/{path.name}"] = [os.path.relpath(moved, library), _digest(content), str(len(content))]
    shutil.rmtree(source, ignore_errors=True)
    return rows


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _is_of_this_build(path: Path) -> bool:
    """Return whether a file has times of a wheel that was sent along, or its path in the folder of this build."""
    return path.name == "uv_cache.json" or (path.name == "direct_url.json" and b"file://" in path.read_bytes())


def _change_record(record: Path, removed: set[str], moved: Mapping[str, list[str]]) -> None:
    """Change a list of files, if it is there and names some of these."""
    if not record.is_file():
        return
    with record.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    changed = list(_changed(rows, removed, moved))
    if changed != rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(changed)
        record.unlink()  # unlink first: it may be a hard link to a file of uv's cache
        record.write_text(text.getvalue(), encoding="utf-8")


def _changed(rows: _Rows, removed: set[str], moved: Mapping[str, list[str]]) -> Iterator[list[str]]:
    for row in rows:
        if row and row[0] not in removed:
            yield moved.get(row[0], row)
