"""Score several requests with one call of `run`.

A driver opts in with a decorator::

    from mlmgmt_nb.scoring.batching import batched

    @batched(max_requests=32, max_wait=0.005)
    def run(input_df):
        return model.predict(input_df)

`run` then receives the rows of all waiting requests in one DataFrame (or array), and returns one item per row: a
list, an array, a Series, a DataFrame, or the JSON of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mlmgmt_nb.scoring.schema.file import ServiceSchema
from mlmgmt_nb.scoring.schema.types import DataTypes, SchemaError

__all__ = ["BATCH_MARK", "Batch", "batched", "check_batch"]

BATCH_MARK = "__mlmgmt_batch__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Batch:
    """Limits of a batch: the number of requests, and the seconds to wait for another one."""

    max_requests: int
    max_wait: float


def batched(max_requests: int = 32, max_wait: float = 0.005) -> Callable[[_Function], _Function]:
    """Declare that `run` takes the rows of several requests at once.

    Args:
        max_requests: maximum number of requests in one call.
        max_wait: maximum seconds that a request waits for others. A single caller does not wait.

    Raises:
        ValueError: a limit is too small.

    Example:
        >>> @batched(max_requests=64, max_wait=0.01)
        ... def run(flowers):
        ...     return [len(flower) for flower in flowers]
        >>> run([[5.1, 3.5], [6.7, 3.0]])
        [2, 2]
    """
    if max_requests < 1 or max_wait < 0:
        raise ValueError("max_requests must be at least 1 and max_wait at least 0 seconds")

    def mark(run: _Function) -> _Function:
        setattr(run, BATCH_MARK, Batch(max_requests, max_wait))
        return run

    return mark


def check_batch(batch: Batch | None, schema: ServiceSchema | None, optional: frozenset[str], *, is_async: bool) -> None:
    """Raise `SchemaError` if a `run` that declares batches cannot be called with them."""
    if batch is None:
        return
    required = [name for name in (schema.input if schema else {}) if name not in optional]
    kinds = {DataTypes.PANDAS, DataTypes.NUMPY}
    if is_async or schema is None or len(required) != 1 or schema.input[required[0]].data_type not in kinds:
        raise SchemaError("@batched needs a schema with exactly one argument, a DataFrame or array, and no async run()")
