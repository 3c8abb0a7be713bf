"""The background thread that updates the panels of a session.

It uses a small share of a core for any number of panels: with more panels, each panel is updated less often.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mlmgmt_nb.client.http.forks import renew_after_fork

__all__ = ["DRAWING", "REFRESH_THREAD", "RefreshThread", "Tick"]

Tick = Callable[[], float | None]
"""Updates a panel. Returns the seconds until it is due again, or None if it no longer changes."""

_SHARE = 0.01
"""Maximum share of a core for all panels, except that each panel is updated at least about every 30 seconds."""
_SLOWEST_SECONDS = 30.0

log = logging.getLogger(__name__)


class RefreshThread:
    """A daemon thread that ticks panels. It runs only while there are panels.

    Args:
        clock: monotonic clock, in seconds.
        name: the name of the thread.
        used: returns the CPU time of the current thread, in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        name: str = "mlmgmt-panels",
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock = clock
        self._used = used
        self._name = name
        self._changed = threading.Condition()
        self._due: dict[Tick, float] = {}
        self._thread: threading.Thread | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget all panels: they belong to the parent process, whose thread ticks them."""
        self._changed, self._due, self._thread = threading.Condition(), {}, None

    def follow(self, tick: Tick) -> None:
        """Tick a panel now and whenever it is due."""
        with self._changed:
            self._due[tick] = self._clock()
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():  # an interrupt may have prevented its start
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (tick := self._next()) is not None:
            before = self._used()
            try:
                pause = tick()
            except Exception:
                # An error in one panel must not stop the others.
                log.exception("a panel failed")
                pause = None
            with self._changed:
                if self._due[tick] != _BUSY:  # requested again meanwhile
                    continue
                if pause is None:
                    del self._due[tick]
                else:
                    fair = (self._used() - before) * len(self._due) / _SHARE
                    self._due[tick] = self._clock() + max(pause, min(fair, _SLOWEST_SECONDS))

    def _next(self) -> Tick | None:
        """Wait until a panel is due, and return its tick; None without panels."""
        with self._changed:
            while self._due:
                tick = min(self._due, key=self._due.__getitem__)
                left = self._due[tick] - self._clock()
                if left <= 0:
                    self._due[tick] = _BUSY
                    return tick
                self._changed.wait(left)
            self._thread = None
            return None


_BUSY = float("inf")
"""Due time of a panel during its tick; `follow` replaces it with a real time."""

REFRESH_THREAD = RefreshThread()
"""The thread of this session that polls servers."""

DRAWING = RefreshThread(name="mlmgmt-drawing")
"""The thread that draws; it never waits for a server."""
