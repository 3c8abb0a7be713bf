"""Compare the outcomes of the originals with ours, and with the list of intended differences."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

__all__ = ["check"]

Outcome = Mapping[str, Any]
"""What becomes of a row, by aspect: `value`, `status`, `body`, `header content-type` and so on."""

LIST = Path(__file__).with_name("differences.toml")


def check(table: str, theirs: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> list[str]:
    """Return the differences of a table that are not listed, and those that are listed but do not occur."""
    assert theirs.keys() == ours.keys()
    differing = {
        (row, aspect)
        for row in theirs
        for aspect in theirs[row].keys() | ours[row].keys()
        if theirs[row].get(aspect) != ours[row].get(aspect)
    }
    listed, problems = _listed(table, {row: set(theirs[row]) | set(ours[row]) for row in theirs})
    for row, aspect in sorted(differing - listed):
        said = f"theirs {theirs[row].get(aspect)!r}, ours {ours[row].get(aspect)!r}"
        problems.append(f"not listed: {row}, {aspect}: {said}")
    return problems + [f"listed, but the same: {row}, {aspect}" for row, aspect in sorted(listed - differing)]


def _listed(table: str, rows: Mapping[str, Iterable[str]]) -> tuple[set[tuple[str, str]], list[str]]:
    """Return the rows and aspects of the list. A pattern stands for all rows with that aspect."""
    listed: set[tuple[str, str]] = set()
    problems = []
    for entry in tomllib.loads(LIST.read_text())[table]:
        assert entry["reason"].strip(), entry
        for pattern in entry["rows"]:
            there = [row for row in rows if row == pattern or _matches(row, pattern)]
            found = {(row, aspect) for row in there for aspect in entry["aspects"] if aspect in rows[row]}
            if not found:
                problems.append(f"listed, but there is no such row: {pattern}, {entry['aspects']}")
            listed |= found
    return listed, problems


def _matches(row: str, pattern: str) -> bool:
    """Match `GROUP: *`, where the group is literal."""
    return pattern.endswith("*") and fnmatchcase(row, pattern.replace("[", "[[]"))
