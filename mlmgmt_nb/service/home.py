"""The state folder: where everything that the service knows is kept, private to its user."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from mlmgmt_nb.errors import LocalServiceError

__all__ = ["DISK_FULL", "READ_ONLY", "Home", "flush", "write_atomically"]

log = logging.getLogger(__name__)

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room for a file."""

READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""What it says when a file or folder can only be read."""

_TOKEN_BYTES = 32
_TOKEN_CHARACTERS = 43
"""Length of a token of that many bytes, as text."""
_PLACES = 64
"""Processes that may share a folder."""


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
        return FileLock(self.path / f"service{'' if place == 1 else f'-{place}'}.lock", timeout=0, mode=0o600)

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
            for folder in (self.artifacts, self.images, self.environments, self.logs):
                folder.mkdir(exist_ok=True)
            self._acquire(_PLACES if shared else 1)
        except Timeout:
            raise LocalServiceError(
                f"A service already runs on the state folder {self.path}{self._who()}.",
                fix="Use that one (mlmgmt status), stop it (mlmgmt stop), or choose another folder with --home.",
            ) from None
        except OSError as error:
            raise LocalServiceError(
                f"The state folder {self.path} cannot be used: {error.strerror}.",
                fix="Make it writable, or choose another one with --home or MLMGMT_HOME.",
            ) from error

    def _acquire(self, places: int) -> None:
        for number in range(1, places + 1):
            self._take(number)
            try:
                self._lock.acquire()
                return
            except Timeout:
                if number == places:
                    raise

    @contextmanager
    def maintenance(self) -> Iterator[None]:
        """Keeps what removes files and what copies them apart, also across processes; waits until it is free."""
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
        return not any(self.is_taken(place) for place in range(1, _PLACES + 1))

    def _who(self) -> str:
        try:
            known = msgspec.json.decode(self.service_file.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError):
            return ""
        return f" (process {known.get('pid')}, {known.get('baseUrl')})"

    def token(self) -> str:
        """The bearer token of this state folder, in a file for its user alone. Made anew where there is none that is as
        long as ours: an empty or short one, which anybody could guess, lets nobody in.
        """
        if not (token := self._known_token()):
            with FileLock(self.path / "token.lock", mode=0o600):  # processes that share the folder share the token
                token = self._known_token() or self._new_token()
        self.token_file.chmod(0o600)
        return token

    def _known_token(self) -> str:
        """The token in the file; "" where there is none that may be used."""
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
            return self._id_file.read_text().strip()
        except FileNotFoundError:
            write_atomically(self._id_file, secrets.token_hex(8).encode())
            return self.identity()

    def forget_identity(self) -> None:
        """Has the folder be named anew: it is a copy of the one that has the name."""
        self._id_file.unlink(missing_ok=True)

    def last_port(self) -> int | None:
        """The port that a service at this place listened on last."""
        try:
            return int(self._port_file.read_text())
        except (OSError, ValueError):
            return None

    def announce(self, description: dict[str, object], port: int) -> None:
        """Says where the service listens, for those who look for it."""
        write_atomically(self._port_file, str(port).encode())
        write_atomically(self.service_file, msgspec.json.encode(description))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # nobody believes it once this process is gone
            self.service_file.unlink(missing_ok=True)
        self._lock.release()
