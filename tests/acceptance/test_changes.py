"""Random sequences of changes of a service, with crashes at any point, while programs call it all the time.

Callers only ever get answers of a deployment that was entitled to answer: the one that serves, or the candidate while
its canary has a share. `MLMGMT_EXAMPLES=50 pytest tests/acceptance/test_changes.py` looks for longer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, none, sampled_from

from mlmgmt_nb import connect
from tests.conftest import ServiceProcess, lives
from tests.support.entitled_callers import CALLERS, Answer, Callers, parsed
from tests.support.folders import paths_in
from tests.support.searches import thorough
from tests.support.waiting import eventually

DRIVER = """\
import os

def init():
    pass

def run(body):
    if os.environ["VERSION"].endswith("bad"):
        raise ValueError(f"{os.environ['VERSION']} {os.getpid()}")
    return f"{os.environ['VERSION']} {os.getpid()}"
"""
NAME = "churn"
RESERVATION = {"cpu": f"{(os.cpu_count() or 1) * 400}m"}
"""Of each replica: the compute has room for the service and one candidate, and for nothing that was left over."""
EXAMPLES = int(os.environ.get("MLMGMT_EXAMPLES") or thorough(5, 1))
_COLUMNS = [
    ("select 'service' from services", "id"),
    ("select 'deployment' from deployments", "service_id"),
    ("select 'replica' from replicas", "service_id"),
]
"""Where the id of a candidate may be in the database; operations and the audit log keep it."""

crash_after = none() | sampled_from([0.0, 0.02, 0.1, 0.4])
"""Seconds from a request to the crash of the service; None for no crash."""


class Model(NamedTuple):
    """The versions of a service, and the share of its candidate in percent."""

    current: str
    previous: str | None = None
    candidate: str | None = None
    share: float = 0

    @property
    def entitled(self) -> frozenset[str]:
        return frozenset({self.current, self.candidate} if self.candidate and self.share else {self.current})

    def replaced_by(self, version: str) -> Model:
        """Return what the service is when another version serves, which ends its canary."""
        return self._replace(current=version, previous=self.current, share=0)

    @property
    def is_worse(self) -> bool:
        """Whether the candidate is worse than the current version."""
        return (self.candidate or "").endswith("bad") and not self.current.endswith("bad")


class Machine(RuleBasedStateMachine):
    """A service that is changed, its model, and its callers.

    Attributes:
        model: what the service is.
        intended: what it would be if every change had succeeded. A crash decides whether one does, and which rules are
            chosen must not depend on that: the same choices have to give the same sequence.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlmgmt-changes-"))
        # The state folder is looked into: of SQLite only.
        self.api = ServiceProcess(self.folder / "home", sqlite=True)
        self.callers = Callers()
        self.versions = 0

    def teardown(self) -> None:
        self.callers.stop()
        self.api.stop()
        shutil.rmtree(self.folder)

    @initialize()
    def create(self) -> None:
        driver = self.folder / "driver"
        driver.mkdir()
        (driver / "score.py").write_text(DRIVER)
        self.image_id = self.api.image(driver)["id"]
        self._create()

    def _create(self) -> None:
        self.model = self.intended = Model(self._version())
        settings = {"environment": {"VERSION": self.model.current}, "containerResourceReservation": RESERVATION}
        self.service = self.api.service(self.image_id, NAME, **settings)
        self.path = f"/services/{self.service['id']}"
        self.key = self.api.get(f"{self.path}/keys")["primaryKey"]
        self.candidate: Any = None
        self.callers.turn_to(self.service["scoringUri"], self.key)
        self.callers.entitled |= self.model.entitled
        self.callers.settle(self.model.entitled)

    # --- changes -------------------------------------------------------------------------------------------------

    @rule(worse=booleans(), crash=crash_after)
    def propose(self, worse: bool, crash: float | None) -> None:
        version = self._version(worse=worse)
        body = {"environment": {"VERSION": version}}
        self._change(lambda model: model._replace(candidate=version, share=0), crash, "PUT", "/candidate", body)

    @precondition(lambda self: self.intended.candidate)
    @rule(shares=sampled_from([[25], [50], [100], [25, 50]]), crash=crash_after)
    def give_a_share(self, shares: list[float], crash: float | None) -> None:
        body = {"steps": [{"share": share} for share in shares], "maxErrors": None, "maxP95": None}
        self._change(lambda model: model._replace(share=shares[-1]), crash, "PUT", "/candidate/canary", body)

    @precondition(lambda self: self.intended.is_worse)
    @rule()
    def give_a_share_to_a_worse_one(self) -> None:
        self.intended = self.intended._replace(share=0)
        if not self.model.is_worse:
            return
        self.callers.entitled |= self.model._replace(share=50).entitled
        body = {"steps": [{"share": 50, "minutes": 60}], "maxErrors": 0.01}
        assert self.api.request("PUT", f"{self.path}/candidate/canary", json=body).status_code == 200
        canary = eventually(self._taken_back, what="the end of the canary")
        assert canary["reason"].startswith("errors 100 % "), canary
        self._changed(self.model._replace(share=0))

    def _taken_back(self) -> Any:
        canary = self.api.get(f"{self.path}/candidate")["canary"]
        return canary if canary["state"] == "TakenBack" else None

    @precondition(lambda self: self.intended.candidate)
    @rule(crash=crash_after)
    def stop(self, crash: float | None) -> None:
        self._change(lambda model: model._replace(share=0), crash, "DELETE", "/candidate/canary")

    @precondition(lambda self: self.intended.candidate and not self.intended.share)
    @rule(crashes=booleans())
    def mirror(self, crashes: bool) -> None:
        """Copy requests to the candidate; callers get the answers of the current deployment as ever."""
        if not self.model.candidate or self.model.share:
            return
        path = f"{self.path}/candidate/mirror"
        assert self.api.request("PUT", path, json={"minutes": 60}).status_code == 200
        if crashes:
            self._crash()
        eventually(lambda: self.api.get(f"{self.path}/candidate")["mirror"]["pairs"], what="the first pair of answers")
        assert self.api.request("DELETE", path).status_code == 200
        self._changed(self.model)

    @precondition(lambda self: self.intended.candidate)
    @rule(crash=crash_after)
    def promote(self, crash: float | None) -> None:
        self._change(lambda model: Model(model.candidate or "", model.current), crash, "POST", "/candidate/promote")

    @rule(crash=crash_after)
    def discard(self, crash: float | None) -> None:
        self._change(lambda model: model._replace(candidate=None, share=0), crash, "DELETE", "/candidate")

    @rule(crash=crash_after)
    def update(self, crash: float | None) -> None:
        version = self._version()
        body = {"environment": {"VERSION": version}}
        self._change(lambda model: model.replaced_by(version), crash, "PUT", "", body)

    @precondition(lambda self: self.intended.previous)
    @rule(crash=crash_after)
    def roll_back(self, crash: float | None) -> None:
        self._change(lambda model: model.replaced_by(model.previous or ""), crash, "POST", "/rollback")

    @rule()
    def delete_and_create(self) -> None:
        self.callers.may_fail = True
        assert self.api.request("DELETE", self.path).status_code == 200
        self._is_gone(self.candidate)
        eventually(lambda: self.api.request("GET", self.path).status_code == 404, what="the end of the service")
        self._create()

    @rule()
    def crash(self) -> None:
        self._crash()
        self._changed(self.model)

    # --- looks ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.intended.candidate)
    @rule()
    def replay(self) -> None:
        if not self.model.candidate:
            return
        change = connect(home=self.api.home).services.change(NAME)
        report = change.replay([1] * 20)
        rows = report.to_frame()
        assert len(rows) == 20, report
        said = {"old": self.model.current, "new": self.model.candidate}
        for side, version in said.items():
            texts = {f"{answer} {error}" for answer, error in zip(rows[side], rows[f"{side}_error"], strict=True)}
            assert all(f"{version} " in text for text in texts), texts

    @precondition(lambda self: self.intended.share)
    @rule()
    def count_the_share(self) -> None:
        if not self.model.share:
            return
        counts = self.callers.count(200)
        # Exact, but for the calls that are under way at both ends.
        wanted = self.model.share / 100 * counts.total()
        assert abs(counts[self.model.candidate or ""] - wanted) <= 2 * CALLERS, (self.model, counts)

    @invariant()
    def only_the_entitled_have_answered(self) -> None:
        assert self.callers.wrong == []

    @invariant()
    def everything_is_as_it_was_answered(self) -> None:
        if not hasattr(self, "service"):
            return
        assert self._seen() == self.model
        assert [one["id"] for one in self.api.get("/services")["value"]] == [self.service["id"]]
        running = {self._process(self.service["scoringUri"])} if not self.model.share else set()
        if self.candidate is not None:
            running.add(self._process(self.candidate["scoringUri"]))
        else:
            assert self._call_path_of_candidate().status_code == 404
        if not self.model.share:
            others = self.callers.processes - running - {0}
            eventually(lambda: not any(map(_runs, others)), what="the end of replicas that nothing runs")

    # --- helpers -------------------------------------------------------------------------------------------------

    def _version(self, *, worse: bool = False) -> str:
        self.versions += 1
        return f"v{self.versions}{'-bad' if worse else ''}"

    def _change(
        self, change: Callable[[Model], Model], crash: float | None, method: str, path: str, body: Any = None
    ) -> None:
        """Send a request, crash meanwhile or not, and check that the service is as it says, or as before it.

        Nothing is sent if an earlier crash has left nothing to change.

        Args:
            change: returns what the service is after the request.
        """
        self.intended = change(self.intended)
        if (path.startswith("/candidate/") and not self.model.candidate) or (
            path == "/rollback" and not self.model.previous
        ):
            return
        after = change(self.model)
        self.callers.entitled |= after.entitled
        answer = self._send(crash, method, self.path + path, body)
        if answer is not None:
            assert answer.status_code in {200, 202, 204}, answer.text
        if answer is not None and answer.status_code == 202:
            operation = answer.headers["Operation-Location"].rpartition("/")[2]
            ended = eventually(lambda: self._if_ended(operation), what="the end of the operation")
            assert ended["state"] == "Succeeded", ended
        eventually(self._is_idle, what="the end of all operations")
        wanted = {after} if answer is not None else {after, self.model}
        try:
            seen = eventually(lambda: self._seen(wanted), what=f"one of {wanted}")
        except pytest.fail.Exception as error:
            log = self.api.request("GET", f"{self.path}/logs").text[-3000:]
            error.add_note(f"{self._candidate()}\n{self.callers.newest()}\n{log}")
            raise
        self._changed(seen)

    def _send(self, crash: float | None, method: str, path: str, body: Any) -> requests.Response | None:
        """Return the answer to a request; None if the service crashed before it answered."""
        if crash is None:
            return self.api.request(method, path, json=body)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(self.api.request, method, path, json=body)
            time.sleep(crash)  # not a wait for something: the random moment is the test
            self._crash()
            with contextlib.suppress(requests.ConnectionError):
                return sent.result()
        return None

    def _crash(self) -> None:
        self.callers.may_fail = True
        self.api.kill()
        self.api.start()

    def _if_ended(self, operation_id: str) -> Any:
        operation = self.api.get(f"/operations/{operation_id}")
        return operation if operation["state"] not in {"NotStarted", "Running"} else None

    def _is_idle(self) -> bool:
        return not {one["state"] for one in self.api.get("/operations")["value"]} & {"NotStarted", "Running"}

    def _changed(self, after: Model) -> None:
        """Take over what is there now, and check that nothing is left of a candidate that ended."""
        before, self.candidate = self.candidate, self._candidate()
        self.model = after
        self.callers.settle(after.entitled)
        if before is not None and (self.candidate is None or self.candidate["id"] != before["id"]):
            self._is_gone(before)

    def _seen(self, wanted: set[Model] | None = None) -> Model | None:
        """Return the model as the API shows it; None if it is none of those that are wanted."""
        current = self.api.get(self.path)["environment"]["VERSION"]
        candidate = self._candidate()
        version = candidate["environment"]["VERSION"] if candidate else None
        canary = (candidate or {}).get("canary")
        is_active = canary and canary["state"] in {"Running", "Waiting", "Passed"}
        share = canary["steps"][canary["step"]]["share"] if canary and is_active else 0
        among = {self.model} if wanted is None else wanted
        # Which deployment a rollback returns to shows when it is made.
        return next((one for one in among if one._replace(previous=None) == Model(current, None, version, share)), None)

    def _candidate(self) -> Any:
        answer = self.api.request("GET", f"{self.path}/candidate")
        assert answer.status_code in {200, 404}, answer.text
        return answer.json() if answer.status_code == 200 else None

    def _process(self, uri: str) -> int:
        """Return the process that answers at a URL."""

        def answered() -> Answer | None:
            with contextlib.suppress(requests.ConnectionError):
                answer = parsed(requests.post(uri, data="1", headers={"authorization": f"Bearer {self.key}"}))
                return None if answer.failure else answer
            return None

        process = eventually(answered, what=f"an answer at {uri}").process
        self.callers.processes.add(process)
        return process

    def _call_path_of_candidate(self) -> requests.Response:
        front = f"{self.api.base_url.partition('/api/')[0]}/api/v1/service/{NAME}/candidate/score"
        return self.api.request("POST", front, data="1", headers={"authorization": f"Bearer {self.key}"})

    def _is_gone(self, candidate: Any) -> None:
        """Check that no row and no file of a candidate is left. Its processes and its path are looked at all the time,
        and if its reservation were left, the next candidate would not fit.
        """
        if candidate is None:
            return
        eventually(lambda: not self._left_of(candidate["id"]), what=f"the end of {self._left_of(candidate['id'])}")

    def _left_of(self, id_: str) -> list[str]:
        files = [str(path) for path in paths_in(self.api.home) if id_ in path.name]
        with contextlib.closing(sqlite3.connect(self.api.home / "mlmgmt.db")) as db:
            rows = [text for text, column in _COLUMNS if db.execute(f"{text} where {column} = ?", (id_,)).fetchone()]
        return files + rows


def _runs(process: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return lives(psutil.Process(process))
    return False


@pytest.mark.timeout(300 * EXAMPLES)
def test_callers_only_get_answers_of_deployments_that_may_answer() -> None:
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=thorough(20, 10),
        suppress_health_check=list(HealthCheck),
        # Shrinking would repeat crashes and restarts for minutes; the sequence that failed is printed as it is.
        phases=[Phase.generate],
    )
    run_state_machine_as_test(Machine, settings=chosen)
