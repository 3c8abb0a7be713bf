"""Upload files and folders to the service's artifact store: by content, in parts, resumed after a broken connection."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote

import requests

from mlmgmt_nb.client.http.files import archive, check_readable, mime_type_of
from mlmgmt_nb.client.http.responses import retry_after
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.errors import ApiError, TransportError, UploadError

__all__ = ["Progress", "Uploaded", "Uploader", "in_parallel"]

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with the number of bytes that have arrived and the total."""

_PART_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**18
_ATTEMPTS = 6
_PARALLEL = 4
_LONGEST_WAIT_FOR_OTHERS = 60.0


class Uploaded(NamedTuple):
    """Content in the store: its URL, media type, and whether it is an archive of a folder."""

    url: str
    mime_type: str
    unpack: bool


class Uploader:
    """Upload to the artifact store of an account.

    Args:
        transport: sends the requests.
        part_bytes: maximum bytes in one request.
    """

    def __init__(self, transport: Transport, part_bytes: int = _PART_BYTES) -> None:
        self._transport = transport
        self._part_bytes = part_bytes

    def upload(
        self, path: Path, *, field: str, progress: Progress | None = None, without: frozenset[str] = frozenset()
    ) -> Uploaded:
        """Upload a file, or a folder as an archive that unpacks to that folder. Content that the store has is not sent.

        Args:
            path: the file or folder; its name is the last part of the URL.
            field: name of the argument, for messages.
            progress: called while bytes are sent.
            without: names in the folder that are not sent.

        Raises:
            UsageError: it cannot be read, or is empty.
            UploadError: it changed during the upload, or the bytes could not be sent.
        """
        check_readable(path, field, without)
        return self._stored(path, without, lambda file, name: self._send(file, name, progress))

    def preview(self, path: Path, *, field: str) -> Uploaded:
        """Return what `upload` would return. Nothing is sent.

        Args:
            path: the file or folder.
            field: name of the argument, for messages.

        Raises:
            UsageError: it cannot be read, or is empty.
        """
        check_readable(path, field)

        def located(file: Path, name: str) -> str:
            with file.open("rb") as content:
                return self._url(hashlib.file_digest(content, "sha256").hexdigest(), name)

        return self._stored(path, frozenset(), located)

    def _stored(self, path: Path, without: frozenset[str], url_of: Callable[[Path, str], str]) -> Uploaded:
        """Return a file, or a folder as an archive, with the URL that a function returns for it and its name."""
        if not path.is_dir():
            return Uploaded(url_of(path, path.name), mime_type_of(path.name), unpack=False)
        name = path.resolve().name
        with tempfile.TemporaryDirectory(prefix="mlmgmt-") as folder:
            packed = Path(folder) / "archive.tar.gz"
            archive(path, name, packed, without)
            return Uploaded(url_of(packed, f"{name}.tar.gz"), "application/gzip", unpack=True)

    def upload_text(self, text: str, name: str) -> str:
        """Upload text as a file of this name; return its URL."""
        with tempfile.TemporaryDirectory(prefix="mlmgmt-") as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            return self._send(path, name, None)

    def _send(self, path: Path, name: str, progress: Progress | None) -> str:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            _Upload(self._transport, file, before, digest, self._part_bytes, progress or _silent).run()
        return self._url(digest, name)

    def _url(self, digest: str, name: str) -> str:
        return f"{self._transport.base_url}/artifacts/sha256/{digest}/{quote(name)}"


