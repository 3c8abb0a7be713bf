"""What the runtime records, and what the service reads of it: bounded, sampled, redacted, and never in the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb.contract.recording import RecordedRequests
from mlmgmt_nb.scoring.recording import recorder as recorder_module
from mlmgmt_nb.scoring.recording.recorder import LARGEST, Recorder
from mlmgmt_nb.scoring.recording.redaction import Redactor
from mlmgmt_nb.scoring.recording.ring import ENDING, HEADER, Ring
from mlmgmt_nb.scoring.recording.settings import FOLDER, SETTINGS, start_recorder
from mlmgmt_nb.service.files.recording_files import LocalFiles
from mlmgmt_nb.service.files.recordings import Recordings

SERVICE, DEPLOYMENT = "s-1", "d-1"
WEEK = 7 * 86400.0


class Place:
    """The folder of a service."""

    def __init__(self, top: Path) -> None:
        files = LocalFiles(top / "requests")
        self.recordings = Recordings(files)
        self.folder = files.prepare(SERVICE)

    def ring(self, max_bytes: int = 10**6, max_age: float = WEEK, deployment: str = DEPLOYMENT) -> Ring:
        return Ring(str(self.folder), deployment, max_bytes, max_age)

    def read(
        self, last: int = 1000, max_age: float = WEEK, before: float | None = None, before_id: str = ""
    ) -> RecordedRequests:
        return self.recordings.read(SERVICE, last, max_age, before, before_id)

    def pages(self, size: int) -> list[str]:
        """Return the ids of all requests, oldest first, as a client reads them."""
        found = self.read(size)
        ids = [one.request_id for one in found.value]
        while found.has_more:
            first = found.value[0]
            found = self.read(size, before=first.time.timestamp(), before_id=first.request_id)
            ids = [one.request_id for one in found.value] + ids
        return ids

    def sizes(self) -> list[int]:
        return [path.stat().st_size for path in sorted(self.folder.iterdir())]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    before = os.umask(0o077)
    yield Place(tmp_path)
    os.umask(before)


def add(recorder: Recorder, number: int, body: bytes = b"[1]", answer: bytes | None = b"2", status: int = 200) -> None:
    recorder.add(f"r{number}", time.perf_counter(), status, body, answer, "" if status < 400 else "DriverError")


def test_requests_come_back_as_they_were(place: Place) -> None:
    recorder = Recorder(place.ring())
    began = time.time()
    add(recorder, 1, b'{"a": 1}', b"[0.5]")
    add(recorder, 2, b"\xff\x00", None)
    add(recorder, 3, b"x", b'{"code": "DriverError"}', 500)
    recorder.stop(10)
    assert (recorder.recorded, recorder.dropped) == (3, 0)
    found = place.read()
    assert [one.request_id for one in found.value] == ["r1", "r2", "r3"]
    assert [one.request for one in found.value] == [b'{"a": 1}', b"\xff\x00", b"x"]
    assert [one.answer for one in found.value] == [b"[0.5]", None, b'{"code": "DriverError"}']
    assert [(one.status, one.code) for one in found.value] == [(200, ""), (200, ""), (500, "DriverError")]
    assert {one.deployment_id for one in found.value} == {DEPLOYMENT}
    assert all(abs(one.time.timestamp() - began) < 5 and 0 <= one.seconds < 5 for one in found.value)
    assert (found.kept, found.dropped, found.has_more) == (3, 0, False)
    assert [path.stat().st_mode & 0o777 for path in place.folder.iterdir()] == [0o600]


def test_the_newest_are_read_across_replicas_and_deployments(place: Place) -> None:
    recorders = [Recorder(place.ring(deployment=f"d-{number}")) for number in range(3)]
    for number in range(30):
        add(recorders[number % 3], number)
        recorders[number % 3].hand_over()
    for recorder in recorders:
        recorder.stop(10)
    found = place.read(last=7)
    assert [one.request_id for one in found.value] == [f"r{number}" for number in range(23, 30)]
    assert [one.deployment_id for one in found.value] == [f"d-{number % 3}" for number in range(23, 30)]
    assert (found.kept, found.has_more) == (30, True)
    first = found.value[0]
    older = place.read(last=7, before=first.time.timestamp(), before_id=first.request_id)
    assert [one.request_id for one in older.value] == [f"r{number}" for number in range(16, 23)]


@pytest.mark.parametrize("size", [1, 4, 7])
def test_pages_have_all_requests_of_the_same_time(place: Place, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    clock = time.time() - 60
    monkeypatch.setattr(recorder_module, "_measured_clock", lambda: clock)
    recorders = [Recorder(place.ring(deployment=f"d-{number}")) for number in range(3)]
    for number in range(10, 30):
        recorders[number % 3].add(f"r{number}", number // 5, 200, b"[1]", b"2", "")
    for recorder in recorders:
        recorder.stop(10)
    assert place.pages(size) == [f"r{number}" for number in range(10, 30)]


def test_requests_keep_their_order_although_the_clock_is_never_read_exactly(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch has its own reading. One jump of the machine's time is followed; small differences are not."""
    readings = iter([100.0, 99.9996, 100.0009, 160.0, 159.9995])
    monkeypatch.setattr(recorder_module, "_measured_clock", lambda: next(readings))
    recorder = Recorder(place.ring(max_age=1e10))
    for number in range(5):
        recorder.add(f"r{number}", number * 1e-5, 200, b"[1]", b"2", "")
        recorder.hand_over()
    recorder.stop(10)
    monkeypatch.setattr("mlmgmt_nb.service.files.recordings.time.time", lambda: 200.0)
    assert [(one.request_id, one.time.timestamp()) for one in place.read().value] == [
        ("r0", 100.0),
        ("r1", 100.00001),
        ("r2", 100.00002),
        ("r3", 160.00003),
        ("r4", 160.00004),
    ]


