"""A ring of files in a storage that cannot append, such as a bucket: the newest file is written again while it grows.

The files are those of `ring`. What was recorded since the last write is lost in a crash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any

from mlmgmt_nb.scoring.recording.ring import ENDING, HEADER
from mlmgmt_nb.scoring.remote_files import open_files, storage_errors

__all__ = ["StoredRing"]

_PARTS = 16
"""Approximate number of files in a ring."""
_LARGEST_PART = 4 * 2**20
"""Each write sends the whole file."""
_LONGEST_PART = 86400.0
_WRITE_SECONDS = 5.0
_LIST_SECONDS = 60.0


class StoredRing:
    """The files of one service. Only one thread uses it.

    Args:
        where: an fsspec URL, or the connection string of an Azure storage account.
        folder: the folder of the service below it.
        deployment_id: the deployment that answers.
        max_bytes: size of all files together.
        max_age: seconds that a request is kept.
    """

    def __init__(self, where: str, folder: str, deployment_id: str, max_bytes: int, max_age: float) -> None:
        self._where, self._folder = where, folder
        self._deployment_id = deployment_id
        self._max_bytes, self._max_age = max_bytes, max_age
        self._part_bytes = min(max_bytes // _PARTS, _LARGEST_PART)
        self._opened: tuple[Any, str] | None = None
        self._name = ""
        self._content = bytearray()
        self._began = self._written_at = 0.0
        self._listed_at = float("-inf")
        self._is_written = True

    def begin(self, deployment_id: str) -> None:
        """Attribute the next frames to another deployment."""
        if deployment_id != self._deployment_id:
            self.close()
            self._deployment_id = deployment_id

    def append(self, parts: Sequence[bytes | bytearray], count: int, dropped: int, clock: float) -> None:
        """Append a frame, whose content is given in parts. It is written within seconds.

        Raises:
            OSError: the storage does not accept the earlier frames; this frame is lost.
        """
        size = sum(map(len, parts))
        is_old = time.time() - self._began > min(self._max_age / _PARTS, _LONGEST_PART)
        if not self._name or is_old or len(self._content) + size > self._part_bytes:
            self._write()
            self._name = f"{time.time_ns():020}_{self._deployment_id}_{token_hex(4)}{ENDING}"
            self._content.clear()
            self._began = self._written_at = time.time()
        self._content += HEADER.pack(size, count, dropped, clock)
        for part in parts:
            self._content += part
        self._is_written = False

    def prune(self) -> None:
        """Write the new frames, and remove the oldest files while the ring is too large, and those that are too old.

        Raises:
            OSError: the storage does not respond as it should.
        """
        if time.time() - self._written_at >= _WRITE_SECONDS:
            self._write()
        if time.monotonic() - self._listed_at >= _LIST_SECONDS:
            self._listed_at = time.monotonic()
            self._remove_old()

    def close(self) -> None:
        """Write the new frames; the next frame starts another file.

        Raises:
            OSError: it cannot be written.
        """
        self._write()
        self._name = ""

    def _write(self) -> None:
        if self._is_written:
            return
        self._written_at = time.time()
        with storage_errors():
            files, place = self._files()
            files.pipe_file(f"{place}/{self._name}", bytes(self._content))
        self._is_written = True

    def _remove_old(self) -> None:
        before = time.time_ns() - int(self._max_age * 1e9)
        with suppress(FileNotFoundError), storage_errors():  # nothing was recorded, or another replica was faster
            files, place = self._files()
            found = sorted(files.find(place, detail=True).items())
            total = sum(info["size"] for _, info in found)
            for path, info in found:
                started = path.rpartition("/")[2][:20]
                if total <= self._max_bytes and (not started.isdecimal() or int(started) >= before):
                    return
                files.rm_file(path)
                total -= info["size"]

    def _files(self) -> tuple[Any, str]:
        """Return the file system and the folder. They are opened here, in the thread that may wait for them."""
        if self._opened is None:
            files, root = open_files(self._where)
            with suppress(FileExistsError):
                files.mkdir(root + self._folder, create_parents=True)  # also the container of an account
            self._opened = files, root + self._folder
        return self._opened
