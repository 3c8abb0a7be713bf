"""Mistakes with proposed changes: each is refused with its field and a fix, and nothing is lost."""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb import Workspace
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.errors import ConflictError, NotFoundError, UsageError
from tests.integration.service.drivers import WAITS
from tests.support.waiting import eventually

SAYS = "def init():\n    pass\n\ndef run(body):\n    return {word!r}\n"


@pytest.fixture
def change(ws: Workspace, tmp_path: Path) -> Iterator[ProposedChange]:
    """Propose a change of a service."""
    name = "bad-changes"
    ws.deploy(name, driver=driver(tmp_path, "old"))
    yield ws.services.propose(name, driver=driver(tmp_path, "new"))
    ws.services.delete(name)


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Session:
    return Session(COMMANDS, config=Config(tmp_path / "config.toml", {"MLMGMT_HOME": str(home)}))


def driver(folder: Path, word: str) -> Path:
    path = folder / word / "score.py"
    path.parent.mkdir()
    path.write_text(SAYS.format(word=word))
    return path


CANARIES: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "nothing": (0, {}, "share", r"steps\[0\].share.*given: 0\)"),
    "too much": (101, {}, "share", r"steps\[0\].share.*given: 101\)"),
    "not a number": (math.nan, {}, "share", r"steps\[0\].share.*given: nan\)"),
    "no share": (None, {}, "share", "None is not a percentage"),
    "no step": ([], {}, "steps", "steps"),
    "out of order": ([5, 50, 25], {}, "share", r"steps\[2\].share: 25 is less than in the step before it"),
    "back in time": (5, {"minutes": -1}, "minutes", r"steps\[0\].minutes.*given: -1\)"),
    "a geological age": (5, {"minutes": 1e300}, "minutes", r"steps\[0\].minutes"),
    "never": (5, {"minutes": math.inf}, "minutes", r"steps\[0\].minutes"),
    "a limit without a limit": (5, {"max_p95": math.inf}, "maxP95", "infinity is not a valid number"),
    "percent": (5, {"min_agree": 95}, "minAgree", r"given: 95\)"),
    "a tolerance of anything": (5, {"tolerance": math.inf}, "tolerance", "infinity"),
    "a header with a space": (5, {"header": "a b"}, "header", "a b"),
}
MIRRORS: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"minutes": -1}, "minutes"),
    "for ever": ({"minutes": math.inf}, "minutes"),
    "none": ({"requests": 0}, "requests"),
    "a part of one": ({"requests": 1.5}, "requests"),
    "not a share": ({"share": math.nan}, "share"),
}


def test_traffic_with_wrong_numbers(change: ProposedChange) -> None:
    for share, more, field, words in CANARIES.values():
        with pytest.raises(UsageError, match=words) as refused:
            change.canary(share, **more)
        assert (refused.value.field, bool(refused.value.fix)) == (field, True), (share, more)
    for given, field in MIRRORS.values():
        with pytest.raises(UsageError, match=field) as refused:
            change.mirror(**given)
        assert (refused.value.field, bool(refused.value.fix)) == (field, True), given
    candidate = change.refresh().candidate
    assert (candidate.canary, candidate.mirror) == (None, None)


def test_arguments_that_do_not_exist(ws: Workspace, change: ProposedChange) -> None:
    """A misspelled setting must not be ignored."""
    misspelled: dict[str, Any] = {"num_replica": 2}
    proposing: list[Callable[..., object]] = [ws.services.propose, ws.services.update, ws.deploy, ws.diff]
    for call in proposing:
        with pytest.raises(TypeError, match=r"'num_replica'\. Did you mean 'num_replicas'"):
            call("bad-changes", **misspelled)
    asking: list[Callable[..., object]] = [change.replay, change.test]
    for call in asking:
        with pytest.raises(TypeError, match=r"'concurency'\. Did you mean 'concurrency'"):
            call([1], concurency=2)
        with pytest.raises(UsageError, match="tolerance is nan"):
            call([1], tolerance=math.nan)


def test_gates_and_promotions_with_wrong_arguments(ws: Workspace, change: ProposedChange) -> None:
    report = change.replay([1] * 30)
    for gate in ("nope > 1", "agree >=", "", 5, None):
        with pytest.raises(UsageError, match="gate") as refused:
            change.promote_if(gate, report)  # type: ignore[arg-type]
        assert refused.value.field == "gate"
    for minutes in (0, -1, math.nan, math.inf, 1e9, "soon"):
        with pytest.raises(UsageError, match="keep_warm") as refused:
            change.promote(keep_warm=minutes)  # type: ignore[arg-type]
        assert refused.value.field == "keep_warm"
    with pytest.raises(UsageError, match=r"evidence: has 1,000,000 characters; the maximum is 8,192"):
        change.promote(evidence="x" * 10**6)
    assert change.refresh().run(1) == "new"
    with pytest.raises(ConflictError, match="Only the current deployment of this service has served"):
        ws.services.rollback("bad-changes")


