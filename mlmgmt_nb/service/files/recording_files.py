"""Files of recorded requests, in the state folder or in a storage that several machines and clusters can reach."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mlmgmt_nb.scoring.recording.ring import ENDING
from mlmgmt_nb.scoring.remote_files import open_files, storage_errors

__all__ = ["LocalFiles", "RecordedFile", "RecordingFiles", "StoredFiles"]

log = logging.getLogger(__name__)

_UNWRITTEN_SECONDS = 86400.0
"""Maximum time for which a file is written to: not all storages report the time of the last write."""


class RecordedFile(NamedTuple):
    """A file of recorded requests.

    Attributes:
        name: name of the file; it begins with the time at which the file was started.
        modified: the time of its last request, or a later one.
    """

    name: str
    modified: float


class RecordingFiles(Protocol):
    """The files of all services, each in a folder. Methods raise OSError if the place does not respond."""

    def services(self) -> Iterator[str]:
        """Yield the ids of services that have files."""
        ...

    def list(self, service_id: str) -> list[RecordedFile]:
        """Return the files of a service, in no particular order."""
        ...

    def read(self, service_id: str, name: str) -> bytes | None:
        """Return the content of a file; None if it was removed meanwhile."""
        ...

    def remove(self, service_id: str, name: str) -> None:
        """Remove a file if it exists."""
        ...

    def remove_all(self, service_id: str) -> None:
        """Remove all files of a service."""
        ...


class LocalFiles:
    """Files in a folder, which has a folder for each service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, service_id: str) -> Path:
        """Return the folder of a service; create it if necessary."""
        folder = self._folder / service_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def services(self) -> Iterator[str]:
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            yield folder.name

    def list(self, service_id: str) -> list[RecordedFile]:
        paths = (self._folder / service_id).glob(f"*{ENDING}")
        return [RecordedFile(path.name, _modified(path)) for path in paths]

    def read(self, service_id: str, name: str) -> bytes | None:
        try:
            return (self._folder / service_id / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, service_id: str, name: str) -> None:
        (self._folder / service_id / name).unlink(missing_ok=True)

    def remove_all(self, service_id: str) -> None:
        shutil.rmtree(self._folder / service_id, ignore_errors=True)


class StoredFiles:
    """Files at an fsspec URL, or in an Azure storage account.

    Args:
        where: the URL, or the connection string of the account.
        folder: path in the storage; it has a folder for each service.
    """

    def __init__(self, where: str, folder: str) -> None:
        self.where, self._folder = where, folder

    def folder_of(self, service_id: str) -> str:
        """Return the path of the folder of a service in the storage."""
        return f"{self._folder}/{service_id}"

    def services(self) -> Iterator[str]:
        found: list[str] = []
        with suppress(FileNotFoundError), storage_errors():
            files, root = self._open()
            found = files.ls(root + self._folder, detail=False)
        for path in found:
            yield path.rstrip("/").rpartition("/")[2]

    def list(self, service_id: str) -> list[RecordedFile]:
        found: list[str] = []
        with suppress(FileNotFoundError), storage_errors():
            files, root = self._open()
            found = files.find(root + self.folder_of(service_id))
        names = [path.rpartition("/")[2] for path in found if path.endswith(ENDING)]
        return [RecordedFile(name, _started(name) + _UNWRITTEN_SECONDS) for name in names]

    def read(self, service_id: str, name: str) -> bytes | None:
        with suppress(FileNotFoundError), storage_errors():
            files, root = self._open()
            return bytes(files.cat_file(f"{root}{self.folder_of(service_id)}/{name}"))
        return None

    def remove(self, service_id: str, name: str) -> None:
        with suppress(FileNotFoundError), storage_errors():
            files, root = self._open()
            files.rm_file(f"{root}{self.folder_of(service_id)}/{name}")

    def remove_all(self, service_id: str) -> None:
        """Remove all files of a service in the background: a storage may be slow. The pruner retries failures."""
        threading.Thread(target=self._remove_all, args=(service_id,), name="recordings", daemon=True).start()

    def _remove_all(self, service_id: str) -> None:
        try:
            for file in self.list(service_id):
                self.remove(service_id, file.name)
        except OSError as error:  # the pruner tries again
            log.warning("cannot remove the recorded requests of %s yet: %s", service_id, error)

    def _open(self) -> tuple[Any, str]:
        files, root = open_files(self.where)
        files.invalidate_cache()
        return files, root


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return 0.0


def _started(name: str) -> float:
    digits = name[:20]
    return int(digits) / 1e9 if digits.isdecimal() else time.time()
