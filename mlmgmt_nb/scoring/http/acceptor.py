"""Accept connections that several replicas could accept: a replica with room for a call goes first.

The kernel gives a new connection to any replica that accepts at the same socket, also to one whose calls wait, or which
has to refuse the call, while another is idle. So a replica whose next call would wait gives the others a head
start, and accepts the connection only if it is still there. After a head start that was in vain, as always without
other replicas, it gives none of that length for a while.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from time import monotonic

from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.http.connection import Connection

__all__ = ["Acceptor"]

_COMING_SECONDS = 0.002
"""How long after a connection was accepted its first call is expected."""
_IN_VAIN = 100
_LONGEST_IN_VAIN = 0.5
"""After a head start in vain there is none of that length or less for `_IN_VAIN` times its length, at most for these
seconds: another replica may have room soon."""
_RETRY_SECONDS = 2.0
_MOST_WAITING = 1000
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts the connections that wait at a socket, in the running event loop.

    Args:
        descriptor: the socket.
        accept: accepts a connection. It raises BlockingIOError if none waits, and returns None if none follow.
        head_start: returns the seconds for which other replicas may accept a connection first, given the number of
            connections whose first call is expected.
    """

    def __init__(
        self, descriptor: int, accept: Callable[[], Connection | None], head_start: Callable[[int], float]
    ) -> None:
        self.descriptor = descriptor
        self._accept_one = accept
        self._head_start = head_start
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._coming: deque[tuple[float, Connection]] = deque()
        self._in_vain = 0.0
        self._in_vain_until = 0.0
        self._loop.add_reader(descriptor, self._ready)

    def accept_waiting(self) -> None:
        """Accept the connections that wait now: nobody may be left to accept them."""
        for _ in range(_MOST_WAITING):
            if not self._accept():
                return

    def close(self) -> None:
        """Accept no further connections. Call it before the socket is closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self.descriptor)

    def _ready(self) -> None:
        now = monotonic()
        seconds = self._head_start(self._expected(now))
        if seconds > (self._in_vain if now < self._in_vain_until else 0.0):
            self._pause(seconds, self._continue, seconds)
        else:
            self._accept()

    def _expected(self, now: float) -> int:
        """Return the number of new connections whose first call has not arrived yet."""
        while self._coming and now - self._coming[0][0] > _COMING_SECONDS:
            self._coming.popleft()
        return sum(connection.cycle is None for _, connection in self._coming)

    def _continue(self, seconds: float) -> None:
        """Accept the connection unless another replica has used its head start."""
        self._loop.add_reader(self.descriptor, self._ready)
        if self._accept():
            self._in_vain, self._in_vain_until = seconds, monotonic() + min(_IN_VAIN * seconds, _LONGEST_IN_VAIN)

    def _accept(self) -> bool:
        """Accept a connection; return False if none waits."""
        try:
            connection = self._accept_one()
        except (BlockingIOError, ConnectionAbortedError):  # another replica was faster, or the caller hung up
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            log(f"cannot accept connections: {error.strerror}. Trying again in {_RETRY_SECONDS:g} seconds")
            self._pause(_RETRY_SECONDS, self._loop.add_reader, self.descriptor, self._ready)
            return False
        if connection is not None:
            self._coming.append((monotonic(), connection))
        return True

    def _pause(self, seconds: float, then: Callable[..., object], *arguments: object) -> None:
        self._loop.remove_reader(self.descriptor)
        self._timer = self._loop.call_later(seconds, then, *arguments)
