"""Random sequences of requests, crashes and restarts against a model of the API: what it answered is what is there.

`MLMGMT_EXAMPLES=200 pytest tests/acceptance/test_state_machine.py --timeout 0` looks for longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from hypothesis.strategies import booleans, integers, sampled_from

from tests.conftest import ServiceProcess, eventually

GOOD = "def init():\n    pass\n\ndef run(body):\n    return {says!r}\n"
BROKEN = "def init():\n    raise RuntimeError('this driver does not load')\n\ndef run(body):\n    return 0\n"
SLOW = "import time\n\ndef init():\n    time.sleep(600)\n\ndef run(body):\n    return 0\n"
LOADS = ("one", "two")
NAMES = ("svc-a", "svc-b")
NOBODY = "00000000-0000-0000-0000-000000000000"

choice = integers(0, 10**6)
"""Picks one of what there is, by the remainder."""


class Deployment(NamedTuple):
    says: str
    status: str


class Running:
    """What the model knows of one service."""

    def __init__(self, answered: dict[str, Any], keys: dict[str, str]) -> None:
        self.answered = answered
        self.keys = keys
        self.old_keys: list[str] = []
        self.history: list[Deployment] = []

    @property
    def serving(self) -> str | None:
        """What it answers, or None where nothing that loads was ever deployed."""
        return next((deployment.says for deployment in self.history if deployment.status == "Active"), None)


class Machine(RuleBasedStateMachine):
    """The embedded service, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlmgmt-machine-"))
        self.api = ServiceProcess(self.folder / "home")
        self.models: list[Any] = []
        self.manifests: list[Any] = []
        self.images: dict[str, tuple[str, str]] = {}  # id -> what its driver says, state
        self.services: dict[str, Running] = {}

    def teardown(self) -> None:
        self.api.stop()
        shutil.rmtree(self.folder)

    @initialize()
    def drivers(self) -> None:
        sources = {"broken": BROKEN, "slow": SLOW} | {says: GOOD.format(says=says) for says in LOADS}
        for says, source in sources.items():
            (self.folder / says).mkdir()
            (self.folder / says / "score.py").write_text(source)

    # --- what is asked for ---------------------------------------------------------------------------------------

    @rule(name=sampled_from(["iris", "wine"]), tagged=booleans())
    def register_model(self, name: str, tagged: bool) -> None:
        file = self.folder / f"{name}.bin"
        file.write_text(name)
        model = self.api.model(name, url=file.as_uri(), tags=["prod"] if tagged else [])
        assert model["version"] == 1 + sum(known["name"] == name for known in self.models)
        self.models.append(model)

    @rule(says=sampled_from([*LOADS, "broken", "slow"]), waits=booleans())
    def build(self, says: str, waits: bool) -> None:
        accepted = self._ask_for_image(says)
        if not waits:
            self.crash()
        self._image_ended(says, self._ended(accepted))

    @rule(says=sampled_from(LOADS))
    def cancel_a_build(self, says: str) -> None:
        accepted = self._ask_for_image(says)
        self.api.request("POST", accepted.headers["Operation-Location"] + "/cancel")
        self._image_ended(says, self._ended(accepted))

    @precondition(lambda self: self.images)
    @rule(image=choice, name=sampled_from(NAMES))
    def create(self, image: int, name: str) -> None:
        image_id, says = self._pick(image, *LOADS, "broken")
        if image_id is None:
            return
        answer = self.api.create(image_id, name)
        if name in self.services:
            assert answer.status_code == 409, answer.text
            return
        ended = self._ended(answer)
        service = self.api.get("/services/" + ended["resourceLocation"].rpartition("/")[2])
        self.services[name] = Running(service, self.api.get(f"/services/{service['id']}/keys"))
        self._rolled_out(name, says, ended["state"], fails=says == "broken")

    @precondition(lambda self: self.images and self.services)
    @rule(image=choice, service=choice, crashes=booleans())
    def update(self, image: int, service: int, crashes: bool) -> None:
        image_id, says = self._pick(image, *LOADS, "broken")
        if image_id is None:
            return
        name, running = self._service(service)
        answer = self.api.request("PUT", f"/services/{running.answered['id']}", json={"imageId": image_id})
        if crashes:
            self.crash()
        self._rolled_out(name, says, self._ended(answer)["state"], fails=says == "broken")

    @precondition(lambda self: self.services)
    @rule(image=choice, service=choice)
    def cancel_an_update(self, image: int, service: int) -> None:
        image_id, says = self._pick(image, "slow")
        if image_id is None:
            return
        name, running = self._service(service)
        url = f"/services/{running.answered['id']}"
        answer = self.api.request("PUT", url, json={"imageId": image_id})
        assert self.api.request("PUT", url, json={"numReplicas": 1}).status_code == 409
        cancelled = self.api.request("POST", answer.headers["Operation-Location"] + "/cancel")
        assert cancelled.json()["state"] == "Cancelled"
        self._rolled_out(name, says, "Cancelled", fails=True)

    @precondition(lambda self: self.services)
    @rule(service=choice, kind=sampled_from(["Primary", "Secondary"]))
    def regenerate_a_key(self, service: int, kind: str) -> None:
        _, running = self._service(service)
        url = f"/services/{running.answered['id']}/regenerateKeys"
        changed = self.api.post(url, {"keyType": kind})
        mine, other = ("primaryKey", "secondaryKey") if kind == "Primary" else ("secondaryKey", "primaryKey")
        assert changed[mine] != running.keys[mine]
        assert changed[other] == running.keys[other]
        running.old_keys.append(running.keys[mine])
        running.keys = changed

    @precondition(lambda self: self.services)
    @rule(service=choice)
    def delete(self, service: int) -> None:
        name, running = self._service(service)
        url = f"/services/{running.answered['id']}"
        assert self.api.request("DELETE", url).status_code == 200
        assert self.api.request("DELETE", url).status_code == 204
        assert self.api.request("GET", url).status_code == 404
        history = self.api.get("/deployments", serviceId=running.answered["id"])
        assert "Active" not in {deployment["status"] for deployment in history}
        assert len(history) == len(running.history)
        del self.services[name]

    @rule()
    def ask_for_what_cannot_be(self) -> None:
        refused = self.api.request("POST", "/models", json={"name": "x", "url": "file:///x"})
        assert refused.status_code == 400
        assert refused.json()["details"][0]["message"]
        assert self.api.create(NOBODY, NAMES[0]).status_code == 404
        assert self.api.request("PUT", f"/services/{NOBODY}", json={"numReplicas": 1}).status_code == 404

    @rule()
    def crash(self) -> None:
        self.api.kill()
        self.api.start()

    @rule()
    def restart(self) -> None:
        self.api.stop()
        self.api.start()

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def models_and_manifests_are_what_was_answered(self) -> None:
        assert self.api.get("/models")["value"] == self.models[::-1]
        assert self.api.get("/models", tag="prod")["value"] == [m for m in self.models[::-1] if m.get("tags")]
        assert self.api.get("/manifests")["value"] == self.manifests[::-1]

    @invariant()
    def images_are_in_the_state_that_was_answered(self) -> None:
        states = {image["id"]: image["creationState"] for image in self.api.get("/images")["value"]}
        assert states == {image_id: state for image_id, (_, state) in self.images.items()}

    @invariant()
    def services_are_what_was_answered(self) -> None:
        there = {service["name"]: service for service in self.api.get("/services")["value"]}
        assert there.keys() == self.services.keys()
        for name, running in self.services.items():
            assert there[name]["id"] == running.answered["id"]
            assert there[name]["scoringUri"] == running.answered["scoringUri"]
            history = self.api.get("/deployments", serviceId=running.answered["id"])
            assert [deployment["status"] for deployment in history] == [d.status for d in running.history]

    @invariant()
    def services_answer_by_their_keys(self) -> None:
        for name, running in self.services.items():
            assert self.api.get(f"/services/{running.answered['id']}/keys") == running.keys
            if running.serving is None:
                continue
            for key in running.keys.values():
                eventually(partial(self._scores, running, key), what=f"the answer of {name}")
            for key in running.old_keys:
                assert self._status(running, key) == 401

    # --- helpers -------------------------------------------------------------------------------------------------

    def _ask_for_image(self, says: str) -> requests.Response:
        newest = [model["id"] for model in self.models[-1:]]
        self.manifests.append(self.api.manifest(self.folder / says, *newest))
        request = {"name": "iris", "manifestId": self.manifests[-1]["id"], "imageType": "Docker"}
        return self.api.request("POST", "/images", json={**request, "computeResourceId": "local"})

    def _image_ended(self, says: str, ended: dict[str, Any]) -> None:
        assert ended["state"] in {"Succeeded", "Cancelled"}, ended
        self.images[ended["resourceLocation"].rpartition("/")[2]] = (says, ended["state"])

    def _ended(self, accepted: requests.Response) -> dict[str, Any]:
        assert accepted.status_code == 202, accepted.text
        # After a restart the service may be at another port: what counts is the operation's id.
        url = "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]
        return eventually(lambda: self._if_ended(url), what="the end of the operation")

    def _if_ended(self, url: str) -> dict[str, Any] | None:
        operation: dict[str, Any] = self.api.get(url)
        return operation if operation["state"] not in {"NotStarted", "Running"} else None

    def _pick(self, number: int, *wanted: str) -> tuple[str | None, str]:
        """An image that was built of one of these drivers, and what that says."""
        built = [(i, says) for i, (says, state) in self.images.items() if state == "Succeeded" and says in wanted]
        return built[number % len(built)] if built else (None, "")

    def _service(self, number: int) -> tuple[str, Running]:
        return list(self.services.items())[number % len(self.services)]

    def _rolled_out(self, name: str, says: str, state: str, *, fails: bool) -> None:
        """Notes how a rollout ended."""
        running = self.services[name]
        if fails:
            assert state != "Succeeded"
            running.history.insert(0, Deployment(says, state))
        else:
            assert state == "Succeeded"
            expired = [d._replace(status="Expired") if d.status == "Active" else d for d in running.history]
            running.history = [Deployment(says, "Active"), *expired]
        service = self.api.get(f"/services/{running.answered['id']}")
        assert service["state"] == state
        running.answered["scoringUri"] = running.answered["scoringUri"] or service["scoringUri"]

    def _scores(self, running: Running, key: str) -> bool:
        try:
            answer = self.api.score(running.answered, "1", key)
        except requests.ConnectionError:
            return False  # its service is just being started again
        if answer.status_code == 503:
            return False
        assert (answer.status_code, answer.text) == (200, f'"{running.serving}"')
        return True

    def _status(self, running: Running, key: str) -> int:
        return self.api.score(running.answered, "1", key).status_code


@pytest.mark.timeout(600)
def test_what_the_api_answered_is_what_is_there() -> None:
    chosen = settings(
        max_examples=int(os.environ.get("MLMGMT_EXAMPLES", "6")),
        stateful_step_count=14,
        suppress_health_check=list(HealthCheck),
        # Shrinking would repeat crashes and restarts for minutes; the sequence that failed is printed as it is.
        phases=[Phase.generate],
    )
    run_state_machine_as_test(Machine, settings=chosen)
