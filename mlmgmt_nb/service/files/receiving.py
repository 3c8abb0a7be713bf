"""Receive an upload. A thread reads, hashes and writes its bytes; over TLS, the event loop reads them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from mlmgmt_nb.service.http.body_socket import BodySocket, BodyThreads
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.http.problems import Problem, bad_field

__all__ = ["HashedUploads", "receive"]

_BATCH_BYTES = 2**20
_MOST_UPLOADS = 64
_threads = BodyThreads(8)


class _Hashed(NamedTuple):
    """The hash of a file, and the state of the file when it was hashed."""

    sha256: Any
    file: tuple[int, int, int]


class HashedUploads:
    """The hashes of uploads that continue in further requests, so that no byte is hashed twice.

    A hash is not reused if something else, such as another process, has changed the file.
    """

    def __init__(self) -> None:
        self._uploads: dict[str, _Hashed] = {}

    def resume(self, digest: str, descriptor: int) -> Any | None:
        """Return the hash of the bytes in a file and forget it; None if it is not known."""
        known = self._uploads.pop(digest, None)
        if known is not None and known.file == _state(descriptor):
            return known.sha256
        return None if os.fstat(descriptor).st_size else hashlib.sha256()

    def keep(self, digest: str, sha256: Any, descriptor: int) -> None:
        """Keep a hash until the next request of its upload."""
        while len(self._uploads) >= _MOST_UPLOADS:
            self._uploads.pop(next(iter(self._uploads)), None)
        self._uploads[digest] = _Hashed(sha256, _state(descriptor))


def _state(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size, status.st_mtime_ns


async def receive(request: Request, descriptor: int, sha256: Any | None, total: int) -> None:
    """Append the body of a request to a file. Bytes that arrive before a failure are kept: the upload resumes there.

    Args:
        sha256: updated with the bytes, if given.
        total: size of the complete file.

    Raises:
        Problem: 400, more bytes arrived.
        ConnectionResetError: the client disconnected.
        OSError: they could not be written.
    """
    room = total - os.fstat(descriptor).st_size
    body = request.take_body() if _threads.has_free else None
    if body is None:
        await _receive_chunks(request.chunks(), descriptor, sha256, room, total)
    else:
        await _threads.run(lambda: _receive_directly(body, descriptor, sha256, room, total))


def _receive_directly(body: BodySocket, descriptor: int, sha256: Any | None, room: int, total: int) -> None:
    try:
        if body.size > room:
            raise _too_long(total)
        for part in body.parts():
            _append(descriptor, part, sha256)
    except ConnectionError:
        raise
    except (OSError, Problem):
        body.discard()
        raise
    finally:
        body.close()


async def _receive_chunks(
    chunks: AsyncIterator[bytes], descriptor: int, sha256: Any | None, room: int, total: int
) -> None:
    writing: asyncio.Task[None] | None = None
    batch = bytearray()
    try:
        async for chunk in chunks:
            room -= len(chunk)
            if room < 0:
                raise _too_long(total)
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                if writing is not None:
                    await writing
                writing, batch = _start(descriptor, batch, sha256), bytearray()
    finally:
        if writing is not None:
            await writing
        await asyncio.to_thread(_append, descriptor, batch, sha256)


def _too_long(total: int) -> Problem:
    return bad_field("Upload-Length", f"more than the announced {total} bytes were sent.")


def _start(descriptor: int, data: bytearray, sha256: Any | None) -> asyncio.Task[None]:
    return asyncio.create_task(asyncio.to_thread(_append, descriptor, data, sha256))


def _append(descriptor: int, data: bytearray | memoryview, sha256: Any | None) -> None:
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if sha256 is not None:
            sha256.update(view[:written])
        view = view[written:]
