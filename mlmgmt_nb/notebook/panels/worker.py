"""The thread that does what the buttons of a panel ask for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from mlmgmt_nb.client.http.forks import renew_after_fork

__all__ = ["Worker"]


class Worker:
    """Does one piece of work after the other, in a daemon thread that lives while there is any.

    Callbacks of widgets must be short: kernels run them between cells, in a thread of their own or in the middle of a
    cell that awaits, as their version has it. So they only hand the work over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leaves what is to be done to the parent process, whose thread does it."""
        self._lock, self._work, self._thread = threading.Lock(), deque(), None

    def do(self, work: Callable[[], None]) -> None:
        """Has it done after what was asked for before. It must not raise."""
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
