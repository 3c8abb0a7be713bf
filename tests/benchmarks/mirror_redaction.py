"""Measure how long the event loop of a router waits while the answers of a mirror are redacted.

Run it with `python -m tests.benchmarks.mirror_redaction`. A task sleeps for a millisecond again and again, as callers'
requests would take turns, while answers of about 1 MiB are redacted: a table with a redacted column, which takes the
redactor the longest. The figures are the delays of that task in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import perf_counter, sleep
from typing import Any

from mlmgmt_nb.scoring.recording.redaction import Redactor
from mlmgmt_nb.service.gateway.mirror import Copier, Copy
from tests.benchmarks.table import show

ANSWERS = 10
TABLE = json.dumps({"columns": ["n", "secret"], "data": [[n, f"s{n}"] for n in range(50_000)]}).encode()
PAUSE = 0.001


async def _say(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": TABLE})


async def _copied() -> Copy:
    """Return the copy of a request whose caller has its answer."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"1"}

    async def send(_: Any) -> None:
        """Drop the answer of the caller."""

    copy = Copy({"headers": []}, receive, send)
    await copy.receive()
    await _say(None, None, copy.send)
    return copy


async def _mirror(redact: list[str]) -> None:
    copier = Copier(_say, redact)
    for _ in range(ANSWERS // 2):  # two answers each
        copier.offer(await _copied())
    copier.finish(600)
    await asyncio.to_thread(_wait_for, copier)


def _wait_for(copier: Copier) -> None:
    while not copier.take().is_final:
        sleep(PAUSE)


async def _in_the_loop() -> None:
    redactor = Redactor(["secret"])
    for _ in range(ANSWERS):
        redactor.redact(TABLE)
        await asyncio.sleep(0)


async def _delays(work: Callable[[], Awaitable[None]]) -> list[float]:
    """Return the delays of a task that sleeps again and again during some work, in ascending order."""
    delays: list[float] = []

    async def tick() -> None:
        while True:
            began = perf_counter()
            await asyncio.sleep(PAUSE)
            delays.append(perf_counter() - began - PAUSE)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(10 * PAUSE)
    await work()
    await asyncio.sleep(10 * PAUSE)
    ticking.cancel()
    return sorted(delays)


def main() -> None:
    rows: list[list[object]] = []
    works: dict[str, Callable[[], Awaitable[None]]] = {
        "a mirror without redaction": lambda: _mirror([]),
        "a mirror with redaction": lambda: _mirror(["secret"]),
        "redaction in the event loop, to compare": _in_the_loop,
    }
    for label, work in works.items():
        delays = asyncio.run(_delays(work))
        shares = [delays[min(len(delays) - 1, int(share * len(delays)))] for share in (0.5, 0.99, 1)]
        rows.append([label, *(1000 * delay for delay in shares)])
    show(f"{ANSWERS} answers of {len(TABLE) / 2**20:.2f} MiB", ["", "p50 ms", "p99 ms", "longest ms"], rows)


if __name__ == "__main__":
    main()
