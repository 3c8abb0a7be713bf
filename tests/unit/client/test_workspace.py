"""`connect()` and its arguments, the resources' verbs, and what is checked before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client import Application, Workspace, connect
from mlmgmt_nb.contract import AutoScaler
from tests.unit.client.conftest import Answer, Seen, Server

ID = "11111111-2222-3333-4444-555555555555"


def model(name: str, version: int) -> dict[str, Any]:
    return {"id": f"{name}-{version}", "name": name, "version": version, "mimeType": "a/b", "url": "u"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLMGMT_BASE_URL", "MLMGMT_TOKEN", "MLMGMT_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_environment_is_honoured_and_arguments_win(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script = lambda _: Answer(200, {"value": []})
    monkeypatch.setenv("MLMGMT_BASE_URL", server.base_url + "/")
    monkeypatch.setenv("MLMGMT_TOKEN", "from-environment")
    with connect() as ws:
        assert ws.base_url == server.base_url
        list(ws.models.list())
    with connect(token="given") as ws:
        list(ws.models.list())
    monkeypatch.setenv("MLMGMT_BASE_URL", "http://other.example/accounts/x")
    with connect(base_url=server.base_url) as ws:
        list(ws.models.list())
    tokens = [seen.headers["Authorization"] for seen in server.seen]
    assert tokens == ["Bearer from-environment", "Bearer given", "Bearer from-environment"]


def test_repr_hides_the_token(server: Server) -> None:
    with connect(base_url=server.base_url, token="very-secret") as ws:
        assert repr(ws) == f"<Workspace {server.base_url}>"


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        ({"base_url": "http://host/api"}, "base_url", "does not end in /accounts/NAME"),
        ({"base_url": "http://host/accounts/x?y"}, "base_url", "does not end in /accounts/NAME"),
        ({"base_url": "host/accounts/x"}, "base_url", "is not an http or https URL"),
        ({"base_url": "http://h/accounts/x", "home": "h"}, "home", "cannot be combined"),
        ({"base_url": "http://h/accounts/x", "token": "t", "credential": object()}, "token", "cannot be combined"),
        ({"token": "t"}, "token", "requires a base_url"),
        ({"credential": object()}, "credential", "requires a base_url"),
    ],
)
def test_arguments_that_do_not_go_together(arguments: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(errors.UsageError, match=message) as caught:
        connect(**arguments)
    assert caught.value.field == field
    assert caught.value.fix


def test_name_gives_the_latest_version(server: Server, workspace: Workspace) -> None:
    def script(seen: Seen) -> Answer:
        if seen.path == f"/models/{ID}":
            return Answer(200, model("by-id", 1))
        return Answer(200, {"value": [model("iris", 2), model("iris", 10), model("iris-2", 11)]})

    server.script = script
    assert workspace.models.get("iris").version == 10
    assert workspace.models.get(ID).name == "by-id"
    with pytest.raises(errors.NotFoundError, match="no model has the name 'rose'") as far:
        workspace.models.get("rose")
    assert far.value.fix == "`ws.models.list()` lists the existing models."
    assert [seen.query.get("name") for seen in server.seen] == ["iris", None, "rose", "rose", None]
    with pytest.raises(errors.NotFoundError, match="no model has the name 'irsi'") as near:
        workspace.models.get("irsi")
    assert near.value.fix == "Did you mean 'iris'? `ws.models.list()` lists the existing models."


def test_a_service_as_it_is_now(server: Server, workspace: Workspace) -> None:
    states = iter(["Running", "Succeeded"])

    def script(seen: Seen) -> Answer:
        assert seen.path == f"/services/{ID}"
        return Answer(200, {"id": ID, "name": "iris", "state": next(states), "computeResource": {}})

    server.script = script
    service = workspace.services.get(ID)
    assert (service.state, workspace.services.get(service).state) == ("Running", "Succeeded")


@pytest.mark.parametrize("given", [None, 7, model("iris", 1)])
def test_what_is_neither_id_nor_name(workspace: Workspace, given: Any) -> None:
    for get in (workspace.services.get, workspace.models.get, workspace.manifests.get):
        with pytest.raises(errors.UsageError, match="an id or a name is a text, not") as caught:
            get(given)
        assert caught.value.fix


def test_service_by_name_or_id(server: Server, workspace: Workspace) -> None:
    def script(seen: Seen) -> Answer:
        if seen.path == "/services":
            if "serviceName" not in seen.query:
                return Answer(500, {"code": "Oops", "message": "The list is out of order."})
            named = seen.query["serviceName"] == "iris"
            return Answer(200, {"value": [{"id": "s1", "name": "iris", "computeResource": {}}] if named else []})
        if seen.method == "DELETE":
            return Answer(200)
        if seen.path == "/services/s1/keys":
            return Answer(200, {"primaryKey": "k1", "secondaryKey": "k2"})
        return Answer(404, {"code": "NotFound", "message": "There is no such service."})

    server.script = script
    services = workspace.services
    assert services.get("iris").id == "s1"
    assert services.find("rose") is None
    with pytest.raises(errors.NotFoundError, match="no service has the name 'rose'") as caught:
        services.get("rose")
    assert caught.value.fix == "`ws.services.list()` lists the existing services.", (
        "a name to suggest is not worth an error"
    )
    assert caught.value.url.startswith(server.base_url)
    assert services.delete("rose") is False
    assert services.delete("iris") is True
    keys = services.keys("iris")
    assert keys.primary_key == "k1"
    assert "k1" not in repr(keys)


def test_regenerating_a_key_of_an_old_server(server: Server, workspace: Workspace) -> None:
    keys = {"primaryKey": "new", "secondaryKey": "old"}
    server.answers(Answer(405), Answer(200, keys))
    assert workspace.services.regenerate_key(ID, "Secondary").primary_key == "new"
    assert [(seen.path, seen.json) for seen in server.seen] == [
        (f"/services/{ID}/keys", {"keyType": "Secondary"}),
        (f"/services/{ID}/regenerateKeys", {"keyType": "Secondary"}),
    ]


def test_register_by_url(server: Server, workspace: Workspace) -> None:
    server.script = lambda seen: Answer(200, {"id": "1", "version": 1, **seen.json})
    registered = workspace.models.register("https://host/a/iris%20v2.onnx?sig=x", tags="prod")
    assert server.seen[0].json == {
        "name": "iris v2",
        "url": "https://host/a/iris%20v2.onnx?sig=x",
        "mimeType": "application/octet-stream",
        "tags": ["prod"],
    }
    assert registered.version == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [("a/iris.pkl", "iris"), ("iris.tar.gz", "iris"), ("s3://b/model", "model"), ("m.v1.bin", "m.v1")],
)
def test_default_names(source: str, name: str) -> None:
    from mlmgmt_nb.client.models import default_name

    assert default_name(source) == name


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"num_replicas": -1}, "numReplicas", "numReplicas: must be at least 0 (given: -1)"),
        ({"cpu": "much"}, "cpu", "containerResourceReservation.cpu: "),
        ({"memory": "1 GB"}, "memory", "300Mi"),
        ({"max_concurrent_requests": 0}, "maxConcurrentRequestsPerContainer", "must be at least 1 (given: 0)"),
        ({"autoscaler": {"target_utilization": 101}}, "targetUtilization", "a percentage from 0 to 100"),
        ({"autoscaler": {"targetUtilization": 70}}, "autoscaler", "has no property 'targetUtilization'"),
        ({"autoscaler": AutoScaler(autoscale_enabled=True), "num_replicas": 2}, None, "mutually exclusive"),
        ({"num_replicas": "two"}, "numReplicas", "must be a whole number or null, not text"),
    ],
)
def test_settings_are_checked_before_anything_is_sent(
    server: Server, workspace: Workspace, settings: dict[str, Any], field: str | None, message: str
) -> None:
    with pytest.raises(errors.UsageError) as caught:
        workspace.services.create("iris", "image-1", **settings)
    assert message in str(caught.value)
    assert caught.value.field == field
    assert server.seen == []


@pytest.mark.parametrize("name", ["", "ab", "Iris", "a b c", "-iris", "iris-", "i" * 33, "iris\n"])
def test_names_are_checked_before_anything_is_sent(server: Server, workspace: Workspace, name: str) -> None:
    with pytest.raises(errors.UsageError, match=r"(?s)name: .*3 to 32 characters") as caught:
        workspace.services.create(name, "image-1")
    assert caught.value.field == "name"
    assert server.seen == []


def test_settings_on_the_wire(server: Server, workspace: Workspace) -> None:
    server.script = lambda _: Answer(202, headers={"Operation-Location": f"{server.base_url}/operations/o1"})
    poller = workspace.services.create(
        "iris",
        "image-1",
        autoscaler={"autoscale_enabled": True, "max_replicas": 3},
        cpu=0.5,
        memory="300Mi",
        max_concurrent_requests=5,
        collect_model_data=True,
        app_insights=False,
    )
    assert poller.operation_id == "o1"
    workspace.services.update(ID, num_replicas=2)
    assert [seen.json for seen in server.seen] == [
        {
            "name": "iris",
            "imageId": "image-1",
            "computeResource": {"id": "local", "type": "Cluster"},
            "autoScaler": {"autoscaleEnabled": True, "maxReplicas": 3},
            "containerResourceReservation": {"cpu": "0.5", "memory": "300Mi"},
            "maxConcurrentRequestsPerContainer": 5,
            "dataCollection": {"storageEnabled": True},
            "appInsightsEnabled": False,
        },
        {"numReplicas": 2},
    ]


def test_logs_are_read_on_from_any_byte(server: Server, workspace: Workspace) -> None:
    log = "first\nsecönd\nthird\n".encode()

    def script(seen: Seen) -> Answer:
        span = seen.headers["Range"].removeprefix("bytes=")
        start = int(span[:-1]) if span.endswith("-") else max(0, len(log) + int(span))
        if start >= len(log):
            return Answer(416)
        return Answer(206, log[start:], {"Content-Range": f"bytes {start}-{len(log) - 1}/{len(log)}"})

    server.script = script
    whole = workspace.services.logs(ID)
    assert whole == (log.decode(), len(log))
    assert workspace.services.logs(ID, offset=6).text == "secönd\nthird\n"
    assert workspace.services.logs(ID, offset=whole.next_offset) == ("", len(log))
    assert workspace.services.logs(ID, tail=1) == ("third\n", len(log))
    assert workspace.services.logs(ID, tail=9).text == log.decode()
    log = log[:10]  # in the middle of the ö
    assert workspace.services.logs(ID) == ("first\nsec", 9)
    with pytest.raises(errors.UsageError, match="tail is negative"):
        workspace.services.logs(ID, tail=-1)


def test_log_on_another_server_does_not_get_the_token(server: Server, workspace: Workspace) -> None:
    uri = server.origin.replace("127.0.0.1", "localhost") + "/elsewhere.log?sig=x"
    server.answers(Answer(200, {"id": ID, "imageBuildLogUri": uri}), Answer(200, b"built\n"))
    assert workspace.images.build_log(ID).text == "built\n"
    assert server.seen[1].path == "/elsewhere.log"
    assert server.seen[1].query == {"sig": "x"}
    assert "Authorization" not in server.seen[1].headers


def test_application_is_checked_before_anything_is_sent(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def run(body): return body\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "score.py").write_text("x = 1\n")
    cases: list[tuple[Application, str]] = [
        (Application(driver=tmp_path / "none.py"), "driver: file not found"),
        (Application(driver=tmp_path / "lib"), "driver: .* is a folder"),
        (Application(driver=driver, schema=tmp_path / "s.json"), "schema: file not found"),
        (Application(driver=driver, requirements="r.txt"), "requirements: file not found"),
        (Application(driver=driver, conda="c.yml"), "conda: file not found"),
        (Application(driver=driver, dependencies=["d.csv"]), "dependencies: file not found"),
        (Application(driver=driver, dependencies="d.csv"), "dependencies: it is a path, not a list of paths"),
        (Application(driver=driver, dependencies=3), "dependencies is 3"),  # type: ignore[arg-type]
        (Application(driver=driver, dependencies=[tmp_path / "lib" / "score.py"]), "'score.py' is listed twice"),
        (Application(driver=driver, runtime="r"), "runtime: 'r' is unknown"),
    ]
    for application, message in cases:
        with pytest.raises(errors.UsageError, match=message):
            workspace.manifests.create("iris", application)
    assert server.seen == []


def test_deploy_checks_everything_before_it_sends(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def run(body): return body\n")
    server.script = lambda seen: Answer(200, {"value": []})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "Bad Name"}, "3 to 32 characters"),
        ({"model": tmp_path / "none.pkl"}, "model: file not found"),
        ({"model": "none.pkl"}, "file not found: 'none.pkl', and no registered model has this name"),
        ({"model": [], "model_name": "x"}, "needs exactly one model"),
        ({"num_replicas": -1}, "numReplicas"),
        ({"if_exists": "replace"}, "if_exists: 'replace' is unknown"),
        ({"driver": tmp_path / "none.py"}, "driver: file not found"),
    ]
    for arguments, message in cases:
        with pytest.raises(errors.UsageError, match=message):
            workspace.deploy(**{"name": "iris", "driver": driver, **arguments})
    assert {seen.method for seen in server.seen} == {"GET"}


def test_a_model_with_a_similar_name_is_suggested(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def init():\n    pass\n\ndef run(body):\n    return body\n")

    def script(seen: Seen) -> Answer:
        return Answer(200, {"value": [model("iris", 2)] if seen.path == "/models" else []})

    server.script = script
    with pytest.raises(errors.UsageError, match="file not found: 'irsi'") as near:
        workspace.deploy("iris", model="irsi", driver=driver)
    assert (near.value.fix or "").startswith("Did you mean 'iris'? Check the path")


@pytest.mark.parametrize(
    ("refusal", "withdrawal", "outcome"),
    [
        (Answer(400, {"code": "BadRequest", "message": "no"}), Answer(204), "was withdrawn"),
        (Answer(400, {"code": "BadRequest", "message": "no"}), Answer(404), "was left behind"),
        (Answer(400, {"code": "BadRequest", "message": "no"}), Answer(405), "was left behind"),
        (Answer(400, {"code": "BadRequest", "message": "no"}), Answer(409), "was left behind"),
        (Answer(broken=True), Answer(204), "was left behind"),  # nothing else is sent to a server that is gone
    ],
)
def test_versions_of_a_deployment_that_fails(
    server: Server, workspace: Workspace, refusal: Answer, withdrawal: Answer, outcome: str
) -> None:
    answers = {"/models": Answer(200, model("m", 3)), "/manifests": refusal, "/models/m-3/withdraw": withdrawal}
    server.script = lambda seen: answers[seen.path] if seen.method == "POST" else Answer(200, {"value": []})
    with pytest.raises(errors.MlmgmtError) as raised:
        workspace.deploy("iris", model="https://x.example/m.bin", driver="https://x.example/score.py")
    assert f"\nmodel 'm' version 3 {outcome}" in str(raised.value)


def test_deploy_refuses_what_exists(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(body): return body\n")
    server.script = lambda seen: Answer(200, {"value": [{"id": "s", "name": "iris", "computeResource": {}}]})
    with pytest.raises(errors.ConflictError, match=r"(?s)service 'iris' already exists.*if_exists='update'"):
        workspace.deploy("iris", driver=tmp_path / "score.py", if_exists="fail")
    assert {seen.method for seen in server.seen} == {"GET"}