def test_a_file_whose_clock_is_behind_is_read(place: Place) -> None:
    """The time of a file may be before the time of its last request."""
    recorders = [Recorder(place.ring(deployment=f"d-{number}")) for number in range(2)]
    for number in range(10):
        add(recorders[number % 2], number)
    for recorder in recorders:
        recorder.stop(10)
    first, second = sorted(place.folder.iterdir())
    moment = place.read().value[-1].time.timestamp() - 0.02
    os.utime(second, (moment, moment))
    assert [one.request_id for one in place.read(last=3).value] == ["r7", "r8", "r9"]
    os.utime(second)
    os.utime(first, (moment, moment))
    assert [one.request_id for one in place.read(last=3).value] == ["r7", "r8", "r9"]


def test_a_replica_that_is_handed_over_records_under_its_new_deployment(place: Place) -> None:
    recorder = Recorder(place.ring())
    add(recorder, 1)
    recorder.begin("d-2")
    add(recorder, 2)
    recorder.stop(10)
    found = place.read().value
    assert [(one.request_id, one.deployment_id) for one in found] == [("r1", DEPLOYMENT), ("r2", "d-2")]


def test_the_ring_stays_below_its_size(place: Place) -> None:
    ring = place.ring(max_bytes=10**6)
    for _ in range(200):
        ring.append([b"\xdd\0\0\0\0", b"x" * 20_000], 0, 0, 0.0)
        ring.prune()
        assert sum(place.sizes()) <= 10**6
    assert sum(place.sizes()) > 800_000
    ring.close()


def test_what_is_too_old_is_removed(place: Place) -> None:
    ring = place.ring(max_age=60.0)
    old = place.folder / f"{time.time_ns() - 61 * 10**9:020}_{DEPLOYMENT}_0{ENDING}"
    old.write_bytes(HEADER.pack(0, 0, 0, 0.0))
    ring.append([b"\xdd\0\0\0\0"], 0, 0, 0.0)
    ring.prune()
    assert not old.exists()
    assert len(place.sizes()) == 1
    place.recordings.prune({SERVICE: 60.0})
    assert len(place.sizes()) == 1
    for path in place.folder.iterdir():
        os.utime(path, (time.time() - 61, time.time() - 61))
    place.recordings.prune({SERVICE: 60.0})
    assert not place.sizes()
    place.recordings.prune({})
    assert not place.folder.exists()
    ring.close()


