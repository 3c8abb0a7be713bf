"""HEAD requests and callers that hang up, during mirrors and canaries: what is counted and compared is right."""

from __future__ import annotations

import base64
import json
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from mlmgmt_nb import connect
from mlmgmt_nb.client.services.candidates import ProposedChange
from tests.integration.service.drivers import at_front_door
from tests.support.waiting import eventually

ECHOES = """\
import json
import time

def init():
    pass

def run(body):
    asked = json.loads(body)
    if "begun" in asked:
        open(asked["begun"], "w").close()
    time.sleep(asked.get("seconds", 0))
    return {"n": asked.get("n"), "filling": "x" * asked.get("size", 0)}
"""
OF_SERVICE, AT_FRONT_DOOR = "port of the service", "front door"


class _Caller:
    """A caller of one URL, on sockets of its own."""

    def __init__(self, url: str, key: str) -> None:
        self._parts = urlsplit(url)
        self._url, self._key = url, key

    def connected(self) -> socket.socket:
        return socket.create_connection((self._parts.hostname or "", self._parts.port or 0), timeout=30)

    def head(self, method: str, *more: str) -> bytes:
        lines = [f"{method} {self._parts.path} HTTP/1.1", f"Host: {self._parts.netloc}"]
        return "\r\n".join([*lines, f"Authorization: Bearer {self._key}", *more, "", ""]).encode()

    def begins(self, data: bytes, *, reads: int = 0, until: Callable[[], bool] | None = None) -> None:
        """Send data, read a part of the answer, and hang up, once a condition holds."""
        with closing(self.connected()) as caller:
            caller.sendall(data)
            if until is not None:
                eventually(until, what="the call of the driver")
            while reads > 0:
                reads -= len(caller.recv(min(reads, 4096)))

    def post(self, **body: Any) -> bytes:
        content = json.dumps(body)
        return self.head("POST", f"Content-Length: {len(content)}") + content.encode()


def _asks(session: requests.Session, url: str, key: str, number: int) -> None:
    """Send a HEAD request and a scoring request on a persistent connection."""
    headers = {"authorization": f"Bearer {key}"}
    head = session.head(url, headers=headers, timeout=30)
    assert (head.status_code, head.content) == (405, b"")
    answer = session.post(url, json={"n": number}, headers=headers, timeout=30)
    assert answer.json()["n"] == number


def _hang_up_everywhere(caller: _Caller, folder: Path) -> int:
    """Hang up at each point of a request; return the number of requests that were complete."""
    first, second = (folder / uuid.uuid4().hex for _ in range(2))
    caller.begins(b"")
    caller.begins(caller.head("POST", "Content-Length: 100"))
    caller.begins(caller.head("POST", "Content-Length: 100") + b'{"n": 1, ')
    caller.begins(caller.head("POST", "Transfer-Encoding: chunked") + b'9\r\n{"n": 1, \r\n')
    caller.begins(caller.head("HEAD"))
    caller.begins(caller.post(n=1, seconds=1, begun=str(first)), until=first.exists)  # before the answer
    caller.begins(caller.post(n=1, size=8_000_000), reads=10_000)  # in the middle of the answer
    with closing(caller.connected()) as kept:  # on a connection that is used again
        kept.sendall(caller.post(n=5))
        assert b'"n":5' in _answer(kept)
        kept.sendall(caller.post(n=1, seconds=1, begun=str(second)))
        eventually(second.exists, what="the call of the driver")
    return 4


