"""Drivers that fork, start processes, or raise what ends a process: every caller is answered."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import psutil
import pytest
import requests

from tests.support.waiting import eventually

RAISES = """
import asyncio

async def run(http_body):
    if http_body == "task":
        await asyncio.create_task(fails())
    if http_body == "forgotten":
        task = asyncio.create_task(fails())
        await asyncio.sleep(0.05)  # the task fails meanwhile
    if http_body == "itself":
        asyncio.current_task().cancel()
        await asyncio.sleep(1)  # raises CancelledError at once
    if http_body != "good":
        await fails()
    return 1

async def fails():
    raise {exception}
"""
EXCEPTIONS = ["asyncio.CancelledError", "SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "BaseException('odd')"]

ODD = """
import asyncio

class Own(BaseException):
    pass

def deeper():
    deeper()

def fails():
    {statement}

def first():
    fails()
    yield "part"

def later():
    yield "part"
    fails()

async def async_later():
    yield "part"
    fails()

class Text:
    def __str__(self):
        fails()

answers = {{"first": first, "later": later, "async later": async_later, "object": Text}}

def run(http_body):
    return answers[http_body]() if http_body in answers else fails() if http_body == "run" else 1
"""
STATEMENTS = [
    "raise asyncio.CancelledError",
    "raise SystemExit(3)",
    "raise KeyboardInterrupt",
    "raise GeneratorExit",
    "raise Own('odd')",
    "raise StopIteration",
    "raise StopAsyncIteration",
    "raise MemoryError",
    "raise RecursionError",
    "raise ExceptionGroup('several', [ValueError(1)])",
    "raise BaseExceptionGroup('several', [KeyboardInterrupt()])",
    "deeper()",
    "bytearray(2**62)",
    "exit()",
]
"""Statements that end a program, a task, a generator or the patience of the interpreter."""
ENDS = {
    "os._exit": ("import os; os._exit(4)", 4),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    "abort": ("import os; os.abort()", -signal.SIGABRT),
    "kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
}

POOL = """
import multiprocessing, signal

def square(x):
    return x * x

def handlers(_):
    return [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]

def pooled(function):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(function, [1, 2, 3])

def init():
    global squares
    for _ in range(5):
        squares = pooled(square)

def run(http_body):
    return pooled(handlers)[0] if http_body == "handlers" else [squares, pooled(square)]
"""

CHILD = """
import os, time

def run(http_body):
    if (pid := os.fork()) == 0:
        while True:
            time.sleep(60)
    return pid
"""


@pytest.mark.parametrize("body", ["bad", "itself", "task"])
@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_async_run_raises(exception: str, body: str, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(RAISES.format(exception=exception))).ready()
    failed = replica.score(body)
    assert (failed.status_code, failed.json()["code"]) == (500, "DriverError")
    assert (replica.score("good").status_code, replica.score("good").text) == (200, "1")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_whatever_a_driver_raises_ends_one_call(statement: str, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(ODD.format(statement=statement))).ready()
    for body in ("run", "first"):
        failed = replica.score(body)
        assert (failed.status_code, failed.json()["code"]) == (500, "DriverError"), (body, failed.text)
        assert replica.score("good").text == "1", body
    for body in ("later", "async later"):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            replica.score(body)
        assert replica.score("good").text == "1", body
    assert replica.process.poll() is None


@pytest.mark.parametrize("place", ["def init():\n    {}\n", "{}\n"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_whatever_a_driver_raises_at_its_start_is_reported(statement: str, place: str, spawn: Any, folder: Any) -> None:
    helpers = "import asyncio\nclass Own(BaseException): pass\ndef deeper(): deeper()\n"
    replica = spawn(folder(helpers + place.format(statement) + "def run(body):\n    return 1\n"))
    report = replica.report("ready", "failed")
    assert report["type"] == "failed", report
    assert "score.py" in report["message"], report


@pytest.mark.parametrize(
    "init", ["async def init():\n    {}\n", "async def init():\n    {}\n    yield\n", "def init():\n    yield {}\n"]
)
def test_an_init_whose_code_would_not_run_is_refused(init: str, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(init.format("print(1)") + "def run(body):\n    return 1\n"))
    report = replica.report("ready", "failed")
    assert (report["type"], report["code"]) == ("failed", "DriverInitError"), report
    assert "def init()" in report["message"]


@pytest.mark.parametrize("end", ENDS)
def test_a_driver_that_ends_its_process_ends_only_that(end: str, spawn: Any, folder: Any) -> None:
    statement, code = ENDS[end]
    replica = spawn(folder(f"def run(http_body):\n    {statement}\n")).ready()
    with pytest.raises(requests.exceptions.ConnectionError):
        replica.score("1")
    assert replica.process.wait(30) == code


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_task_of_a_driver_raises_beside_run(exception: str, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(RAISES.format(exception=exception))).ready()
    assert replica.score("forgotten").status_code == 500
    assert replica.score("good").text == "1"


def test_pools_in_init_and_run(spawn: Any, folder: Any) -> None:
    replica = spawn(folder(POOL)).ready()
    for _ in range(10):
        assert replica.score("1").json() == [[1, 4, 9], [1, 4, 9]]
    terminate, interrupt = replica.score("handlers").json()
    assert terminate in {"0", "Handlers.SIG_DFL"}
    assert "default_int_handler" in interrupt


def test_forked_child_holds_no_socket_of_its_replica(spawn: Any, folder: Any) -> None:
    replica = spawn(folder(CHILD)).ready()
    with socket.create_connection(replica.listener.getsockname()) as caller:
        caller.settimeout(10)
        caller.sendall(b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1")
        answer = b""
        while part := caller.recv(65536):  # ends only if the child does not hold the connection
            answer += part
    child = int(answer.rpartition(b"\r\n")[2])
    try:
        # It closes the connection first, and the listener right after it.
        eventually(lambda: psutil.Process(child).net_connections(kind="inet") == [], what="the end of its sockets")
    finally:
        os.kill(child, signal.SIGKILL)
