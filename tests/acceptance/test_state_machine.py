"""Random sequences of requests, crashes and restarts against a model of the API: every confirmed change is there.

`MLMGMT_EXAMPLES=200 pytest tests/acceptance/test_state_machine.py` looks for longer. On PostgreSQL
(`MLMGMT_TEST_DATABASE=postgresql`) two processes share the database, and any of them is asked, and crashes.
"""

from __future__ import annotations

import json
import os
import re
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

from tests.conftest import ServiceProcess, database_arguments, mlmgmt
from tests.support.searches import thorough
from tests.support.waiting import eventually

GOOD = "def init():\n    pass\n\ndef run(body):\n    return {says!r}\n"
BROKEN = "def init():\n    raise RuntimeError('this driver does not load')\n\ndef run(body):\n    return 0\n"
SLOW = "import time\n\ndef init():\n    time.sleep(600)\n\ndef run(body):\n    return 0\n"
LOADS = ("one", "two")
EITHER = "either"
"""The text of an image that may have been built or cancelled in time; it is inspected but not run."""
NAMES = ("svc-a", "svc-b")
EXAMPLES = int(os.environ.get("MLMGMT_EXAMPLES") or thorough(4, 1))
NOBODY = "00000000-0000-0000-0000-000000000000"

choice = integers(0, 10**6)
"""Pick one of the existing items, by the remainder."""


class Image(NamedTuple):
    says: str
    state: str
    collected: bool = False


class Deployment(NamedTuple):
    image_id: str
    says: str
    status: str

    @property
    def served(self) -> bool:
        return self.status in {"Active", "Expired"}


class Running:
    """The model of one service."""

    def __init__(self, answered: dict[str, Any], keys: dict[str, str]) -> None:
        self.answered = answered
        self.keys = keys
        self.old_keys: list[str] = []
        self.history: list[Deployment] = []
        self.replicas = 1
        self.is_autoscaled = False

    @property
    def active(self) -> Deployment | None:
        """The active deployment; None if no deployment has loaded yet."""
        return next((deployment for deployment in self.history if deployment.status == "Active"), None)

    @property
    def serving(self) -> str | None:
        """The answer of the service."""
        return self.active.says if self.active else None


def _image_of(running: Running) -> str:
    assert running.active is not None
    return running.active.image_id