def test_a_change_that_another_proposal_replaced(ws: Workspace, change: ProposedChange, tmp_path: Path) -> None:
    """Its evidence must not promote the other one, and it cannot remove it."""
    report = change.replay([1] * 30)
    other = ws.services.propose("bad-changes", driver=driver(tmp_path, "other"))
    uses: list[Callable[[], object]] = [
        *(change.refresh, change.promote, change.mirror, change.stop_mirror, change.stop_canary, change.mirror_report),
        *(lambda: change.canary(5), lambda: change.replay([1]), lambda: change.promote_if("errors == 0", report)),
    ]
    for use in uses:
        with pytest.raises(NotFoundError, match="was replaced by another one"):
            use()
    assert not change.discard()
    assert other.refresh().run(1) == "other"
    assert ws.services.run("bad-changes", 1) == "old"
    assert other.discard()
    assert not other.discard()


def test_a_replay_ends_when_its_candidate_is_promoted(change: ProposedChange) -> None:
    """Missing answers are not the fault of the candidate, so they are not a report about it."""
    failures: list[BaseException] = []
    begun = threading.Event()

    def replay() -> None:
        try:
            change.replay([1] * 100_000, on_progress=lambda report: begun.set() if report.summary["requests"] else None)
        except NotFoundError as error:
            failures.append(error)

    thread = threading.Thread(target=replay)
    thread.start()
    eventually(begun.is_set, what="the first answers")
    change.promote().result(60)
    thread.join(60)
    assert "has no candidate" in str(failures[0])


def test_nothing_is_split_without_replicas(ws: Workspace, change: ProposedChange) -> None:
    asleep = ws.services.propose("bad-changes", num_replicas=0)
    uses: list[Callable[[], object]] = [lambda: asleep.canary(50), asleep.mirror]
    for use in uses:
        with pytest.raises(ConflictError, match="The candidate is scaled to zero replicas"):
            use()
    ws.services.update("bad-changes", num_replicas=0).result(60)
    awake = ws.services.propose("bad-changes", num_replicas=1)
    with pytest.raises(ConflictError, match="The service is scaled to zero replicas"):
        awake.canary(50)
    awake.promote().result(60)
    assert ws.services.run("bad-changes", 1) == "old"


def test_a_proposal_waits_for_other_operations(ws: Workspace, change: ProposedChange, tmp_path: Path) -> None:
    """It would have the settings from before them, and its promotion would restore these."""
    slow, hold = tmp_path / "slow.py", tmp_path / "hold"
    slow.write_text(WAITS % (str(hold), "slow"))
    image = ws.services.propose("bad-changes", driver=slow).candidate.image
    hold.touch()
    updating = ws.services.update("bad-changes", image=image, environment={"A": "1"})
    with pytest.raises(ConflictError, match="Another operation on this service is running"):
        ws.services.propose("bad-changes", num_replicas=1)
    hold.unlink()
    updating.result(60)
    proposed = ws.services.propose("bad-changes", num_replicas=1)
    assert proposed.candidate.environment == {"A": "1"}


def test_the_differences_are_those_from_what_serves_now(ws: Workspace, change: ProposedChange) -> None:
    """An update after the proposal shows: a promotion would replace it."""
    assert not [one for one in change.diff.changes if "environment" in str(one)]
    ws.services.update("bad-changes", environment={"A": "1"}).result(60)
    assert [str(one) for one in change.diff.changes if "environment" in str(one)] == ["environment.A: 1 -> none"]


def test_reports_of_commands(shell: Session, change: ProposedChange, tmp_path: Path) -> None:
    """A gate that is not judged must not look like one that has passed."""
    mirror = "service mirror -n bad-changes"
    for line, words in {
        f"{mirror} --gate 'errors == 0'": "no request of service .* has been mirrored",
        f"{mirror} --gate 'nope > 1'": "`nope` is not known",
        f"{mirror} --minutes 5 --gate 'errors == 0'": "--gate cannot be combined",
        f"{mirror} --stop --junit {tmp_path / 'gate.xml'}": "--junit cannot be combined",
        "service canary -n bad-changes --minutes 3": "--minutes needs --share",
        "service canary -n bad-changes --share 5 --stop": "--stop cannot be combined",
        "service canary -n bad-changes --share 50,5": "less than in the step before it",
        "service promote -n bad-changes --keep-warm nan": "keep_warm",
        f"service replay -n bad-changes --to bad-changes --cases [1] --junit {tmp_path}": "is a folder",
        f"service test -n bad-changes --cases [1] --junit {tmp_path}/no/gate.xml": "folder .* does not exist",
    }.items():
        with pytest.raises(UsageError, match=words):
            shell.execute(shlex.split(line))
    assert change.refresh().candidate.mirror is None
