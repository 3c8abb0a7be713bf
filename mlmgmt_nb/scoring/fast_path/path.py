"""The switch: how a replica handles requests, with the fast path or without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import uvicorn

from mlmgmt_nb.scoring.calls.runner import Admitted, Deliver, Runner
from mlmgmt_nb.scoring.fast_path.app import FastScoringApp
from mlmgmt_nb.scoring.fast_path.connection import FastConnection, FastHandedConnection
from mlmgmt_nb.scoring.fast_path.loop_lending import SharedLoop
from mlmgmt_nb.scoring.fast_path.runner import LendingRunner
from mlmgmt_nb.scoring.handover.connection import HandedConnection
from mlmgmt_nb.scoring.http.app import ScoringApp
from mlmgmt_nb.scoring.http.connection import Connection

__all__ = ["FastPath", "PlainPath", "RequestPath", "choose_path"]

_VARIABLE = "SCORING_FAST_PATH"
_OFF = frozenset({"0", "false", "no", "off"})
_OLDEST = (0, 53)
"""Older versions of uvicorn do not show the fast path whether a request has `Connection: close`."""


class RequestPath(Protocol):
    """The parts of a replica that a request passes, and the loop that runs them."""

    @property
    def app(self) -> type[ScoringApp]: ...

    @property
    def connection(self) -> type[Connection]: ...

    @property
    def handed_connection(self) -> type[HandedConnection]: ...

    def run(self, main: Coroutine[Any, Any, int]) -> int:
        """Run a coroutine to its end, in the main thread."""
        ...

    def make_runner(self, deliver: Deliver, admitted: Admitted) -> Runner: ...


class PlainPath:
    """A task for each request and a queue for the calls."""

    app, connection, handed_connection = ScoringApp, Connection, HandedConnection

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.run: Callable[[Coroutine[Any, Any, int]], int] = loop.run_until_complete

    def make_runner(self, deliver: Deliver, admitted: Admitted) -> Runner:
        return Runner(self._loop, deliver, admitted)


class FastPath:
    """The fast path."""

    app, connection, handed_connection = FastScoringApp, FastConnection, FastHandedConnection

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._shared_loop = SharedLoop(loop)
        self.run = self._shared_loop.run

    def make_runner(self, deliver: Deliver, admitted: Admitted) -> Runner:
        return LendingRunner(self._shared_loop, deliver, admitted)


def choose_path(loop: asyncio.AbstractEventLoop, environment: Mapping[str, str]) -> RequestPath:
    """Return the fast path, unless `SCORING_FAST_PATH=0` or the installed uvicorn is too old for it."""
    is_off = environment.get(_VARIABLE, "").strip().lower() in _OFF
    return PlainPath(loop) if is_off or _version() < _OLDEST else FastPath(loop)


def _version() -> tuple[int, ...]:
    """Return the version of uvicorn, without its last part."""
    return tuple(map(int, uvicorn.__version__.split(".")[:2]))
