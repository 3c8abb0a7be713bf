"""Copies of requests without a candidate: what is kept of one that hangs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mlmgmt_nb.contract.traffic import MirroredPair
from mlmgmt_nb.service.gateway import mirror
from mlmgmt_nb.service.gateway.upstream import ConnectionLostError
from tests.support.waiting import eventually_in_loop


async def _message(message: dict[str, Any]) -> dict[str, Any]:
    return message


async def _answered(answer: bytes = b'{"secret": "hunter2"}') -> mirror.Copy:
    """Return a copy of a request whose caller has an answer."""

    async def send(_: Any) -> None:
        pass

    asked = {"type": "http.request", "body": b"1"}
    copy = mirror.Copy({"headers": []}, lambda: _message(asked), send)
    await copy.receive()
    await copy.send({"type": "http.response.start", "status": 200, "headers": []})
    await copy.send({"type": "http.response.body", "body": answer})
    return copy


def test_a_candidate_that_hangs_is_an_error_also_with_redacted_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_COPY_SECONDS", 0.01)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async def first_pair() -> MirroredPair:
        copier = mirror.Copier(hang, ["secret"])
        copier.offer(await _answered())
        pairs = await eventually_in_loop(lambda: copier.take().pairs)
        copier.stop()
        return pairs[0]

    pair = asyncio.run(first_pair())
    assert (pair.status, pair.answer) == (0, b"no answer within 0.01 seconds")
    assert (pair.old_status, pair.old_answer) == (200, b'{"secret": "***"}')


def _large_answer() -> bytes:
    """Return an answer that takes the redactor hundreds of milliseconds: a table with a redacted column."""
    return json.dumps({"columns": ["n", "secret"], "data": [[n, f"s{n}"] for n in range(40_000)]}).encode()


def test_the_event_loop_goes_on_while_large_answers_are_redacted() -> None:
    """The turns of the loop are counted, not the time: in its own thread, each of the two redactions is one turn."""

    async def say(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": _large_answer()})

    async def turns() -> tuple[int, MirroredPair]:
        copier = mirror.Copier(say, ["secret"])
        copy, count = await _answered(_large_answer()), 0
        copier.offer(copy)
        while not (pairs := copier.take().pairs):
            count += 1
            await asyncio.sleep(0)
        copier.stop()
        return count, pairs[0]

    count, pair = asyncio.run(turns())
    assert count > 200
    assert pair.old_answer == pair.answer
    assert {row[1] for row in json.loads(pair.answer)["data"]} == {"***"}


def test_a_replica_that_ends_during_its_answer_is_an_error() -> None:
    """Half an answer must not be compared."""

    async def half(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[1, 2", "more_body": True})
        raise ConnectionLostError

    async def first_pair() -> MirroredPair:
        copier = mirror.Copier(half, [])
        copier.offer(await _answered())
        pairs = await eventually_in_loop(lambda: copier.take().pairs)
        copier.stop()
        return pairs[0]

    pair = asyncio.run(first_pair())
    assert (pair.status, pair.answer) == (0, b"the replica ended during its answer")


def test_copies_that_wait_are_answered_before_the_end() -> None:
    """The results are final once all of them are there, or dropped because the candidate takes too long."""

    async def results(seconds: float) -> mirror.Mirrored:
        free = asyncio.Event()

        async def say(_scope: Any, _receive: Any, send: Any) -> None:
            await free.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"1"})

        copier, results = mirror.Copier(say, []), mirror.Mirrored()
        for _ in range(9):
            copier.offer(await _answered())
        copier.finish(seconds)
        copier.offer(await _answered())  # too late
        assert not copier.take().is_final
        if seconds:
            free.set()
        while not results.is_final:
            results = results.plus(copier.take())
            await asyncio.sleep(0)
        return results

    answered = asyncio.run(results(60))
    assert (len(answered.pairs), answered.dropped, answered.skipped) == (9, 0, 0)
    given_up = asyncio.run(results(0))
    assert (len(given_up.pairs), given_up.dropped, given_up.skipped) == (0, 9, 0)
