"""Waits that can be interrupted."""

from __future__ import annotations

import math
import threading
import time

__all__ = ["wait_for"]

_LONGEST_SECONDS = 0.5


def wait_for(event: threading.Event, timeout: float | None) -> bool:
    """Wait until an event is set; return whether it is.

    One long wait could miss an interrupt: Python checks for one only between two steps of the main thread, and a signal
    that arrives just before the wait, or at another thread, does not wake it. So the wait consists of short ones.

    Args:
        event: the event.
        timeout: maximum seconds to wait (default: unlimited).

    Raises:
        KeyboardInterrupt: the user interrupted, at most half a second ago.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while not event.wait(max(0.0, min(_LONGEST_SECONDS, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return False
    return True
