"""The state folder: all data of the service, private to its user."""

from __future__ import annotations

import contextlib
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
from mlmgmt_nb.service.files.disk import DISK_FULL, write_atomically, write_if_new

__all__ = ["Home", "damaged"]

log = logging.getLogger(__name__)
_TOKEN_BYTES = 32
_TOKEN_CHARACTERS = 43
"""Length of the token as text."""
_LONGEST_TOKEN = 1024
"""Maximum length of a token that is accepted: it has to fit into the header of a request."""
_LOOK_SECONDS = 1.0
_PROBE_BYTES, _RESERVE_BYTES = 2**18, 2**20
_PLACES = 64
"""Maximum number of processes that share a folder."""


class Home:
    """A state folder. `open()` creates it and takes a place in it.

    With SQLite there is one place. Processes that share a PostgreSQL database also share the folder, and each takes the
    first free place: `service.lock`, `service-2.lock`, and so on, with files of the same names that record its address.

    Args:
        path: the folder; created with mode 0700 if it does not exist.

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
        self.oci = self.path / "oci"
        self.blobs = self.oci / "blobs"
        self.clusters = self.path / "clusters"
        self.logs = self.path / "logs"
        self.data = self.path / "data"
        self.recordings = self.path / "requests"
        self.mirrors = self.path / "mirrors"
        self._id_file = self.path / "id"
        self._reserve = self.path / "reserve"
        self._folder_lock: int | None = None
        self._locks: list[FileLock] = []
        self._description = b""
        self._token = ""
        self._is_troubled = False
        self._take(1)
        self.place = 0  # no place yet

    def _take(self, number: int) -> None:
        suffix = "" if number == 1 else f"-{number}"
        self.place = number
        self.service_file = self.path / f"service{suffix}.json"
        self._port_file = self.path / f"port{suffix}"
        self._lock = self._lock_of(number)
        # Everything below belongs to one run of a service.
        scratch = self.path / f"scratch{suffix}"
        self.containers = scratch / "containers"
        self.exports = scratch / "exports"
        self.runtime = scratch / "runtime"
        self.next_runtime = scratch / "next-runtime"

    def _lock_path(self, place: int) -> Path:
        return self.path / f"service{'' if place == 1 else f'-{place}'}.lock"

    def _lock_of(self, place: int) -> FileLock:
        return FileLock(self._lock_path(place), timeout=0, mode=0o600, thread_local=False)

    def open(self, *, shared: bool = False) -> None:
        # Make all files of the service and its children private to the user.
        os.umask(0o077)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = self.path.stat()
            if info.st_uid != os.getuid():
                raise LocalServiceError(
                    f"The state folder {self.path} belongs to another user.",
                    fix="Choose a folder of your own with --home or MLMGMT_HOME.",
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
                f"A service is already running for the state folder {self.path}{self._holder()}.",
                fix="Use it (mlmgmt status), stop it (mlmgmt stop), or choose another folder with --home.",
            ) from None
        except OSError as error:
            raise LocalServiceError(
                f"The state folder {self.path} cannot be used: {error.strerror}{_failed_file(error, self.path)}.",
                fix="Make it writable, repair its files, or choose another one with --home or MLMGMT_HOME.",
            ) from error

    def _lock_folder(self, *, shared: bool) -> None:
        """Lock the folder itself: a lock file can be deleted while a service runs, the folder cannot.

        Raises:
            Timeout: a service holds the lock, exclusively or shared.
        """
        self._folder_lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        until = time.monotonic() + _LOOK_SECONDS  # clients that look for a service hold it briefly
        while True:
            try:
                fcntl.flock(self._folder_lock, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Timeout(str(self.path)) from None
                time.sleep(_LOOK_SECONDS / 20)
            except OSError as error:
                log.info("the folder itself cannot be locked (%s); using its lock files", error.strerror)
                return

    def _free_reserve(self) -> None:
        """Delete the reserve file when the disk is full, so that the service can start."""
        probe = self.path / f".probe.{os.getpid()}.partial"
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            log.warning("the disk of %s is full: starting with the reserved space", self.path)
            self._reserve.unlink(missing_ok=True)
        finally:
            probe.unlink(missing_ok=True)

    def _keep_reserve(self) -> None:
        """Reserve a little disk space for the next start, unless the disk is full."""
        if self._reserve.exists() or shutil.disk_usage(self.path).free < 16 * _RESERVE_BYTES:
            return
        with contextlib.suppress(OSError):
            write_atomically(self._reserve, os.urandom(_RESERVE_BYTES))  # incompressible

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
        """Prevent files from being copied and removed at the same time, also by other processes; wait for the lock."""
        with FileLock(self.path / "maintenance.lock", mode=0o600):
            yield

    def is_taken(self, place: int) -> bool:
        """Return whether another process has a place."""
        if place == self.place or not self._lock_path(place).exists():  # acquiring it would create the file
            return False
        try:
            with self._lock_of(place):
                return False
        except Timeout:
            return True

    def is_alone(self) -> bool:
        """Return whether no other process has a place in the folder."""
        if self._folder_lock is None and local.is_locked(self.path):
            return False
        return not any(self.is_taken(place) for place in range(1, _PLACES + 1))

    def _holder(self) -> str:
        try:
            known = msgspec.json.decode(self.service_file.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError):
            return ""
        return f" (process {known.get('pid')}, {known.get('baseUrl')})"

    def token(self) -> str:
        """Return the bearer token of this state folder, in a file that only its user can read.

        It is created if the file is missing or not valid: an empty or short token, which could be guessed, is refused,
        and so is one that does not fit into the header of a request.
        """
        if not (token := self._known_token()):
            with FileLock(self.path / "token.lock", mode=0o600):  # shared by the processes that share the folder
                token = self._known_token() or self._new_token()
        self.token_file.chmod(0o600)
        self._token = token
        return token

    def _known_token(self) -> str:
        """Return the token in the file; "" if it is not usable."""
        try:
            token = self.token_file.read_bytes().strip().decode("ascii", errors="replace")
        except FileNotFoundError:
            return ""
        return token if re.fullmatch(f"[!-~]{{{_TOKEN_CHARACTERS},{_LONGEST_TOKEN}}}", token) else ""

    def _new_token(self) -> str:
        if self.token_file.exists():
            log.warning("the token in %s is not valid: replacing it", self.token_file)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        write_atomically(self.token_file, token.encode())
        return token

    def identity(self) -> str:
        """Return the id of this state folder among others, for example on a shared engine; created on first use."""
        try:
            found = self._id_file.read_bytes().strip().decode(errors="replace")
        except FileNotFoundError:
            write_atomically(self._id_file, secrets.token_hex(8).encode())
            return self.identity()
        if not re.fullmatch("[0-9a-f]{16}", found):
            raise damaged(
                self._id_file, "Remove that file: the folder gets a new id, and its containers are started again."
            )
        return found

    def forget_identity(self) -> None:
        """Remove the id, because it belongs to the original of this copied folder."""
        self._id_file.unlink(missing_ok=True)

    def last_port(self) -> int | None:
        """Return the last port of the service at this place."""
        try:
            port = int(self._port_file.read_text())
        except (OSError, ValueError):
            return None
        return port if 0 < port < 2**16 else None

    def announce(self, description: dict[str, object], port: int) -> None:
        """Record where the service listens, for clients that look for it. `keep` maintains the record."""
        self._description = msgspec.json.encode(description)
        try:
            write_if_new(self._port_file, str(port).encode())
            write_atomically(self.service_file, self._description)
        except OSError as error:
            log.error("cannot write %s (%s); retrying", self.service_file, error.strerror)
            self._write_in_place()

    def _write_in_place(self) -> None:
        """Overwrite the record of the previous process, which needs no space on most disks."""
        with contextlib.suppress(OSError), self.service_file.open("r+b", buffering=0) as file:
            file.write(self._description)
            file.truncate()

    def keep(self) -> None:
        """Restore the record, the token and the lock file if they were deleted or damaged; called periodically."""
        try:
            if self._token and self._known_token() != self._token:  # with another token, nobody could stop the service
                log.warning("%s was changed or deleted; writing it again", self.token_file)
                write_atomically(self.token_file, self._token.encode())
            if self._description and _content(self.service_file) != self._description:
                log.warning("%s was changed or deleted; writing it again", self.service_file)
                write_atomically(self.service_file, self._description)
            if not self._lock_exists():
                log.warning("the lock file %s was deleted; creating it again", self._lock.lock_file)
                self._relock()
            self._keep_reserve()
        except (OSError, Timeout) as error:
            if not self._is_troubled:
                log.warning("cannot maintain the state folder: %s", error)
            self._is_troubled = True
        else:
            self._is_troubled = False

    def _lock_exists(self) -> bool:
        descriptor = self._lock._context.lock_file_fd  # noqa: SLF001 - no public attribute has it
        try:
            return descriptor is None or os.path.samestat(os.fstat(descriptor), os.stat(self._lock.lock_file))
        except FileNotFoundError:
            return False

    def _relock(self) -> None:
        again = self._lock_of(self.place)
        again.acquire()
        self._locks.append(again)
        self._lock = again

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the record is ignored once this process has ended
            self.service_file.unlink(missing_ok=True)
        for lock in self._locks:
            lock.release()
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None


def _failed_file(error: OSError, folder: Path) -> str:
    """Name the file that an error is about, unless it is the folder itself."""
    return f" ({error.filename})" if error.filename and Path(error.filename) != folder else ""


def damaged(path: Path, fix: str) -> LocalServiceError:
    """Return the error for a file of the state folder with invalid content."""
    return LocalServiceError(f"{path} is damaged: its content is not valid.", fix=fix)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
