"""The artifact store over HTTP: complete, in parts, interrupted, changed in transit, and on a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmgmt_nb.service.files.logs import Log
from tests.conftest import ServiceProcess
from tests.support.waiting import eventually


def patch(api: ServiceProcess, content: bytes, offset: int, total: int, digest: str) -> requests.Response:
    headers = {
        "upload-offset": str(offset),
        "upload-length": str(total),
        "content-type": "application/offset+octet-stream",
    }
    return api.request("PATCH", f"/artifacts/sha256/{digest}", data=content, headers=headers)


def content_of(size: int) -> tuple[bytes, str]:
    content = os.urandom(size)
    return content, hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20 + 7])
def test_whole(api: Any, size: int) -> None:
    content, digest = content_of(size)
    if size:
        assert api.request("HEAD", f"/artifacts/sha256/{digest}").headers["upload-offset"] == "0"
    done = patch(api, content, 0, size, digest)
    assert done.status_code == 201
    assert done.headers["content-location"].endswith(digest)
    assert api.request("HEAD", f"/artifacts/sha256/{digest}").status_code == 200
    assert api.request("GET", f"/artifacts/sha256/{digest}/model.pkl").content == content
    # Uploading the same bytes again costs nothing.
    assert patch(api, b"", 0, size, digest).status_code == 201


def test_in_parts(api: Any) -> None:
    content, digest = content_of(1000)
    part = patch(api, content[:400], 0, 1000, digest)
    assert (part.status_code, part.headers["upload-offset"]) == (204, "400")
    wrong = patch(api, content[:400], 0, 1000, digest)
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "400")
    assert patch(api, content[400:], 400, 1000, digest).status_code == 201


def test_after_a_broken_connection_what_arrived_is_there(api: Any) -> None:
    content, digest = content_of(5 * 2**20)
    host, _, port = api.base_url.partition("://")[2].partition("/")[0].partition(":")
    path = "/api/" + api.base_url.partition("/api/")[2]
    head = (
        f"PATCH {path}/artifacts/sha256/{digest} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Authorization: Bearer {api.token}\r\n"
        f"Upload-Offset: 0\r\nUpload-Length: {len(content)}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + content[: 3 * 2**20])
    arrived = eventually(lambda: offset(api, digest), what="the part that was sent")
    eventually(lambda: patch(api, b"", offset(api, digest), len(content), digest).status_code != 409)
    arrived = offset(api, digest)
    assert 0 < arrived <= 3 * 2**20
    assert patch(api, content[arrived:], arrived, len(content), digest).status_code == 201


def offset(api: ServiceProcess, digest: str) -> int:
    return int(api.request("HEAD", f"/artifacts/sha256/{digest}").headers.get("upload-offset", 0))


def test_other_bytes_than_announced(api: Any) -> None:
    content, digest = content_of(1000)
    changed = patch(api, b"x" + content[1:], 0, 1000, digest)
    assert (changed.status_code, changed.json()["code"]) == (422, "DigestMismatch")
    assert api.request("HEAD", f"/artifacts/sha256/{digest}").headers["upload-offset"] == "0"
    more = patch(api, content, 0, 999, digest)
    assert (more.status_code, more.json()["code"]) == (400, "BadRequest")


@pytest.mark.parametrize("path", ["sha256/xyz", "sha256/" + "A" * 64, "md5/" + "0" * 64, "sha256/../../token"])
def test_an_invalid_digest(api: Any, path: str) -> None:
    assert api.request("GET", f"/artifacts/{path}").status_code == 404


def test_the_contents_are_read_only(api: Any) -> None:
    content, digest = content_of(10)
    patch(api, content, 0, 10, digest)
    assert (api.home / "artifacts" / digest[:2] / digest).stat().st_mode & 0o777 == 0o400


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 8 MB or, where mounting is not allowed, a folder whose files cannot exceed that."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=False).returncode == 0
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 2**20, limits[1]))
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_nothing(start_service: Callable[..., ServiceProcess], small_disk: Path) -> None:
    api = start_service(home=small_disk / "home")
    known = api.model()
    content, digest = content_of(12 * 2**20)
    full = patch(api, content, 0, len(content), digest)
    assert (full.status_code, full.json()["code"]) == (507, "DiskFull")
    assert "continue the upload" in full.json()["message"]
    kept = int(full.headers["upload-offset"])
    assert kept == offset(api, digest) > 0
    # Registering may fail now, with a reason; earlier registrations are kept.
    asset, runtime = {"id": "a", "url": "file:///" + "m" * 8_000}, {"runtimeType": "Python", "properties": {}}
    large = {"name": "n", "assets": [asset] * 125, "driverProgram": "a", "targetRuntime": runtime}
    another = api.request("POST", "/manifests", json=large)
    assert another.status_code in {200, 507}
    assert api.get(f"/models/{known['id']}") == known
    (api.home / "artifacts" / "partial" / digest).unlink()
    content, digest = content_of(2**20)
    assert patch(api, content, 0, len(content), digest).status_code == 201
    assert api.model("after")["version"] == 1


def test_a_log_continues_once_there_is_space(small_disk: Path) -> None:
    log, ballast = Log(small_disk / "log"), small_disk / "ballast"
    log.append(b"before\n")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 2**16):
            pass
    for _ in range(100):
        log.append(b"x" * 2**16)  # part of it may still fit
    ballast.unlink()
    log.line("after")
    _, content = log.read()
    assert content.startswith(b"before\n")
    assert content.endswith(b"after\n")
    assert re.search(rb"\[mlmgmt\] \d+ bytes of this log were lost: the disk was full\n", content)
