"""Turn the return value of `run` into an answer: JSON, a response that the driver built, or a stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from mlmgmt_nb.scoring.compat.messages import Answer
from mlmgmt_nb.scoring.driver.streaming import LAZY, Stream, stream_async, stream_of
from mlmgmt_nb.scoring.encoding.encoder import encode_result

__all__ = ["Outcome", "encode", "resolve", "resolve_async"]

Outcome = bytes | Answer | Stream
"""The answer to a request: the JSON body of a 200, or a response that the driver built, whole or in parts."""


def resolve(result: Any) -> Any:
    """Run a coroutine to its end and a generator to its first part, in a thread without an event loop."""
    if isinstance(result, LAZY):
        if inspect.isawaitable(result):
            result = asyncio.run(_await(result))
        return stream_of(result) if isinstance(result, LAZY) else result
    streamed = _streamed(result)
    return result if streamed is None else stream_of(*streamed)


async def resolve_async(result: Any) -> Any:
    """Do the same as `resolve`, in the driver's event loop."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, LAZY):
        return await stream_async(result)
    streamed = _streamed(result)
    return result if streamed is None else await stream_async(*streamed)


def encode(result: Any) -> Outcome:
    """Return the answer for a resolved result.

    Raises:
        RequestError: 500, the result cannot be written as JSON.
    """
    if isinstance(result, (Answer, Stream)):
        return result
    if hasattr(result, "getlist") or isinstance(result, dict):
        result = _without_lists(result)
    if _is_response(result):
        return Answer(result.status_code, list(result.headers.items()), result.get_data())
    return encode_result(result)


def _without_lists(result: Any) -> Any:
    """Return the parameters of a raw request as Flask writes them to JSON: the first value of each name."""
    if hasattr(result, "getlist"):
        return result.to_dict()
    if any(hasattr(value, "getlist") for value in result.values()):
        return {name: _without_lists(value) if hasattr(value, "getlist") else value for name, value in result.items()}
    return result


def _is_response(result: Any) -> bool:
    """Return whether the driver built the response itself: with our class, Flask's or werkzeug's."""
    return callable(getattr(result, "get_data", None)) and hasattr(result, "status_code")


def _streamed(result: Any) -> tuple[Any, int, list[tuple[str, str]]] | None:
    """Return the parts, status and headers of a response that is a stream."""
    if not getattr(result, "is_streamed", False) or not _is_response(result):
        return None
    lazy = result.response
    parts = lazy if isinstance(lazy, AsyncIterator) else result.iter_encoded()
    return parts, result.status_code, list(result.headers.items())


async def _await(result: Awaitable[Any]) -> Any:
    return await result
