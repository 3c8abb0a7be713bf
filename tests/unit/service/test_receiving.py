"""Uploads are hashed as they arrive; a file that something else has changed is hashed again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mlmgmt_nb.service.files.artifacts import ArtifactStore
from mlmgmt_nb.service.files.receiving import HashedUploads
from mlmgmt_nb.service.http.problems import Problem

CONTENT = bytes(range(256)) * 16_384  # several batches
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2 + 1


def append(store: ArtifactStore, offset: int, data: bytes, *, breaks: bool = False) -> int:
    """Append data that arrives in chunks. With `breaks`, the client then disconnects."""

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(data), 300_000):
            yield data[begin : begin + 300_000]
        if breaks:
            raise ConnectionResetError

    return asyncio.run(store.append(DIGEST, offset, len(CONTENT), chunks()))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def stored(store: ArtifactStore) -> bytes | None:
    path = store.path(DIGEST)
    return None if path is None else path.read_bytes()


def test_parts_of_one_upload(store: ArtifactStore) -> None:
    assert append(store, 0, CONTENT[:HALF]) == HALF
    assert stored(store) is None
    assert append(store, HALF, CONTENT[HALF:]) == len(CONTENT)
    assert stored(store) == CONTENT


def test_after_a_broken_connection(store: ArtifactStore) -> None:
    with pytest.raises(ConnectionResetError):
        append(store, 0, CONTENT[:HALF], breaks=True)
    assert store.offset(DIGEST) == HALF
    append(store, HALF, CONTENT[HALF:])
    assert stored(store) == CONTENT


def test_parts_at_two_processes(store: ArtifactStore, tmp_path: Path) -> None:
    """Neither has hashed all of them."""
    other, third = ArtifactStore(tmp_path), HALF // 2
    append(store, 0, CONTENT[:third])
    append(other, third, CONTENT[third:HALF])
    append(store, HALF, CONTENT[HALF:])
    assert stored(store) == CONTENT


def test_other_bytes_of_the_same_size_that_another_process_received(store: ArtifactStore, tmp_path: Path) -> None:
    append(store, 0, CONTENT[:HALF])
    os.utime(tmp_path / "partial" / DIGEST, ns=(0, 0))
    (tmp_path / "partial" / DIGEST).write_bytes(b"x" * HALF)
    with pytest.raises(Problem) as refused:
        append(store, HALF, CONTENT[HALF:])
    assert refused.value.status == 422
    assert store.offset(DIGEST) == 0
    assert stored(store) is None


def test_wrong_bytes_are_discarded(store: ArtifactStore) -> None:
    append(store, 0, b"x" * HALF)
    with pytest.raises(Problem) as refused:
        append(store, HALF, CONTENT[HALF:])
    assert refused.value.status == 422
    append(store, 0, CONTENT)
    assert stored(store) == CONTENT


def test_more_bytes_than_announced(store: ArtifactStore) -> None:
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
