"""Loads the user's driver and binds requests to its `run`."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from mlmgmt_nb.scoring import compat
from mlmgmt_nb.scoring.application.application import Application
from mlmgmt_nb.scoring.application.model_files import set_variables
from mlmgmt_nb.scoring.batching import BATCH_MARK, Batch, check_batch
from mlmgmt_nb.scoring.compat.messages import RAW_MARK, Answer, Headers, WholeRequest
from mlmgmt_nb.scoring.driver.streaming import LAZY, Stream, stream_async, stream_of
from mlmgmt_nb.scoring.encoding.encoder import encode_result
from mlmgmt_nb.scoring.errors import LoadError, RequestError, driver_failure, last_line
from mlmgmt_nb.scoring.schema.arguments import bad_input, decode_text, read_arguments
from mlmgmt_nb.scoring.schema.file import ServiceSchema, load_schema
from mlmgmt_nb.scoring.schema.nested import DescribedType
from mlmgmt_nb.scoring.schema.samples import check_arguments
from mlmgmt_nb.scoring.schema.types import SchemaError
from mlmgmt_nb.scoring.threads import THREADS_MARK, check_threads

__all__ = ["Driver", "Outcome", "Payload", "load_driver"]

Payload = bytes | WholeRequest
"""What a request is to a driver: its body, or the whole request for drivers that want it."""
Outcome = bytes | Answer | Stream
"""What is answered: the body of a 200 as JSON, or an answer of the driver's own making, whole or in parts."""

_HEADERS_ARGUMENT = "request_headers"
_SCHEMA_READER = "azureml.api.schema.schemaUtil"
_SCHEMA_MARK = "__mlmgmt_schema__"
_OPTIONAL_MARK = "__mlmgmt_optional__"
_RAW_MODULES = ("azureml_inference_server_http.api.aml_request", "azureml.contrib.services.aml_request")
"""Modules of the real packages: their `rawhttp` leaves no mark at the function, but a flag in the module."""
_BATCH_ARGUMENTS = frozenset({"mini_batch", "minibatch"})


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
        threads: how many may call `run` at the same time.
        swagger_schema: describes a driver that parses its body itself.
    """

    def __init__(
        self, run: Callable[..., Any], schema: ServiceSchema | None, optional: frozenset[str] = frozenset()
    ) -> None:
        self.run = run
        self.schema = self.swagger_schema = schema
        self.optional = optional
        self.raw = _takes_request(run)
        self.wants_headers = not self.raw and _HEADERS_ARGUMENT in _parameters(run)
        self._text_argument = _text_argument(_parameters(run))
        self.wants_request = self.raw or self.wants_headers
        self.is_async = inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)
        self.batch: Batch | None = getattr(run, BATCH_MARK, None)
        self.threads: int = getattr(run, THREADS_MARK, 1)
        self._converts = _is_decorated(run)

    def answer(self, payload: Payload) -> Outcome:
        """Call `run` for one request.

        Raises:
            RequestError: the request or the driver is at fault.
        """
        positional, named = self._prepare(payload)
        try:
            result = self.run(*positional, **named)
            if isinstance(result, LAZY):
                result = _begun(result)
            elif (streamed := _streamed(result)) is not None:
                result = stream_of(*streamed)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            failure = self._failure(error)
        else:
            return finish(result)
        raise failure  # where the user's exception is no longer at hand, to be kept with all that its frames hold

    async def answer_async(self, payload: Payload) -> Outcome:
        """As `answer`, for a coroutine function."""
        positional, named = self._prepare(payload)
        try:
            result = self.run(*positional, **named)
            if inspect.isawaitable(result):
                result = await result
            if isinstance(result, LAZY):
                result = await stream_async(result)
            elif (streamed := _streamed(result)) is not None:
                result = await stream_async(*streamed)
        except BaseException as error:  # noqa: BLE001 - also CancelledError: nobody but the driver cancels this task
            failure = self._failure(error)
        else:
            return finish(result)
        raise failure

    def _failure(self, error: BaseException) -> RequestError:
        if self._converts and isinstance(error, Exception) and _raised_in_package(error, "inference_schema"):
            return bad_input([str(error)])  # it converts arguments within the call of run()
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
                return (), {self._text_argument: decode_text(payload), _HEADERS_ARGUMENT: headers}
            return (decode_text(payload),), {}
        arguments = read_arguments(payload, self.schema.input, self.optional)
        if self.wants_headers:
            arguments[_HEADERS_ARGUMENT] = headers
        return (), arguments


def finish(result: Any) -> Outcome:
    """Return what `run` returned, as an answer.

    Raises:
        RequestError: 500, it cannot be written as JSON.
    """
    if isinstance(result, (Answer, Stream)):
        return result
    if hasattr(result, "getlist") or isinstance(result, dict):
        result = _without_lists(result)
    if _is_response(result):
        return Answer(result.status_code, list(result.headers.items()), result.get_data())
    return encode_result(result)


def _without_lists(result: Any) -> Any:
    """Parameters of a raw request as JSON has them in Flask: the first value of each name."""
    if hasattr(result, "getlist"):
        return result.to_dict()
    if any(hasattr(value, "getlist") for value in result.values()):
        return {name: _without_lists(value) if hasattr(value, "getlist") else value for name, value in result.items()}
    return result


def _is_response(result: Any) -> bool:
    """Whether a driver has made the answer itself: ours, Flask's, werkzeug's."""
    return callable(getattr(result, "get_data", None)) and hasattr(result, "status_code")


def _streamed(result: Any) -> tuple[Any, int, list[tuple[str, str]]] | None:
    """Return the parts, status and headers of a response that is a stream."""
    if not getattr(result, "is_streamed", False) or not _is_response(result):
        return None
    lazy = result.response
    parts = lazy if isinstance(lazy, AsyncIterator) else result.iter_encoded()
    return parts, result.status_code, list(result.headers.items())


def _begun(result: Any) -> Any:
    """Return a coroutine run to its end, or a generator to its first part; in the driver's thread, which has no loop."""
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    return stream_of(result) if isinstance(result, LAZY) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _raw_request(payload: WholeRequest) -> Any:
    from mlmgmt_nb.scoring.compat.raw_http import make_request

    return make_request(payload)


