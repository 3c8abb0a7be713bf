"""The driver's thread and the calls that it is given."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from time import sleep
from typing import Any

from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.calls.runner import Runner
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.fast_path.loop_lending import SharedLoop
from mlmgmt_nb.scoring.fast_path.runner import LendingRunner
from tests.support.waiting import DEADLINE, eventually_in_loop

CALLERS = 8
CALLS = 5_000
MOST_OVERTAKEN = 10 * CALLERS


class LateQueue:
    """A queue whose reader gets on late, as beside a busy process on the same core."""

    def __init__(self) -> None:
        self._inner: SimpleQueue[Call | None] = SimpleQueue()
        self.put = self._inner.put
        self.get_nowait = self._inner.get_nowait

    def get(self) -> Call | None:
        call = self._inner.get()
        sleep(0.0005)  # other calls overtake meanwhile, which is under test
        return call


def test_no_call_is_left_behind_while_the_loop_is_lent(shared_loop: SharedLoop) -> None:
    """Closed loops of several callers: a call waits for a few others, never for the end of a loan."""
    answered, loans = 0, 0
    driver: Any = None
    overtaken: list[int] = []
    asked_at: dict[Call, int] = {}

    def ask(*_: Any) -> None:
        call = Call("id", 0.0, shared_loop.loop.create_future())
        call.payload = b"{}"
        asked_at[call] = answered
        runner.submit(driver, call)

    def deliver(call: Call, _: Any) -> None:
        nonlocal answered, loans
        answered += 1
        loans += shared_loop.is_lent
        overtaken.append(answered - asked_at.pop(call))
        if answered < CALLS:
            shared_loop.loop.call_soon(ask)
        else:
            overtaken.extend(answered - since for since in asked_at.values())
            done.set()

    async def main() -> int:
        nonlocal driver
        driver = await runner.start(lambda: Driver(lambda _: 1, None))
        for _ in range(CALLERS):
            ask()
        await done.wait()
        runner.stop()
        return 0

    done = asyncio.Event()
    runner = LendingRunner(shared_loop, deliver, lambda: 0)
    runner._queue = LateQueue()  # type: ignore[assignment]
    shared_loop.run(asyncio.wait_for(main(), DEADLINE))
    assert loans > 0, "the loop was never lent: this shows nothing"
    assert max(overtaken) <= MOST_OVERTAKEN


def test_a_call_may_end_after_the_loop_was_closed() -> None:
    """The thread ends without an exception, which pytest would report."""
    release = threading.Event()
    loop = asyncio.new_event_loop()
    runner = Runner(loop, lambda *_: None, lambda: 0)

    async def main() -> threading.Thread:
        others = set(threading.enumerate())  # perhaps with drivers of other tests
        driver = await runner.start(lambda: Driver(lambda _: release.wait(DEADLINE), None))
        call = Call("id", 0.0, loop.create_future())
        call.payload = b"{}"
        runner.submit(driver, call)
        await eventually_in_loop(lambda: call.begun)
        runner.stop()
        return next(thread for thread in set(threading.enumerate()) - others if thread.name == "driver")

    thread = loop.run_until_complete(asyncio.wait_for(main(), DEADLINE))
    loop.close()
    release.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
