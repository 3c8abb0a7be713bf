"""The port of the API and the front door: whatever a client offers, cuts or encodes, the body arrives."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import API_VERSION, ServiceProcess, mlmgmt
from tests.integration.service.drivers import at_front_door
from tests.support.framing import FRAMINGS, OFFERS, Listener, cut, gzip_of_nothing

VERSION = "api-version=" + API_VERSION["api-version"]
PLAIN = "def run(body):\n    return [body]\n"
MODEL = '{"name": "%s", "url": "http://models.example/é", "mimeType": "a/b"}'


@pytest.fixture
def models(api: ServiceProcess) -> Listener:
    """Return the URL for registering models."""
    parts = urlsplit(api.base_url)
    headers = f"Authorization: Bearer {api.token}\r\n"
    return Listener(parts.port or 0, f"{parts.path}/models?{VERSION}", headers)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS)
def test_the_api_reads_bodies_behind_offers(
    api: ServiceProcess, models: Listener, name: str, framing: str, offer: str
) -> None:
    request = models.request((MODEL % name).encode(), framing, offer, "Content-Type: application/json\r\n")
    ways = [
        [request],
        *(cut(request, place) for place in range(1, len(request), 11)),
        cut(request, *range(len(request))),
    ]
    for parts in ways:
        (answer,) = models.answers(parts)
        assert (answer[0], json.loads(answer[1])["name"]) == (200, name), parts
    answers = models.answers([request * 3], 3)
    assert [status for status, _ in answers] == [200] * 3
    listed = api.get("/models", name=name)["value"]
    assert {model["url"] for model in listed} == {"http://models.example/é"}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_api_decodes_bodies(models: Listener, name: str, framing: str) -> None:
    text = MODEL % name
    json_in = "Content-Type: application/json; charset="
    for headers, body in (
        ("", b"\xef\xbb\xbf" + text.encode()),
        (f"{json_in}utf-16\r\n", text.encode("utf-16")),
        (f"{json_in}iso-8859-1\r\n", text.encode("latin-1")),
        ("Content-Encoding: gzip\r\n", gzip.compress(text.encode())),
        ("Content-Encoding: deflate\r\n", zlib.compress(text.encode())),
    ):
        request = models.request(body, framing, more=headers)
        for parts in ([request], cut(request, -1, -len(body) // 2)):
            (answer,) = models.answers(parts)
            assert (answer[0], json.loads(answer[1])["url"]) == (200, "http://models.example/é"), headers


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_api_names_what_it_does_not_decode(models: Listener, framing: str) -> None:
    bomb = gzip.compress(b" " * 2**28)
    for headers, body, status, named in (
        ("Content-Encoding: br\r\n", b"{}", 415, "br"),
        ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", gzip.compress(b"{}"), 415, "gzip, gzip"),
        ("Content-Encoding: br\r\nContent-Encoding: gzip\r\n", gzip.compress(b"{}"), 415, "br, gzip"),
        ("Content-Type: application/json; charset=utf-7\r\n", b"{}", 415, "utf-7"),
        ("Content-Encoding: gzip\r\n", b"{}", 400, "gzip"),
        ("Content-Encoding: gzip\r\n", bomb, 413, "16777216 bytes"),
        ("Content-Encoding: gzip\r\n", gzip_of_nothing(34 * 2**20), 413, "16777216 bytes"),
    ):
        (answer,) = models.answers([models.request(body, framing, more=headers)])
        error = json.loads(answer[1])
        assert (answer[0], error["statusCode"]) == (status, status), error
        assert named in error["message"]


def test_the_front_door_passes_bodies_on(api: ServiceProcess, write_driver: Callable[..., Path], name: str) -> None:
    service = api.service(api.image(write_driver(PLAIN))["id"], name)
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    url = urlsplit(at_front_door(api, service)["scoringUri"])
    door = Listener(url.port or 0, url.path, f"Authorization: Bearer {key}\r\n")
    right = [(200, b'["[1]"]')]
    for framing in FRAMINGS:
        for offer in OFFERS:
            request = door.request(b"[1]", framing, offer)
            for parts in ([request], cut(request, *range(len(request))), cut(request, -1), cut(request, -3)):
                assert door.answers(parts) == right, (offer, parts)
            assert door.answers([request * 3], 3) == right * 3
        zipped = door.request(gzip.compress(b"[1]"), framing, "h2c", "Content-Encoding: gzip\r\n")
        assert door.answers([zipped]) == right
        assert door.answers([door.request(b"[1]", framing, more="Content-Encoding: br\r\n")])[0][0] == 415


def test_hosts_that_are_allowed(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    """Check the port of the API, the front door and the port of a service."""
    api = start_service("--allowed-host", "ml.example", "--allowed-host", "10.0.0.0/8")
    service = api.service(api.image(write_driver(PLAIN))["id"])
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]

    def statuses(**headers: str) -> set[int]:
        asked = {"authorization": f"Bearer {key}", **headers}
        urls = (service["scoringUri"], at_front_door(api, service)["scoringUri"])
        scored = [requests.post(url, "1", headers=asked, timeout=30) for url in urls]
        return {answer.status_code for answer in (*scored, api.request("GET", "/models", headers=headers))}

    for host in ("127.0.0.1", "localhost:1", "ml.example", "10.1.2.3:80"):
        assert statuses(Host=host) == statuses(Host=host, Origin=f"https://{host}") == {200}, host
    for host in ("evil.example", "11.0.0.1", "ml.example.evil.example"):
        assert statuses(Host=host) == statuses(Origin=f"https://{host}") == {403}, host


def test_a_network_that_is_none(tmp_path: Path) -> None:
    said = mlmgmt("serve", "--home", tmp_path / "home", "--allowed-host", "10.0.0.0/99", code=1)
    assert "--allowed-host: '10.0.0.0/99' is not a network. Use the form 10.0.0.0/8." in said
