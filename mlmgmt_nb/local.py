"""Find the user's embedded service, or start it as a separate process: one for each state folder.

The service writes `service.json` into its state folder once it listens, and holds a lock on `service.lock` while it
lives. What `service.json` says is believed only when the server there answers, under the folder's token, with the same
process id and folder: what a copy of a folder says about the original is not. Processes that share a folder and a
database have `service-2.json`, `service-2.lock` and so on; any of them is as good as the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import filelock
import platformdirs

from mlmgmt_nb.errors import LocalServiceError, ServiceStoppedError

if TYPE_CHECKING:
    import ssl

__all__ = [
    "Endpoint",
    "ensure",
    "find",
    "get",
    "is_locked",
    "living",
    "locate",
    "pinned",
    "resume",
    "state_folder",
    "stop",
]

_TICK_SECONDS = 0.01
_PING_SECONDS = 5.0
_STOP_SECONDS = 40.0
_LOG_LINES = 15
_SETTLE_SECONDS = 5.0
"""How long to wait for a service that holds the folder to say where it is: it looks after its files each second."""

# Kept so that a service that ended does not stay a zombie of this process.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Endpoint:
    """A running embedded service.

    Attributes:
        base_url: the account's URL.
        token_file: the file that has its bearer token.
        pid: its process.
        home: its state folder.
        version: of mlmgmt-nb that it runs.
        lock: the file that it holds a lock on.
        certificate: file of the certificate that it answers with, if it speaks TLS. Programs of this machine believe
            it whoever signed it and whatever name it is for: the folder that names it is private.
    """

    base_url: str
    token_file: Path
    pid: int
    home: Path
    version: str
    lock: Path
    certificate: Path | None = None


def state_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """Return the state folder: `home`, else MLMGMT_HOME, else the user's data folder. Create nothing."""
    chosen = home or os.environ.get("MLMGMT_HOME") or platformdirs.user_data_dir("mlmgmt-nb", appauthor=False)
    return Path(chosen).expanduser().absolute()


def find(home: str | os.PathLike[str] | None = None) -> Endpoint | None:
    """Return the embedded service of a state folder, or None when none answers there."""
    return next(living(state_folder(home)), None)


def locate(home: str | os.PathLike[str] | None = None) -> Endpoint | None:
    """Return the embedded service of a state folder, or None when none runs there.

    Raises:
        LocalServiceError: one runs, but does not respond.
    """
    folder = state_folder(home)
    endpoint = find(folder) or _wait_for_record(folder, time.monotonic() + _SETTLE_SECONDS)
    if endpoint is None and _is_held(folder):
        raise _unresponsive(folder)
    return endpoint


