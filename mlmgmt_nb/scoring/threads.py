"""Several simultaneous calls of `run`, for thread-safe drivers.

A driver opts in with a decorator::

    from mlmgmt_nb.scoring.threads import threaded

    @threaded(4)
    def run(input_df):
        return model.predict(input_df)

A slow request then does not delay others. `init` is still called once, in one of the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["THREADS_MARK", "check_threads", "threaded"]

THREADS_MARK = "__mlmgmt_threads__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def threaded(threads: int) -> Callable[[_Function], _Function]:
    """Declare that `run` may be called by several threads at the same time.

    Args:
        threads: number of threads.

    Raises:
        ValueError: the number is less than 1.
    """
    if threads < 1:
        raise ValueError("threads must be at least 1")

    def mark(run: _Function) -> _Function:
        setattr(run, THREADS_MARK, threads)
        return run

    return mark


def check_threads(threads: int, *, is_async: bool, is_batched: bool) -> str:
    """Return the reason if `run` cannot be called by several threads; empty if it can."""
    if threads > 1 and (is_async or is_batched):
        return (
            f"@threaded cannot be combined with {'async run()' if is_async else '@batched'}: it is for plain functions"
        )
    return ""
