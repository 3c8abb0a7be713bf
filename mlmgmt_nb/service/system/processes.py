"""Processes of this machine, named so that no later one with the same pid is taken for them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["end_group", "end_marked", "end_orphans", "machine", "ownership", "started"]

_OWNER = "MLMGMT_OWNER"
_ROUNDS = 5


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
    """Return the machine (or container) whose pids are known here."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return " ".join(filter(None, [socket.gethostname(), _boot(), namespace]))


def end_group(pid: int, started_then: str, mark: str) -> bool:
    """End a process that led a group, and what is left of the group when it has gone itself.

    Args:
        started_then: when it started, as `started` told then: a later process with its pid is let be.
        mark: a text in the command line or the environment of each process of the group. It tells the group from one
            that got the same number later, or that belongs to a copy of the state folder.

    Returns:
        Whether anything was there to end.
    """
    if started(pid) not in {"", started_then}:
        return False
    ended = [process for process in _group(pid) if _has(process, mark)]
    for process in ended:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ended, timeout=5)
    return bool(ended)


def ownership(folder: Path) -> dict[str, str]:
    """Return a variable for the environment of a process, which it hands on to its children: who started it, for what state
    folder. `end_orphans` goes by it."""
    return {_OWNER: f"{os.getpid()} {started(os.getpid())} {folder}"}


def end_orphans(folder: Path) -> int:
    """End what services of a state folder have started that are there no more; how many processes that were."""
    orphans = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            pid, then, of = (process.environ().get(_OWNER, "") + "  ").split(" ", 2)
            if of.strip() == str(folder) and started(int(pid)) != then:
                process.kill()
                orphans.append(process)
    psutil.wait_procs(orphans, timeout=5)
    return len(orphans)


def end_marked(variable: str, value: str) -> int:
    """End all processes that have a variable in their environment, which children hand on to theirs.

    A child that has left the group and the session of its parent is found by it.

    Returns:
        How many there were.
    """
    count = 0
    for _ in range(_ROUNDS):  # one that is being killed may have started another
        found = [process for process in psutil.process_iter() if _value(process, variable) == value]
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)
        count += len(found)
    return count


def _value(process: psutil.Process, variable: str) -> str | None:
    with contextlib.suppress(OSError, psutil.Error):
        return process.environ().get(variable)
    return None


def _group(pid: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(process.pid) == pid:
                yield process


def _has(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(OSError, psutil.Error):
        return any(mark in part for part in (*process.cmdline(), *process.environ().values()))
    return False


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
