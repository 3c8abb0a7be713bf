"""Warm starts: a few processes that have imported the scoring runtime, each of which becomes exactly one replica.

A spare runs no code of a driver before it becomes a replica, and never a second one, so that drivers share nothing. It
may import packages only for a service that is being deployed, whose replica it becomes then. It is made when a
deployment is likely, and ends unless one follows. A replica for which no spare is suitable is started as
a process of its own: nothing depends on spares.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mlmgmt_nb.scoring.distribution import copy_runtime, runtime_files
from mlmgmt_nb.scoring.process.spare_messages import HEADER_BYTES, Assignment, Modules
from mlmgmt_nb.service.compute.processes.starting import (
    OF_RUNTIME,
    REPLICA,
    ReplicaStart,
    inherited_environment,
    launch_environment,
    spawn,
)

if TYPE_CHECKING:
    from mlmgmt_nb.service.compute.base import Launch

__all__ = ["Preparation", "Spares", "is_read_at_start"]

log = logging.getLogger(__name__)

_MODULE = "mlmgmt_nb.scoring.process.spare"
_MOST = 2
"""Maximum number of spares: the oldest one ends when another one is needed."""
_SECONDS_WITH_MODULES = 120.0
"""How long a spare with imported packages waits, which takes more memory."""
_NEXT_SECONDS = 10.0
"""Seconds from the use of a spare to the start of the next one, which must not compete with the driver."""
_READ_AT_START = ("PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "OPENSSL_", "SSL_", "UV_")
"""Prefixes of variables that Python, its libraries or the runtime read before a spare is assigned."""


class Preparation(NamedTuple):
    """What a spare is prepared for.

    Attributes:
        interpreter: its Python.
        service: account and name of the only service that it may become a replica of; "" for any.
        modules: modules of installed packages that the driver of that service is about to import.
    """

    interpreter: str
    service: str = ""
    modules: tuple[str, ...] = ()

    def suits(self, launch: Launch) -> bool:
        """Return whether a replica may start from it.

        Packages read variables when they are imported, and their memory does not belong to a control group yet. So only
        a replica without variables of its own and without reserved memory may start from a spare with imported
        packages.
        """
        if self.interpreter != launch.interpreter or any(map(is_read_at_start, launch.environment)):
            return False
        is_plain = launch.memory_bytes is None and not launch.secrets and all(map(_is_ours, launch.environment))
        return not self.service or (self.service == launch.service and is_plain)


class _Spare:
    """A process that waits for its assignment.

    Args:
        interpreter: its Python.
        runtime: the folder of the scoring runtime.
        environment: its variables.
        mark: identifies it and its child processes.
    """

    def __init__(self, interpreter: str, runtime: Path, environment: Mapping[str, str], mark: str) -> None:
        self.preparation = Preparation(interpreter)
        self.mark = mark
        python_path = [str(runtime), *filter(None, [environment.get("PYTHONPATH")])]
        self.process, self.control = spawn(
            lambda fd: [interpreter, "-m", _MODULE, str(fd)],
            runtime,
            {**environment, REPLICA: mark, "PYTHONPATH": os.pathsep.join(python_path)},
        )
        self.until = 0.0

    def assign(self, launch: Launch, listeners: Sequence[socket.socket]) -> ReplicaStart:
        """Let it become a replica.

        Raises:
            OSError: it has ended.
        """
        self._send(Assignment(str(launch.context / "app"), launch_environment(launch)), listeners)
        return ReplicaStart(self.process, self.control, self.mark)

    def dedicate(self, preparation: Preparation) -> None:
        """Let it import modules, for one service.

        Raises:
            OSError: it has ended.
        """
        self._send(Modules(list(preparation.modules)))
        self.preparation = preparation

    def _send(self, message: Modules | Assignment, listeners: Sequence[socket.socket] = ()) -> None:
        body = msgspec.json.encode(message)
        header = len(body).to_bytes(HEADER_BYTES)
        socket.send_fds(self.control, [header], [listener.fileno() for listener in listeners])
        self.control.sendall(body)

    def end(self) -> None:
        """End it; it has nothing to finish."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        if self.process.stdout:
            self.process.stdout.close()


