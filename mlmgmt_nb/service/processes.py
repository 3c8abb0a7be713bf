"""Processes of this machine, named so that no later one with the same pid is taken for them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

__all__ = ["machine", "started"]


def started(pid: int) -> str:
    """When a process started, on a clock that nobody can set; "" when there is no such process."""
    try:
        if psutil.LINUX:
            # Field 22 counts from the boot, the name in field 2 may have blanks in it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return f"{_boot()}:{fields[19]}" if fields[0] != "Z" else ""
        return str(psutil.Process(pid).create_time())
    except (OSError, IndexError, psutil.NoSuchProcess):
        return ""


def machine() -> str:
    """The machine (or container) whose pids are known here."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return " ".join(filter(None, [socket.gethostname(), _boot(), namespace]))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