def test_old_requests_are_not_shown_before_their_file_is_removed(place: Place) -> None:
    recorder = Recorder(place.ring())
    recorder.add("old", time.perf_counter() - 120, 200, b"1", b"2", "")
    add(recorder, 1)
    recorder.stop(10)
    assert [one.request_id for one in place.read(max_age=60).value] == ["r1"]


def test_a_file_that_another_process_removed_is_started_again(place: Place) -> None:
    ring = place.ring()
    ring.append([b"\xdd\0\0\0\0"], 0, 0, 0.0)
    place.recordings.clear(SERVICE)
    ring.append([b"\xdd\0\0\0\0"], 0, 0, 0.0)
    assert len(place.sizes()) == 1
    ring.close()


def test_an_incomplete_frame_hides_nothing_else(place: Place) -> None:
    recorder = Recorder(place.ring())
    add(recorder, 1)
    recorder.stop(10)
    (path,) = place.folder.iterdir()
    whole = path.read_bytes()
    for part in (whole[:-1], whole[:5], b"", HEADER.pack(4, 1, 0, 0.0) + b"oops"):
        path.write_bytes(whole + part)
        assert [one.request_id for one in place.read().value] == ["r1"]


def test_a_share_is_recorded(place: Place) -> None:
    recorder = Recorder(place.ring(), sample=0.25)
    for number in range(2000):
        add(recorder, number)
    recorder.stop(10)
    assert 350 < recorder.recorded < 650  # more than 7 standard deviations
    assert recorder.dropped == 0


def test_too_much_is_dropped_and_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_MOST_BYTES", 10_000)
    monkeypatch.setattr(recorder_module, "_BATCH_BYTES", 1_000)
    recorder = Recorder(place.ring())
    add(recorder, 0, b"x" * (LARGEST + 1))
    for number in range(200):
        add(recorder, number, b"x" * 400)
    recorder.stop(10)
    assert recorder.dropped >= 1
    assert recorder.recorded + recorder.dropped == 201
    found = place.read()
    assert found.kept == recorder.recorded == len(found.value)
    assert found.dropped <= recorder.dropped


def test_a_storage_that_fails_fails_no_request(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(place.ring())
    place.recordings.remove(SERVICE)
    for number in range(3):
        add(recorder, number)
        recorder.hand_over()
    recorder.stop(10)
    assert (recorder.recorded, recorder.dropped) == (0, 3)
    assert capfd.readouterr().err.count("recording: requests were not recorded: No such file or directory") == 1


def test_redacted_values_are_never_written(place: Place) -> None:
    recorder = Recorder(place.ring(), redactor=Redactor(["card"]))
    add(recorder, 1, b'{"card": "4111", "age": 3}', b'[{"card": "4111", "p": 0.5}]')
    add(recorder, 2, b"card=4111", b"1")
    add(recorder, 3, b'{"age": 3}', b'{"message": "card 4111 is wrong"}', 400)
    add(recorder, 4, b'{"age": 3}', b"[0.5]")
    recorder.stop(10)
    content = b"".join(path.read_bytes() for path in place.folder.iterdir())
    assert b"4111" not in content
    found = place.read().value
    assert [one.request for one in found] == [b'{"card": "***", "age": 3}', None, b'{"age": 3}', b'{"age": 3}']
    assert [one.answer for one in found][2:] == [None, b"[0.5]"]
    assert [one.redacted for one in found] == [True, True, True, False]


@pytest.mark.parametrize("environment", [{}, {SETTINGS: "", FOLDER: "x"}, {FOLDER: "x"}, {SETTINGS: "{}"}])
def test_nothing_is_recorded_unless_asked(environment: dict[str, str]) -> None:
    assert start_recorder(environment) is None
