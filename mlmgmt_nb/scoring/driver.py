"""Loads the user's driver and binds requests to its `run`."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from mlmgmt_nb.scoring.application import Application
from mlmgmt_nb.scoring.errors import LoadError, RequestError, driver_failure, last_line
from mlmgmt_nb.scoring.results import encode_result
from mlmgmt_nb.scoring.schema.file import ServiceSchema, load_schema
from mlmgmt_nb.scoring.schema.samples import check_arguments
from mlmgmt_nb.scoring.schema.types import InputError, SchemaError, describe

__all__ = ["Driver", "load_driver"]


class Driver:
    """A loaded driver, after its `init`.

    Args:
        run: the user's function.
        schema: types of its arguments, or None when it gets the body as text.
        optional: names of arguments that a request may leave out.
    """

    def __init__(self, run: Callable[..., Any], schema: ServiceSchema | None, optional: frozenset[str]) -> None:
        self.schema = schema
        self._run = run
        self._decoder = msgspec.json.Decoder()
        self.optional = optional
        self._types = schema.input if schema else {}
        self.answer: Callable[[bytes], bytes] = self._answer_text if schema is None else self._answer_arguments

    def _answer_text(self, body: bytes) -> bytes:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise _bad_input([f"the body is not UTF-8 text: {error.reason} at byte {error.start}"]) from None
        try:
            result = self._run(text)
        except BaseException as error:
            raise driver_failure(error) from error
        return encode_result(result)

    def _answer_arguments(self, body: bytes) -> bytes:
        arguments = self._arguments(body)
        try:
            result = self._run(**arguments)
        except BaseException as error:
            raise driver_failure(error) from error
        return encode_result(result)

    def _arguments(self, body: bytes) -> dict[str, Any]:
        """The arguments of `run` from the body of a request; every fault is named."""
        types = self._types
        values = self._decode(body)
        problems = [_unknown(name, list(types)) for name in values if name not in types]
        arguments: dict[str, Any] = {}
        for name, argument in types.items():
            if name in values:
                try:
                    arguments[name] = argument.parse(values[name], name)
                except InputError as error:
                    problems += error.problems
            elif name not in self.optional:
                problems.append(f"{name}: this argument is missing")
        if problems:
            raise _bad_input(problems)
        return arguments

    def _decode(self, body: bytes) -> dict[str, Any]:
        try:
            values = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            hint = " (NaN and Infinity are not JSON: send null)" if b"NaN" in body or b"Infinity" in body else ""
            raise _bad_input([f"the body is not JSON: {error}{hint}"]) from None
        if not isinstance(values, dict):
            names = ", ".join(self._types)
            raise _bad_input([f"the body must be an object with the arguments {names}; got {describe(values)}"])
        return values


def _unknown(name: str, known: list[str]) -> str:
    return f"{name}: there is no such argument; the arguments are {', '.join(known) or 'none'}"


def _bad_input(problems: list[str]) -> RequestError:
    return RequestError(400, "BadInput", problems[0], details=[("BadInput", problem) for problem in problems])


def load_driver(application: Application) -> Driver:
    """Imports the driver, reads the schema and calls `init`.

    The working directory becomes the application folder, which also goes first in `sys.path`, for good: `run` opens
    files too.

    Raises:
        LoadError: the driver or the schema is at fault.
    """
    folder = str(application.folder)
    os.chdir(folder)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    module = _import_driver(application.driver, folder)
    run = getattr(module, "run", None)
    if not callable(run):
        raise LoadError("DriverNoRun", f"{application.driver.name} defines no function run()")
    schema = _load_schema(application.schema) if application.schema else None
    optional = _check_signature(run, schema, application.driver.name)
    init = getattr(module, "init", None)
    if init is not None:
        try:
            init()
        except BaseException as error:
            raise LoadError("DriverInitError", last_line(error, folder)) from error
    return Driver(run, schema, optional)


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
    """The file's stem, so that pickles of classes of `score.py` find them, unless another module has that name."""
    stem = path.stem
    if stem in sys.modules or stem in sys.stdlib_module_names or not stem.isidentifier():
        return f"mlmgmt_driver_{stem}"
    try:
        other = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        other = None
    taken = other is not None and (other.origin is None or not other.origin.startswith(folder + os.sep))
    return f"mlmgmt_driver_{stem}" if taken else stem


def _load_schema(path: Path) -> ServiceSchema:
    try:
        return load_schema(path)
    except SchemaError as error:
        raise LoadError("SchemaError", str(error)) from error


def _check_signature(run: Callable[..., Any], schema: ServiceSchema | None, file: str) -> frozenset[str]:
    """Looks at `run` once, at load; the names of its arguments that have defaults."""
    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError):
        return frozenset()  # a callable of C code: cannot be looked at, is tried as it is
    if schema is None:
        try:
            signature.bind("")
        except TypeError:
            needs = ", ".join(signature.parameters) or "no argument"
            message = (
                f"{file}: without a schema run() gets one argument, the body as text; it takes {needs}. Add a schema"
            )
            raise LoadError("DriverSignatureError", message) from None
        return frozenset()
    try:
        check_arguments(signature, set(schema.input))
    except SchemaError as error:
        raise LoadError("SchemaError", f"{file}: {error}") from error
    return frozenset(name for name, p in signature.parameters.items() if p.default is not p.empty)
