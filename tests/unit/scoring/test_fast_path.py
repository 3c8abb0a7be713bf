"""The switch of the fast path."""

from __future__ import annotations

import asyncio

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlmgmt_nb.scoring.fast_path.path import FastPath, PlainPath, choose_path


@pytest.mark.parametrize(("value", "kind"), [(None, FastPath), ("1", FastPath), ("0", PlainPath), (" Off ", PlainPath)])
def test_the_switch(value: str | None, kind: type) -> None:
    loop = asyncio.new_event_loop()
    environment = {} if value is None else {"SCORING_FAST_PATH": value}
    assert type(choose_path(loop, environment)) is kind
    loop.close()


def test_it_is_off_with_a_uvicorn_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpToolsProtocol, "_start_asgi_task")
    loop = asyncio.new_event_loop()
    assert type(choose_path(loop, {})) is PlainPath
    loop.close()