def load_driver(application: Application) -> Driver:
    """Import the driver, reads the schema and calls `init`.

    The working directory becomes the application folder, which also goes first in `sys.path`, for good: `run` opens
    files too.

    Raises:
        LoadError: the driver or the schema is at fault.
    """
    folder = str(application.folder)
    os.chdir(folder)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    set_variables(application, os.environ)
    compat.install()
    module = _import_driver(application.driver, folder)
    run = getattr(module, "run", None)
    if not callable(run):
        raise LoadError("DriverNoRun", f"{application.driver.name} defines no function run()")
    driver = _bind(run, application)
    _call_init(getattr(module, "init", None), folder)
    _prepare_types(driver.schema)
    return driver


def _call_init(init: Any, folder: str) -> None:
    if init is None:
        return
    try:
        init()
    except BaseException as error:
        raise LoadError("DriverInitError", last_line(error, folder)) from error


def _prepare_types(schema: ServiceSchema | None) -> None:
    for name, argument in (schema.input if schema else {}).items():
        try:
            argument.prepare()
        except Exception as error:
            raise LoadError("SchemaError", f"{name}: its type cannot be used here: {error}") from error


def _import_driver(path: Path, folder: str) -> ModuleType:
    name = _module_name(path, folder)
    # a loader by name: a driver need not end in .py
    loader = SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException as error:
        code = "DriverSyntaxError" if _is_syntax_error_of(error, path) else "DriverImportError"
        raise LoadError(code, last_line(error, folder)) from error
    return module


def _is_syntax_error_of(error: BaseException, path: Path) -> bool:
    return isinstance(error, SyntaxError) and error.filename == str(path)


def _module_name(path: Path, folder: str) -> str:
    """Return the file's stem, so that pickles of classes of `score.py` find them, unless another module has that name."""
    stem = path.stem
    if stem in sys.modules or stem in sys.stdlib_module_names or not stem.isidentifier():
        return f"mlmgmt_driver_{stem}"
    try:
        other = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        other = None
    taken = other is not None and (other.origin is None or not other.origin.startswith(folder + os.sep))
    return f"mlmgmt_driver_{stem}" if taken else stem


