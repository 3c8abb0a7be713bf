"""Processes of this machine, identified so that later ones with the same pid are not mistaken for them."""

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
    """Return the start time of a process, on a clock that cannot be set; "" if the process does not exist."""
    try:
        if psutil.LINUX:
            # Field 22 counts from the boot; the name in field 2 may contain spaces.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return f"{_boot()}:{fields[19]}" if fields[0] != "Z" else ""
        return str(psutil.Process(pid).create_time())
    except (OSError, IndexError, psutil.NoSuchProcess):
        return ""


def machine() -> str:
    """Return an identifier of the machine (or container) whose pids are visible to this process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return " ".join(filter(None, [socket.gethostname(), _boot(), namespace]))


def end_group(pid: int, started_then: str, mark: str) -> bool:
    """End the leader of a process group, and the rest of the group if the leader has ended.

    Args:
        started_then: the earlier result of `started`: a later process with the same pid is not ended.
        mark: a text in the command line or the environment of each process of the group. It distinguishes the group
            from a later group with the same number, and from a group of a copy of the state folder.

    Returns:
        Whether there was a process to end.
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
    """Return an environment variable with this process and its state folder, which child processes inherit.

    `end_orphans` uses the variable.
    """
    return {_OWNER: f"{os.getpid()} {started(os.getpid())} {folder}"}


def end_orphans(folder: Path) -> int:
    """End the processes left by service processes of a state folder that have ended; return their number."""
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
    """End all processes with a variable in their environment, which child processes inherit.

    This also finds child processes that have left the group and the session of their parent.

    Returns:
        The number of processes.
    """
    count = 0
    for _ in range(_ROUNDS):  # a killed process may have started another one before
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
