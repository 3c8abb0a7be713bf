"""The life of a replica: start, drain, the end of its supervisor; and several workers by hand."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from mlmgmt_nb.scoring.calls.admission import Admission
from tests.support.waiting import DEADLINE, eventually

# waits for the file that the body names
GATED = """\
import os, time
def run(body):
    while not os.path.exists(body):
        time.sleep(0.01)
    return "done"
"""
SLOW = "import time\ndef run(body):\n    time.sleep(float(body))\n    return 'done'\n"
TELLS = """\
import asyncio, threading, time, traceback

def init():
    global thread
    thread = threading.get_ident()

def run(body):
    borrowed = any(frame.f_code.co_name == "_run_loop_and_calls" for frame, _ in traceback.walk_stack(None))
    if body == "asyncio":
        asyncio.run(asyncio.sleep(0.01))
    elif body:
        time.sleep(float(body))
    return [threading.get_ident() == thread, borrowed]
"""
HANGS_IN_C = "import re\ndef run(body):\n    return str(re.match('(a+)+$', 'a' * 60 + 'b'))\n"


def call_in_background(url: str, body: str) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []

    def call() -> None:
        try:
            answers.append(requests.post(f"{url}/score", body, timeout=30).json())
        except requests.RequestException as error:
            answers.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, answers


def wait_busy(replica: Any) -> None:
    eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 1)


def test_ready_says_how_long_it_took(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo")
    report = replica.report("ready")
    assert report["pid"] == replica.process.pid
    assert 0 <= report["loadSeconds"] < DEADLINE


def test_as_many_connections_are_closed_as_the_supervisor_moves(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo")
    assert replica.report("ready")["movesConnections"]
    assert "connection" not in replica.score("1").headers
    replica.send({"type": "move", "connections": 2})
    replica.send({"type": "keys", "digests": []})
    replica.report("keys")  # so it has read both
    answers = [replica.score("1") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers.get("connection") for answer in answers] == ["close", "close", None, None]


def test_drain_finishes_what_is_in_flight(
    folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path
) -> None:
    replica = spawn(folder(GATED)).ready()
    gate = tmp_path / "gate"
    thread, answers = call_in_background(replica.url, str(gate))
    wait_busy(replica)
    replica.send({"type": "drain", "seconds": DEADLINE})
    gate.touch()
    assert replica.process.wait(DEADLINE) == 0
    thread.join()
    assert answers == ["done"]
    stats = replica.report("stats")
    while stats["busy"] or not stats["requests"]:
        stats = replica.report("stats")
    assert (stats["requests"], stats["failures"]) == (1, 0)


def test_drain_gives_up_in_time(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    replica = spawn(folder(SLOW)).ready()
    thread, answers = call_in_background(replica.url, "600")
    wait_busy(replica)
    replica.send({"type": "drain", "seconds": 0.3})
    assert replica.process.wait(DEADLINE) == 1
    assert "drain: 1 call(s) did not finish in time" in replica.log
    thread.join()
    assert (answers[0]["statusCode"], answers[0]["code"]) == (503, "ReplicaEnds")


DRAINED_AT_THE_END_OF_LOADING = """
import asyncio, socket, sys
from mlmgmt_nb.scoring.application.application import find_application
from mlmgmt_nb.scoring.process.control import Start
from mlmgmt_nb.scoring.process.replica import Replica, run_in_loop
from {admission} import Admission

load = Admission.start

async def load_and_drain(*arguments):
    driver = await load(*arguments)
    replica.drain(30)
    return driver

async def serve(path):
    global replica
    replica = Replica(find_application(sys.argv[1], None, None), {{"service": listener}}, Start(), path)
    return await asyncio.wait_for(replica.serve(), 30)

Admission.start = load_and_drain
with socket.create_server(("127.0.0.1", 0)) as listener:
    sys.exit(10 + run_in_loop(serve))
