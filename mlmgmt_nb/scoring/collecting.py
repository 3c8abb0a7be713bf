"""The writing half of data collection: a buffer, a thread, and storages that can append."""

from __future__ import annotations

import atexit
import csv
import io
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

__all__ = ["Record", "Storage", "Writer", "shared_writer"]

_FLUSH_SECONDS = 1.0
_MOST_RECORDS = 10_000
_FILE = "data.csv"


class Record(NamedTuple):
    """Rows of one call of `collect`: the folder of the day, the header, the values before each row, the rows."""

    folder: str
    header: list[str]
    leading: list[str]
    rows: Sequence[Sequence[Any]]

    @property
    def place(self) -> tuple[str, tuple[str, ...]]:
        """Records of the same place are written together."""
        return self.folder, tuple(self.header)


class Storage:
    """A place with folders, which can append to files.

    Args:
        where: a folder, an fsspec URL, or the connection string of an Azure storage account.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._remote: Any = None
        if "AccountName=" in where or "BlobEndpoint=" in where:
            self._remote, self._root = _filesystem("abfs://", connection_string=where), ""
        elif "://" in where:
            self._remote, self._root = _filesystem(where), where.rstrip("/") + "/"
        else:
            self._root = os.path.join(os.path.abspath(where), "")

    def append(self, folder: str, header: Sequence[str], rows: str) -> None:
        """Appends rows to the day's file; a new file starts with the header.

        Rows of another shape go to a file of their own beside it, so that each file is one table.

        Raises:
            OSError: the rows could not be written.
        """
        if self._remote is not None:
            self._append_remote(f"{self._root}{folder}/{_FILE}", _line(header), rows)
            return
        os.makedirs(self._root + folder, exist_ok=True)
        first = _line(header)
        if not _append_local(f"{self._root}{folder}/{_FILE}", first, rows):
            name = f"data.{sha256(first.encode()).hexdigest()[:8]}.csv"
            _append_local(f"{self._root}{folder}/{name}", first, rows)

    def _append_remote(self, path: str, header: str, rows: str) -> None:
        exists = self._remote.exists(path)
        if exists and self._remote.cat_file(path, 0, len(header.encode())) != header.encode():
            path = f"{path.removesuffix('.csv')}.{sha256(header.encode()).hexdigest()[:8]}.csv"
            exists = self._remote.exists(path)
        with suppress(FileExistsError, NotImplementedError):
            self._remote.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._remote.open(path, "ab" if exists else "wb") as file:
            file.write((rows if exists else header + rows).encode())


def _filesystem(url: str, **options: Any) -> Any:
    try:
        import fsspec
    except ImportError:
        raise ImportError(f"data collection to {url.split(':')[0]}: needs fsspec: add it to the requirements") from None
    return fsspec.core.url_to_fs(url, **options)[0]


def _append_local(path: str, header: str, rows: str) -> bool:
    """Appends under a lock, since several replicas write the same file; False when the file has another header."""
    with open(path, "a+b") as file:
        _lock(file)
        file.seek(0)
        start = file.read(len(header.encode()))
        if start and start != header.encode():
            return False
        file.write((rows if start else header + rows).encode())
    return True


def _lock(file: Any) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


class Writer:
    """Writes records in a thread of its own, every second; a crash loses at most what came in since.

    When storage is slower than the model, records beyond a limit are dropped, and told so.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records: deque[Record] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._work, name="data-collection", daemon=True).start()
        atexit.register(self.flush)

    def put(self, record: Record) -> None:
        """Queues a record; never waits."""
        if len(self._records) >= _MOST_RECORDS:
            self._dropped += 1
            return
        self._records.append(record)

    def flush(self) -> None:
        """Writes what has come in so far."""
        with self._writing:
            records = []
            while self._records:
                records.append(self._records.popleft())
            records.sort(key=lambda record: record.place)
            for (folder, header), group in groupby(records, key=lambda record: record.place):
                rows = "".join(_line([*record.leading, *row]) for record in group for row in record.rows)
                self._append(folder, header, rows)
            if self._dropped:
                _tell(f"{self._dropped} records were dropped: storage is too slow")
                self._dropped = 0

    def _append(self, folder: str, header: Sequence[str], rows: str) -> None:
        try:
            self._storage.append(folder, header, rows)
        except Exception as error:  # noqa: BLE001 - of whichever storage: scoring goes on
            _tell(f"{rows.count(chr(10))} rows for {folder} were lost: {type(error).__name__}: {error}")

    def _work(self) -> None:
        while not self._wake.wait(_FLUSH_SECONDS):
            self.flush()


def _tell(text: str) -> None:
    sys.stderr.write(f"data collection: {text}\n")


_writers: dict[str, Writer] = {}


def shared_writer(storage: Storage) -> Writer:
    """The one writer of a storage in this process."""
    if storage.where not in _writers:
        _writers[storage.where] = Writer(storage)
    return _writers[storage.where]
