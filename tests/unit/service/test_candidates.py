"""Candidates over time: what counts as the same answer, and failures that must not spread to other services."""

from __future__ import annotations

import datetime as dt
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.contract.traffic import Answers, Canary, CanaryStep, Mirror, MirroredPair
from mlmgmt_nb.service.files.mirrors import Mirrors
from mlmgmt_nb.service.gateway.mirror import Mirrored
from mlmgmt_nb.service.gateway.side import Side
from mlmgmt_nb.service.reconciling import candidates
from mlmgmt_nb.service.reconciling.candidates import CandidateController
from mlmgmt_nb.service.reconciling.current_errors import with_condition
from mlmgmt_nb.service.store.schema import Traffic

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def pair(status: int, old_status: int, answer: bytes = b"1", old_answer: bytes = b"1") -> MirroredPair:
    times = {"seconds": 0.01, "old_seconds": 0.01}
    return MirroredPair(
        request_id="", status=status, old_status=old_status, answer=answer, old_answer=old_answer, **times
    )


class Routed:
    """A router with given results."""

    def __init__(self, pairs: list[MirroredPair], new: int = 0) -> None:
        self.mirrored = Mirrored(pairs=pairs)
        self.new = Side()
        for _ in range(new):
            self.new.add(200, 0.01)

    def take_counts(self, _service_id: str) -> tuple[Side, Side]:
        taken, self.new = self.new, Side()
        return Side(), taken

    def take_mirrored(self, _service_id: str, _since: Any = None) -> Mirrored:
        taken, self.mirrored = self.mirrored, Mirrored()
        return taken


class Rows:
    """The stored traffic of candidates, and the lines of their services' logs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.traffic: dict[str, Traffic] = {}
        self.lines: list[str] = []
        self.broken: set[str] = set()
        monkeypatch.setattr(candidates, "traffic_changed", self._changed)
        monkeypatch.setattr(candidates, "now", lambda: NOW)

    def _changed(self, _db: Any, candidate_id: str, before: Traffic, after: Traffic) -> bool:
        if candidate_id in self.broken:
            raise RuntimeError("the database is away")
        assert self.traffic[candidate_id] == before
        self.traffic[candidate_id] = after
        return True

    def add(self, id_: str, traffic: Traffic, error: Any = None) -> Any:
        self.traffic.setdefault(id_, traffic)
        return SimpleNamespace(
            id=id_,
            candidate_of=f"service of {id_}",
            deleting=False,
            expires_at=None,
            traffic=self.traffic[id_],
            error=error,
        )

    def log(self, _service_id: str) -> Any:
        return SimpleNamespace(line=self.lines.append)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin a transaction: an exception undoes its changes."""
        before = dict(self.traffic)
        try:
            yield
        except Exception:
            self.traffic = before
            raise


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    return Rows(monkeypatch)


def controller(rows: Rows, routed: Routed, mirrors: Any) -> CandidateController:
    store_and_recorder: Any = rows
    router: Any = routed
    return CandidateController(store_and_recorder, router, store_and_recorder, mirrors, lambda: None)


def running(**more: Any) -> Canary:
    return Canary(steps=[CanaryStep(share=50, minutes=60)], step_since=NOW, **more)


@pytest.mark.parametrize(
    ("current", "candidate", "compared", "same"),
    [
        (200, 200, 1, 1),
        (200, 422, 1, 0),  # the candidate refuses what the current deployment answers
        (422, 200, 1, 0),
        (422, 422, 0, 0),  # neither is an answer
        (200, 500, 0, 0),  # an error of the candidate, which is counted as such
        (503, 200, 0, 0),  # the current deployment had no room for the copy
        (429, 200, 0, 0),
        (0, 200, 0, 0),
    ],
)
def test_answers_that_are_compared(
    rows: Rows, tmp_path: Path, current: int, candidate: int, compared: int, same: int
) -> None:
    row = rows.add("c", Traffic(canary=running(min_agree=0.9)))
    controller(rows, Routed([pair(current, candidate)]), Mirrors(tmp_path)).run({"c": row})
    canary = rows.traffic["c"].canary
    assert canary is not None
    assert (canary.compared, canary.same) == (compared, same)


