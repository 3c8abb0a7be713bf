"""Logs of builds and services: limited on disk, readable from any offset."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from pathlib import Path

from mlmgmt_nb.service.files.disk import DISK_FULL
from mlmgmt_nb.service.http.messages import Reply, Request
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["Log", "log_reply"]

log = logging.getLogger(__name__)

SEGMENT_BYTES = 4 * 2**20
KEPT_SEGMENTS = 4


class Log:
    """A log: a stream of bytes, of which the last 12 to 16 MiB are kept.

    The folder has segments named by the offset of their first byte. Offsets count from the first byte ever written, so
    that readers who follow the log are not affected when old segments are removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._lost = 0
        self._why = ""
        self._is_removed = False

    def append(self, data: bytes) -> bool:
        """Append to the log and return whether that succeeded.

        If the disk refuses bytes, they are lost, and the log reports the loss when it can be written again: writers
        must not fail. A log that was removed stays so, whatever is still written to it.
        """
        with self._lock:
            if self._is_removed:
                return False
            note = f"[mlmgmt] {self._lost} bytes of this log were lost: {self._why}\n" if self._lost else ""
            try:
                self._append(note.encode() + data)
            except OSError as error:
                if not self._lost:
                    log.warning("cannot write the log %s: %s", self._folder, error.strerror)
                self._lost += len(data)
                self._why = "the disk was full" if error.errno in DISK_FULL else str(error.strerror)
                return False
            self._lost = 0
            return True

    def _append(self, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        segments = self._segments()
        if not segments:
            segments = [0]
        size = self._size(segments[-1])
        if size >= SEGMENT_BYTES:
            segments.append(segments[-1] + size)
        with self._path(segments[-1]).open("ab") as file:
            file.write(data)
        for old in segments[:-KEPT_SEGMENTS]:
            self._path(old).unlink(missing_ok=True)

    def line(self, text: str) -> bool:
        """Append a line of the service itself; return whether that succeeded."""
        return self.append(f"{text.rstrip()}\n".encode())

    def read(self, offset: int = 0) -> tuple[int, bytes]:
        """Return the log from an offset on: the first available offset, and the bytes."""
        with self._lock:
            segments = self._segments()
            parts = []
            for start in segments:
                if start + self._size(start) > offset:
                    with self._path(start).open("rb") as file:
                        file.seek(max(0, offset - start))
                        parts.append(file.read())
            return max(offset, segments[0] if segments else 0), b"".join(parts)

    def end(self) -> int:
        """Return the offset after the last byte."""
        with self._lock:
            segments = self._segments()
            return segments[-1] + self._size(segments[-1]) if segments else 0

    def remove(self) -> None:
        with self._lock:
            self._is_removed = True
            shutil.rmtree(self._folder, ignore_errors=True)

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.log"))

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:020d}.log"

    def _size(self, start: int) -> int:
        path = self._path(start)
        return path.stat().st_size if path.exists() else 0


def log_reply(log: Log, request: Request) -> Reply:
    """Return the log, or the part that `Range: bytes=N-M` or `bytes=-N` selects (RFC 9110).

    Raises:
        Problem: 416, when the range is empty (so far).
    """
    wanted = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", "").replace(" ", ""))
    if wanted is None or not (wanted[1] or wanted[2]):
        return Reply(200, log.read()[1], {"accept-ranges": "bytes"}, "text/plain; charset=utf-8")
    end = log.end()
    offset = int(wanted[1]) if wanted[1] else max(0, end - int(wanted[2]))
    start, data = log.read(offset)
    if wanted[1] and wanted[2]:
        data = data[: max(0, int(wanted[2]) + 1 - start)]
    if not data:
        raise Problem(
            416, "RangeNotSatisfiable", f"The log has {end} bytes so far.", headers={"content-range": f"bytes */{end}"}
        )
    headers = {
        "accept-ranges": "bytes",
        "content-range": f"bytes {start}-{start + len(data) - 1}/{max(end, start + len(data))}",
    }
    return Reply(206, data, headers, "text/plain; charset=utf-8")
