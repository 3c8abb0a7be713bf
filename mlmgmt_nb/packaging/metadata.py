"""The metadata of a packaged model: as tags of its registration, and as a sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["description", "git_commit", "tags"]

_LONGEST = 200
_COLUMNS = 50


def tags(facts: Mapping[str, Any]) -> list[str]:
    """Return facts as tags `name=value`; lists as one tag, mappings as one tag an entry."""
    made = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            made += [_tag(f"{name}.{key}", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            made.append(_tag(name, ", ".join(map(str, value[:_COLUMNS]))))
        elif value is not None:
            made.append(_tag(name, value))
    return made


def description(facts: Mapping[str, Any]) -> str:
    """Return facts as one sentence."""
    text = f"{facts.get('class') or facts.get('function') or facts['flavour']} ({facts['flavour']}, {facts['format']})"
    if parameters := facts.get("parameters"):
        text += f" with {', '.join(f'{name}={value!r}' for name, value in parameters.items())}"
    if metrics := facts.get("metrics"):
        text += f"; {', '.join(f'{name} {value}' for name, value in metrics.items())}"
    return text


def git_commit(folder: Path) -> str | None:
    """Return the commit of the repository that a folder is in, or None."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _tag(name: str, value: Any) -> str:
    text = f"{name}={value}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
