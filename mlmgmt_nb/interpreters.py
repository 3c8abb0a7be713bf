"""Python interpreters on this machine by version, including versions that `uv` can install."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HERE", "find_interpreter"]

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of the running Python."""
_TIMEOUT_SECONDS = 300


def find_interpreter(versions: Sequence[str], environment: dict[str, str] | None = None) -> str | None:
    """Find an interpreter of one of these versions (such as `3.12`), starting with the running version.

    If none is installed, `uv` installs the first version, unless its downloads are unreachable or disabled.

    Returns:
        the path of the interpreter; None if none is available.
    """
    if HERE in versions:
        return sys.executable
    found = (_installed(version, environment) for version in versions)
    return next((path for path in found if path), None) or _install(versions, environment)


def _install(versions: Sequence[str], environment: dict[str, str] | None) -> str | None:
    if not versions or _uv(["python", "install", versions[0]], environment) is None:
        return None
    return _installed(versions[0], environment)


def _installed(version: str, environment: dict[str, str] | None) -> str | None:
    return _uv(["python", "find", "--no-project", "--no-python-downloads", version], environment) or None


def _uv(arguments: Sequence[str], environment: dict[str, str] | None) -> str | None:
    """Return the output of `uv`; None if it fails."""
    import uv

    variables = {**os.environ, **(environment or {}), "PATH": _search_path(arguments[-1]), "UV_HTTP_RETRIES": "1"}
    command = [uv.find_uv_bin(), *arguments, "--no-config", "--color", "never"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, env=variables
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _search_path(version: str) -> str:
    """Return the search path with pyenv's interpreters instead of its shims, which run only the selected version."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin"), reverse=True)]
    shims = str(root / "shims")
    return os.pathsep.join(
        [*versions, *(path for path in os.environ.get("PATH", "").split(os.pathsep) if path != shims)]
    )
