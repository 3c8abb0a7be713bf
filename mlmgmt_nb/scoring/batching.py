"""Several requests scored by one call of `run`.

A driver asks for it::

    from mlmgmt_nb.scoring.batching import batched

    @batched(max_requests=32, max_wait=0.005)
    def run(input_df):
        return model.predict(input_df)

`run` then gets the rows of all requests that have come in meanwhile in one DataFrame (or array), and returns one item
for each row: a list, an array, a Series, a DataFrame, or the JSON of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

import msgspec

from mlmgmt_nb.scoring.arguments import decode_object
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.results import encode_result
from mlmgmt_nb.scoring.schema.file import ServiceSchema
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError

__all__ = ["BATCH_MARK", "Batch", "Batcher", "batched", "check_batch"]

BATCH_MARK = "__mlmgmt_batch__"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Batch:
    """How requests are put together: at most so many, after waiting at most so many seconds for one more."""

    max_requests: int
    max_wait: float


def batched(max_requests: int = 32, max_wait: float = 0.005) -> Callable[[_Function], _Function]:
    """Declares that `run` takes the rows of several requests at once.

    Args:
        max_requests: most requests in one call.
        max_wait: most seconds that a request waits for others. A caller who is alone does not wait.

    Raises:
        ValueError: they are too small.

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
    """Raises `SchemaError` when a `run` that declares batches cannot be called with them."""
    if batch is None:
        return
    required = [name for name in (schema.input if schema else {}) if name not in optional]
    kinds = {DataTypes.PANDAS, DataTypes.NUMPY}
    if is_async or schema is None or len(required) != 1 or schema.input[required[0]].data_type not in kinds:
        raise SchemaError("@batched needs a schema with exactly one argument, a DataFrame or array, and no async run()")


class Batcher:
    """Puts requests together and takes their results apart.

    Args:
        batch: the limits.
        run: the user's function.
        types: the types of its arguments, of which the first one holds the rows.
        alone: answers one request by itself.
    """

    def __init__(
        self,
        batch: Batch,
        run: Callable[..., Any],
        types: Mapping[str, ArgumentType],
        alone: Callable[[bytes], Any],
    ) -> None:
        self._batch = batch
        self._run = run
        self._name, self._type = next(iter(types.items()))
        self._alone = alone
        self._expected = 1

    def gather(self, first: _Item, queue: SimpleQueue[_Item | None], admitted: Callable[[], int]) -> list[_Item]:
        """The first request and those that come with it.

        Args:
            first: a request taken from the queue.
            queue: where further ones arrive; None ends it and is put back.
            admitted: how many requests are under way in all, those that are still being read included.
        """
        gathered = [first]
        expected = min(max(self._expected, admitted()), self._batch.max_requests)
        deadline = monotonic() + self._batch.max_wait
        while len(gathered) < self._batch.max_requests:
            try:
                if len(gathered) < expected:
                    item = queue.get(timeout=max(0.0, deadline - monotonic()))
                else:
                    item = queue.get_nowait()
            except Empty:
                break
            if item is None:
                queue.put(None)
                break
            gathered.append(item)
        self._expected = len(gathered)
        return gathered

    def answer(self, requests: Sequence[tuple[str, bytes]]) -> list[Any]:
        """The answers (or `RequestError`s) to some requests, by one call of `run` where that is possible.

        Args:
            requests: the id and the body of each.
        """
        if len(requests) > 1:
            request_id.set("")  # what is printed and collected then belongs to all of them
            # whatever goes wrong: perhaps one request is at fault, so each gets what it deserves
            with suppress(Exception):
                return self._together([body for _, body in requests])
        return [self._by_itself(identity, body) for identity, body in requests]

    def _by_itself(self, identity: str, body: bytes) -> Any:
        request_id.set(identity)
        try:
            return self._alone(body)
        except RequestError as error:
            return error.with_traceback(None)

    def _together(self, bodies: Sequence[bytes]) -> list[Any]:
        rows: list[Any] = []
        ends = []
        for body in bodies:
            values = decode_object(body, {self._name: None})
            own = values.get(self._name)
            if len(values) != 1 or not isinstance(own, list):
                raise InputError(["not to be put together"])
            rows += own
            ends.append(len(rows))
        result = self._run(**{self._name: self._type.parse(rows, self._name)})
        if isinstance(result, str):
            result = msgspec.json.decode(result)
        if not hasattr(result, "__len__") or len(result) != len(rows):
            raise _wrong_length(result, len(rows))
        take = result.iloc if hasattr(result, "iloc") else result
        return [encode_result(take[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _wrong_length(result: Any, rows: int) -> RequestError:
    got = f"{len(result)} items" if hasattr(result, "__len__") else type(result).__name__
    return RequestError(500, "ResultError", f"a batched run() returns one item a row: got {got} for {rows} rows")
