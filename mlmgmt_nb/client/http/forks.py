"""Renew the objects that a forked process inherits: locks, connections and threads stay with its parent.

A fork copies memory, not threads: a lock that another thread held is never released in the child, and a connection is
shared, so that parent and child read each other's answers. Objects with either register here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

__all__ = ["ForkLock", "renew_after_fork"]


class ForkAware(Protocol):
    """An object that a forked process renews."""

    def after_fork(self) -> None:
        """Replace locks, connections and threads, in the child. Take no lock of the parent, and send nothing."""


_inherited: WeakSet[ForkAware] = WeakSet()


def renew_after_fork(owner: ForkAware) -> None:
    """Call `owner.after_fork()` in each process that is forked from this one, before anything else runs there."""
    _inherited.add(owner)


class ForkLock:
    """A lock that is free in a forked process, even if it is held in the parent. For `with`.

    Args:
        make: the kind of lock, `threading.Lock` or `threading.RLock`.
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the parent's lock."""
        self._lock = self._make()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _renew() -> None:
    for owner in list(_inherited):
        owner.after_fork()


if hasattr(os, "register_at_fork"):  # Windows does not have fork
    os.register_at_fork(after_in_child=_renew)
