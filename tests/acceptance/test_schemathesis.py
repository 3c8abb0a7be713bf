"""Schemathesis against the real service, with all its checks and the generated document.

Exceptions below are only the cases that NOTES.md of the contract lists as valid by the document but refused by a rule,
each with its property and value, and names of variables of our extension.
"""

from __future__ import annotations

import copy
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from mlmgmt_nb.contract import ACCOUNT_PATH
from mlmgmt_nb.contract.openapi import document
from tests.conftest import ServiceProcess
from tests.support.searches import IN_CI, thorough

SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(document()))  # schemathesis modifies its input
# We send the token; the check `ignored_auth` omits and falsifies it.
SCHEMA.config.generation.update(with_security_parameters=False)
# The values at all limits of all fields, of which collecting the tests makes thousands.
SCHEMA.config.phases.coverage.enabled = IN_CI
SETTINGS = settings(
    max_examples=thorough(50, 10),
    deadline=None,
    database=None,
    derandomize=IN_CI,
    suppress_health_check=list(HealthCheck),
)
Case = schemathesis.Case[Any]
TIMEOUT_SECONDS = 30.0
DRIVER = "def init():\n    pass\n\n\ndef run(http_body):\n    return http_body\n"
OF_A_RUNNING_CANDIDATE = {
    *("candidate_canary", "candidate_stop_canary", "candidate_promote"),
    *("candidate_mirror", "candidate_stop_mirror", "candidate_mirrored"),
}
"""Operations that are refused here, where nothing waits until a candidate runs."""
ANSWERED: defaultdict[str, set[int]] = defaultdict(set)
"""Statuses that each operation has answered with, by its id."""


class Seed(NamedTuple):
    """A running service and the ids of its resources, by kind."""

    origin: str
    account: dict[str, str]
    headers: dict[str, str]
    ids: dict[str, str]
    propose: Callable[[], object]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seed]:
    folder = tmp_path_factory.mktemp("schemathesis")
    service = ServiceProcess(folder / "home")
    yield _seeded(service, folder)
    service.stop()
    assert "Traceback" not in (folder / "home.output").read_text()
    # The service accepted requests, or its tests would prove little. Few examples of an operation may all be refused.
    refused = {operation for operation, statuses in ANSWERED.items() if not statuses & {200, 202}}
    assert not IN_CI or refused <= OF_A_RUNNING_CANDIDATE, refused - OF_A_RUNNING_CANDIDATE


def _seeded(service: ServiceProcess, folder: Path) -> Seed:
    """Register models and a manifest, build its image, and create two services, one of which may be deleted."""
    (folder / "app").mkdir()
    (folder / "app" / "score.py").write_text(DRIVER)
    (folder / "model.txt").write_text("a model")
    models = [service.model(f"seed-{number}", (folder / "model.txt").as_uri(), tags=["seed"]) for number in range(3)]
    image = service.image(folder / "app", models[0]["id"], name="seed")
    operation = service.operation(service.create(image["id"], "seed"))
    ids = {
        "model": models[0]["id"],
        "manifest": image["manifest"]["id"],
        "image": image["id"],
        "operation": operation["id"],
        "service": operation["resourceLocation"].rpartition("/")[2],
        "candidate": operation["resourceLocation"].rpartition("/")[2],  # its path has the id of its service
        "doomed": service.service(image["id"], "doomed")["id"],
        "deployment": service.get("/deployments")[0]["id"],
    }
    url = urlsplit(service.base_url)
    segments = zip(ACCOUNT_PATH.split("/"), url.path.split("/"), strict=True)
    account = {name.strip("{}"): value for name, value in segments if name.startswith("{")}
    propose = partial(service.request, "PUT", f"/services/{ids['service']}/candidate", json={"imageId": ids["image"]})
    return Seed(f"{url.scheme}://{url.netloc}", account, {"Authorization": f"Bearer {service.token}"}, ids, propose)


@SCHEMA.parametrize()
@SETTINGS
def test_an_operation_keeps_the_contract(case: Case, seed: Seed) -> None:
    _use_real_ids(case, seed)
    statuses = ANSWERED[case.operation.definition.raw["operationId"]]
    if case.path.endswith("/candidate") and case.method in {"GET", "DELETE"} and 200 not in statuses:
        seed.propose()  # operations come in any order, and another one may have discarded it
    answer = case.call_and_validate(base_url=seed.origin, headers=seed.headers, timeout=TIMEOUT_SECONDS)
    statuses.add(answer.status_code)


