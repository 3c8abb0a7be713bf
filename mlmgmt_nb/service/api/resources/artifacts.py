"""The artifact store over HTTP: `artifacts/sha256/DIGEST[/NAME]`.

An extension. `HEAD` returns whether content exists, or how much of it; `PATCH` adds bytes at `Upload-Offset`; `GET`
downloads it. The name at the end is for people, and becomes the name of the file in an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem, bad_field

__all__ = ["append", "download", "head"]

_CHUNK_BYTES = 2**18


def head(call: Call) -> Reply:
    """Report whether content exists, by its SHA-256.

    Returns 200 with `Content-Location` and `X-Content-Size`; or 404 with `Upload-Offset`, the number of bytes uploaded.
    """
    digest = _digest(call)
    call.backend.prepare_replica()  # clients ask this first when they deploy
    if path := call.backend.artifacts.path(digest):
        call.backend.artifacts.touch(digest)
        return Reply(200, headers={"content-location": _url(call, digest), "x-content-size": str(path.stat().st_size)})
    return Reply(404, headers={"upload-offset": str(call.backend.artifacts.offset(digest))})


def download(call: Call) -> Reply:
    """Return content by its SHA-256; 404 if it does not exist."""
    digest = _digest(call)
    path = call.backend.artifacts.path(digest)
    if path is None:
        raise Problem(404, "ArtifactNotFound", f"Content with the SHA-256 {digest} does not exist.")
    return Reply(200, _chunks(path), {"content-length": str(path.stat().st_size)}, "application/octet-stream")


async def append(call: Call) -> Reply:
    """Add bytes to content at `Upload-Offset`; `Upload-Length` is its total size.

    Returns 204 with `Upload-Offset` while bytes are missing; then 201 with `Content-Location`, its URL for models.
    """
    digest = _digest(call)
    offset, total = (_number(call, header) for header in ("upload-offset", "upload-length"))
    store = call.backend.artifacts
    if store.path(digest) is None:
        arrived = await store.append(digest, offset, total, call.request)
        if arrived < total:
            return Reply(204, headers={"upload-offset": str(arrived)})
    store.touch(digest)
    return Reply(201, headers={"content-location": _url(call, digest), "upload-offset": str(total)})


def _digest(call: Call) -> str:
    match call.rest:
        case ("sha256", digest) | ("sha256", digest, _) if re.fullmatch("[0-9a-f]{64}", digest):
            return digest
    raise Problem(404, "NoSuchPath", "Artifacts are at artifacts/sha256/ and 64 hexadecimal digits in lower case.")


def _number(call: Call, header: str) -> int:
    value = call.request.headers.get(header, "")
    if not re.fullmatch("[0-9]{1,18}", value):
        raise bad_field(header, "is not a number of bytes.")
    return int(value)


def _url(call: Call, digest: str) -> str:
    return f"{call.base_url}/artifacts/sha256/{digest}"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