def ensure(home: str | os.PathLike[str] | None = None, timeout: float = 30.0) -> Endpoint:
    """Return the embedded service of a state folder, and start it if none answers. Safe for concurrent processes.

    Args:
        home: the state folder, as `state_folder` has it; made if it is not there.
        timeout: most seconds until it answers.

    Raises:
        LocalServiceError: it did not start; the message has the last lines of its log.
    """
    folder = state_folder(home)
    endpoint = find(folder)
    if endpoint is not None:
        return endpoint
    deadline = time.monotonic() + timeout
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(folder / "start.lock", timeout=timeout, mode=0o600):
            return find(folder) or _wait_for_record(folder, deadline) or _start(folder, deadline)
    except filelock.Timeout as error:
        raise LocalServiceError(
            f"another process has been starting the service in {folder} for more than {timeout:g} s",
            fix=f"See {_log_file(folder)}, then try again.",
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
    endpoints = list(living(folder))
    if not endpoints and (settled := _wait_for_record(folder, deadline)):
        endpoints = list(living(folder)) or [settled]
    for endpoint in endpoints:
        with contextlib.suppress(ProcessLookupError):
            os.kill(endpoint.pid, signal.SIGTERM)
    for endpoint in endpoints:
        if not _wait_for_end(endpoint.pid, deadline):
            raise LocalServiceError(
                f"the service (process {endpoint.pid}) has not ended after {timeout:g} s",
                fix=f"See {_log_file(endpoint.home)}; end it with: kill -9 {endpoint.pid}",
            )
    if not _is_held(folder):
        _forget_crashes(folder)
    elif not endpoints:
        raise _unresponsive(folder)
    return bool(endpoints)


def _unresponsive(folder: Path) -> LocalServiceError:
    """Return the error for a service that holds its folder, but cannot be found there or does not answer."""
    pid = _holder(folder)
    who, end = (
        (f" (process {pid})", f"it with: kill -9 {pid}") if pid else ("", "the process `mlmgmt serve` of that folder")
    )
    return LocalServiceError(
        f"the service of {folder}{who} runs but does not respond",
        fix=f"Try again; if that does not help, see {_log_file(folder)} and end {end}",
    )


def _holder(folder: Path) -> int | None:
    """Return the process that holds a lock file of the folder; None if the system does not show it."""
    import psutil  # only for this

    locks = {str(path) for path in folder.resolve().glob("service*.lock")}
    holders = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(file.path in locks for file in process.open_files()):
                holders.append((process.create_time(), process.pid))
    return min(holders, default=(0.0, None))[1]


def _forget_crashes(folder: Path) -> None:
    """Remove the records of services that crashed: from now on they are stopped."""
    with contextlib.suppress(OSError):
        for path in folder.glob("service*.json"):
            path.unlink(missing_ok=True)


def _wait_for_end(pid: int, deadline: float) -> bool:
    """Wait until a process has ended. One that its parent has not noticed yet has ended, too."""
    import psutil  # only for this

    while time.monotonic() < deadline:
        _reap()
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(_TICK_SECONDS)
    return False


def _reap() -> None:
    _started[:] = [process for process in _started if process.poll() is None]


def _wait_for_record(folder: Path, deadline: float) -> Endpoint | None:
    """Wait for a service that holds the folder but cannot be found: its record is lost, or not written yet."""
    until = min(deadline, time.monotonic() + _SETTLE_SECONDS)
    while _is_held(folder) and time.monotonic() < until:
        if endpoint := find(folder):
            return endpoint
        time.sleep(5 * _TICK_SECONDS)
    return None


def _start(folder: Path, deadline: float) -> Endpoint:
    log_file = _log_file(folder)
    log_file.parent.mkdir(mode=0o700, exist_ok=True)
    _reap()
    read_fd, write_fd = os.pipe()
    try:
        with open(os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
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
        _started.append(process)
        return _await(folder, process, deadline, read_fd)
    finally:
        os.close(read_fd)
        os.close(write_fd)


def _await(folder: Path, process: subprocess.Popen[bytes], deadline: float, read_fd: int) -> Endpoint:
    """Wait until a service answers. A child that ends is not a failure while another service holds the folder."""
    seen: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        mark = _mark(folder)
        if mark is not None and mark != seen:
            endpoint = find(folder)
            if endpoint is not None:
                return endpoint
            seen = mark
        if ended and not _is_held(folder):
            raise _failure(folder, process.returncode, read_fd)
        time.sleep(_TICK_SECONDS)
    if process.poll() is not None:  # another one holds the folder
        raise _unresponsive(folder)
    raise LocalServiceError(
        f"the service in {folder} did not answer in time\n{_last_lines(folder)}",
        fix=f"The whole log is {_log_file(folder)}; try again, with more time if the machine is busy.",
    )


def _failure(folder: Path, code: int, read_fd: int) -> LocalServiceError:
    """Return why a service did not start: its own message if there is one, else the end of its log."""
    os.set_blocking(read_fd, False)
    with contextlib.suppress(OSError, ValueError):
        reported = json.loads(os.read(read_fd, 2**16))
        return LocalServiceError(str(reported["message"]), fix=reported["fix"])
    return LocalServiceError(
        f"the service exited at startup with code {code}\n{_last_lines(folder)}",
        fix=f"The whole log is {_log_file(folder)}.",
    )


def living(folder: Path) -> Iterator[Endpoint]:
    """Yield the processes of the service of a folder that respond, the oldest first."""
    _reap()
    further = sorted(folder.glob("service-*.json"))
    for path in (folder / "service.json", *further):
        endpoint = _recorded(path)
        if endpoint is not None and _answers(endpoint):
            yield endpoint


def _recorded(path: Path) -> Endpoint | None:
    try:
        record = json.loads(path.read_bytes())
        return Endpoint(
            base_url=str(record["baseUrl"]),
            token_file=Path(record["tokenFile"]),
            pid=int(record["pid"]),
            home=path.parent,
            version=record["version"],
            lock=path.with_suffix(".lock"),
            certificate=Path(record["certificate"]) if "certificate" in record else None,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if _is_held(path.parent):
            return None  # the service that runs is about to write it again
        reason = error.strerror if isinstance(error, OSError) else None
        raise LocalServiceError(
            f"{path} cannot be read: {reason}." if reason else f"{path} is damaged: its content is not valid.",
            fix="Remove that file; the service writes it again when it starts.",
        ) from error


def _answers(endpoint: Endpoint) -> bool:
    """Return whether the server at the endpoint is the process that the record names, for this folder.

    Only a process that lives is asked: a process that took the port of an ended process must not be given the token.
    """
    try:
        os.kill(endpoint.pid, 0)
        answer = _ping(endpoint)
        return answer.get("pid") == endpoint.pid and os.path.samefile(str(answer.get("home")), endpoint.home)
    except (OSError, http.client.HTTPException, ValueError, OverflowError, RecursionError):
        return False


def _ping(endpoint: Endpoint) -> Mapping[str, Any]:
    answer = json.loads(get(endpoint, "/")[1])
    return answer if isinstance(answer, dict) else {}


def get(endpoint: Endpoint, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body of the response to a GET request.

    Raises:
        OSError, HTTPException: it does not answer.
    """
    parts = urlsplit(endpoint.base_url)
    token = endpoint.token_file.read_text(encoding="ascii").strip()
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPConnection(host, port, timeout=_PING_SECONDS)
        if endpoint.certificate is None
        else http.client.HTTPSConnection(host, port, timeout=_PING_SECONDS, context=pinned(endpoint.certificate))
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()


def pinned(certificate: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts a single certificate, for any name."""
    import ssl  # few services have one

    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_held(folder: Path) -> bool:
    """Return whether a service has locked the folder or, where a disk cannot lock folders, its lock file."""
    if is_locked(folder):
        return True
    if not os.access(folder, os.R_OK):
        return False
    try:
        with filelock.FileLock(folder / "service.lock", timeout=0, mode=0o600):
            return False
    except filelock.Timeout:
        return True


def is_locked(folder: Path) -> bool:
    """Return whether a service has locked the folder itself, which nobody deletes while it is in use."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # this kind of disk cannot lock folders
    else:
        return False
    finally:
        os.close(descriptor)


def _mark(folder: Path) -> tuple[int, int] | None:
    """Change when `service.json` is written."""
    try:
        found = (folder / "service.json").stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _log_file(folder: Path) -> Path:
    return folder / "logs" / "service.log"


def _last_lines(folder: Path) -> str:
    try:
        with _log_file(folder).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-_LOG_LINES:])