class _Upload:
    """The upload of one file or archive."""

    def __init__(
        self,
        transport: Transport,
        file: BinaryIO,
        before: os.stat_result,
        digest: str,
        part_bytes: int,
        progress: Progress,
    ) -> None:
        self._transport = transport
        self._file = file
        self._before = before
        self._total = before.st_size
        self._url = f"/artifacts/sha256/{digest}"
        self._part_bytes = part_bytes
        self._progress = progress

    def run(self) -> None:
        """Send the remaining bytes, from the first one that the store does not have."""
        furthest, attempt = -1, 0
        while True:
            offset = self._stored_bytes()
            self._progress(self._total if offset is None else offset, self._total)
            if offset is None:
                return
            attempt = 1 if offset > furthest else attempt + 1
            if attempt > _ATTEMPTS:
                raise UploadError(f"the server does not accept the bytes from {offset} on", fix="Try again later.")
            furthest = max(offset, furthest)
            try:
                answer = self._send_part(offset)
            except TransportError as error:
                if attempt >= _ATTEMPTS:
                    raise UploadError(
                        f"the connection broke {attempt} times at byte {offset} of {self._total}: {error.message}",
                        fix="Try again when the network is stable: the upload resumes there.",
                    ) from error
                self._transport.sleep(self._transport.pause(attempt))
                continue
            if answer:
                self._transport.sleep(min(answer, _LONGEST_WAIT_FOR_OTHERS))

    def _stored_bytes(self) -> int | None:
        """Return the number of bytes that the store has; None if it has the content, which may be empty."""
        answer = self._transport.send("HEAD", self._url, accept={404})
        if answer.status_code != 404:
            return None
        if "Upload-Offset" not in answer.headers:
            raise UploadError(
                f"the server at {self._transport.base_url} has no artifact store",
                fix="Put the file where that server can read it, and give its URL.",
            )
        return int(answer.headers["Upload-Offset"])

    def _send_part(self, offset: int) -> float | None:
        """Send the next part. Return None if it was stored; otherwise the seconds to wait before the next attempt."""
        part = _Part(self._file, offset, min(self._part_bytes, self._total - offset), self._sent)
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
            "Upload-Length": str(self._total),
        }
        try:
            answer = self._transport.send(
                "PATCH",
                self._url,
                headers=headers,
                body=part,
                attempts=1,
                accept={409, 422},
            )
        except ApiError as error:
            if error.status_code in {429, 503} and error.retry_after is not None:
                return error.retry_after
            raise UploadError(f"the upload was refused: {error.message}", fix=error.fix) from error
        finally:
            self._check_unchanged(part)
        if answer.status_code == 422:
            raise UploadError(
                "the received bytes differ from the sent ones",
                fix="Upload again; check the disk and the network if it repeats.",
            )
        return _pause_of(answer) if answer.status_code == 409 else None

    def _sent(self, bytes_sent: int) -> None:
        self._progress(bytes_sent, self._total)

    def _check_unchanged(self, part: _Part) -> None:
        now = os.fstat(self._file.fileno())
        same = (now.st_size, now.st_mtime_ns) == (self._before.st_size, self._before.st_mtime_ns)
        if part.cut_short or not same:
            raise UploadError(
                "the file changed while it was uploaded", fix="Upload it again when no program writes to it."
            )


class _Part:
    """Some bytes of a file, as the body of a request: read as it is sent, never held whole."""

    def __init__(self, file: BinaryIO, offset: int, length: int, sent: Callable[[int], None]) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._sent = sent
        self.cut_short = False

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        # Not `read`: the HTTP library would read small blocks, each of which costs both sides a system call and more.
        self._file.seek(self._offset)
        left = self._length
        while left:
            data = self._file.read(min(_BLOCK_BYTES, left))
            if not data:
                self.cut_short = True
                return
            left -= len(data)
            self._sent(self._offset + self._length - left)
            yield data


def _pause_of(answer: requests.Response) -> float:
    return retry_after(answer.headers) or 0.0


def _silent(sent: int, total: int) -> None:
    """Ignore the progress of an upload."""


def in_parallel(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Call all functions, a few at a time, and return their results in order. Raise the first error at once."""
    if len(calls) == 1:
        return [calls[0]()]
    pool = ThreadPoolExecutor(max_workers=_PARALLEL)
    try:
        return [future.result() for future in [pool.submit(call) for call in calls]]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
