"""The background thread for the buttons of a panel."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from mlmgmt_nb.client.http.forks import renew_after_fork

__all__ = ["Worker"]


class Worker:
    """Run work in order, in a daemon thread that exists only while there is work.

    Widget callbacks must return quickly: depending on its version, the kernel runs them between cells, in a separate
    thread, or while a cell awaits. They only queue work here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the queue: it belongs to the parent process, whose thread runs it."""
        self._lock, self._work, self._thread = threading.Lock(), deque(), None

    def do(self, work: Callable[[], None]) -> None:
        """Queue work, which must not raise."""
        with self._lock:
            self._work.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlmgmt-panel-work", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._work:
                    self._thread = None
                    return
                work = self._work.popleft()
            work()
