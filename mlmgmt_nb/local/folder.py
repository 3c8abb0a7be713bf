"""The state folder of an embedded service: its place, its locks and its log."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows: the service does not run there, so none can have locked a folder
    fcntl = None  # type: ignore[assignment]

__all__ = ["can_serve", "is_held", "is_locked", "last_lines", "log_file", "record_mark", "state_folder"]

_LOG_LINES = 15


def state_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """Return the state folder: `home`, else MLMGMT_HOME, else the user's data folder. Create nothing."""
    return Path(home or os.environ.get("MLMGMT_HOME") or _data_folder()).expanduser().absolute()


def _data_folder() -> str:
    import platformdirs  # only for this

    return platformdirs.user_data_dir("mlmgmt-nb", appauthor=False)


def can_serve() -> bool:
    """Return whether a service can run on this system."""
    return fcntl is not None


def is_held(folder: Path) -> bool:
    """Return whether a service has locked the folder or, where a disk cannot lock folders, its lock file."""
    if is_locked(folder):
        return True
    if not can_serve() or not os.access(folder, os.R_OK):
        return False
    import filelock  # only for this

    try:
        with filelock.FileLock(folder / "service.lock", timeout=0, mode=0o600):
            return False
    except filelock.Timeout:
        return True


def is_locked(folder: Path) -> bool:
    """Return whether a service has locked the folder itself, which nobody deletes while it is in use."""
    if fcntl is None:
        return False
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


def record_mark(folder: Path) -> tuple[int, int] | None:
    """Return a value that differs after each write of `service.json`."""
    try:
        found = (folder / "service.json").stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def log_file(folder: Path) -> Path:
    """Return the path of the log of the service."""
    return folder / "logs" / "service.log"


def last_lines(folder: Path) -> str:
    """Return the end of the log of the service."""
    try:
        with log_file(folder).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-_LOG_LINES:])
