"""Calls that run at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["run_concurrently"]


def run_concurrently(calls: Sequence[Callable[[], object]]) -> None:
    """Run calls, each in its own thread, until all have ended.

    Raises:
        Exception: a call failed; the others have ended, too.
    """
    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        running = [pool.submit(call) for call in calls]
    for ended in running:
        ended.result()
