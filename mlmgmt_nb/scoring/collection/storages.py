"""Storages for collected data: a folder, Azure Blob storage, or any fsspec URL. All can append to the file of a day.

Several replicas of a service write at the same time. In a folder they lock the file, and Azure appends atomically;
other storages support neither, so each process has its own file there, `data.<process>.csv` instead of `data.csv`.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

__all__ = ["Storage", "open_storage", "to_line"]

_LARGEST_BLOCK = 2 * 1024 * 1024
_MOST_BEGUN = 100


class Storage(Protocol):
    """A place with folders, which can append to files.

    Attributes:
        seconds: the interval between appends; a crash can lose the rows of one interval.
    """

    seconds: float

    def append(self, folder: str, header: Sequence[str], rows: str) -> None:
        """Append rows to the day's file; a new file starts with the header.

        Rows with another header go to a separate file next to it, so that each file is one table.

        Raises:
            Exception: an error of the storage: the rows could not be written.
        """


def open_storage(where: str) -> Storage:
    """Return the storage at a folder, an fsspec URL, or the connection string of an Azure storage account."""
    if "AccountName=" in where or "BlobEndpoint=" in where:
        return _AzureBlobs(where)
    if where.startswith("file://"):
        return _Folder(unquote(urlsplit(where).path))
    return _FsspecFiles(where) if "://" in where else _Folder(where)


def to_line(values: Sequence[Any]) -> str:
    """Return a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _names(header: str, middle: str = "") -> Iterator[str]:
    """Yield the file of the day, and the file for this header if the first has another."""
    yield f"data{middle}.csv"
    yield f"data.{sha256(header.encode()).hexdigest()[:8]}{middle}.csv"


class _Folder:
    seconds = 1.0

    def __init__(self, path: str) -> None:
        self._root = os.path.abspath(path)

    def append(self, folder: str, header: Sequence[str], rows: str) -> None:
        place, first = os.path.join(self._root, folder), to_line(header)
        os.makedirs(place, exist_ok=True)
        for name in _names(first):
            if self._append(os.path.join(place, name), first, rows):
                return

    @staticmethod
    def _append(path: str, header: str, rows: str) -> bool:
        """Append under a lock; return False if the file has another header."""
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


class _AzureBlobs:
    seconds = 5.0

    def __init__(self, connection: str) -> None:
        try:
            from azure.storage.blob import BlobServiceClient
        except ImportError:
            raise ImportError("data collection to Azure: needs adlfs. Add it to the requirements") from None
        self._service = BlobServiceClient.from_connection_string(connection)
        self._begun: dict[tuple[str, str], Any] = {}

    def append(self, folder: str, header: Sequence[str], rows: str) -> None:
        from azure.core.exceptions import HttpResponseError

        first = to_line(header)
        blob = self._begun.get((folder, first)) or self._begin(folder, first)
        for block in _blocks(rows.encode()):
            try:
                blob.append_block(block)
            except HttpResponseError as error:
                if error.error_code != "BlockCountExceedsLimit":  # type: ignore[attr-defined]
                    raise
                blob = self._begin(folder, first, f".{token_hex(4)}")  # a blob has at most 50,000 blocks
                blob.append_block(block)
        if len(self._begun) > _MOST_BEGUN:  # blobs of previous days; each can be found again
            self._begun.clear()
        self._begun[folder, first] = blob

    def _begin(self, folder: str, header: str, middle: str = "") -> Any:
        """Return the blob for a table, which starts with the header, whichever replica created it."""
        container, _, place = folder.partition("/")
        for name in _names(header, middle):
            blob = self._service.get_blob_client(container, f"{place}/{name}")
            self._create(blob, container)
            if self._starts_with(blob, header.encode()):
                return blob
        raise OSError(f"{folder} has no place for a table with this header")

    def _create(self, blob: Any, container: str) -> None:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        for _ in range(2):
            try:
                blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    self._service.create_container(container)
            except ResourceExistsError:
                return
            else:
                return

    @staticmethod
    def _starts_with(blob: Any, header: bytes) -> bool:
        """Return whether the blob has this header; an empty blob gets it."""
        from azure.core.exceptions import HttpResponseError

        try:
            blob.append_block(header, appendpos_condition=0)
        except HttpResponseError as error:
            if error.error_code != "AppendPositionConditionNotMet":  # type: ignore[attr-defined]
                raise
            return bool(blob.download_blob(0, len(header)).readall() == header)
        return True


def _blocks(data: bytes) -> Iterator[bytes]:
    """Yield blocks of whole lines, unless a line is too long."""
    while data:
        end = data.rfind(b"\n", 0, _LARGEST_BLOCK) + 1 or _LARGEST_BLOCK
        yield data[:end]
        data = data[end:]


class _FsspecFiles:
    seconds = 5.0

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            kind = url.partition(":")[0]
            raise ImportError(f"data collection to {kind}: needs fsspec. Add it to the requirements") from None
        self._files, self._root = fsspec.core.url_to_fs(url)
        self._process = f".{os.getpid()}-{token_hex(4)}"
        self._headers: dict[str, str] = {}

    def append(self, folder: str, header: Sequence[str], rows: str) -> None:
        place, first = f"{self._root.rstrip('/')}/{folder}", to_line(header)
        path = next(
            path
            for name in _names(first, self._process)
            if self._headers.get(path := f"{place}/{name}", first) == first
        )
        with suppress(FileExistsError, NotImplementedError):
            self._files.makedirs(place, exist_ok=True)
        new = path not in self._headers
        self._add(path, (first + rows if new else rows).encode(), new=new)
        self._headers[path] = first

    def _add(self, path: str, data: bytes, *, new: bool) -> None:
        try:
            with self._files.open(path, "wb" if new else "ab") as file:
                file.write(data)
        except (NotImplementedError, ValueError):  # this storage cannot append
            self._files.pipe_file(path, self._files.cat_file(path) + data)
