"""The end of a replica process: with its parent, and without waiting for threads of its driver."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

__all__ = ["die_with_parent", "end_process"]

_EXIT_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> bool:
    """Ask Linux to end this process with its parent, even if the driver hangs; return False if the parent has exited.

    The kernel watches the thread that started the process, so supervisors must start replicas from a long-lived thread.
    """
    if sys.platform != "linux":
        return True
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent != 1


def end_process(code: int) -> None:
    """End the process cleanly with this exit code, without waiting for threads that a driver left running."""
    watchdog = threading.Timer(_EXIT_SECONDS, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)
