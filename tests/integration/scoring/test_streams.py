"""Answers in parts: they arrive as they come, whoever makes them, and a broken one is seen to be broken."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import requests

from tests.support.waiting import eventually

STREAMS = {
    "generator": "def run(body):\n    yield from parts()",
    "returned": "def run(body):\n    return parts()",
    "async generator": "async def run(body):\n    async for part in later():\n        yield part",
    "async generator returned": "def run(body):\n    return later()",
    "coroutine that returns a generator": "async def run(body):\n    return parts()",
    "coroutine that returns an async generator": "async def run(body):\n    return later()",
    "threads": "from mlmgmt_nb.scoring.threads import threaded\n@threaded(2)\ndef run(body):\n    return parts()",
    "raw": "@rawhttp\ndef run(request):\n    return AMLResponse(parts(), 200, {'Content-Type': 'text/plain'})",
    "raw async": "@rawhttp\nasync def run(request):\n    return AMLResponse(parts(), 200)",
}
DRIVER = """
import asyncio, os, time
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def wait():
    end = time.monotonic() + 20
    while not os.path.exists("go") and time.monotonic() < end:
        time.sleep(0.01)

def parts():
    yield "first,"
    wait()
    yield "second"

async def later():
    yield "first,"
    await asyncio.to_thread(wait)
    yield "second"

"""
FAILS = """
from contextlib import suppress
def run(body):
    try:
        if body == "at once":
            raise ValueError("at once")
        yield "first,"
        if body == "later":
            raise ValueError("later")
        while body == "endless":
            yield "more" * 10000
    finally:
        print("closed")
"""


@pytest.mark.parametrize("kind", STREAMS)
def test_parts_arrive_as_they_come(kind: str, spawn: Any, folder: Any) -> None:
    app = folder(DRIVER + STREAMS[kind])
    replica = spawn(app, concurrency=2).ready()
    connection = http.client.HTTPConnection("127.0.0.1", replica.listener.getsockname()[1], timeout=30)
    connection.request("POST", "/score", "1")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("transfer-encoding")) == (200, "chunked")
    assert answer.read1(100) == b"first,"  # the second part waits for this file
    (app / "go").touch()
    assert answer.read() == b"second"
    connection.request("POST", "/score", "1")  # the connection stays open, and the place is free again
    assert connection.getresponse().read() == b"first,second"
    stats = replica.report("stats")
    while stats["requests"] < 2 or stats["busy"] or stats["waiting"]:
        stats = replica.report("stats")


@pytest.mark.parametrize(
    ("first", "media_type", "body"),
    [
        ("'text'", "text/plain; charset=utf-8", b"texttext"),
        ("'data: 1\\n\\n'", "text/event-stream", b"data: 1\n\ndata: 1\n\n"),
        ("b'event: x\\n\\n'", "text/event-stream", b"event: x\n\nevent: x\n\n"),
        ("b'\\x00'", "application/octet-stream", b"\x00\x00"),
        ("{'a': [1]}", "application/x-ndjson", b'{"a":[1]}\n{"a":[1]}\n'),
    ],
)
def test_media_types(first: str, media_type: str, body: bytes, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(f"def run(body):\n    for _ in range(2):\n        yield {first}\n")).ready()
    answer = replica.score("1")
    assert (answer.headers["content-type"], answer.content) == (media_type, body)


def test_empty_stream(spawn: Any, folder: Any) -> None:
    answer = spawn(folder("def run(body):\n    yield from []\n")).ready().score("1")
    assert (answer.status_code, answer.content) == (200, b"")


def test_failures_of_streams(spawn: Any, folder: Any) -> None:
    replica = spawn(folder(FAILS), concurrency=1).ready()
    at_once = replica.score("at once")
    assert (at_once.status_code, at_once.json()["message"]) == (500, "ValueError: at once")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        replica.score("later")
    eventually(lambda: "ValueError: later" in replica.log)
    with requests.post(f"{replica.url}/score", "endless", stream=True, timeout=20) as answer:
        assert next(answer.iter_content(6)) == b"first,"
    eventually(lambda: replica.log.count("closed") == 3)  # its caller hung up: the generator is closed
    assert eventually(lambda: replica.score("fine").text) == "first,"


def test_a_part_that_does_not_come(spawn: Any, folder: Any) -> None:
    slow = "import time\ndef run(body):\n    yield 'first'\n    time.sleep(600)\n"
    replica = spawn(folder(slow), requestTimeoutSeconds=2).ready()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        replica.score("1")
    eventually(lambda: "run() yielded no further part within 2 seconds" in replica.log)


def test_drain_waits_for_a_stream(spawn: Any, folder: Any) -> None:
    app = folder(DRIVER + STREAMS["generator"])
    replica = spawn(app).ready()
    with requests.post(f"{replica.url}/score", "1", stream=True, timeout=20) as answer:
        replica.send({"type": "drain", "seconds": 20})
        (app / "go").touch()
        assert answer.content == b"first,second"
    assert replica.process.wait(20) == 0


def test_generators_of_a_batched_driver_are_refused(spawn: Any, folder: Any) -> None:
    source = (
        "from mlmgmt_nb.scoring.batching import batched\n"
        "from inference_schema.schema_decorators import input_schema\n"
        "from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType\n"
        "@batched()\n@input_schema('rows', StandardPythonParameterType([1]))\ndef run(rows):\n    yield 1\n"
    )
    app = folder(source)
    replica = spawn(app)
    report = replica.report("ready", "failed")
    if report["type"] == "ready":
        assert replica.score(json.dumps({"rows": [1]})).status_code == 500
