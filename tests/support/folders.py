"""Folders that change while they are looked at."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["paths_in"]


def paths_in(folder: Path) -> list[Path]:
    """Return all files and folders in a folder. `Path.rglob` of Python 3.11 fails if one of them is just removed."""
    return [Path(place, name) for place, folders, files in os.walk(folder) for name in [*folders, *files]]
