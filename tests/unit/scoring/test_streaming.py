"""Answers in parts, between the thread of the driver and the loop that sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mlmgmt_nb.scoring.driver.streaming import stream_of


def test_parts_that_come_just_before_the_end_are_sent() -> None:
    def parts() -> Iterator[str]:
        yield from ("first", "second", "third")

    async def sent() -> list[bytes]:
        stream = stream_of(parts())
        # The driver has ended before the loop has seen any part.
        stream.pump(asyncio.get_running_loop())
        return [part async for part in stream.sent(10)]

    assert asyncio.run(sent()) == [b"first", b"second", b"third"]