class Spares:
    """The spares of this process, made and ended by one thread.

    Args:
        runtime: a folder of their own for the scoring runtime, which exists as long as their replicas.
        marks: variables of each process that this service starts.
        seconds: how long a spare waits; 0 for no spares.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        runtime: Path,
        marks: Mapping[str, str],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._marks = marks
        self._seconds = seconds
        self._clock = clock
        self._files: list[tuple[str, int, int]] | None = None
        self._spares: list[_Spare] = []
        self._wanted: dict[Preparation, float] = {}  # time at which to make a spare
        self._condition = threading.Condition()
        self._is_closed = False
        self._making = threading.Lock()
        self._numbers = itertools.count(1)
        # The kernel ends spares, and the replicas that they become, with this thread: it never ends by itself.
        self._thread = threading.Thread(target=self._run, name="spares", daemon=True)

    def prepare(self, preparation: Preparation, delay: float = 0.0) -> None:
        """Request a spare because a deployment is likely; return immediately.

        One with other modules for the same service ends: it was for a deployment that failed or was given up.
        """
        if not self._seconds:
            return
        with self._condition:
            if self._is_closed:
                return
            outdated = self._take_outdated(preparation)
            if not preparation.modules:
                preparation = Preparation(preparation.interpreter)
            if not self._has(preparation):
                self._want(preparation, delay)
        for spare in outdated:
            spare.end()

    def _take_outdated(self, preparation: Preparation) -> list[_Spare]:
        """Forget what was prepared for the same service, but with other modules."""

        def is_outdated(other: Preparation) -> bool:
            return bool(other.service) and other.service == preparation.service and other != preparation

        self._wanted = {wanted: at for wanted, at in self._wanted.items() if not is_outdated(wanted)}
        outdated = [spare for spare in self._spares if is_outdated(spare.preparation)]
        self._spares = [spare for spare in self._spares if spare not in outdated]
        return outdated

    def _want(self, preparation: Preparation, delay: float) -> None:
        at = self._clock() + delay
        self._wanted[preparation] = min(at, self._wanted.get(preparation, at))
        self._condition.notify()
        if not self._thread.is_alive():
            self._thread.start()

    def _has(self, preparation: Preparation) -> bool:
        """Return whether there is a spare, or one for any service that can be prepared further. It waits anew."""
        general = Preparation(preparation.interpreter)
        for wanted in (preparation, general):
            for spare in [spare for spare in self._spares if spare.preparation == wanted]:
                try:
                    if wanted != preparation:
                        spare.dedicate(preparation)
                        self._want(general, _NEXT_SECONDS)
                except OSError:  # it has ended
                    continue
                spare.until = self._until(preparation)
                return True
        return False

    def start(self, launch: Launch, listeners: Sequence[socket.socket]) -> ReplicaStart | None:
        """Start a replica with a suitable spare; return None without one."""
        spare = self._take(launch)
        if spare is None:
            return None
        self.prepare(Preparation(spare.preparation.interpreter), _NEXT_SECONDS)
        try:
            return spare.assign(launch, listeners)
        except OSError:
            spare.end()
            return None

    def close(self) -> None:
        """End all spares that wait, and one that is being made; make no others."""
        with self._condition:
            self._is_closed = True
            self._wanted.clear()
        with self._making, self._condition:
            ended, self._spares = self._spares, []
        for spare in ended:
            spare.end()

    def _take(self, launch: Launch) -> _Spare | None:
        if not (launch.context / "app").is_dir():
            return None
        with self._condition:
            suitable = [spare for spare in self._spares if spare.preparation.suits(launch)]
            if not suitable or self._files != runtime_files(launch.context / "runtime"):
                return None
            spare = max(suitable, key=lambda each: len(each.preparation.modules))
            self._spares.remove(spare)
        return spare

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait(self._pause())
            try:
                for preparation in self._due():
                    self._make(preparation)
                for spare in self._expired():
                    spare.end()
            except Exception:  # replicas must not end with this thread
                log.exception("the preparation of replicas failed")
                self._wanted.clear()

    def _due(self) -> list[Preparation]:
        with self._condition:
            now = self._clock()
            return [preparation for preparation, at in self._wanted.items() if at <= now]

    def _pause(self) -> float | None:
        """Return the seconds until there is something to do, or None."""
        times = [*self._wanted.values(), *(spare.until for spare in self._spares)]
        return max(0.0, min(times) - self._clock()) if times else None

    def _expired(self) -> list[_Spare]:
        with self._condition:
            now = self._clock()
            kept = [s for s in self._spares if s.until > now and s.process.poll() is None][-_MOST:]
            expired = [spare for spare in self._spares if spare not in kept]
            self._spares = kept
        return expired

    def _make(self, preparation: Preparation) -> None:
        mark = f"{os.getpid()} {time.monotonic()} spare-{next(self._numbers)}"
        with self._making:
            if self._is_closed:
                return
            spare = None
            try:
                if self._files is None:
                    shutil.rmtree(self._runtime, ignore_errors=True)
                    copy_runtime(self._runtime)
                    self._files = runtime_files(self._runtime)
                environment = {**inherited_environment(), **self._marks}
                spare = _Spare(preparation.interpreter, self._runtime, environment, mark)
                if preparation.service:
                    spare.dedicate(preparation)
            except OSError as error:
                log.info("replicas start without preparation: %s", error)
            with self._condition:
                # Not before: a request meanwhile would make a second one.
                is_wanted = self._wanted.pop(preparation, None) is not None
                if spare is not None and is_wanted:
                    spare.until = self._until(preparation)
                    self._spares.append(spare)
            if spare is not None and not is_wanted:
                spare.end()

    def _until(self, preparation: Preparation) -> float:
        return self._clock() + (min(self._seconds, _SECONDS_WITH_MODULES) if preparation.modules else self._seconds)


def is_read_at_start(variable: str) -> bool:
    """Return whether an environment variable has an effect only if it is set before a process starts."""
    return variable.upper().startswith(_READ_AT_START)


def _is_ours(variable: str) -> bool:
    """Return whether the service sets a variable for each replica, for the runtime only."""
    return variable in OF_RUNTIME
