"""Copies of requests without a candidate: what is kept of one that hangs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mlmgmt_nb.contract.traffic import MirroredPair
from mlmgmt_nb.service.gateway import mirror
from tests.support.waiting import eventually_in_loop


async def _message(message: dict[str, Any]) -> dict[str, Any]:
    return message


async def _answered() -> mirror.Copy:
    """Return a copy of a request whose caller has an answer."""

    async def send(_: Any) -> None:
        pass

    asked = {"type": "http.request", "body": b"1"}
    copy = mirror.Copy({"headers": []}, lambda: _message(asked), send)
    await copy.receive()
    await copy.send({"type": "http.response.start", "status": 200, "headers": []})
    await copy.send({"type": "http.response.body", "body": b'{"secret": "hunter2"}'})
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
