"""An event loop of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from mlmgmt_nb.scoring.fast_path.loop_lending import SharedLoop


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def shared_loop(request: pytest.FixtureRequest) -> Iterator[SharedLoop]:
    loop = request.param()
    yield SharedLoop(loop)
    loop.run_until_complete(asyncio.sleep(0))  # no pending callback would stop it
    loop.close()
