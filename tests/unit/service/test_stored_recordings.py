"""Recorded requests in a storage: what the runtime writes there, and what the service reads and removes."""

from __future__ import annotations

import time
from pathlib import Path

import fsspec
import pytest

from mlmgmt_nb.cli.serve import _recording_storage
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.scoring.recording import stored_ring
from mlmgmt_nb.scoring.recording.recorder import Recorder
from mlmgmt_nb.scoring.recording.settings import FOLDER, SETTINGS, STORAGE, start_recorder
from mlmgmt_nb.scoring.recording.stored_ring import StoredRing
from mlmgmt_nb.service.files.recording_files import StoredFiles
from mlmgmt_nb.service.files.recordings import Recordings
from tests.support.waiting import eventually

SERVICE, DEPLOYMENT = "s-1", "d-1"
WEEK = 7 * 86400.0
URL = "memory://requests-of-a-test"


@pytest.fixture
def files() -> StoredFiles:
    memory = fsspec.filesystem("memory")
    if memory.exists("/requests-of-a-test"):
        memory.rm("/requests-of-a-test", recursive=True)
    return StoredFiles(URL, "requests/home")


def ring(files: StoredFiles, max_bytes: int = 10**6, max_age: float = WEEK) -> StoredRing:
    return StoredRing(URL, files.folder_of(SERVICE), DEPLOYMENT, max_bytes, max_age)


def add(recorder: Recorder, number: int, body: bytes = b"[1]") -> None:
    recorder.add(f"r{number}", time.perf_counter(), 200, body, b"2", "")


def test_requests_come_back_as_they_were(files: StoredFiles) -> None:
    recordings = Recordings(files)
    assert recordings.read(SERVICE, 10, WEEK).value == []
    recorder = Recorder(ring(files))
    add(recorder, 1)
    recorder.begin("d-2")
    add(recorder, 2, b"[2]")
    recorder.stop(10)
    found = recordings.read(SERVICE, 10, WEEK)
    assert [(one.request_id, one.deployment_id, one.request) for one in found.value] == [
        ("r1", "d-1", b"[1]"),
        ("r2", "d-2", b"[2]"),
    ]
    assert (found.kept, found.dropped) == (2, 0)
    assert list(files.services()) == [SERVICE]
    recordings.clear(SERVICE)
    assert recordings.read(SERVICE, 10, WEEK).value == []


def test_the_newest_file_grows_until_it_is_full(files: StoredFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_ring, "_WRITE_SECONDS", 0.0)
    monkeypatch.setattr(stored_ring, "_LIST_SECONDS", 0.0)
    written = ring(files)
    for _ in range(3):
        written.append([b"\xdd\0\0\0\0"], 0, 0, 0.0)
        written.prune()
    assert len(files.list(SERVICE)) == 1
    for _ in range(60):
        written.append([b"\xdd\0\0\0\0" + b" " * 50_000], 0, 0, 0.0)
        written.prune()
    total = sum(len(files.read(SERVICE, file.name) or b"") for file in files.list(SERVICE))
    assert 600_000 < total <= 1_100_000


def test_what_is_too_old_and_what_belongs_to_nobody_is_removed(files: StoredFiles) -> None:
    memory = fsspec.filesystem("memory")
    old = f"{time.time_ns() - 9 * 86400 * 10**9:020}_{DEPLOYMENT}_0.requests"
    for service_id in (SERVICE, "gone"):
        memory.pipe_file(f"/requests-of-a-test/{files.folder_of(service_id)}/{old}", b"")
    other = StoredFiles(URL, "requests/other")
    memory.pipe_file(f"/requests-of-a-test/{other.folder_of(SERVICE)}/{old}", b"")
    Recordings(files).prune({SERVICE: WEEK})
    assert files.list(SERVICE) == []
    eventually(lambda: not files.list("gone"), what="the end of the files of nobody")
    assert len(other.list(SERVICE)) == 1, "another state folder uses the same storage"


def test_a_storage_that_fails_fails_no_request(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = '{"deploymentId": "d-1"}'
    environment = {SETTINGS: settings, FOLDER: "requests/s", STORAGE: "nowhere://bucket"}
    recorder = start_recorder(environment)
    assert recorder is not None
    add(recorder, 1)
    recorder.stop(10)
    assert "recording: requests were not recorded: ValueError: Protocol not known: nowhere" in capfd.readouterr().err
    broken = StoredFiles("nowhere://bucket", "requests/home")
    with pytest.raises(OSError, match="Protocol not known"):
        broken.list(SERVICE)
    broken._remove_all(SERVICE)  # what fails is logged


@pytest.mark.parametrize("given", ["/a/folder", "file:///a/folder", "requests", "memory://x"])
def test_a_folder_is_no_storage(given: str) -> None:
    with pytest.raises(UsageError, match="MLMGMT_RECORDING_STORAGE is neither"):
        _recording_storage(given)


@pytest.mark.parametrize("given", [None, "s3://bucket/x", "AccountName=a;AccountKey=b;"])
def test_storages(given: str | None) -> None:
    assert _recording_storage(given) == given
