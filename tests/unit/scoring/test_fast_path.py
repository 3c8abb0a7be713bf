"""The switch of the fast path."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn

from mlmgmt_nb.scoring.fast_path.path import FastPath, PlainPath, choose_path


@pytest.mark.parametrize(("value", "kind"), [(None, FastPath), ("1", FastPath), ("0", PlainPath), (" Off ", PlainPath)])
def test_the_switch(value: str | None, kind: type) -> None:
    loop = asyncio.new_event_loop()
    environment = {} if value is None else {"SCORING_FAST_PATH": value}
    assert type(choose_path(loop, environment)) is kind
    loop.close()


@pytest.mark.parametrize(
    ("version", "kind"), [("0.44.0", PlainPath), ("0.52.3", PlainPath), ("0.53.0", FastPath), ("1.0", FastPath)]
)
def test_it_is_off_with_a_uvicorn_that_is_too_old(version: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn, "__version__", version)
    loop = asyncio.new_event_loop()
    assert type(choose_path(loop, {})) is kind
    loop.close()
