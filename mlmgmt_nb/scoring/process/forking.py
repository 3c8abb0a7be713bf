"""Keep children that a driver forks apart from their replica.

A forked child has the handlers, signal pipe and sockets of its parent. A `multiprocessing.Pool` that ends its workers
with SIGTERM would then drain the replica instead, and wait forever; and connections stay open as long as any child
holds them. So a child gets the default handlers, and the sockets of the replica are closed in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable

__all__ = ["protect_forks"]

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def protect_forks(sockets: Callable[[], Iterable[int]]) -> None:
    """Prepare this process permanently for drivers that fork.

    Args:
        sockets: returns the descriptors that children must not hold.
    """
    if not hasattr(os, "register_at_fork"):
        return
    masks = threading.local()

    def hold() -> None:
        # A signal that reaches the child before it has its own handlers would go to the replica.
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def separate() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        _redirect_to_null(sockets())
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=separate)


def _redirect_to_null(descriptors: Iterable[int]) -> None:
    """Replace descriptors by /dev/null, so that their numbers are not reused for other files."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
