"""Uploads are hashed as they arrive; a file that something else has changed is hashed again."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.files.artifacts import ArtifactStore
from mlmgmt_nb.service.files.part_sync import PartSync
from mlmgmt_nb.service.files.receiving import HashedUploads
from mlmgmt_nb.service.http.body_socket import TAKE_BODY, BodySocket
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.http.problems import Problem
from tests.support.waiting import eventually

CONTENT = bytes(range(256)) * 16_384  # several batches
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2 + 1


@pytest.fixture(params=["event loop", "thread"])
def append(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Append data that arrives in parts, and is read by the event loop or by a thread. With `breaks`, the client then
    disconnects.
    """

    def append(store: ArtifactStore, offset: int, data: bytes, *, breaks: bool = False) -> int:
        parts = [data[begin : begin + 300_000] for begin in range(0, len(data), 300_000)]
        return asyncio.run(store.append(DIGEST, offset, len(CONTENT), _request(parts, breaks=breaks)))

    def _request(parts: list[bytes], *, breaks: bool) -> Request:
        scope = {"method": "PATCH", "headers": [], "raw_path": b"/", "query_string": b"", "state": {}}
        messages: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages.append({"type": "http.disconnect" if breaks else "http.request"})
        if request.param == "thread":
            scope["state"] = {TAKE_BODY: lambda: _socket(parts, breaks=breaks)}

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        return Request(scope, receive)

    def _socket(parts: list[bytes], *, breaks: bool) -> BodySocket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def send() -> None:
            with theirs:
                for part in parts[1:]:
                    theirs.sendall(part)

        threading.Thread(target=send, daemon=True).start()
        early = parts[0] if parts else b""
        return BodySocket(ours, early, sum(map(len, parts[1:])) + breaks, lambda: False)

    return append


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def stored(store: ArtifactStore) -> bytes | None:
    path = store.path(DIGEST)
    return None if path is None else path.read_bytes()


def test_a_part_is_written_to_the_disk_while_the_next_one_arrives(
    append: Callable[..., int], store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        if not begun.is_set():
            begun.set()
            assert may_end.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    append(store, 0, CONTENT[:HALF])
    assert begun.wait(10)  # although the upload is not complete
    threading.Timer(0.2, may_end.set).start()
    assert append(store, HALF, CONTENT[HALF:]) == len(CONTENT)
    assert may_end.is_set()  # an upload is complete when all its parts are on the disk
    assert stored(store) == CONTENT


def test_an_upload_that_the_disk_lost_starts_over(
    append: Callable[..., int], store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operating system reports the failure once: the last `fsync` would succeed."""
    fsync, failed = os.fsync, threading.Event()

    def fail_once(descriptor: int) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    append(store, 0, CONTENT[:HALF])
    assert failed.wait(10)
    with pytest.raises(Problem, match="did not keep the upload: Input/output error") as raised:
        append(store, HALF, CONTENT[HALF:])
    assert (raised.value.status, raised.value.response.code) == (507, "DiskError")
    assert stored(store) is None
    assert store.offset(DIGEST) == 0
    append(store, 0, CONTENT[:HALF])
    assert append(store, HALF, CONTENT[HALF:]) == len(CONTENT)
    assert stored(store) == CONTENT


def test_uploads_that_are_never_continued_are_forgotten(store: ArtifactStore, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        syncs = PartSync()
        for number in range(200):
            syncs.start(f"digest {number}", file.fileno())
            asyncio.run(asyncio.sleep(0.001))
        eventually(lambda: len(os.listdir("/proc/self/fd")) < 100, what="the end of all writes")
    asyncio.run(syncs.finish("digest 199"))


def test_parts_of_one_upload(append: Callable[..., int], store: ArtifactStore) -> None:
    assert append(store, 0, CONTENT[:HALF]) == HALF
    assert stored(store) is None
    assert append(store, HALF, CONTENT[HALF:]) == len(CONTENT)
    assert stored(store) == CONTENT


def test_after_a_broken_connection(append: Callable[..., int], store: ArtifactStore) -> None:
    with pytest.raises(ConnectionResetError):
        append(store, 0, CONTENT[:HALF], breaks=True)
    assert store.offset(DIGEST) == HALF
    append(store, HALF, CONTENT[HALF:])
    assert stored(store) == CONTENT


def test_parts_at_two_processes(append: Callable[..., int], store: ArtifactStore, tmp_path: Path) -> None:
    """Neither has hashed all of them."""
    other, third = ArtifactStore(tmp_path), HALF // 2
    append(store, 0, CONTENT[:third])
    append(other, third, CONTENT[third:HALF])
    append(store, HALF, CONTENT[HALF:])
    assert stored(store) == CONTENT


def test_other_bytes_of_the_same_size_that_another_process_received(
    append: Callable[..., int], store: ArtifactStore, tmp_path: Path
) -> None:
    append(store, 0, CONTENT[:HALF])
    os.utime(tmp_path / "partial" / DIGEST, ns=(0, 0))
    (tmp_path / "partial" / DIGEST).write_bytes(b"x" * HALF)
    with pytest.raises(Problem) as refused:
        append(store, HALF, CONTENT[HALF:])
    assert refused.value.status == 422
    assert store.offset(DIGEST) == 0
    assert stored(store) is None


def test_wrong_bytes_are_discarded(append: Callable[..., int], store: ArtifactStore) -> None:
    append(store, 0, b"x" * HALF)
    with pytest.raises(Problem) as refused:
        append(store, HALF, CONTENT[HALF:])
    assert refused.value.status == 422
    append(store, 0, CONTENT)
    assert stored(store) == CONTENT


def test_more_bytes_than_announced(append: Callable[..., int], store: ArtifactStore) -> None:
    with pytest.raises(Problem, match="Upload-Length"):
        append(store, 0, CONTENT + b"x")


def test_the_number_of_hashes_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    hashes = HashedUploads()
    with path.open("rb") as file:
        for number in range(65):
            hashes.keep(str(number), hashlib.sha256(b"content"), file.fileno())
        assert hashes.resume("0", file.fileno()) is None
        kept = hashes.resume("1", file.fileno())
        assert kept is not None
        assert kept.hexdigest() == hashlib.sha256(b"content").hexdigest()
        assert hashes.resume("1", file.fileno()) is None  # used by one request