def _answer(connected: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        received += (part := connected.recv(65536))
        assert part, received
    return received


@pytest.fixture
def proposed(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> Iterator[tuple[dict[str, str], str, ProposedChange]]:
    """Propose a change; return the URLs of the service, its key and the change."""
    old, new = (api.image(write_driver(ECHOES, word), name=f"{name}-{word}")["id"] for word in ("old", "new"))
    service = api.service(old, name)
    answer = api.request("PUT", f"/services/{service['id']}/candidate", json={"imageId": new})
    assert api.operation(answer)["state"] == "Succeeded"
    urls = {OF_SERVICE: service["scoringUri"], AT_FRONT_DOOR: at_front_door(api, service)["scoringUri"]}
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    change = connect(base_url=api.base_url, token=api.token).services.change(name)
    traces = _tracebacks(api)
    yield urls, key, change
    assert _tracebacks(api) == traces
    assert "Traceback" not in api.log(f"/services/{service['id']}/logs")
    change.discard()


def _tracebacks(api: Any) -> int:
    """Return the number of tracebacks in the log of the Model Management service."""
    logs = [api.home.with_name(f"{api.home.name}.output"), *api.home.glob("*.log")]
    return sum(path.read_text(errors="replace").count("Traceback") for path in logs)


def _scored(url: str, key: str, number: int) -> int:
    answer = requests.post(url, json={"n": number}, headers={"authorization": f"Bearer {key}"}, timeout=30)
    answer.raise_for_status()
    return int(answer.json()["n"])


def test_a_mirror_copies_requests_whose_callers_have_an_answer(api: Any, proposed: Any, tmp_path: Path) -> None:
    urls, key, change = proposed
    change.mirror(minutes=60)

    def copied() -> Any:
        return _scored(urls[OF_SERVICE], key, 0) == 0 and change.refresh().candidate.mirror.pairs

    eventually(copied, what="a copy")
    for url in urls.values():
        with requests.Session() as session:
            session.trust_env = False
            for number in range(10):
                _asks(session, url, key, 100 + number)
            _hang_up_everywhere(_Caller(url, key), tmp_path)
            for number in range(10):
                _asks(session, url, key, 200 + number)
    mirror = change.stop_mirror().candidate.mirror
    assert (mirror.state, mirror.dropped) == ("Stopped", 0)
    assert mirror.skipped <= len(urls)  # the large answers, if they were complete before their caller hung up
    report = change.mirror_report()
    assert (report.summary["errors"], report.summary["equal"]) == (0, mirror.pairs)
    pairs = api.get(f"/services/{change.candidate.service_id}/candidate/mirror/pairs")["value"]
    answered = Counter(json.loads(base64.b64decode(pair["oldAnswer"]))["n"] for pair in pairs)
    assert {pair["oldStatus"] for pair in pairs} == {200}
    del answered[0]
    assert answered == {
        5: 2,
        **{100 + number: 2 for number in range(10)},
        **{200 + number: 2 for number in range(10)},
    }


@pytest.mark.parametrize("where", [OF_SERVICE, AT_FRONT_DOOR])
def test_a_canary_counts_callers_that_hang_up_apart(proposed: Any, where: str, tmp_path: Path) -> None:
    urls, key, change = proposed
    url = urls[where]
    change.canary(50, minutes=60, max_p95=None)

    def new() -> Any:
        return change.refresh().candidate.canary.new

    eventually(lambda: _scored(url, key, 0) == 0 and new().requests, what="the first answer of the candidate")
    before = eventually(lambda: _settled(change), what="a round without further requests")
    with requests.Session() as session:
        session.trust_env = False
        for number in range(10):
            _asks(session, url, key, number)
        complete = _hang_up_everywhere(_Caller(url, key), tmp_path)
        for number in range(10):
            _asks(session, url, key, number)
    asked, failed, left = eventually(lambda: _is_counted(change, before, 20 + complete), what="all counts")
    assert (asked - before[0], failed - before[1], left - before[2]) == (20 + complete, 0, 2)
    assert change.candidate.canary.state == "Running"


def _counts(change: ProposedChange) -> tuple[int, int, int]:
    """Return the requests, errors and abandoned requests of both deployments."""
    canary: Any = change.refresh().candidate.canary
    sides = (canary.old, canary.new)
    return (
        sum(side.requests for side in sides),
        sum(side.errors for side in sides),
        sum(side.abandoned for side in sides),
    )


def _settled(change: ProposedChange) -> tuple[int, int, int] | None:
    """Return the counts once they stay the same for longer than a round of the service."""
    counts = _counts(change)
    time.sleep(1.5)
    return counts if _counts(change) == counts else None


def _is_counted(change: ProposedChange, before: tuple[int, int, int], number: int) -> tuple[int, int, int] | None:
    counts = _counts(change)
    return counts if counts[0] - before[0] >= number else None
