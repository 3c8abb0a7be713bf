"""Versions that a model was packaged with, as properties of its manifest, and their differences from this kernel."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

__all__ = ["difference", "properties"]

_PYTHON, _PLATFORM, _VERSIONS = "pythonVersion", "platform", "kernelVersions"
_SHOWN = 5
_PIN = re.compile(r"(\S+)==(\S+)")


def properties(requirements: str) -> dict[str, str]:
    """Return the properties that record this kernel: its Python, its platform, and the versions of requirements.

    Args:
        requirements: text of a requirements file. The pinned versions before its first empty line are recorded.
    """
    direct = requirements.partition("\n\n")[0]
    pins = [line for line in direct.splitlines() if _PIN.fullmatch(line)]
    return {
        _PYTHON: platform.python_version(),
        _PLATFORM: f"{platform.system().lower()}-{platform.machine()}",
        _VERSIONS: " ".join(pins),
    }


def difference(recorded: Mapping[str, str]) -> str | None:
    """Return the differences of this kernel from recorded properties, in one line; None if there are none."""
    parts = []
    python = recorded.get(_PYTHON, "")
    if python and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        parts.append(f"Python {python} (here {platform.python_version()})")
    for name, kept in _PIN.findall(recorded.get(_VERSIONS, "")):
        here = _version(name)
        if here != kept:
            parts.append(f"{name} {kept} (here {here or 'none'})")
    if not parts:
        return None
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"versions of this kernel differ from those of the model's package: {', '.join(parts[:_SHOWN])}{more}"


def _version(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None
