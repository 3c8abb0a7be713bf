"""Check whether a Python already has the required packages, so that it needs no separate environment."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = ["has_all", "pins_of"]

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;*]+)")
_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def has_all(interpreter: str, lines: Sequence[str]) -> bool:
    """Return whether all lines require exact versions and a Python has all of them."""
    pins = pins_of(lines)
    if pins is None:
        return False
    command = [interpreter, "-I", "-c", _VERSIONS, *pins]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=Path.home())
        installed = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return all((installed.get(name) or "").partition("+")[0] == version for name, version in pins.items())


def pins_of(lines: Sequence[str]) -> dict[str, str] | None:
    """Return the required versions, by name; None if some line does not require one exact version."""
    pins = {}
    for line in lines:
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        if text.endswith(".whl"):
            name, version = PurePosixPath(text).name.split("-")[:2]
        elif match := _PIN.fullmatch(text):
            name, version = match.groups()
        else:
            return None
        pins[_normal(name)] = version.partition("+")[0]
    return pins


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
