"""The logs of pods, from a node that returns a limited number of bytes and selects by whole seconds."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError
from mlmgmt_nb.service.compute.kubernetes.observing import log_lines
from mlmgmt_nb.service.compute.kubernetes.observing.logs import PodLogs
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed
from mlmgmt_nb.service.files.logs import Log

USUAL, MOST = 1000, 4000
GONE = b"iris-1: [kubernetes] a part of the log is gone"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "_USUAL_BYTES", USUAL)
    monkeypatch.setattr(log_lines, "_MOST_BYTES", MOST)


class Node:
    """In the place of a connection: the log of one container, and that of the one before."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.previous: list[str] = []

    def path(self, *_: str) -> str:
        return "/pods/iris-1"

    def text(self, _: str, query: dict[str, Any]) -> bytes:
        since = query.get("sinceTime", "")
        if since and not re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}(\.\d+)?(Z|[+-]\d\d:\d\d)", since):
            raise ClusterError("BadRequest", f"invalid time {since}", 400)
        lines = self.previous if query["previous"] == "true" else self.lines
        text = "".join(f"{line}\n" for line in lines if line[:19] >= since[:19])
        return text.encode()[: query["limitBytes"]]


def stamped(count: int, *, second: int = 11, width: int = 10, zone: str = "Z") -> list[str]:
    """Return lines within a second."""
    return [f"2026-05-05T10:10:{second}.{100_000_000 + number}{zone} {number:0{width}}" for number in range(count)]


def pod(restarts: int = 0) -> dict[str, Any]:
    status = {"name": "scoring", "containerID": "c", "restartCount": restarts}
    labels = {"mlmgmt-nb/service": "s"}
    metadata = {"name": "iris-1", "uid": "u", "labels": labels}
    return {"metadata": metadata, "spec": {}, "status": {"containerStatuses": [status]}}


class Copier:
    """Copies the log of the pod of a node."""

    def __init__(self, folder: Path) -> None:
        self.node = Node()
        self.log = Log(folder / "log")
        connection: Any = self.node
        self.logs = PodLogs(connection, folder / "positions", lambda _: self.log)

    def copied(self, rounds: int, restarts: int = 0) -> list[bytes]:
        """Return all lines after some rounds."""
        for _ in range(rounds):
            self.logs.copy(Listed(objects={}, pods=[pod(restarts)], now=dt.datetime.now(dt.UTC)))
        return self.log.read()[1].splitlines()


@pytest.fixture
def copier(tmp_path: Path) -> Copier:
    return Copier(tmp_path)


def texts(lines: list[str]) -> list[bytes]:
    return [f"iris-1: {line.partition(' ')[2]}".encode() for line in lines]


@pytest.mark.parametrize("width", range(10, 52))
def test_a_line_that_the_node_cuts_is_read_again(copier: Copier, width: int) -> None:
    """Wherever it is cut: in its time, after it, in its text, or at its end."""
    copier.node.lines = [line for second in range(10, 40) for line in stamped(3, second=second, width=width)]
    assert copier.copied(10) == texts(copier.node.lines)


@pytest.mark.parametrize("zone", ["Z", "+02:00"])
def test_many_lines_in_a_second_are_all_read(copier: Copier, zone: str) -> None:
    copier.node.lines = [*stamped(70, zone=zone), *stamped(3, second=12, zone=zone)]
    assert copier.copied(10) == texts(copier.node.lines)


@pytest.mark.parametrize("zone", ["Z", "-08:00"])
def test_a_second_with_too_many_lines_ends_with_a_note(copier: Copier, zone: str) -> None:
    crowd, after = stamped(200, zone=zone), stamped(3, second=12, zone=zone)
    copier.node.lines = [*crowd, *after]
    found = copier.copied(10)
    known, note, rest = found[:-4], found[-4], found[-3:]
    assert known == texts(crowd)[: len(known)]
    assert len(known) > 80
    assert note.startswith(GONE)
    assert rest == texts(after)
    copier.node.lines += stamped(2, second=59, zone=zone)
    assert copier.copied(2)[-2:] == texts(copier.node.lines[-2:])


def test_a_line_that_is_too_long_is_skipped_with_a_note(copier: Copier, tmp_path: Path) -> None:
    first, long, last = stamped(2), stamped(1, second=58, width=2 * MOST), stamped(2, second=59)
    copier.node.lines = [*long, *last]
    assert copier.copied(5)[1:] == texts(last)
    copier.log.remove()
    copier.log = Log(tmp_path / "another log")
    copier.logs.copy(Listed(objects={}, pods=[], now=dt.datetime.now(dt.UTC)))
    copier.node.lines = [*first, *long, *last]
    found = copier.copied(5)
    assert [found[:2], found[3:]] == [texts(first), texts(last)]
    assert found[2].startswith(GONE)


@pytest.mark.parametrize(("count", "is_cut"), [(60, False), (200, True)])
def test_the_last_words_of_a_container_are_read_at_once(copier: Copier, count: int, is_cut: bool) -> None:
    copier.node.previous, copier.node.lines = stamped(count), stamped(2, second=12)
    found = copier.copied(2, restarts=1)
    assert found[-2:] == texts(copier.node.lines)
    assert found[-3].startswith(GONE) == is_cut
    told = found[: -3 if is_cut else -2]
    assert told == texts(copier.node.previous)[: len(told)]
    assert (len(told) < count) == is_cut


def test_a_progress_bar_is_text(copier: Copier) -> None:
    """A carriage return ends no line of the node, and what follows it is no time."""
    copier.node.lines = [f"{stamped(1)[0]}\r45% done", f"{stamped(1, second=12)[0]}\r"]
    copier.copied(2)
    copier.node.lines += stamped(1, second=13)
    assert copier.log.read()[1].count(b"\n") == 2
    assert copier.copied(1)[-1] == texts(copier.node.lines)[-1]
