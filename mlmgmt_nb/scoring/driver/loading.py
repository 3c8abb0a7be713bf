"""Load a driver: import it, find the types of its arguments, call `init`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Generator, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from mlmgmt_nb.scoring import compat
from mlmgmt_nb.scoring.application.application import Application
from mlmgmt_nb.scoring.application.model_files import set_variables
from mlmgmt_nb.scoring.batching import check_batch
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.driver.signature import HEADERS_ARGUMENT, parameters, takes_request, takes_text, wraps_arguments
from mlmgmt_nb.scoring.errors import LoadError, last_line
from mlmgmt_nb.scoring.schema.file import ServiceSchema, load_schema
from mlmgmt_nb.scoring.schema.nested import DescribedType, OptionalType
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.samples import check_arguments
from mlmgmt_nb.scoring.schema.types import SchemaError
from mlmgmt_nb.scoring.threads import check_threads

__all__ = ["load_driver"]

_SCHEMA_READER = "azureml.api.schema.schemaUtil"
_WRAPPER_FUNCTIONS = f"{compat.__name__}.schema_util"
_SCHEMA_MARK = "__mlmgmt_schema__"
_OPTIONAL_MARK = "__mlmgmt_optional__"
_BATCH_ARGUMENTS = frozenset({"file_list", "file_paths", "mini_batch", "minibatch"})


def load_driver(application: Application) -> Driver:
    """Import the driver, read its schema and call `init`.

    The application folder becomes the working directory and the first entry of `sys.path`, permanently, because `run`
    opens files too.

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
    if driver.swagger_schema is None and not driver.raw:
        driver.swagger_schema = _described_by_wrapper()
    _prepare_types(driver.schema)
    return driver


def _call_init(init: Any, folder: str) -> None:
    if init is None:
        return
    try:
        made = init()
    except BaseException as error:
        raise LoadError("DriverInitError", last_line(error, folder)) from error
    if isinstance(made, (Coroutine, Generator, AsyncGenerator)):
        if not isinstance(made, AsyncGenerator):  # an asynchronous generator needs no close before it runs
            made.close()
        raise LoadError(
            "DriverInitError",
            "init() is asynchronous or has a yield in it, so its code would not run: write a plain def init()",
        )


def _prepare_types(schema: ServiceSchema | None) -> None:
    for name, argument in (schema.input if schema else {}).items():
        try:
            argument.prepare()
        except Exception as error:
            raise LoadError("SchemaError", f"{name}: this type cannot be used: {error}") from error


def _import_driver(path: Path, folder: str) -> ModuleType:
    name = _module_name(path, folder)
    # an explicit loader: the name of a driver need not end in .py
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
    """Return the file's stem, so that pickles find classes of `score.py`, unless another module has that name."""
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
    """Inspect `run` and the description of its arguments once, when the driver is loaded."""
    if takes_request(run):
        return _checked(Driver(run, None), application.driver.name)
    try:
        schema = load_schema(application.schema) if application.schema else _schema_of_decorators(run)
    except SchemaError as error:
        raise LoadError("SchemaError", str(error)) from error
    file, names = application.driver.name, parameters(run)
    if schema is None:
        _check_is_online(names, file)
        _check_takes_text(run, file)
        return _checked(Driver(run, None), file)
    try:
        check_arguments(names, set(schema.input) | ({HEADERS_ARGUMENT} & set(names)))
    except SchemaError as error:
        if not application.schema_named and _SCHEMA_READER in sys.modules and takes_text(run):
            # a driver wrapped by the client of 2017 reads the schema file itself
            driver = Driver(run, None)
            driver.swagger_schema = schema
            return driver
        raise LoadError("SchemaError", f"{file}: {error}") from error
    optional = {name for name, p in names.items() if p.default is not p.empty}
    schema = _with_null(schema, {name for name, p in names.items() if p.default is None})
    return _checked(Driver(run, schema, frozenset(optional | getattr(run, _OPTIONAL_MARK, frozenset()))), file)


def _with_null(schema: ServiceSchema, names: Collection[str]) -> ServiceSchema:
    """Return the schema with arguments that may be null: a plain argument whose default is None may be sent as None."""
    types = {
        name: OptionalType(kind) if name in names and isinstance(kind, PlainType) else kind
        for name, kind in schema.input.items()
    }
    return ServiceSchema(types, schema.output)


def _checked(driver: Driver, file: str) -> Driver:
    try:
        check_batch(driver.batch, driver.schema, driver.optional, is_async=driver.is_async)
    except SchemaError as error:
        raise LoadError("DriverSignatureError", f"{file}: {error}") from error
    if fault := check_threads(driver.threads, is_async=driver.is_async, is_batched=driver.batch is not None):
        raise LoadError("DriverSignatureError", f"{file}: {fault}")
    return driver


def _check_is_online(names: Mapping[str, Any], file: str) -> None:
    if batches := sorted(_BATCH_ARGUMENTS & set(names)):
        message = (
            f"{file}: run({batches[0]}) is a batch driver, which receives a list of files from a batch endpoint; a "
            "service answers one request at a time. Write run(data), which receives the body of the request as text"
        )
        raise LoadError("DriverSignatureError", message)


def _check_takes_text(run: Callable[..., Any], file: str) -> None:
    if not takes_text(run):
        needs = ", ".join(parameters(run)) or "no argument"
        message = (
            f"{file}: without a schema, run() must take one argument, the body as text, but takes {needs}. Add a schema"
        )
        raise LoadError("DriverSignatureError", message)


def _schema_of_decorators(run: Callable[..., Any]) -> ServiceSchema | None:
    """Return the schema from the `inference-schema` decorators: ours, or those of the original package."""
    schema = _described_by_original(run) if wraps_arguments(run) else getattr(run, _SCHEMA_MARK, None)
    if schema is None:
        return None
    names = [name for name in _named_parameters(run) if name != HEADERS_ARGUMENT]
    undeclared = {name: PlainType() for name in names if name not in schema.input}  # they are passed unchanged
    return ServiceSchema({**schema.input, **undeclared}, schema.output)


def _described_by_wrapper() -> ServiceSchema | None:
    """Return the schema from which the wrapper of the client of 2017 described its service, if there is one."""
    return getattr(sys.modules.get(_WRAPPER_FUNCTIONS), "described", None)


def _described_by_original(run: Callable[..., Any]) -> ServiceSchema:
    described = sys.modules["inference_schema.schema_util"].get_input_schema(run)
    examples, properties = described.get("example", {}), described.get("properties", {})
    return ServiceSchema(
        {name: DescribedType(kind, examples.get(name)) for name, kind in properties.items() if name != HEADERS_ARGUMENT}
    )


def _named_parameters(run: Callable[..., Any]) -> list[str]:
    return [name for name, p in parameters(run).items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