"""


def test_a_drain_is_heard_that_comes_while_the_driver_ends_loading(drivers: Path) -> None:
    """It then accepts nothing; it once served on, and answered for a deployment that had been retired.

    It has a process of its own, as every driver: one is given its folder, path and variables for good.
    """
    code = DRAINED_AT_THE_END_OF_LOADING.format(admission=Admission.__module__)
    done = subprocess.run(
        [sys.executable, "-c", code, drivers / "echo"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 10, done.stderr


def test_a_brief_call_does_not_wait_for_the_slow_one_behind_it(
    folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path
) -> None:
    """Answers of brief calls go back together with others, but not with those that take long."""
    replica = spawn(folder(GATED)).ready()
    address = ("127.0.0.1", urlsplit(replica.url).port or 0)
    with socket.create_connection(address) as brief, socket.create_connection(address) as slow:
        for number in range(5):
            gate = tmp_path / f"gate-{number}"
            send(brief, str(tmp_path))
            send(slow, str(gate))
            answered, _, _ = select.select([brief, slow], [], [], DEADLINE)
            assert answered == [brief]
            assert b"done" in brief.recv(65536)
            gate.touch()
            assert b"done" in slow.recv(65536)


def send(connection: socket.socket, body: str = "") -> None:
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body.encode())


def receive(connection: socket.socket) -> Any:
    answer = HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return json.load(answer)


@contextlib.contextmanager
def borrowed_loop(replica: Any, count: int = 8) -> Iterator[list[socket.socket]]:
    """Yield connections that call so fast that the driver's thread runs the event loop."""
    address = ("127.0.0.1", urlsplit(replica.url).port or 0)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(count)]
        until = time.monotonic() + 30
        borrowed = False
        while not borrowed:
            assert time.monotonic() < until, "the loop was never lent"
            for connection in connections:
                send(connection)
            answers = [receive(connection) for connection in connections]
            assert all(same_thread for same_thread, _ in answers)
            borrowed = all(borrowed for _, borrowed in answers)
        yield connections


def test_brief_calls_and_then_a_slow_one(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """A driver whose calls are brief runs the event loop itself; it does not stand still when one of them is not."""
    replica = spawn(folder(TELLS), concurrency=2).ready()
    for _ in range(2):
        with borrowed_loop(replica, 2) as (slow, waits):
            send(slow, "3.0")
            send(waits)
            # The second one may still be on its way.
            eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 2, what="both calls")
            refused = replica.score("")
            assert (refused.status_code, refused.json()["code"]) == (503, "TooManyRequests")
            assert select.select([slow, waits], [], [], 0) == ([], [], [])
            assert receive(slow)[0] is True
            assert receive(waits)[0] is True


