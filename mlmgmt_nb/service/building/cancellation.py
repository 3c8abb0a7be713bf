"""Cancellation of a build from another thread."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping

import psutil

from mlmgmt_nb.service.building.errors import BuildError

__all__ = ["Cancellation"]


class Cancellation:
    """The cancellation state of a build. The build polls it; running processes of the build are ended immediately.

    Args:
        environment: variables for the processes of the build, which identify them after a crash.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._stop is not None:
                self._stop()

    def check(self) -> None:
        """Raise BuildError when the build has been cancelled."""
        if self._cancelled:
            raise BuildError("Cancelled", "The build was cancelled.")

    @contextlib.contextmanager
    def calling(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` if the build is cancelled inside this context.

        Raises:
            BuildError: the build was cancelled.
        """
        with self._lock:
            self._stop = stop
            if self._cancelled:
                stop()
        try:
            yield
        finally:
            with self._lock:
                self._stop = None
        self.check()

    def ending(self, process: subprocess.Popen[bytes]) -> contextlib.AbstractContextManager[None]:
        """End a process and its children if the build is cancelled inside this context; see `calling`."""
        return self.calling(lambda: _end(process))


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
