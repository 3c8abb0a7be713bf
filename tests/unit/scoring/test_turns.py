"""One event loop, two threads that run it by turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mlmgmt_nb.scoring.fast_path import loop_lending
from mlmgmt_nb.scoring.fast_path.loop_lending import SharedLoop
from tests.support.waiting import DEADLINE, eventually_in_loop

PATIENCE_SECONDS = loop_lending._PATIENCE_SECONDS


class Other:
    """The other thread: borrows the loop once it is told to, and calls `between` after each of its turns."""

    def __init__(self, shared_loop: SharedLoop, between: Callable[[], None] = lambda: None) -> None:
        self.shared_loop = shared_loop
        self.between = between
        self.told = threading.Event()
        self.took: list[bool] = []
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        assert self.told.wait(DEADLINE)
        shared_loop = self.shared_loop
        self.took.append(shared_loop.take())
        if not self.took[0]:
            return
        while shared_loop.is_lent:
            shared_loop.run_turn()
            shared_loop.pause()
            self.between()
            if not shared_loop.resume():
                self.took.append(False)
                return
        shared_loop.give_back()

    def lend(self, on_taken: Callable[[], object] = lambda: None) -> None:
        self.shared_loop.lend(on_taken)
        self.told.set()  # not before: it takes nothing that is not lent yet


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the main thread wait for the other one, which may stand still for a while on a busy machine."""
    monkeypatch.setattr(loop_lending, "_PATIENCE_SECONDS", DEADLINE)


def run(shared_loop: SharedLoop, main: Coroutine[Any, Any, int]) -> int:
    """Run it, to a deadline."""
    return shared_loop.run(asyncio.wait_for(main, DEADLINE))


async def runner_is(thread: threading.Thread) -> None:
    await eventually_in_loop(lambda: threading.current_thread() is thread)


def test_the_main_thread_runs_it_unless_it_is_lent(shared_loop: SharedLoop) -> None:
    async def main() -> int:
        await asyncio.sleep(0.02)  # the main thread looks several times at who runs the loop
        return 7 if threading.current_thread() is threading.main_thread() else 0

    assert run(shared_loop, main()) == 7


def test_it_is_lent_and_comes_back_when_it_is_quiet(shared_loop: SharedLoop) -> None:
    other = Other(shared_loop)

    async def main() -> int:
        other.lend()
        await runner_is(other.thread)
        await runner_is(threading.main_thread())  # the loop ran for a while without a stop
        return 3

    assert run(shared_loop, main()) == 3
    assert other.took == [True]
    assert not shared_loop.is_lent


def test_it_stays_lent_while_turns_end(shared_loop: SharedLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lending, "_FEW_TURNS", 0)  # a machine under load may have few of them between two checks
    other = Other(shared_loop)

    async def main() -> int:
        ended = 0
        other.lend()
        await runner_is(other.thread)
        while ended < 100:  # each turn ends at once, and the next is the other thread's again
            await asyncio.sleep(0)
            shared_loop.loop.stop()
            ended += threading.current_thread() is other.thread
        shared_loop.call_back()
        await runner_is(threading.main_thread())
        return 0

    assert run(shared_loop, main()) == 0


def test_it_is_taken_in_the_middle_of_a_call(shared_loop: SharedLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    other = Other(shared_loop, between=lambda: None if released.wait(DEADLINE) else pytest.fail("the loop stood still"))

    async def main() -> int:
        taken = asyncio.Event()
        other.lend(taken.set)
        await runner_is(other.thread)
        monkeypatch.setattr(loop_lending, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
        shared_loop.loop.stop()  # as a submitted call does
        await taken.wait()
        assert threading.current_thread() is threading.main_thread()
        released.set()
        await eventually_in_loop(lambda: other.took[1:])
        return 5

    assert run(shared_loop, main()) == 5
    assert other.took == [True, False]


def test_it_is_taken_from_who_does_not_come(shared_loop: SharedLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lending, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
    other = Other(shared_loop)

    async def main() -> int:
        taken = asyncio.Event()
        shared_loop.lend(taken.set)
        await taken.wait()
        other.told.set()
        await eventually_in_loop(lambda: other.took)
        return 0

    assert run(shared_loop, main()) == 0
    assert other.took == [False]


@pytest.mark.parametrize("waits", [True, False])
def test_the_end_of_all_while_it_is_lent(shared_loop: SharedLoop, monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    if not waits:  # the other thread may find that it is no longer lent, and never give it back
        monkeypatch.setattr(loop_lending, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
    other = Other(shared_loop)

    async def main() -> int:
        other.lend()
        if waits:
            await runner_is(other.thread)
        shared_loop.call_back()
        return 4

    assert run(shared_loop, main()) == 4
    other.thread.join(DEADLINE)
    assert not other.thread.is_alive()


def test_what_is_raised_ends_the_main_thread(shared_loop: SharedLoop) -> None:
    other = Other(shared_loop)

    def fail() -> None:
        raise SystemExit(9)

    async def main() -> int:
        other.lend()
        await runner_is(other.thread)
        shared_loop.loop.call_soon(fail)
        await asyncio.sleep(DEADLINE)  # until the failure of the other thread ends it
        return 0

    with pytest.raises(SystemExit):
        run(shared_loop, main())
    for task in asyncio.all_tasks(shared_loop.loop):
        task.cancel()
