"""Environment variables and secrets of services, from the request to the driver."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.service.drivers import replicas, under_load

ENVIRON = "import json, os\nAT_IMPORT = dict(os.environ)\n\ndef init():\n    pass\n\ndef run(body):\n"
ENVIRON += "    return {name: [AT_IMPORT.get(name), os.environ.get(name)] for name in json.loads(body)}\n"
SECRET = "hunter2-the-first"
ROTATED = "hunter2-the-second"


def seen(api: Any, service: Any, *names: str) -> dict[str, Any]:
    """Return variables as the driver sees them, when it is imported and when it runs."""
    answer = api.score(service, json.dumps(names))
    assert answer.status_code == 200, answer.text
    both = answer.json()
    assert all(first == second for first, second in both.values())
    return {name: first for name, (first, _) in both.items()}


def update(api: Any, service: Any, **body: Any) -> Any:
    ended = api.operation(api.request("PUT", f"/services/{service['id']}", json=body))
    assert ended["state"] == "Succeeded", ended
    return api.get(f"/services/{service['id']}")


def test_they_reach_the_driver_and_only_names_of_secrets_come_back(
    api: Any, write_driver: Callable[..., Path], name: str
) -> None:
    image = api.image(write_driver(ENVIRON))
    given: dict[str, Any] = {
        "environment": {"GREETING": "h\u00e9llo = 1", "EMPTY": "", "NONE": None},
        "secrets": {"TOKEN": SECRET},
    }
    service = api.service(image["id"], name, **given)
    assert service["environment"] == {"GREETING": "h\u00e9llo = 1", "EMPTY": ""}
    assert service["secrets"] == ["TOKEN"]
    found = seen(api, service, "GREETING", "EMPTY", "TOKEN", "NONE", "SERVICE_NAME")
    assert found == {"GREETING": given["environment"]["GREETING"], "EMPTY": "", "TOKEN": SECRET, "NONE": None} | {
        "SERVICE_NAME": name
    }
    (process,) = replicas(api, service)
    assert SECRET not in " ".join(process.cmdline())
    assert SECRET not in str(process.environ())  # the environment that it was started with


def test_an_update_keeps_changes_and_removes(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    image = api.image(write_driver(ENVIRON))
    service = api.service(image["id"], name, environment={"A": "1", "B": "2"}, secrets={"S": SECRET, "T": SECRET})
    with under_load(api, service, body='["A"]') as wrong:
        same = update(api, service, numReplicas=1)
        assert (same["environment"], same["secrets"]) == ({"A": "1", "B": "2"}, ["S", "T"])
        after = update(api, service, environment={"A": "one", "B": None}, secrets={"S": ROTATED})
    assert wrong == []
    assert (after["environment"], after["secrets"]) == ({"A": "one"}, ["S", "T"])
    expected = {"A": "one", "B": None, "S": ROTATED, "T": SECRET}
    assert seen(api, service, "A", "B", "S", "T") == expected
    # A name is a variable or a secret.
    moved = update(api, service, environment={"T": "not secret"}, secrets={"A": SECRET})
    assert (moved["environment"], moved["secrets"]) == ({"T": "not secret"}, ["A", "S"])
    assert seen(api, service, "A", "T") == {"A": SECRET, "T": "not secret"}


def test_refusals(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    image = api.image(write_driver(ENVIRON))
    for body, path in (
        ({"environment": {"PATH": SECRET}}, "environment.PATH"),
        ({"secrets": {"MLMGMT_TOKEN": SECRET}}, "secrets.MLMGMT_TOKEN"),
        ({"secrets": {"A B": SECRET}}, "secrets.A B"),
        ({"secrets": {"A": SECRET}, "environment": {"A": SECRET}}, "environment.A"),
        ({"secrets": {"A": 1}}, "$.secrets"),
        ({"secrets": SECRET}, "$.secrets"),
        ({"environment": {"A": "x" * 32_769}}, "$.environment"),
    ):
        refused = api.create(image["id"], name, **body)
        assert refused.status_code == 400, refused.text
        assert path in refused.text
        assert SECRET not in refused.text
    service = api.service(image["id"], name, environment={f"A{number}": "x" for number in range(200)})
    more = {"environment": {f"B{number}": "x" for number in range(100)}}
    refused = api.request("PUT", f"/services/{service['id']}", json=more)
    assert refused.status_code == 400
    assert "$.environment: has 300 items" in refused.text


def test_secrets_are_nowhere_but_in_the_database(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    api = start_service(sqlite=True)
    image = api.image(write_driver(ENVIRON))
    service = api.service(image["id"], "iris", secrets={"TOKEN": SECRET})
    api.create(image["id"], "other", secrets={"PATH": SECRET})
    service = update(api, service, secrets={"TOKEN": ROTATED})
    for path in ("/services", f"/services/{service['id']}", "/deployments", "/operations", "/audit", "/computes"):
        assert "hunter2" not in json.dumps(api.get(path)), path
    for path in (f"/services/{service['id']}/logs", f"/services/{service['id']}/metrics"):
        assert "hunter2" not in api.log(path), path
    backup = tmp_path / "backup.tar"
    mlmgmt("backup", backup, "--home", api.home)
    api.stop()
    leaking = [path for path in api.home.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert {path.name.partition("-")[0] for path in leaking} == {"mlmgmt.db"}
    for file in (*leaking, backup):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert b"hunter2" not in api._output.read_bytes()

    # The backup has the present secrets; those of deployments that ended are forgotten.
    with tarfile.open(backup) as tar:
        tar.extract("mlmgmt.db", tmp_path / "out", filter="data")
    assert ROTATED.encode() in (tmp_path / "out" / "mlmgmt.db").read_bytes()
    assert SECRET.encode() not in (tmp_path / "out" / "mlmgmt.db").read_bytes()
    mlmgmt("restore", backup, "--home", tmp_path / "restored")
    restored = start_service(home=tmp_path / "restored", sqlite=True)
    back = restored.get(f"/services/{service['id']}")
    assert back["secrets"] == ["TOKEN"]
    again = update(restored, back, numReplicas=1)
    assert seen(restored, again, "TOKEN") == {"TOKEN": ROTATED}


def test_a_failed_rollout_leaves_the_values_of_before(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    driver = "import os\n\ndef init():\n    assert os.environ['MODE'] == 'good'\n\ndef run(body):\n    return 1\n"
    image = api.image(write_driver(driver))
    failed = api.operation(api.create(image["id"], name, environment={"MODE": "bad"}, secrets={"TOKEN": SECRET}))
    assert failed["state"] == "Failed"
    # The secrets of a service that never ran are kept for its next update.
    service = update(api, {"id": failed["resourceLocation"].rpartition("/")[2]}, environment={"MODE": "good"})
    assert service["secrets"] == ["TOKEN"]
    wrong = api.operation(api.request("PUT", f"/services/{service['id']}", json={"environment": {"MODE": "bad"}}))
    assert wrong["state"] == "Failed"
    assert api.get(f"/services/{service['id']}")["environment"] == {"MODE": "good"}
    assert api.score(service, "1").json() == 1
