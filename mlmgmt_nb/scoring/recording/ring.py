"""A ring of files: new frames are appended, the oldest files are removed.

All replicas of a service write to one folder, each to files of its own, `START_DEPLOYMENT_TOKEN.requests` (the start in
nanoseconds). A file is a sequence of frames; a frame has a header (bytes of its content, number of requests, number of
requests that were dropped before, seconds to add to its times) and MessagePack. A crash can only damage the last frame
of a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Sequence
from secrets import token_hex

__all__ = ["ENDING", "HEADER", "Ring"]

ENDING = ".requests"
HEADER = struct.Struct(">IIId")
_PARTS = 16
"""Approximate number of files in a ring."""
_LARGEST_PART = 16 * 2**20
_OWN_MODE, _SHARED_MODE = 0o600, 0o644


class Ring:
    """The files of one service. Only one thread uses it.

    Args:
        folder: an existing folder, which only the user of the service can enter.
        deployment_id: the deployment that answers.
        max_bytes: size of all files together.
        max_age: seconds that a request is kept.
    """

    def __init__(self, folder: str, deployment_id: str, max_bytes: int, max_age: float) -> None:
        self._folder = folder
        self._deployment_id = deployment_id
        self._max_bytes, self._max_age = max_bytes, max_age
        self._part_bytes = min(max_bytes // _PARTS, _LARGEST_PART)
        self._file = -1
        self._size, self._began = 0, 0.0

    def begin(self, deployment_id: str) -> None:
        """Attribute the next frames to another deployment."""
        if deployment_id != self._deployment_id:
            self.close()
            self._deployment_id = deployment_id

    def append(self, parts: Sequence[bytes | bytearray], count: int, dropped: int, clock: float) -> None:
        """Append a frame, whose content is given in parts.

        Raises:
            OSError: it could not be written; the next frame starts another file.
        """
        size = sum(map(len, parts))
        frame = [HEADER.pack(size, count, dropped, clock), *parts]
        size += HEADER.size
        try:
            if self._is_over(size):
                self.close()
                self._open()
            if os.writev(self._file, frame) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.close()
            raise
        self._size += size

    def prune(self) -> None:
        """Remove the oldest files while the ring is too large, and all files that are too old."""
        before = time.time_ns() - int(self._max_age * 1e9)
        found = sorted(self._files())
        total = sum(size for _, size in found)
        for path, size in found:
            if total <= self._max_bytes and int(os.path.basename(path)[:20]) >= before:
                return
            with contextlib.suppress(FileNotFoundError):  # another replica was faster
                os.unlink(path)
            total -= size

    def close(self) -> None:
        """Close the current file; the next frame starts another one."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _is_over(self, more: int) -> bool:
        """Return whether the current file is full, too old, or was removed."""
        if self._file < 0 or time.time() - self._began > self._max_age / _PARTS:
            return True
        is_full = bool(self._size) and self._size + more > self._part_bytes
        return is_full or os.fstat(self._file).st_nlink == 0

    def _open(self) -> None:
        # In a container of another user, the owner of the folder must be able to read the file.
        mode = _OWN_MODE if os.stat(self._folder).st_uid == os.geteuid() else _SHARED_MODE
        name = f"{time.time_ns():020}_{self._deployment_id}_{token_hex(4)}{ENDING}"
        self._file = os.open(os.path.join(self._folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        self._size, self._began = 0, time.time()

    def _files(self) -> list[tuple[str, int]]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name.endswith(ENDING):
                        found.append((entry.path, entry.stat().st_size))
        return found
