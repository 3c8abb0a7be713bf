"""An event loop of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from mlmgmt_nb.scoring.calls.loop_lending import Turns


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def turns(request: pytest.FixtureRequest) -> Iterator[Turns]:
    loop = request.param()
    yield Turns(loop)
    loop.run_until_complete(asyncio.sleep(0))  # nothing is left in it that would stop it
    loop.close()
