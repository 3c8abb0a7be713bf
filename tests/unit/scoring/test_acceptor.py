"""Connections that several replicas could accept: who waits, and for how long."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.scoring.calls.admission import Admission
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.fast_path.path import RequestPath
from mlmgmt_nb.scoring.http import acceptor
from mlmgmt_nb.scoring.http.acceptor import Acceptor
from mlmgmt_nb.scoring.process.replica import run_in_loop
from tests.support.waiting import eventually_in_loop


class Accepting:
    """An acceptor at a listening socket, and what it accepted."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.seconds = 0.0
        self.expected: list[int] = []
        self.accepted: list[float] = []
        self.failures: list[OSError] = []
        self.open: list[socket.socket] = [self.listener]

    def start(self) -> None:
        self.acceptor = Acceptor(self.listener.fileno(), self.accept, self.head_start)

    def accept(self) -> Any:
        if self.failures:
            raise self.failures.pop()
        self.open.append(self.listener.accept()[0])
        self.accepted.append(monotonic())
        return SimpleNamespace(cycle=None)

    def head_start(self, coming: int) -> float:
        self.expected.append(coming)
        return self.seconds

    def call(self) -> float:
        self.open.append(socket.create_connection(self.listener.getsockname()))
        return monotonic()

    async def count(self, number: int) -> None:
        await eventually_in_loop(lambda: len(self.accepted) == number)


@pytest.fixture
def accepting() -> Iterator[Accepting]:
    made = Accepting()
    yield made
    for each in made.open:
        each.close()


def run(accepting: Accepting, main: Callable[[], Awaitable[None]]) -> None:
    async def started() -> None:
        accepting.start()
        await main()
        accepting.acceptor.close()

    asyncio.run(started())


def test_a_replica_with_room_accepts_at_once(accepting: Accepting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "_COMING_SECONDS", 60.0)

    async def main() -> None:
        for number in range(1, 4):
            accepting.call()
            await accepting.count(number)
        assert accepting.expected[0] == 0
        assert max(accepting.expected) > 0, "connections without a call yet count for a moment"

    run(accepting, main)


def test_a_busy_replica_lets_others_go_first_until_that_was_in_vain(
    accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "_LONGEST_IN_VAIN", 60.0)

    async def main() -> None:
        accepting.seconds = 0.6
        accepting.call()
        await asyncio.sleep(0)
        accepting.open.append(accepting.listener.accept()[0])  # another replica was idle
        await asyncio.sleep(0.8)
        assert accepting.accepted == []

        began = accepting.call()
        await accepting.count(1)
        assert accepting.accepted[-1] - began >= 0.59
        began = accepting.call()
        await accepting.count(2)
        assert accepting.accepted[-1] - began < 0.59, "nobody else accepts them"

        accepting.seconds = 0.9
        began = accepting.call()
        await accepting.count(3)
        assert accepting.accepted[-1] - began >= 0.89, "it is even busier now"

    run(accepting, main)


def test_none_is_accepted_after_its_end(accepting: Accepting) -> None:
    async def main() -> None:
        accepting.seconds = 0.05
        accepting.call()
        await eventually_in_loop(lambda: bool(accepting.expected))
        accepting.acceptor.close()
        await asyncio.sleep(0.2)
        assert accepting.accepted == []

    run(accepting, main)


def test_those_that_wait_are_accepted_at_its_end(accepting: Accepting) -> None:
    async def main() -> None:
        accepting.seconds = 60.0
        for _ in range(3):
            accepting.call()
        accepting.acceptor.accept_waiting()
        assert len(accepting.accepted) == 3

    run(accepting, main)


def test_too_many_open_files_pass(
    accepting: Accepting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        accepting.failures.append(OSError(errno.EMFILE, "Too many open files"))
        accepting.call()
        await accepting.count(1)

    monkeypatch.setattr(acceptor, "_RETRY_SECONDS", 0.05)
    run(accepting, main)
    assert "cannot accept connections: Too many open files. Trying again in 0.05 seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("threads", "calls", "seconds"),
    [(1, 0, 0.0), (1, 1, 0.001), (1, 3, 0.003), (3, 2, 0.0), (3, 3, 0.001), (1, 4, 0.05)],
)
def test_the_head_start_grows_with_the_calls_that_wait(threads: int, calls: int, seconds: float) -> None:
    async def main(path: RequestPath) -> int:
        admission = Admission(4, 60.0, path.make_runner)
        assert admission.head_start(calls) == (0.05 if calls >= 4 else 0.0), "the driver is not loaded"
        driver = Driver(lambda body: body, None)
        driver.threads = threads
        await admission.start(lambda: driver)
        assert admission.head_start(calls) == seconds
        admission.stop()
        return 0

    assert run_in_loop(main) == 0


def test_calls_of_coroutines_do_not_wait() -> None:
    async def answer(body: str) -> str:
        return body

    assert Driver(answer, None).most_running is None
