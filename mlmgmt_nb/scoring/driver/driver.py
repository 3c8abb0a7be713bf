"""A loaded driver: prepare the arguments of `run` from a request, call it, and encode its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.scoring.batching import BATCH_MARK, Batch
from mlmgmt_nb.scoring.compat.messages import Headers, WholeRequest
from mlmgmt_nb.scoring.driver.results import Outcome, encode, resolve, resolve_async
from mlmgmt_nb.scoring.driver.signature import (
    HEADERS_ARGUMENT,
    parameters,
    plain_function,
    takes_request,
    text_argument,
    wraps_arguments,
)
from mlmgmt_nb.scoring.errors import RequestError, driver_failure
from mlmgmt_nb.scoring.schema.arguments import bad_input, decode_text, read_arguments
from mlmgmt_nb.scoring.schema.file import ServiceSchema
from mlmgmt_nb.scoring.threads import THREADS_MARK

__all__ = ["Driver", "Outcome", "Payload"]

Payload = bytes | WholeRequest
"""A request as a driver gets it: the body, or the whole request if the driver asks for it."""


class Driver:
    """A loaded driver, after its `init`.

    Args:
        run: the user's function.
        schema: types of its arguments, or None when it gets the body as text.
        optional: names of arguments that a request may leave out.

    Attributes:
        raw: `run` takes an `AMLRequest`, of any method.
        wants_request: a payload must be a `WholeRequest`.
        wants_headers: `run` has the argument `request_headers`.
        is_async: `run` is a coroutine function or an asynchronous generator: use `answer_async`.
        batch: `run` takes the rows of several requests at once.
        threads: number of threads that may call `run` at the same time.
        swagger_schema: schema for the description of the service, also if the driver parses its body itself.
    """

    def __init__(
        self, run: Callable[..., Any], schema: ServiceSchema | None, optional: frozenset[str] = frozenset()
    ) -> None:
        self.run = plain_function(run)
        self.schema = self.swagger_schema = schema
        self.optional = optional
        self.raw = takes_request(run)
        self.wants_headers = not self.raw and HEADERS_ARGUMENT in parameters(run)
        self._text_argument = text_argument(parameters(run))
        self.wants_request = self.raw or self.wants_headers
        self.is_async = inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)
        self.batch: Batch | None = getattr(run, BATCH_MARK, None)
        self.threads: int = getattr(run, THREADS_MARK, 1)
        self._wraps_arguments = wraps_arguments(run)

    @property
    def most_running(self) -> int | None:
        """Number of calls that may run at the same time; None if that is not limited."""
        return None if self.is_async or self.batch is not None else self.threads

    def answer(self, payload: Payload) -> Outcome:
        """Call `run` for one request.

        Raises:
            RequestError: the request or the driver is at fault.
        """
        positional, named = self._prepare(payload)
        try:
            result = resolve(self.run(*positional, **named))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            failure = self._failure(error)
        else:
            return encode(result)
        raise failure  # outside of `except`, which would keep the objects in the frames of `run` alive

    async def answer_async(self, payload: Payload) -> Outcome:
        """Do the same as `answer`, for a coroutine function."""
        positional, named = self._prepare(payload)
        try:
            result = await resolve_async(self.run(*positional, **named))
        except BaseException as error:  # noqa: BLE001 - also CancelledError: nobody but the driver cancels this task
            failure = self._failure(error)
        else:
            return encode(result)
        raise failure

    def _failure(self, error: BaseException) -> RequestError:
        if self._wraps_arguments and isinstance(error, Exception) and _raised_in_package(error, "inference_schema"):
            return bad_input([str(error)])  # the package converts arguments inside the call of run()
        return driver_failure(error)

    def _prepare(self, payload: Payload) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `run`."""
        headers: dict[str, str] = {}
        if isinstance(payload, WholeRequest):
            if self.raw:
                return (_raw_request(payload),), {}
            headers = Headers(payload.headers)
            payload = payload.data
        if self.schema is None:
            if self.wants_headers:
                return (), {self._text_argument: decode_text(payload), HEADERS_ARGUMENT: headers}
            return (decode_text(payload),), {}
        arguments = read_arguments(payload, self.schema.input, self.optional)
        if self.wants_headers:
            arguments[HEADERS_ARGUMENT] = headers
        return (), arguments


def _raw_request(payload: WholeRequest) -> Any:
    from mlmgmt_nb.scoring.compat.raw_http import make_request

    return make_request(payload)


def _raised_in_package(error: BaseException, package: str) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name: str = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return name.partition(".")[0] == package
