"""Services that this process has started."""

from __future__ import annotations

import subprocess

__all__ = ["STARTED", "reap"]

STARTED: list[subprocess.Popen[bytes]] = []
"""Their processes, until `reap` finds that they have ended."""


def reap() -> None:
    """Forget the services that have ended, so that they do not remain as zombies."""
    STARTED[:] = [process for process in STARTED if process.poll() is None]
