"""Batches: gather requests, call `run` once, split the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

import msgspec

from mlmgmt_nb.scoring.batching import Batch
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.encoding.encoder import encode_result
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.schema.arguments import decode_object
from mlmgmt_nb.scoring.schema.types import ArgumentType, InputError

__all__ = ["Batcher"]

_Item = TypeVar("_Item")


class Batcher:
    """Combines requests into one call and splits its result.

    Args:
        batch: the limits.
        run: the user's function.
        types: the types of its arguments; the first one holds the rows.
        alone: answers a single request.
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
        """Return the first request and those that arrive with it.

        Args:
            first: a request taken from the queue.
            queue: the queue of further requests; None ends it and is put back.
            admitted: returns the number of all requests in progress, including those still being read.
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
        """Return the answers (or `RequestError`s) to some requests, with one call of `run` if possible.

        Args:
            requests: the id and the body of each request.
        """
        if len(requests) > 1:
            request_id.set("")  # output and collected data belong to all of them
            # one request may be at fault, so each is answered separately
            with suppress(Exception):
                return self._run_batch([body for _, body in requests])
        return [self._run_single(identity, body) for identity, body in requests]

    def _run_single(self, identity: str, body: bytes) -> Any:
        request_id.set(identity)
        try:
            return self._alone(body)
        except RequestError as error:
            return error.with_traceback(None)

    def _run_batch(self, bodies: Sequence[bytes]) -> list[Any]:
        rows: list[Any] = []
        ends = []
        for body in bodies:
            values = decode_object(body, {self._name: None})
            own = values.get(self._name)
            if len(values) != 1 or not isinstance(own, list):
                raise InputError(["cannot be combined"])
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
    return RequestError(500, "ResultError", f"a batched run() must return one item per row: got {got} for {rows} rows")
