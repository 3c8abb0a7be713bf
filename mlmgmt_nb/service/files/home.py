"""The state folder: where everything that the service knows is kept, private to its user."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from mlmgmt_nb import local
from mlmgmt_nb.errors import LocalServiceError

__all__ = ["DISK_FULL", "READ_ONLY", "Home", "damaged", "flush", "write_atomically", "write_if_new"]

log = logging.getLogger(__name__)

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room for a file."""

READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""What it says when a file or folder can only be read."""

_TOKEN_BYTES = 32
_TOKEN_CHARACTERS = 43
"""Length of a token of that many bytes, as text."""
_LOOK_SECONDS = 1.0
_PROBE_BYTES, _RESERVE_BYTES = 2**18, 2**20
_PLACES = 64
"""Processes that may share a folder."""


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file atomically unless it has this content: what needs no room on the disk cannot fail for want of it."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    write_atomically(path, content)


def flush(folder: Path) -> None:
    """Has all that was written to the disk of a folder be there, also after a power cut. One call for many files is
    faster than one for each.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    except AttributeError:  # not on macOS
        os.sync()
    finally:
        os.close(descriptor)


class Home:
    """A state folder. `open()` makes it and takes a place in it.

    There is one place where the database is SQLite. Processes that share a PostgreSQL database share the folder too,
    and each takes the first place that is free: `service.lock`, `service-2.lock`, and so on, with files of the same
    names that say where it listens.

    Args:
        path: the folder; made with mode 0700 when it is not there.

    Raises:
        LocalServiceError: from `open()`, when the folder cannot be used or its only place is taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.token_file = self.path / "token"
        self.database = self.path / "mlmgmt.db"
        self.artifacts = self.path / "artifacts"
        self.images = self.path / "images"
        self.environments = self.path / "environments"
        self.logs = self.path / "logs"
        self.data = self.path / "data"
        self._id_file = self.path / "id"
        self._reserve = self.path / "reserve"
        self._folder_lock: int | None = None
        self._locks: list[FileLock] = []
        self._description = b""
        self._is_troubled = False
        self._take(1)
        self.place = 0  # none yet

    def _take(self, number: int) -> None:
        suffix = "" if number == 1 else f"-{number}"
        self.place = number
        self.service_file = self.path / f"service{suffix}.json"
        self._port_file = self.path / f"port{suffix}"
        self._lock = self._lock_of(number)
        # What is below here is gone when a service starts.
        scratch = self.path / f"scratch{suffix}"
        self.containers = scratch / "containers"
        self.exports = scratch / "exports"

    def _lock_of(self, place: int) -> FileLock:
        path = self.path / f"service{'' if place == 1 else f'-{place}'}.lock"
        return FileLock(path, timeout=0, mode=0o600, thread_local=False)

    def open(self, *, shared: bool = False) -> None:
        # Everything that the service and its children write is for its user alone.
        os.umask(0o077)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = self.path.stat()
            if info.st_uid != os.getuid():
                raise LocalServiceError(
                    f"The state folder {self.path} belongs to another user.",
                    fix="Choose one of your own with --home or MLMGMT_HOME.",
                )
            if stat.S_IMODE(info.st_mode) & 0o077:
                self.path.chmod(0o700)
            self._free_reserve()
            for folder in (self.artifacts, self.images, self.environments, self.logs):
                folder.mkdir(exist_ok=True)
            self._lock_folder(shared=shared)
            self._acquire(_PLACES if shared else 1)
            self._keep_reserve()
        except Timeout:
            raise LocalServiceError(
                f"A service already runs on the state folder {self.path}{self._who()}.",
                fix="Use that one (mlmgmt status), stop it (mlmgmt stop), or choose another folder with --home.",
            ) from None
        except OSError as error:
            raise LocalServiceError(
                f"The state folder {self.path} cannot be used: {error.strerror}{_which(error, self.path)}.",
                fix="Make it writable, mend what is in it, or choose another one with --home or MLMGMT_HOME.",
            ) from error

    def _lock_folder(self, *, shared: bool) -> None:
        """Lock the folder itself: a lock file can be deleted while a service runs, the folder cannot.

        Raises:
            Timeout: a service has it, or one that would share it with others.
        """
        self._folder_lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        until = time.monotonic() + _LOOK_SECONDS  # whoever looks for a service holds it for a moment
        while True:
            try:
                fcntl.flock(self._folder_lock, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Timeout(str(self.path)) from None
                time.sleep(_LOOK_SECONDS / 20)
            except OSError as error:
                log.info("the folder itself cannot be locked here (%s); its lock files are", error.strerror)
                return

    def _free_reserve(self) -> None:
        """Give up the reserve when the disk is full, so that there is room to start with."""
        probe = self.path / f".probe.{os.getpid()}.partial"
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            log.warning("the disk of %s is full: the service starts with what was kept in reserve", self.path)
            self._reserve.unlink(missing_ok=True)
        finally:
            probe.unlink(missing_ok=True)

    def _keep_reserve(self) -> None:
        """Keep a little room on the disk for the next start, unless the disk is full."""
        if self._reserve.exists() or shutil.disk_usage(self.path).free < 16 * _RESERVE_BYTES:
            return
        with contextlib.suppress(OSError):
            write_atomically(self._reserve, os.urandom(_RESERVE_BYTES))  # no disk stores that in less

    def _acquire(self, places: int) -> None:
        for number in range(1, places + 1):
            self._take(number)
            try:
                self._lock.acquire()
                self._locks = [self._lock]
                return
            except Timeout:
                if number == places:
                    raise

    @contextmanager
    def maintenance(self) -> Iterator[None]:
        """Keep what removes files and what copies them apart, also across processes; waits until it is free."""
        with FileLock(self.path / "maintenance.lock", mode=0o600):
            yield

    def is_taken(self, place: int) -> bool:
        """Whether another process has a place."""
        if place == self.place:
            return False
        try:
            with self._lock_of(place):
                return False
        except Timeout:
            return True

    def is_alone(self) -> bool:
        """Whether no other process has a place in the folder."""
        if self._folder_lock is None and local.is_locked(self.path):
            return False
        return not any(self.is_taken(place) for place in range(1, _PLACES + 1))

    def _who(self) -> str:
        try:
            known = msgspec.json.decode(self.service_file.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError):
            return ""
        return f" (process {known.get('pid')}, {known.get('baseUrl')})"

    def token(self) -> str:
        """Return the bearer token of this state folder, in a file for its user alone. Made anew where there is none that is as
        long as ours: an empty or short one, which anybody could guess, lets nobody in.
        """
        if not (token := self._known_token()):
            with FileLock(self.path / "token.lock", mode=0o600):  # processes that share the folder share the token
                token = self._known_token() or self._new_token()
        self.token_file.chmod(0o600)
        return token

    def _known_token(self) -> str:
        """Return the token in the file; "" where there is none that may be used."""
        try:
            token = self.token_file.read_bytes().strip().decode("ascii", errors="replace")
        except FileNotFoundError:
            return ""
        return token if re.fullmatch(f"[!-~]{{{_TOKEN_CHARACTERS},}}", token) else ""

    def _new_token(self) -> str:
        if self.token_file.exists():
            log.warning("the token in %s is not one of a service's: it is replaced by a new one", self.token_file)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        write_atomically(self.token_file, token.encode())
        return token

    def identity(self) -> str:
        """Names this state folder among others, where things of several are kept together; made at its first use."""
        try:
            found = self._id_file.read_bytes().strip().decode(errors="replace")
        except FileNotFoundError:
            write_atomically(self._id_file, secrets.token_hex(8).encode())
            return self.identity()
        if not re.fullmatch("[0-9a-f]{16}", found):
            raise damaged(self._id_file, "Remove that file: the folder gets a new name, and its containers start anew.")
        return found

    def forget_identity(self) -> None:
        """Has the folder be named anew: it is a copy of the one that has the name."""
        self._id_file.unlink(missing_ok=True)

    def last_port(self) -> int | None:
        """Return the port that a service at this place listened on last."""
        try:
            port = int(self._port_file.read_text())
        except (OSError, ValueError):
            return None
        return port if 0 < port < 2**16 else None

    def announce(self, description: dict[str, object], port: int) -> None:
        """Say where the service listens, for those who look for it. `keep` has it stay."""
        self._description = msgspec.json.encode(description)
        try:
            write_if_new(self._port_file, str(port).encode())
            write_atomically(self.service_file, self._description)
        except OSError as error:
            log.error("%s cannot be written (%s); it is tried again", self.service_file, error.strerror)
            self._write_in_place()

    def _write_in_place(self) -> None:
        """Write over the record of the process before, which needs no room on most disks."""
        with contextlib.suppress(OSError), self.service_file.open("r+b", buffering=0) as file:
            file.write(self._description)
            file.truncate()

    def keep(self) -> None:
        """Put the record and the lock file back if somebody has deleted or damaged them; called now and then."""
        try:
            if self._description and _content(self.service_file) != self._description:
                log.warning("%s was not as this service had written it; it is written again", self.service_file)
                write_atomically(self.service_file, self._description)
            if not self._lock_is_there():
                log.warning("the lock file %s was gone; it is made again", self._lock.lock_file)
                self._lock_again()
            self._keep_reserve()
        except (OSError, Timeout) as error:
            if not self._is_troubled:
                log.warning("the state folder cannot be kept in order: %s", error)
            self._is_troubled = True
        else:
            self._is_troubled = False

    def _lock_is_there(self) -> bool:
        descriptor = self._lock._context.lock_file_fd  # noqa: SLF001 - it has no other way to be compared
        try:
            return descriptor is None or os.path.samestat(os.fstat(descriptor), os.stat(self._lock.lock_file))
        except FileNotFoundError:
            return False

    def _lock_again(self) -> None:
        again = self._lock_of(self.place)
        again.acquire()
        self._locks.append(again)
        self._lock = again

    def close(self) -> None:
        with contextlib.suppress(OSError):  # nobody believes it once this process is gone
            self.service_file.unlink(missing_ok=True)
        for lock in self._locks:
            lock.release()
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None


def _which(error: OSError, folder: Path) -> str:
    """Name the file that an error is about, unless it is the folder itself."""
    return f" ({error.filename})" if error.filename and Path(error.filename) != folder else ""


def damaged(path: Path, fix: str) -> LocalServiceError:
    """Return the error for a file of the state folder that has garbage in it."""
    return LocalServiceError(f"{path} is damaged: it does not have what the service writes there.", fix=fix)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
