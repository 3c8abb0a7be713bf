"""The reason why a driver does not load, in a file that an orchestrator reads when the process has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

__all__ = ["report_failure"]

_MOST_CHARACTERS = 1000
"""Kubernetes cuts a termination message at 4,096 bytes."""


def report_failure(path: str | None, code: str, message: str) -> None:
    """Write the reason as JSON, with the end of a long message. Nothing depends on the file."""
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).write_bytes(msgspec.json.encode({"code": code, "message": message[-_MOST_CHARACTERS:]}))