def test_a_call_that_runs_a_loop_of_its_own(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    replica = spawn(folder(TELLS)).ready()
    with borrowed_loop(replica) as connections:
        for connection in connections:
            send(connection, "asyncio")
        assert [receive(connection)[0] for connection in connections] == [True] * 8


def test_what_a_borrowed_loop_logs_is_of_no_call(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """It runs in the driver's thread, where what is printed is that of the call."""
    replica = spawn(folder(TELLS)).ready()
    with borrowed_loop(replica) as (caller, *_):
        send(caller, "no number")
        answer = HTTPResponse(caller)
        answer.begin()
        assert answer.status == 500
    lines = eventually(lambda: [line for line in replica.log.splitlines() if "run() failed" in line])
    assert [line.partition(" ")[0] for line in lines] == ["request"]


def test_a_borrowed_loop_is_given_back(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """When nobody calls any more, and when the replica ends meanwhile."""
    replica = spawn(folder(TELLS)).ready()
    with borrowed_loop(replica):
        eventually(lambda: replica.score("").json() == [True, False])
    with borrowed_loop(replica) as connections:
        for connection in connections:
            send(connection, "0.01")
        replica.process.send_signal(signal.SIGTERM)
        assert [receive(connection)[0] for connection in connections] == [True] * 8
        assert replica.process.wait(30) == 0


def test_drain_loses_no_request(drivers: Path, spawn: Callable[..., Any]) -> None:
    """Two replicas on one socket; one is replaced under load, a few times over."""
    old = spawn(drivers / "echo", concurrency=100).ready()
    stop = threading.Event()
    done: list[int] = [0] * 4
    lost: list[str] = []

    def load(place: int) -> None:
        session = requests.Session()
        while not stop.is_set():
            try:
                response = session.post(f"{old.url}/score", "1", timeout=30)
                if response.status_code != 200:
                    lost.append(response.text)
                done[place] += 1
            except requests.RequestException as error:
                lost.append(repr(error))

    threads = [threading.Thread(target=load, args=(place,)) for place in range(len(done))]
    for thread in threads:
        thread.start()
    for _ in range(2):
        new = spawn(drivers / "echo", concurrency=100, listener=old.listener.dup()).ready()
        old.send({"type": "drain", "seconds": 30})
        assert old.process.wait(30) == 0
        old = new
    stop.set()
    for thread in threads:
        thread.join()
    assert lost == []
    assert sum(done) > 100


def test_the_end_of_the_supervisor(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    replica = spawn(folder(SLOW)).ready()
    call_in_background(replica.url, "600")
    wait_busy(replica)
    replica.disconnect()
    replica.process.wait(DEADLINE)
    assert "the supervisor has exited" in replica.log


def test_the_end_of_the_supervisor_while_loading(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    replica = spawn(folder("import time\nprint('loading')\ntime.sleep(600)\ndef run(body): pass\n"))
    eventually(lambda: "loading" in replica.log)
    replica.disconnect()
    replica.process.wait(30)


def test_a_killed_supervisor_leaves_no_orphan(folder: Callable[..., Path], tmp_path: Path) -> None:
    """Even when the driver holds the interpreter lock for ever."""
    supervisor = f"""
import socket, subprocess, sys, time
listener = socket.create_server(("127.0.0.1", 0))
ours, theirs = socket.socketpair()
fds = (listener.fileno(), theirs.fileno())
child = subprocess.Popen([sys.executable, "-m", "mlmgmt_nb.scoring", "--app", {str(folder(HANGS_IN_C))!r},
    "--fd", str(fds[0]), "--control-fd", str(fds[1])], pass_fds=fds)
theirs.close()
ours.sendall(b'{{"type":"start"}}\\n')
ours.recv(1000)
print(child.pid, listener.getsockname()[1], flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", supervisor], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid, port = map(int, process.stdout.readline().split())
    thread, _ = call_in_background(f"http://127.0.0.1:{port}", "")
    eventually(lambda: psutil.Process(pid).cpu_times().user > 0.5)
    process.kill()
    process.wait(30)
    process.stdout.close()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    thread.join()


def test_a_name_that_clashes(tmp_path: Path, spawn: Callable[..., Any]) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "json.py").write_text("from json import dumps\ndef run(body):\n    return dumps([__name__, len(body)])\n")
    replica = spawn(folder).ready()
    assert replica.score("abc").json() == ["mlmgmt_driver_json", 3]


def test_by_hand(drivers: Path, by_hand: Callable[..., Any]) -> None:
    process, url, _ = by_hand(drivers / "echo", "--name", "iris")
    assert requests.post(f"{url}/api/v1/service/iris/score", "[1]", timeout=10).json() == [1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_by_hand_with_a_bad_driver(drivers: Path) -> None:
    command = [sys.executable, "-m", "mlmgmt_nb.scoring", "--port", "0", "--app"]
    for workers in ("1", "2"):
        ended = subprocess.run(
            [*command, str(drivers / "no_run"), "--workers", workers], capture_output=True, timeout=30, text=True
        )
        assert ended.returncode == 3
        assert "DriverNoRun: score.py defines no function run()" in ended.stderr
    ended = subprocess.run([*command, "/no/such/folder"], capture_output=True, timeout=30, text=True)
    assert (ended.returncode, ended.stderr) == (3, "ApplicationError: /no/such/folder: this folder does not exist\n")


def test_workers(folder: Callable[..., Path], by_hand: Callable[..., Any]) -> None:
    process, url, log = by_hand(folder("import os\ndef run(body):\n    return os.getpid()\n"), "--workers", "2")

    def seen() -> set[int]:
        return {requests.post(f"{url}/score", "", timeout=30).json() for _ in range(10)}

    pids = eventually(lambda: found if len(found := seen()) == 2 else None)
    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(seen() - {victim}) == 2)
    assert "a worker ended with exit code -9" in log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