def _bind(run: Callable[..., Any], application: Application) -> Driver:
    """Look at `run` once, at load, and at what describes its arguments."""
    if _takes_request(run):
        return _checked(Driver(run, None), application.driver.name)
    try:
        schema = load_schema(application.schema) if application.schema else _schema_of_decorators(run)
    except SchemaError as error:
        raise LoadError("SchemaError", str(error)) from error
    file, parameters = application.driver.name, _parameters(run)
    if schema is None:
        _check_is_online(parameters, file)
        _check_takes_text(run, file)
        return _checked(Driver(run, None), file)
    try:
        check_arguments(parameters, set(schema.input) | ({_HEADERS_ARGUMENT} & set(parameters)))
    except SchemaError as error:
        if not application.schema_named and _SCHEMA_READER in sys.modules and _takes_text(run):
            # a driver that 2017's client wrapped: it reads the schema file by itself
            driver = Driver(run, None)
            driver.swagger_schema = schema
            return driver
        raise LoadError("SchemaError", f"{file}: {error}") from error
    optional = {name for name, p in parameters.items() if p.default is not p.empty}
    return _checked(Driver(run, schema, frozenset(optional | getattr(run, _OPTIONAL_MARK, frozenset()))), file)


def _checked(driver: Driver, file: str) -> Driver:
    try:
        check_batch(driver.batch, driver.schema, driver.optional, is_async=driver.is_async)
    except SchemaError as error:
        raise LoadError("DriverSignatureError", f"{file}: {error}") from error
    if fault := check_threads(driver.threads, is_async=driver.is_async, is_batched=driver.batch is not None):
        raise LoadError("DriverSignatureError", f"{file}: {fault}")
    return driver


def _parameters(run: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(run).parameters)
    except (TypeError, ValueError):  # a callable of C code
        return {}


def _text_argument(parameters: Iterable[str]) -> str:
    """Return the argument that gets the body; empty if there is none."""
    return next((name for name in parameters if name != _HEADERS_ARGUMENT), "")


def _takes_text(run: Callable[..., Any]) -> bool:
    try:
        parameters = _parameters(run)
        if _HEADERS_ARGUMENT in parameters:
            inspect.signature(run).bind(**{_text_argument(parameters): "", _HEADERS_ARGUMENT: {}})
        else:
            inspect.signature(run).bind("")
    except TypeError:
        return False
    except ValueError:  # cannot be looked at: it is tried as it is
        return True
    return True


def _check_is_online(parameters: Mapping[str, Any], file: str) -> None:
    if batches := sorted(_BATCH_ARGUMENTS & set(parameters)):
        message = (
            f"{file}: run({batches[0]}) is a batch driver, which gets a list of files from a batch endpoint; a "
            "service answers one request at a time. Write run(data), which gets the body of the request as text"
        )
        raise LoadError("DriverSignatureError", message)


def _takes_request(run: Callable[..., Any]) -> bool:
    """Whether a driver has asked for the whole request: with our `rawhttp`, or that of an installed package."""
    flags = [getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in _RAW_MODULES]
    return bool(getattr(run, RAW_MARK, False)) or any(flags)


def _check_takes_text(run: Callable[..., Any], file: str) -> None:
    if not _takes_text(run):
        needs = ", ".join(_parameters(run)) or "no argument"
        message = f"{file}: without a schema run() gets one argument, the body as text; it takes {needs}. Add a schema"
        raise LoadError("DriverSignatureError", message)


def _schema_of_decorators(run: Callable[..., Any]) -> ServiceSchema | None:
    """Return what the decorators of `inference-schema` say: ours, or those of the real package."""
    if not _is_decorated(run):
        schema: ServiceSchema | None = getattr(run, _SCHEMA_MARK, None)
        return schema
    described = sys.modules["inference_schema.schema_util"].get_input_schema(run)
    examples = described.get("example", {})
    properties = described.get("properties", {})
    return ServiceSchema({name: DescribedType(kind, examples.get(name)) for name, kind in properties.items()})


def _is_decorated(run: Callable[..., Any]) -> bool:
    """Whether the real `inference-schema` wraps the function."""
    module = sys.modules.get("inference_schema.schema_util")
    return hasattr(run, "__wrapped__") and module is not None and not compat.is_ours(module)


def _raised_in_package(error: BaseException, package: str) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name: str = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return name.partition(".")[0] == package
