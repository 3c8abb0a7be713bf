"""Application Insights, of which the test is the ingestion endpoint."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

KEY = "11111111-2222-3333-4444-555555555555"
DRIVER = """
import logging
log = logging.getLogger("iris")

def init():
    logging.basicConfig(level=logging.INFO, format="%(levelname)s of the driver's own: %(message)s")
    print("loading")

def run(body):
    print("printed", body)
    log.info("logged %s", body)
    if body == "bad":
        raise ValueError("no such flower")
    return body
"""


class Insights(ThreadingHTTPServer):
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{self.server_address[1]}/"

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return what has come of a kind, with the ids of its trace."""
        return [
            {**item["data"]["baseData"], "tags": item["tags"]}
            for item in self.received
            if item["data"]["baseType"] == kind
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Insights

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        items = json.loads(body)
        self.server.received += items
        answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def insights() -> Iterator[Insights]:
    server = Insights()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_traces_and_logs(
    folder: Callable[..., Path],
    spawn: Callable[..., Any],
    insights: Insights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AML_APP_INSIGHTS_ENABLED", "true")
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", insights.connection_string)
    monkeypatch.setenv("SERVICE_NAME", "iris")
    replica = spawn(folder(DRIVER)).ready()
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    parent = {"traceparent": f"00-{trace}-{caller}-01", "x-ms-request-id": "first"}
    assert replica.score("good", headers=parent).json() == "good"
    assert replica.score("bad", headers={"x-ms-request-id": "second"}).status_code == 500
    eventually(lambda: len(insights.of("RequestData")) == 2)  # sent while the replica runs
    replica.score("last", headers={"x-ms-request-id": "third"})
    replica.send({"type": "drain", "seconds": 5})
    assert replica.process.wait(30) == 0

    asked = {item["properties"]["requestId"]: item for item in insights.of("RequestData")}
    assert sorted(asked) == ["first", "second", "third"]
    assert [(item["responseCode"], item["success"]) for item in asked.values()] == [
        ("200", True),
        ("500", False),
        ("200", True),
    ]
    assert asked["first"]["name"] == "POST /score"
    assert asked["first"]["properties"]["bytesOut"] == "6"
    assert asked["first"]["tags"]["ai.operation.id"] == trace
    assert asked["first"]["tags"]["ai.operation.parentId"] == caller
    assert asked["second"]["tags"]["ai.cloud.role"] == "iris"
    assert asked["second"]["duration"] > "0.00:00:00"

    said = {item["message"]: item for item in insights.of("MessageData")}
    assert sorted(said) == sorted(
        ["loading", *[f"{verb} {body}" for verb in ("printed", "logged") for body in ("good", "bad", "last")]]
    )
    for text, identity in (("printed good", "first"), ("logged good", "first"), ("printed bad", "second")):
        assert said[text]["properties"]["requestId"] == identity
        assert said[text]["tags"]["ai.operation.id"] == asked[identity]["tags"]["ai.operation.id"]
        assert said[text]["tags"]["ai.operation.parentId"] == asked[identity]["id"]
        assert said[text]["severityLevel"] == 1
    assert said["logged good"]["properties"]["logger_name"] == "iris"
    (raised,) = insights.of("ExceptionData")
    assert raised["exceptions"][0]["typeName"] == "ValueError"
    assert 'raise ValueError("no such flower")' in raised["exceptions"][0]["stack"]
    assert raised["properties"]["requestId"] == "second"
    # the logging of the driver is the same as without telemetry
    assert "[first] INFO of the driver's own: logged good" in replica.log.splitlines()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "nothing is sent: set APPLICATIONINSIGHTS_CONNECTION_STRING"),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": "nonsense"}, "nothing is sent: the connection string is wrong"),
        (
            {"AML_APP_INSIGHTS_KEY": KEY, "PYTHONPATH": "without"},
            "opentelemetry-exporter is not installed",
        ),
    ],
)
def test_what_is_missing_is_said(
    folder: Callable[..., Path],
    spawn: Callable[..., Any],
    tmp_path: Path,
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    monkeypatch.setenv("AML_APP_INSIGHTS_ENABLED", "true")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if "PYTHONPATH" in variables:  # as in an environment without the package
        hidden = tmp_path / "without" / "opentelemetry"
        hidden.mkdir(parents=True)
        (hidden / "__init__.py").write_text("raise ImportError('hidden')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    replica = spawn(folder("def run(body):\n    return body\n")).ready()
    assert message in replica.log
    assert replica.score("1").json() == 1
