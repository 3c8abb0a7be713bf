"""Write collected data: a buffer, and a thread that empties it."""

from __future__ import annotations

import atexit
import sys
import threading
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from time import monotonic
from typing import Any, NamedTuple

from mlmgmt_nb.scoring.collection.storages import Storage, open_storage, to_line

__all__ = ["Record", "Writer", "flush_writers", "shared_writer"]

_MOST_RECORDS = 10_000


class Record(NamedTuple):
    """Rows of one call of `collect`: the folder of the day, the header, the values before each row, the rows."""

    folder: str
    header: list[str]
    leading: list[str]
    rows: Sequence[Sequence[Any]]

    @property
    def target(self) -> tuple[str, tuple[str, ...]]:
        """The file of the record; records of the same file are written together."""
        return self.folder, tuple(self.header)


class Writer:
    """A thread that writes records every second (every five over a network): at most these are lost in a crash.

    If the storage is slower than the model, records beyond a limit are dropped, and a message says so.
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
        """Queue a record without waiting."""
        if len(self._records) >= _MOST_RECORDS:
            self._dropped += 1
            return
        self._records.append(record)

    def flush(self) -> None:
        """Write the queued records."""
        with self._writing:
            records = []
            while self._records:
                records.append(self._records.popleft())
            records.sort(key=lambda record: record.target)
            for (folder, header), group in groupby(records, key=lambda record: record.target):
                rows = "".join(to_line([*record.leading, *row]) for record in group for row in record.rows)
                self._append(folder, header, rows)
            if self._dropped:
                _report(f"{self._dropped} records were dropped: the storage is too slow")
                self._dropped = 0

    def _append(self, folder: str, header: Sequence[str], rows: str) -> None:
        try:
            self._storage.append(folder, header, rows)
        except Exception as error:  # noqa: BLE001 - of whichever storage: scoring goes on
            _report(f"{rows.count(chr(10))} rows for {folder} were lost: {type(error).__name__}: {error}")

    def _work(self) -> None:
        while not self._wake.wait(self._storage.seconds):
            self.flush()


def _report(text: str) -> None:
    sys.stderr.write(f"data collection: {text}\n")


_writers: dict[str, Writer] = {}


def flush_writers(seconds: float) -> None:
    """Write the queued records before the process ends; give up after the given seconds."""
    flushing = [threading.Thread(target=writer.flush, daemon=True) for writer in _writers.values()]
    for thread in flushing:
        thread.start()
    deadline = monotonic() + seconds
    for thread in flushing:
        thread.join(max(0.0, deadline - monotonic()))


def shared_writer(where: str) -> Writer:
    """Return the one writer of a storage in this process.

    Args:
        where: a folder, an fsspec URL, or the connection string of an Azure storage account.
    """
    if where not in _writers:
        _writers[where] = Writer(open_storage(where))
    return _writers[where]