class Machine(RuleBasedStateMachine):
    """The embedded service, and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlmgmt-machine-"))
        self._begin(self.folder / "home")
        self.models: list[Any] = []
        self.manifests: list[Any] = []
        # All by id, in the order of creation.
        self.images: dict[str, Image] = {}
        self.operations: dict[str, str] = {}
        self.services: dict[str, Running] = {}

    def _begin(self, home: Path) -> None:
        """Start a service on a folder: two processes if they can share a database."""
        self._apis = [ServiceProcess(home) for _ in range(2 if database_arguments(home) else 1)]
        self._asked = 0

    @property
    def api(self) -> ServiceProcess:
        """The process that gets the requests."""
        return self._apis[self._asked % len(self._apis)]

    def teardown(self) -> None:
        for api in self._apis:
            api.stop()
        shutil.rmtree(self.folder)

    @initialize()
    def drivers(self) -> None:
        sources = {"broken": BROKEN, "slow": SLOW} | {says: GOOD.format(says=says) for says in LOADS}
        for says, source in sources.items():
            (self.folder / says).mkdir()
            (self.folder / says / "score.py").write_text(source)

    # --- requests ------------------------------------------------------------------------------------------------

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
        # Either may have been first: later choices must not depend on it, or sequences would not be repeatable.
        self._image_ended(EITHER, self._ended(accepted))

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
        self._rolled_out(name, image_id, ended["state"], fails=says == "broken")

    @precondition(lambda self: self.images and self.services)
    @rule(image=choice, service=choice, crashes=booleans())
    def update(self, image: int, service: int, crashes: bool) -> None:
        image_id, says = self._pick(image, *LOADS, "broken")
        if image_id is None:
            return
        name, running = self._service(service)
        answer = self._put(running, imageId=image_id)
        if crashes:
            self.crash()
        self._rolled_out(name, image_id, self._ended(answer)["state"], fails=says == "broken")

    @precondition(lambda self: self._serving())
    @rule(service=choice, replicas=integers(1, 2), crashes=booleans())
    def scale(self, service: int, replicas: int, crashes: bool) -> None:
        name, running = self._service(service, self._serving())
        if running.is_autoscaled:
            assert self._put(running, numReplicas=replicas).status_code == 400
        answer = self._put(running, numReplicas=replicas, autoScaler={"autoscaleEnabled": False})
        if crashes:
            self.crash()
        self._rolled_out(name, _image_of(running), self._ended(answer)["state"], fails=False)
        running.replicas, running.is_autoscaled = replicas, False

    @precondition(lambda self: self._serving())
    @rule(service=choice)
    def autoscale(self, service: int) -> None:
        name, running = self._service(service, self._serving())
        scaler = {"autoscaleEnabled": True, "minReplicas": 1, "maxReplicas": 2, "refreshPeriodInSeconds": 1}
        answer = self._put(running, autoScaler=scaler)
        self._rolled_out(name, _image_of(running), self._ended(answer)["state"], fails=False)
        running.replicas, running.is_autoscaled = 1, True
        assert self.api.get(f"/services/{running.answered['id']}")["autoScaler"].items() >= scaler.items()

    @precondition(lambda self: self.services)
    @rule(image=choice, service=choice)
    def cancel_an_update(self, image: int, service: int) -> None:
        image_id, _ = self._pick(image, "slow")
        if image_id is None:
            return
        name, running = self._service(service)
        answer = self._put(running, imageId=image_id)
        assert self._put(running, maxConcurrentRequestsPerContainer=9).status_code == 409
        cancelled = self.api.request("POST", answer.headers["Operation-Location"] + "/cancel")
        assert cancelled.json()["state"] == "Cancelled"
        self._rolled_out(name, image_id, self._ended(answer)["state"], fails=True)

    @precondition(lambda self: self.images and self.services)
    @rule(image=choice, service=choice)
    def delete_during_an_update(self, image: int, service: int) -> None:
        image_id, says = self._pick(image, "slow")
        if image_id is None:
            return
        _, running = self._service(service)
        answer = self._put(running, imageId=image_id)
        running.history.insert(0, Deployment(image_id, says, "Expired"))
        self.delete(service)
        assert self._ended(answer)["state"] == "Cancelled"

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
        for image_id, image in self.images.items():
            if image.collected and not self.services.get(NAMES[0]):
                refused = self.api.create(image_id, NAMES[0])
                assert (refused.status_code, refused.json()["code"]) == (409, "ImageCollected")

    @rule(count=integers(1, 3))
    def turn_pages(self, count: int) -> None:
        """Check that pages omit resources created meanwhile, and list every other resource exactly once."""
        wanted = {
            "/models": [model["id"] for model in self.models[::-1]],
            "/images": list(self.images)[::-1],
            "/operations": list(self.operations)[::-1],
        }
        pages = {path: self.api.get(path, count=str(count)) for path in wanted}
        self.register_model("iris", tagged=False)
        for path, ids in wanted.items():
            seen, page = list(pages[path]["value"]), pages[path]
            while link := page.get("nextLink"):
                assert len(page["value"]) == count
                page = self.api.get(link)
                seen += page["value"]
            assert [one["id"] for one in seen] == ids

    @rule()
    def collect_garbage(self) -> None:
        """Check that exactly the images that no service runs or can roll back to are removed."""
        used = {one.image_id for running in self.services.values() for one in running.history if one.served}
        wanted = {
            image_id
            for image_id, image in self.images.items()
            if image.state == "Succeeded" and not image.collected and image_id not in used
        }
        gone: set[str] = set()

        def collect() -> bool:
            """Allow for images that a stopping service still uses for a moment."""
            line = mlmgmt("gc", "--home", self.api.home, "--older-than", "0", "--delete", "-o", "json")
            gone.update(Path(item["path"]).name for item in json.loads(line)["items"] if item["kind"] == "image")
            return gone == wanted

        eventually(collect, what="the end of the garbage")
        for image_id in gone:
            self.images[image_id] = self.images[image_id]._replace(collected=True)

    @rule()
    def lose_everything_but_a_backup(self) -> None:
        home = self.api.home
        file = self.folder / f"{home.name}.tar"
        mlmgmt("backup", file, "--home", home)
        # Changes after the backup are lost with the folder.
        self.api.model("iris")
        for api in self._apis:
            api.stop()
        shutil.rmtree(home)
        restored = self.folder / f"{home.name}-again"
        mlmgmt("restore", file, "--home", restored, *database_arguments(restored))
        self._begin(restored)

    @precondition(lambda self: len(self._apis) > 1)
    @rule()
    def ask_the_other(self) -> None:
        self._asked += 1

    @rule()
    def crash(self) -> None:
        self.api.kill()
        self.api.start()

    @rule()
    def restart(self) -> None:
        self.api.stop()
        self.api.start()

    # --- invariants ----------------------------------------------------------------------------------------------

    @invariant()
    def models_and_manifests_are_what_was_answered(self) -> None:
        assert self.api.get("/models")["value"] == self.models[::-1]
        assert self.api.get("/models", tag="prod")["value"] == [m for m in self.models[::-1] if m.get("tags")]
        assert self.api.get("/manifests")["value"] == self.manifests[::-1]

    @invariant()
    def images_are_in_the_state_that_was_answered(self) -> None:
        states = {image["id"]: image["creationState"] for image in self.api.get("/images")["value"]}
        assert states == {image_id: image.state for image_id, image in self.images.items()}

    @invariant()
    def operations_ended_as_was_answered(self) -> None:
        assert {one["id"]: one["state"] for one in self.api.get("/operations")["value"]} == self.operations

    @invariant()
    def services_are_what_was_answered(self) -> None:
        there = {service["name"]: service for service in self.api.get("/services")["value"]}
        assert there.keys() == self.services.keys()
        for name, running in self.services.items():
            assert there[name]["id"] == running.answered["id"]
            assert there[name]["scoringUri"] == running.answered["scoringUri"]
            history = self.api.get("/deployments", serviceId=running.answered["id"])
            assert [(one["imageId"], one["status"]) for one in history] == [
                (one.image_id, one.status) for one in running.history
            ]

    @invariant()
    def as_many_replicas_run_as_were_asked_for(self) -> None:
        for name, running in self._serving():
            eventually(partial(self._has_replicas, running), what=f"the replicas of {name}")

    @invariant()
    def services_answer_by_their_keys(self) -> None:
        for name, running in self.services.items():
            assert self.api.get(f"/services/{running.answered['id']}/keys") == running.keys
            if running.serving is None:
                continue
            for key in running.keys.values():
                eventually(partial(self._scores, running, key), what=f"the answer of {name}")
            for key in running.old_keys:
                # Of two processes, the one that runs it may not be the one that was asked, and may just have crashed.
                timeout = 0 if len(self._apis) == 1 else 30
                eventually(partial(self._is_refused, running, key), timeout, "the end of an old key")

    # --- helpers -------------------------------------------------------------------------------------------------

    def _ask_for_image(self, says: str) -> requests.Response:
        newest = [model["id"] for model in self.models[-1:]]
        self.manifests.append(self.api.manifest(self.folder / says, *newest))
        request = {"name": "iris", "manifestId": self.manifests[-1]["id"], "imageType": "Docker"}
        return self.api.request("POST", "/images", json={**request, "computeResourceId": "local"})

    def _image_ended(self, says: str, ended: dict[str, Any]) -> None:
        assert ended["state"] in {"Succeeded", "Cancelled"}, ended
        self.images[ended["resourceLocation"].rpartition("/")[2]] = Image(says, ended["state"])

    def _ended(self, accepted: requests.Response) -> dict[str, Any]:
        assert accepted.status_code == 202, accepted.text
        # After a restart the service may be at another port: what counts is the operation's id.
        operation_id = accepted.headers["Operation-Location"].rpartition("/")[2]
        url = f"/operations/{operation_id}"
        ended = eventually(lambda: self._if_ended(url), 60, what="the end of the operation")
        self.operations[operation_id] = ended["state"]
        return ended

    def _if_ended(self, url: str) -> dict[str, Any] | None:
        operation: dict[str, Any] = self.api.get(url)
        return operation if operation["state"] not in {"NotStarted", "Running"} else None

    def _pick(self, number: int, *wanted: str) -> tuple[str | None, str]:
        """Return an image built from one of these drivers, and its text."""
        built = [
            (image_id, image.says)
            for image_id, image in self.images.items()
            if image.state == "Succeeded" and not image.collected and image.says in wanted
        ]
        return built[number % len(built)] if built else (None, "")

    def _service(self, number: int, among: list[tuple[str, Running]] | None = None) -> tuple[str, Running]:
        found = list(self.services.items()) if among is None else among
        return found[number % len(found)]

    def _serving(self) -> list[tuple[str, Running]]:
        """Return the services with an active deployment."""
        return [(name, running) for name, running in self.services.items() if running.serving is not None]

    def _put(self, running: Running, **changes: Any) -> requests.Response:
        return self.api.request("PUT", f"/services/{running.answered['id']}", json=changes)

    def _has_replicas(self, running: Running) -> bool:
        answer = self.api.request("GET", f"/services/{running.answered['id']}/metrics")
        # The process that runs them may just have crashed.
        if answer.status_code == 503:
            return False
        ready = re.search(r'^mlmgmt_replicas{.*state="ready"} ([0-9.]+)$', answer.text, re.MULTILINE)
        return ready is not None and float(ready[1]) == running.replicas

    def _rolled_out(self, name: str, image_id: str, state: str, *, fails: bool) -> None:
        """Record the result of a rollout."""
        running = self.services[name]
        says = self.images[image_id].says
        if fails:
            assert state != "Succeeded"
            running.history.insert(0, Deployment(image_id, says, state))
        else:
            assert state == "Succeeded"
            expired = [d._replace(status="Expired") if d.status == "Active" else d for d in running.history]
            running.history = [Deployment(image_id, says, "Active"), *expired]
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

    def _is_refused(self, running: Running, key: str) -> bool:
        try:
            return self.api.score(running.answered, "1", key).status_code == 401
        except requests.ConnectionError:
            return False


@pytest.mark.timeout(150 * EXAMPLES)
def test_what_the_api_answered_is_what_is_there() -> None:
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=14,
        suppress_health_check=list(HealthCheck),
        # Shrinking would repeat crashes and restarts for minutes; the sequence that failed is printed as it is.
        phases=[Phase.generate],
    )
    run_state_machine_as_test(Machine, settings=chosen)