@pytest.mark.parametrize(
    ("answer", "old_answer", "same"),
    [
        (b"1.0", b"1", 1),
        (b"1" + b"0" * 400, b"1e3", 0),  # an integer that is no float
        (b"[" * 5000 + b"]" * 5000, b"[" * 5000 + b"1" + b"]" * 5000, 0),
        (b"\xff", b"1", 0),
    ],
    ids=["equal", "too large for a float", "nested too deeply", "no JSON"],
)
def test_any_answers_can_be_compared(rows: Rows, tmp_path: Path, answer: bytes, old_answer: bytes, same: int) -> None:
    row = rows.add("c", Traffic(canary=running(min_agree=0.9)))
    controller(rows, Routed([pair(200, 200, answer, old_answer)]), Mirrors(tmp_path)).run({"c": row})
    canary = rows.traffic["c"].canary
    assert canary is not None
    assert (canary.compared, canary.same) == (1, same)


def test_an_outage_of_the_cluster_says_nothing_about_the_candidate(rows: Rows, tmp_path: Path) -> None:
    error = with_condition(None, "ClusterUnavailable", "The cluster has not responded.")
    row = rows.add("c", Traffic(canary=running()), error)
    controller(rows, Routed([], new=3), Mirrors(tmp_path)).run({"c": row})
    canary = rows.traffic["c"].canary
    assert canary is not None
    assert (canary.state, canary.new.requests) == ("Running", 3)
    crashing = rows.add("c", Traffic(), with_condition(None, "CrashLoop", "It crashes."))
    controller(rows, Routed([]), Mirrors(tmp_path)).run({"c": crashing})
    canary = rows.traffic["c"].canary
    assert canary is not None
    assert (canary.state, canary.reason) == ("TakenBack", "It crashes.")


def test_a_failure_of_one_candidate_does_not_stop_the_others(rows: Rows, tmp_path: Path) -> None:
    rows.broken.add("a")
    routed = Routed([], new=3)
    since = NOW - dt.timedelta(minutes=1)
    found = {id_: rows.add(id_, Traffic(mirror=Mirror(since=since, minutes=10))) for id_ in ("a", "b")}
    routed.mirrored = Mirrored(pairs=[pair(200, 200)])
    of_all = controller(rows, routed, Mirrors(tmp_path))
    of_all.run(found)
    assert rows.traffic["a"].mirror == found["a"].traffic.mirror
    routed.mirrored = Mirrored(pairs=[pair(200, 200)])
    rows.broken.clear()
    of_all.run(found)
    mirror = rows.traffic["a"].mirror
    assert mirror is not None
    assert mirror.pairs == 2  # those of the round that failed are not lost


def test_a_mirror_whose_answers_cannot_be_kept_ends_with_the_reason(rows: Rows) -> None:
    def append(_candidate_id: str, _pairs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    row = rows.add("c", Traffic(mirror=Mirror(since=NOW - dt.timedelta(minutes=1), minutes=10)))
    controller(rows, Routed([pair(200, 200)]), SimpleNamespace(append=append)).run({"c": row})
    mirror = rows.traffic["c"].mirror
    assert mirror is not None
    assert (mirror.state, mirror.pairs, mirror.skipped) == ("Ended", 0, 1)
    assert mirror.reason == "its answers could not be kept: No space left on device"
    assert rows.lines == ["[mlmgmt] the mirror has ended: " + mirror.reason + " (0 pairs of answers)"]


def test_answers_are_counted_once(rows: Rows, tmp_path: Path) -> None:
    row = rows.add("c", Traffic(canary=running()))
    of_all = controller(rows, Routed([], new=30), Mirrors(tmp_path))
    of_all.run({"c": row})
    of_all.run({"c": rows.add("c", Traffic())})
    canary = rows.traffic["c"].canary
    assert canary is not None
    assert (canary.new.requests, canary.step_requests, canary.old) == (30, 30, Answers())
