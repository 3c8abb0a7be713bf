"""Places for requests, which callers and copies share: no caller is refused because of a copy."""

from __future__ import annotations

import asyncio

import pytest

from mlmgmt_nb.service.gateway import places as module
from mlmgmt_nb.service.gateway.places import Places


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLING_SECONDS", 0.0)


class Replica:
    """Counts the requests that it has at a time."""

    def __init__(self) -> None:
        self.requests = self.most = self.callers = self.copies = 0

    async def answer(self) -> None:
        self.requests += 1
        self.most = max(self.most, self.requests)
        await asyncio.sleep(0)
        self.requests -= 1


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("workers", [1, 4])
def test_callers_and_copies_together_take_no_more_places_than_there_are(number: int, workers: int) -> None:
    """Callers alone would use all places. A worker begins its next copy as soon as one ends, before anyone else."""

    async def run() -> Replica:
        places, replica = Places(), Replica()

        async def call() -> None:
            for _ in range(200):
                async with places.caller(number):
                    await replica.answer()
                replica.callers += 1
                await asyncio.sleep(0)

        async def copy() -> None:
            while True:
                async with places.copy(number):
                    await replica.answer()
                replica.copies += 1

        copying = [asyncio.create_task(copy()) for _ in range(workers)]
        await asyncio.gather(*(call() for _ in range(number)))
        for task in copying:
            task.cancel()
        return replica

    replica = asyncio.run(asyncio.wait_for(run(), 30))
    assert replica.most <= number
    assert replica.callers == 200 * number
    assert replica.copies > 0


def test_a_caller_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLACE_SECONDS", 0.01)

    async def run() -> None:
        places = Places()
        async with places.copy(1), places.caller(1):
            pass

    asyncio.run(asyncio.wait_for(run(), 30))
