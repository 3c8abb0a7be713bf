"""Several calls of `run` at a time, for drivers that bear it.

A driver says so::

    from mlmgmt_nb.scoring.threads import threaded

    @threaded(4)
    def run(input_df):
        return model.predict(input_df)

A slow request then holds up nobody else. `init` is still called once, in one of the threads.
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
        threads: how many.

    Raises:
        ValueError: they are less than 1.
    """
    if threads < 1:
        raise ValueError("threads must be at least 1")

    def mark(run: _Function) -> _Function:
        setattr(run, THREADS_MARK, threads)
        return run

    return mark


def check_threads(threads: int, *, is_async: bool, is_batched: bool) -> str:
    """Why a `run` that declares threads cannot have them; empty when it can."""
    if threads > 1 and (is_async or is_batched):
        return f"@threaded does not go with {'async run()' if is_async else '@batched'}: it is for plain functions"
    return ""
