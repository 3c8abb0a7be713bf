"""Limits of user data: names, texts, lists and accounts that are too long are refused, and the error has the limit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.client.bodies import checked
from mlmgmt_nb.contract import OPERATIONS, Model
from mlmgmt_nb.contract.limits import MAX_CHARACTERS, MAX_ITEMS, OTHERWISE, exceeded
from mlmgmt_nb.errors import UsageError

MODEL = {"mimeType": "application/json", "name": "iris", "url": "https://example.org/iris.pkl"}
ASSET = {"id": "driver", "url": "https://example.org/score.py"}
RUNTIME = {"properties": {}, "runtimeType": "Python"}
MANIFEST = {"assets": [ASSET], "driverProgram": "driver", "name": "iris", "targetRuntime": RUNTIME}
IMAGE = {"computeResourceId": "local", "imageType": "Docker", "manifestId": "1", "name": "iris"}
JSON = {"content-type": "application/json"}
SERVICE = {"computeResource": {"id": "local"}, "imageId": "1", "name": "iris"}
WHOLE: dict[str, dict[str, Any]] = {
    "models_register": MODEL,
    "manifests_register": MANIFEST,
    "images_create": IMAGE,
    "services_create": SERVICE,
}

NAME, TEXT, URL = MAX_CHARACTERS["name"], MAX_CHARACTERS["description"], MAX_CHARACTERS["url"]
OTHER, ITEMS = MAX_CHARACTERS[OTHERWISE], MAX_ITEMS[OTHERWISE]
BODIES: list[tuple[str, dict[str, Any], str, int]] = [
    ("models_register", {**MODEL, "name": "n" * (NAME + 1)}, "$.name", NAME),
    ("models_register", {**MODEL, "name": "n" * 10**6}, "$.name", NAME),
    ("models_register", {**MODEL, "url": "https://x/" + "u" * URL}, "$.url", URL),
    ("models_register", {**MODEL, "mimeType": "m" * (OTHER + 1)}, "$.mimeType", OTHER),
    ("models_register", {**MODEL, "description": "d" * 8 * 2**20}, "$.description", TEXT),
    ("models_register", {**MODEL, "tags": [f"t{n}" for n in range(100_000)]}, "$.tags", MAX_ITEMS["tags"]),
    ("models_register", {**MODEL, "tags": ["a", "t" * 257]}, "$.tags[1]", MAX_CHARACTERS["tags"]),
    ("manifests_register", {**MANIFEST, "name": "n" * (NAME + 1)}, "$.name", NAME),
    ("manifests_register", {**MANIFEST, "description": "d" * (TEXT + 1)}, "$.description", TEXT),
    ("manifests_register", {**MANIFEST, "driverProgram": "d" * (OTHER + 1)}, "$.driverProgram", OTHER),
    ("manifests_register", {**MANIFEST, "assets": [ASSET, {"id": "x" * (OTHER + 1)}]}, "$.assets[1].id", OTHER),
    ("manifests_register", {**MANIFEST, "assets": [ASSET] * 10_001}, "$.assets", MAX_ITEMS["assets"]),
    ("manifests_register", {**MANIFEST, "modelIds": ["1"] * (ITEMS + 1)}, "$.modelIds", ITEMS),
    (
        "manifests_register",
        {**MANIFEST, "targetRuntime": {**RUNTIME, "properties": {"a": "b" * 8_193}}},
        "$.targetRuntime.properties[...]",
        MAX_CHARACTERS["properties"],
    ),
    (
        "manifests_register",
        {**MANIFEST, "targetRuntime": {**RUNTIME, "properties": {"a" * (OTHER + 1): ""}}},
        "$.targetRuntime.properties",
        OTHER,
    ),
    (
        "manifests_register",
        {**MANIFEST, "targetRuntime": {**RUNTIME, "properties": {f"a{n}": "" for n in range(ITEMS + 1)}}},
        "$.targetRuntime.properties",
        ITEMS,
    ),
    ("images_create", {**IMAGE, "description": "d" * (TEXT + 1)}, "$.description", TEXT),
    ("images_create", {**IMAGE, "manifestId": "1" * (OTHER + 1)}, "$.manifestId", OTHER),
    ("images_create", {**IMAGE, "computeResourceId": "1" * (OTHER + 1)}, "$.computeResourceId", OTHER),
    ("services_create", {**SERVICE, "imageId": "1" * (OTHER + 1)}, "$.imageId", OTHER),
    ("services_create", {**SERVICE, "computeResource": {"id": "1" * (OTHER + 1)}}, "$.computeResource.id", OTHER),
    ("services_update", {"imageId": "1" * (OTHER + 1)}, "$.imageId", OTHER),
]


@pytest.mark.parametrize(
    ("operation", "body", "path", "limit"),
    BODIES,
    ids=[f"{operation}-{path}-{i}" for i, (operation, _, path, _) in enumerate(BODIES)],
)
def test_values_that_are_too_long_are_refused(
    api: Any, operation: str, body: dict[str, Any], path: str, limit: int
) -> None:
    described = OPERATIONS[operation]
    answer = api.request(described.method, described.path.replace("{id}", "x"), json=body)
    error = answer.json()
    assert (answer.status_code, error["details"][0]["code"]) == (400, "TooLong")
    assert error["details"][0]["message"].startswith(f"{path}: ")
    assert f" the maximum is {limit:,}" in error["message"]
    assert len(answer.content) < 2_000


def test_values_at_the_limit_are_stored(api: Any, name: str) -> None:
    tags = [f"{n:03d}" + "t" * 253 for n in range(256)]
    given = {"name": name.ljust(NAME, "n"), "description": "d" * TEXT, "tags": tags, "url": "file:///" + "u" * 8_184}
    made = api.post("/models", {**MODEL, **given})
    assert api.get(f"/models/{made['id']}") == made
    assert {key: made[key] for key in given} == given


@pytest.mark.parametrize(("operation", "given"), [*WHOLE.items()], ids=WHOLE)
@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('"name": "aaa", "name": "bbb"', "name"),
        ('"name": "aaa", "n\\u0061me": "aaa"', "name"),
        ('"name": "aaa", "more": [{"x": 1, "x": 1}]', "x"),
    ],
)
def test_a_key_that_is_given_twice_is_named(
    api: Any, operation: str, given: dict[str, Any], body: str, key: str
) -> None:
    """Otherwise the last one would count here, and perhaps the first one in a proxy that looks at bodies."""
    rest = json.dumps({name: value for name, value in given.items() if name != "name"})
    path = OPERATIONS[operation].path
    answer = api.request("POST", path, data=f"{rest[:-1]}, {body}}}", headers=JSON)
    assert answer.status_code == 400
    assert f"{key}: is given more than once" in answer.json()["message"], answer.text


def test_a_key_that_no_response_could_hold_is_not_an_error_of_ours(api: Any) -> None:
    body = '{"\\ud800": 1, "\\ud800": 1}'
    assert api.request("POST", "/models", data=body, headers=JSON).status_code == 400


@pytest.mark.parametrize("place", [3, 5, 7])
def test_names_of_accounts_are_bounded(api: Any, place: int) -> None:
    origin, _, path = api.base_url.partition("/api/")
    parts = f"api/{path}".split("/")
    for length, status in ((NAME, 200), (NAME + 1, 400)):
        named = [*parts[: place - 1], "n" * length, *parts[place:]]
        assert api.request("GET", f"{origin}/{'/'.join(named)}/models").status_code == status


def test_the_client_refuses_it_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match=r"description: has 16,385 characters; the maximum is 16,384"):
        checked(Model, name="m", url="file:///x", mime_type="a/b", description="d" * (TEXT + 1))


def test_every_text_and_list_has_a_limit() -> None:
    class Anything(msgspec.Struct):
        """Return a body with a property that no table lists."""

        more: Any

    for long in ("x" * (OTHER + 1), [0] * (ITEMS + 1), [["x" * (OTHER + 1)]], {"a": {"b": "x" * (OTHER + 1)}}):
        assert exceeded(Anything(long)) is not None
    assert exceeded(Anything(["x" * OTHER] * ITEMS)) is None
