"""The API of the embedded service, by plain HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

ECHO = "def init():\n    pass\n\ndef run(body):\n    return body\n"


def error_of(answer: requests.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()
    assert set(error) == {"code", "message", "statusCode", "details"}
    assert error["statusCode"] == status
    return error


class TestModels:
    def test_versions_count_up_under_one_name(self, api: Any, name: str) -> None:
        first, second = api.model(name, description="first"), api.model(name, tags=["prod", "eu"])
        assert (first["version"], second["version"]) == (1, 2)
        assert first["id"] != second["id"]
        assert uuid.UUID(first["id"])
        assert first["tags"] is None
        assert api.get(f"/models/{second['id']}") == second

    def test_filters_must_all_match(self, api: Any, name: str) -> None:
        first, second, _ = (
            api.model(name, tags=["a"]),
            api.model(name, tags=["a", "b"]),
            api.model(name + "x", tags=["b"]),
        )
        assert [m["id"] for m in api.get("/models", name=name)["value"]] == [second["id"], first["id"]]
        assert [m["id"] for m in api.get("/models", name=name, tag="b")["value"]] == [second["id"]]
        assert api.get("/models", name=name, tag="c") == {"value": []}

    def test_what_a_get_gave_can_be_sent_back(self, api: Any, name: str) -> None:
        first = api.model(name)
        again = api.post("/models", first)
        assert again["version"] == 2
        assert again["id"] != first["id"]

    def test_pages_stay_right_while_rows_are_added(self, api: Any, name: str) -> None:
        there = [api.model(name)["id"] for _ in range(7)]
        seen, link = [], "/models"
        parameters = {"name": name, "count": "3"}
        while link:
            page = api.get(link, **parameters)
            seen += [model["id"] for model in page["value"]]
            api.model(name)
            link, parameters = page.get("nextLink"), {}
        assert seen == there[::-1]

    def test_a_token_of_another_list_is_refused(self, api: Any, name: str) -> None:
        for _ in range(2):
            api.model(name)
        link = api.get("/models", name=name, count="1")["nextLink"]
        assert "api-version=" in link
        foreign = link.replace(name, "other")
        assert "$skipToken" in error_of(api.request("GET", foreign), 400)["message"]

    @pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "", "1\n", "٣"])
    def test_an_invalid_count_is_refused(self, api: Any, count: str) -> None:
        for collection in ("/models", "/operations"):
            assert "count" in error_of(api.request("GET", collection, params={"count": count}), 400)["message"]

    def test_a_count_beyond_all_bounds_is_a_large_page(self, api: Any, name: str) -> None:
        api.model(name)
        assert len(api.get("/models", name=name, count="9" * 5000)["value"]) == 1

    def test_accounts_do_not_see_each_other(self, api: Any, name: str) -> None:
        other = api.base_url.replace("/accounts/default", f"/accounts/{name}%2Fb")
        model = api.post(f"{other}/models", {"name": name, "url": "file:///x", "mimeType": "a/b"})
        assert api.get(f"{other}/models")["value"] == [model]
        assert api.get("/models", name=name) == {"value": []}
        error_of(api.request("GET", f"/models/{model['id']}"), 404)


class TestBadRequests:
    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"name": "m", "url": "u"}, "$"),
            ({"name": 1, "url": "u", "mimeType": "a/b"}, "$.name"),
            ({"name": "", "url": "u", "mimeType": "a/b"}, "$.name"),
            ({"name": "m", "url": "u", "mimeType": "a/b", "tags": ["a", 1]}, "$.tags[1]"),
            ([], "$"),
        ],
    )
    def test_the_field_is_named(self, api: Any, body: Any, path: str) -> None:
        error = error_of(api.request("POST", "/models", json=body), 400)
        assert error["details"][0]["message"].startswith(f"{path}: ")

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"name": "\\ud800"}'])
    def test_a_body_that_is_not_json(self, api: Any, body: bytes) -> None:
        error_of(api.request("POST", "/models", data=body, headers={"content-type": "application/json"}), 400)

    def test_a_body_of_another_kind(self, api: Any) -> None:
        error_of(api.request("POST", "/models", data=b"<a/>", headers={"content-type": "text/xml"}), 415)

    def test_a_body_beyond_the_limit(self, api: Any) -> None:
        huge = b'{"name": "' + b"x" * (17 * 2**20) + b'"}'
        error_of(api.request("POST", "/models", data=huge, headers={"content-type": "application/json"}), 413)

    def test_the_api_version_is_required(self, api: Any) -> None:
        error = error_of(api.request("GET", "/models", params={"api-version": None}), 400)
        assert "api-version" in error["message"]

    def test_a_parameter_given_twice(self, api: Any) -> None:
        assert "count" in error_of(api.request("GET", "/models", params={"count": ["1", "2"]}), 400)["message"]

    @pytest.mark.parametrize("kind", ["models", "manifests", "images", "services", "deployments", "operations"])
    def test_an_unknown_id(self, api: Any, kind: str) -> None:
        assert "nope" in error_of(api.request("GET", f"/{kind}/nope"), 404)["message"]

    def test_an_unknown_path(self, api: Any) -> None:
        error_of(api.request("GET", "/modells"), 404)
        error_of(api.request("GET", api.base_url.partition("/api")[0] + "/x"), 404)

    def test_a_method_that_is_none(self, api: Any) -> None:
        answer = api.request("DELETE", "/models")
        error_of(answer, 405)
        assert answer.headers["allow"] == "GET, POST"

    def test_unknown_models_of_a_manifest(self, api: Any, tmp_path: Path) -> None:
        body = {
            "name": "m",
            "assets": [{"id": "a", "url": "file:///a"}],
            "driverProgram": "a",
            "modelIds": [api.model()["id"], "nope"],
            "targetRuntime": {"runtimeType": "Python", "properties": {}},
        }
        assert "$.modelIds[1]" in error_of(api.request("POST", "/manifests", json=body), 404)["message"]
        body = {**body, "modelIds": [], "driverProgram": "b"}
        assert "$.driverProgram" in error_of(api.request("POST", "/manifests", json=body), 400)["message"]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"name": "a b"}, "$.name"),
            ({"name": "ab\n"}, "$.name"),
            ({"name": "ab"}, "$.name"),
            ({"numReplicas": 1, "autoScaler": {"autoscaleEnabled": True}}, "mutually exclusive"),
            ({"autoScaler": {"targetUtilization": 101}}, "$.autoScaler.targetUtilization"),
            ({"containerResourceReservation": {"cpu": "one"}}, "$.containerResourceReservation.cpu"),
            ({"computeResource": {"type": "Moon"}}, "$.computeResource.type"),
        ],
    )
    def test_services_that_cannot_be(self, api: Any, settings: dict[str, Any], expected: str) -> None:
        body = {"name": "iris", "imageId": "x", "computeResource": {}, **settings}
        assert expected in error_of(api.request("POST", "/services", json=body), 400)["message"]


class TestWhoMayAsk:
    def test_without_the_token(self, api: Any) -> None:
        for header in ("", "Bearer x", api.token, "Basic x"):
            answer = api.request("GET", "/models", headers={"authorization": header})
            error_of(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("header", ["host", "origin"])
    def test_foreign_pages(self, api: Any, header: str) -> None:
        for value in ("evil.example", "127.0.0.1.evil.example", "null"):
            error_of(api.request("GET", "/models", headers={header: value}), 403)
        # A Host does not have a scheme.
        error_of(
            api.request("GET", "/models", headers={header: "http://evil.example:80"}), 400 if header == "host" else 403
        )

    def test_the_state_folder_is_private(self, api: Any) -> None:
        assert api.home.stat().st_mode & 0o777 == 0o700
        # Below these, files have the modes of their archives and packages; other users cannot get that far.
        scratch = api.home / "scratch"
        contents = (api.home / "images", api.home / "environments", scratch / "runtime", scratch / "next-runtime")
        for path in api.home.rglob("*"):
            if not any(folder in path.parents for folder in contents):
                assert path.stat().st_mode & 0o077 == 0, path

    def test_who_it_is(self, api: Any) -> None:
        about = api.get(api.base_url.partition("/api")[0] + "/")
        assert about["pid"] == api.process.pid


class TestImages:
    def test_a_build(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        folder = write_driver(ECHO, **{"schema.json": "{}", "notes.txt": "hello"})
        (folder / "model.txt").write_text("weights")
        model = api.model(name, (folder / "model.txt").as_uri())
        (folder / "model.txt").rename(folder.parent / "model.txt")
        model = api.model(name, (folder.parent / "model.txt").as_uri())
        image = api.image(folder, model["id"], name=name)
        assert image["creationState"] == "Succeeded"
        assert image["manifest"]["modelIds"] == [model["id"]]
        context = api.home / "images" / image["id"]
        assert (context / "app" / "notes.txt").read_text() == "hello"
        assert (context / "app" / "model.txt").read_text() == "weights"
        assert (context / "Dockerfile").read_text().startswith("FROM python:")
        assert "[4/4]" in api.log(image["imageBuildLogUri"])
        assert [i["id"] for i in api.get("/images", manifestName=name)["value"]] == [image["id"]]

    def test_a_build_that_cannot_be(self, api: Any, write_driver: Callable[..., Path]) -> None:
        folder = write_driver(ECHO)
        manifest = api.manifest(folder)
        (folder / "score.py").unlink()
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        assert ended["state"] == "Failed"
        assert "asset 'score.py'" in ended["error"]["message"]
        log = next(detail["message"] for detail in ended["error"]["details"] if detail["code"] == "Log")
        assert "the build failed" in api.log(log)

    def test_a_log_in_parts(self, api: Any, write_driver: Callable[..., Path]) -> None:
        url = api.image(write_driver(ECHO))["imageBuildLogUri"]
        whole = api.request("GET", url).content
        part = api.request("GET", url, headers={"range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, whole[5:10])
        assert part.headers["content-range"] == f"bytes 5-9/{len(whole)}"
        assert api.request("GET", url, headers={"range": "bytes=-4"}).content == whole[-4:]
        error_of(api.request("GET", url, headers={"range": f"bytes={len(whole)}-"}), 416)