def test_operations_in_a_row_keep_the_contract(seed: Seed) -> None:
    """Check sequences of operations that use results of earlier ones."""

    class Rows(SCHEMA.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": seed.origin, "headers": seed.headers, "timeout": TIMEOUT_SECONDS}

    Rows.run(settings=settings(SETTINGS, max_examples=thorough(20, 5), stateful_step_count=6))


def _use_real_ids(case: Case, seed: Seed) -> None:
    """Point most well-formed requests at existing resources; the choice depends only on the request."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for variables in ("environment", "secrets"):  # OpenAPI 3.0 cannot describe the names of properties
        if isinstance(case.body, dict) and case.body.get(variables):
            case.body[variables] = {}
    drawn = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode(errors="replace"))
    if drawn % 4 == 0:
        return
    operation = case.operation.definition.raw["operationId"]
    kind = "doomed" if operation == "services_delete" else operation.partition("_")[0].removesuffix("s")
    kind = "service" if kind == "candidate" else kind
    case.path_parameters = {**(case.path_parameters or {}), **seed.account}
    if "id" in case.path_parameters:
        case.path_parameters["id"] = seed.ids[kind]
    if isinstance(case.body, dict):
        case.body.update(_real_body(case.body, seed))


def _real_body(body: dict[str, Any], seed: Seed) -> dict[str, Any]:
    """Return the changes to a body that make its references exist and keep the number of replicas small."""
    real: dict[str, Any] = {
        "imageId": seed.ids["image"],
        "manifestId": seed.ids["manifest"],
        "computeResourceId": "local",
        "modelIds": [seed.ids["model"]],
        "numReplicas": 0,
    }
    changes = {name: value for name, value in real.items() if body.get(name) is not None}
    if "driverProgram" in body:
        changes["assets"] = [*body["assets"], {"id": body["driverProgram"]}]
    if "computeResource" in body:
        scaler = body.get("autoScaler") or {}
        changes["computeResource"] = {"id": "local"}
        changes["numReplicas"] = None if scaler.get("autoscaleEnabled") else 0
    if body.get("autoScaler"):
        changes["autoScaler"] = {**body["autoScaler"], "minReplicas": 0, "maxReplicas": 1}
    return changes


# -- What NOTES.md lists -----------------------------------------------------------------------------------------------


class Refused(NamedTuple):
    """A request that is valid by the document and refused with 400 because of one value."""

    case: Case
    path: str  # of the value: `$.name` in the body, or the name of a parameter
    value: Any


def _empty(refused: Refused) -> bool:
    """Empty strings as names and URLs of models and manifests."""
    return refused.value == "" and refused.path in {"$.name", "$.url"}


def _foreign_skip_token(refused: Refused) -> bool:
    """Return a `$skipToken` that the server did not issue."""
    return refused.path == "$skipToken"


def _no_such_asset(refused: Refused) -> bool:
    """Return a `driverProgram` that is no asset's id."""
    body: Any = refused.case.body
    return refused.path == "$.driverProgram" and refused.value not in [asset.get("id") for asset in body["assets"]]


def _fixed_number_while_autoscaled(refused: Refused) -> bool:
    """`numReplicas` in an update while the stored autoscaler is on, which the document cannot express."""
    return refused.path == "$.numReplicas" and refused.case.method == "PUT"


def _variables(refused: Refused) -> bool:
    """Return whether the rules for environment variables may be broken, which the document cannot express."""
    body: Any = refused.case.body
    return refused.path == "$" and isinstance(body, Mapping) and bool(body.get("environment") or body.get("secrets"))


def _falling_shares(refused: Refused) -> bool:
    """Return whether a step of a canary has less than the one before it, which the document cannot express."""
    step = re.fullmatch(r"\$\.steps\[(\d+)\]\.share", refused.path)
    if step is None or not refused.case.path.endswith("/canary"):
        return False
    body: Any = refused.case.body
    shares = [each["share"] for each in body["steps"]]
    return bool(shares[int(step[1])] < shares[int(step[1]) - 1])


def _minutes(refused: Refused) -> bool:
    """Return whether `keepWarm` is not a number of minutes. A pattern could express it, but not with a clear error."""
    return refused.path == "keepWarm"


ALLOWED: tuple[Callable[[Refused], bool], ...] = (
    _empty,
    _foreign_skip_token,
    _no_such_asset,
    _fixed_number_while_autoscaled,
    _variables,
    _falling_shares,
    _minutes,
)


@SCHEMA.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: Case, response: schemathesis.Response
) -> bool:
    """Return whether the failure counts."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    if os.environ.get("MLMGMT_TEST_DATABASE") == "postgresql" and "cannot contain NUL" in response.json()["message"]:
        return False  # PostgreSQL can neither store nor search such text
    blamed = [detail["message"].partition(": ")[0] for detail in response.json()["details"] or ()]
    refused = [Refused(case, path, _value_at(case, path)) for path in blamed]
    return not refused or not all(any(allowed(one) for allowed in ALLOWED) for one in refused)


def _value_at(case: Case, path: str) -> Any:
    """Return the value that an error's path names; None if it is not in the body or the query."""
    values = case.body if path.startswith("$.") else case.query
    return values.get(path.removeprefix("$.")) if isinstance(values, Mapping) else None
