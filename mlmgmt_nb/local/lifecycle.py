"""Start and stop the embedded service of a state folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlmgmt_nb.errors import LocalServiceError, ServiceStoppedError
from mlmgmt_nb.local.children import STARTED, reap
from mlmgmt_nb.local.endpoint import Endpoint
from mlmgmt_nb.local.folder import can_serve, is_held, last_lines, log_file, record_mark, state_folder
from mlmgmt_nb.local.records import find, responding
from mlmgmt_nb.local.unresponsive import holder, unresponsive

__all__ = ["ensure", "locate", "resume", "stop"]

_TICK_SECONDS = 0.01
_STOP_SECONDS = 40.0
_SETTLE_SECONDS = 5.0
"""Maximum wait for the record of a service that holds the folder: it checks its files each second."""


def locate(home: str | os.PathLike[str] | None = None) -> Endpoint | None:
    """Return the embedded service of a state folder, or None when none runs there.

    Raises:
        LocalServiceError: one runs, but does not respond.
    """
    folder = state_folder(home)
    endpoint = find(folder) or _wait_for_record(folder, time.monotonic() + _SETTLE_SECONDS)
    if endpoint is None and is_held(folder):
        raise unresponsive(folder)
    return endpoint


def ensure(
    home: str | os.PathLike[str] | None = None, timeout: float = 30.0, meanwhile: Callable[[], object] = lambda: None
) -> Endpoint:
    """Return the embedded service of a state folder, and start it if none answers. Safe for concurrent processes.

    Args:
        home: the state folder, see `state_folder`; created if it does not exist.
        timeout: maximum seconds until the service responds.
        meanwhile: called while a service that this process started gets ready.

    Raises:
        LocalServiceError: it did not start; the message has the last lines of its log. Or no service runs on this
            system.
    """
    if not can_serve():
        import platform  # only for this

        raise LocalServiceError(
            f"the embedded service does not run on {platform.system() or 'this system'}: it needs Linux or macOS",
            fix="Use it in WSL or in a container of Docker Desktop, or connect to a service elsewhere with `base_url`.",
        )
    folder = state_folder(home)
    endpoint = find(folder)
    if endpoint is not None:
        return endpoint
    import filelock  # only for a start

    deadline = time.monotonic() + timeout
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(folder / "start.lock", timeout=timeout, mode=0o600):
            return find(folder) or _wait_for_record(folder, deadline) or _start(folder, deadline, meanwhile)
    except filelock.Timeout as error:
        raise LocalServiceError(
            f"another process has been starting the service in {folder} for more than {timeout:g} s",
            fix=f"See {log_file(folder)}, then try again.",
        ) from error
    except OSError as error:
        raise LocalServiceError(
            f"the state folder {folder} cannot be used: {error.strerror or error} ({error.filename or folder})",
            fix="Repair or remove that file, or give a folder that you can write to as `home` or in MLMGMT_HOME.",
        ) from error


def resume(home: str | os.PathLike[str] | None = None) -> Endpoint:
    """Return the embedded service of a state folder; start it again only if it crashed.

    Raises:
        ServiceStoppedError: it was stopped.
        LocalServiceError: it did not start, or does not respond.
    """
    folder = state_folder(home)
    endpoint = locate(folder)
    if endpoint is not None:
        return endpoint
    if (folder / "service.json").exists():
        return ensure(folder)  # one that is stopped takes its record with it
    raise ServiceStoppedError(
        f"the service of {folder} is stopped",
        home=folder,
        fix="Call connect() to start it again.",
    )


def stop(home: str | os.PathLike[str] | None = None, timeout: float = _STOP_SECONDS) -> bool:
    """Stop the embedded service of a state folder, with all its processes. Return False when none was running.

    Raises:
        LocalServiceError: it has not ended in time.
    """
    folder = state_folder(home)
    deadline = time.monotonic() + timeout
    endpoints = list(responding(folder))
    if not endpoints and (settled := _wait_for_record(folder, deadline)):
        endpoints = list(responding(folder)) or [settled]
    for endpoint in endpoints:
        with contextlib.suppress(ProcessLookupError):
            os.kill(endpoint.pid, signal.SIGTERM)
    for endpoint in endpoints:
        if not _wait_for_end(endpoint.pid, deadline):
            raise LocalServiceError(
                f"the service (process {endpoint.pid}) has not ended after {timeout:g} s",
                fix=f"See {log_file(endpoint.home)}; end it with: kill -9 {endpoint.pid}",
            )
    if not is_held(folder):
        _forget_crashes(folder)
    elif not endpoints:
        raise unresponsive(folder)
    return bool(endpoints)


def _forget_crashes(folder: Path) -> None:
    """Remove the records of services that crashed: from now on they are stopped."""
    with contextlib.suppress(OSError):
        for path in folder.glob("service*.json"):
            path.unlink(missing_ok=True)


def _wait_for_end(pid: int, deadline: float) -> bool:
    """Wait until a process has ended. One that its parent has not noticed yet has ended, too."""
    import psutil  # only for this

    while time.monotonic() < deadline:
        reap()
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(_TICK_SECONDS)
    return False


def _wait_for_record(folder: Path, deadline: float) -> Endpoint | None:
    """Wait for a service that holds the folder but cannot be found: its record is lost, or not written yet."""
    until = min(deadline, time.monotonic() + _SETTLE_SECONDS)
    while is_held(folder) and time.monotonic() < until:
        if endpoint := find(folder):
            return endpoint
        time.sleep(5 * _TICK_SECONDS)
    return None


def _start(folder: Path, deadline: float, meanwhile: Callable[[], object]) -> Endpoint:
    log_path = log_file(folder)
    log_path.parent.mkdir(mode=0o700, exist_ok=True)
    reap()
    read_fd, write_fd = os.pipe()
    try:
        with open(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "mlmgmt_nb.cli",
                    "serve",
                    "--home",
                    folder,
                    "--detached",
                    "--report",
                    str(write_fd),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                pass_fds=[write_fd],
            )
        STARTED.append(process)
        meanwhile()
        return _await(folder, process, deadline, read_fd)
    finally:
        os.close(read_fd)
        os.close(write_fd)


def _await(folder: Path, process: subprocess.Popen[bytes], deadline: float, read_fd: int) -> Endpoint:
    """Wait until a service answers. A child that ends is not a failure while another service holds the folder."""
    seen: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        mark = record_mark(folder)
        if mark is not None and mark != seen:
            endpoint = find(folder)
            if endpoint is not None:
                return endpoint
            seen = mark
        if ended and not is_held(folder):
            raise _failure(folder, process.returncode, read_fd)
        time.sleep(_TICK_SECONDS)
    if holder(folder) not in {None, process.pid}:
        raise unresponsive(folder)
    raise LocalServiceError(
        f"the service in {folder} did not answer in time\n{last_lines(folder)}",
        fix=f"The whole log is {log_file(folder)}; try again, with more time if the machine is busy.",
    )


def _failure(folder: Path, code: int, read_fd: int) -> LocalServiceError:
    """Return why a service did not start: its own message if there is one, else the end of its log."""
    os.set_blocking(read_fd, False)
    with contextlib.suppress(OSError, ValueError):
        reported = json.loads(os.read(read_fd, 2**16))
        return LocalServiceError(str(reported["message"]), fix=reported["fix"])
    return LocalServiceError(
        f"the service exited at startup with code {code}\n{last_lines(folder)}",
        fix=f"The whole log is {log_file(folder)}.",
    )
