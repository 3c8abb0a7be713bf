"""The environment of processes that tests start: a `PATH` with this Python's programs, and cached bytecode."""

from __future__ import annotations

import os
import sysconfig

__all__ = ["keep_bytecode", "use_own_programs"]


def use_own_programs() -> None:
    """Put the folder of this Python's programs first on `PATH`, for this process and those that it starts."""
    own = sysconfig.get_path("scripts")
    if os.environ.get("PATH", "").split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join(filter(None, (own, os.environ.get("PATH"))))


def keep_bytecode() -> None:
    """Make the processes that tests start write bytecode, regardless of the shell's environment.

    Tests start hundreds of processes. With `PYTHONDONTWRITEBYTECODE`, which container images often set, each process
    compiles every module that it imports, which doubles the time of a run.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
