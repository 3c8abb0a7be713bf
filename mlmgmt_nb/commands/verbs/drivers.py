"""Commands: drivers, written from a cell and checked in the scoring runtime."""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.client.http.files import check_readable
from mlmgmt_nb.commands.flags import APPLICATION, CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.staging import Stage
from mlmgmt_nb.commands.verbs.driver_run import DriverRun, read_source, run_driver, source_line
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS", "CheckedDriver", "check_driver"]

_SAMPLE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class _Driver(CommonArguments):
    """Arguments of `driver`."""

    file: str
    check: Any
    schema: str | None
    model_file: Sequence[str]
    requirements: str | Sequence[str] | None
    dependency: Sequence[str]
    env: Sequence[str]
    env_file: Sequence[str]
    timeout: int


class CheckedDriver(msgspec.Struct, frozen=True, rename="camel"):
    """A driver that was checked.

    Attributes:
        driver: path of the driver.
        arguments: argument names of its `run`.
        has_init: whether it has `init`.
        sample: the sample that it ran on, as JSON, or None.
        result: the result of `run`.
        seconds: duration of loading and running it; 0 if it was not loaded.
    """

    driver: str
    arguments: list[str]
    has_init: bool
    sample: Any = None
    result: Any = None
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{self.driver}: run({', '.join(self.arguments)}), {'' if self.has_init else 'no '}init"]
        lines.append(f"loaded and checked in {self.seconds:.2f} s" if self.seconds else "compiled, not loaded")
        if self.sample is not None:
            lines.append(f"run on {json.dumps(self.sample)[:200]}")
            lines.append(f"gave   {json.dumps(self.result)[:200]}")
        return "\n".join(lines)


def _driver(session: Session, arguments: _Driver) -> CheckedDriver:
    path = Path(arguments.file).expanduser()
    written = session.body is not None
    source = session.body if session.body is not None else read_source(path, "file")
    compiled = _compiled(source, path, written=written)
    if written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    sample = None if arguments.check is None else _sample(arguments.check)
    files = _readable_files(arguments)
    variables = [part for option in ("env", "env_file") for part in _variables(option, getattr(arguments, option))]
    with tempfile.TemporaryDirectory(prefix="mlmgmt-check-") as folder:
        stage = Stage(Path(folder), path, **files)
        python = stage.python(arguments.requirements)
        run = DriverRun(stage, python, path, float(arguments.timeout), variables, written=written)
        return _check(compiled, run, sample)


def _readable_files(arguments: _Driver) -> dict[str, Any]:
    """Return the files and folders beside the driver, as arguments of `Stage`.

    Raises:
        UsageError: a file is missing or cannot be read.
    """
    beside = {
        "dependencies": [Path(each).expanduser() for each in arguments.dependency or ()],
        "models": [Path(each).expanduser() for each in arguments.model_file or ()],
    }
    for field, paths in beside.items():
        for each in paths:
            check_readable(each, field)
    schema = Path(arguments.schema).expanduser() if arguments.schema else None
    if schema is not None:
        check_readable(schema, "schema")
    return {**beside, "schema": schema}


def _variables(option: str, given: Sequence[str] | None) -> list[str]:
    """Return the command-line arguments that pass variables to the runtime."""
    flag = f"--{option.replace('_', '-')}"
    return [
        part for value in given or () for part in (flag, str(Path(value).absolute()) if flag == "--env-file" else value)
    ]


def check_driver(driver: Path, beside: Sequence[Path] | None, schema: Path | None = None) -> CheckedDriver:
    """Check that a driver compiles, has `run`, loads, and answers for the sample of its schema.

    Args:
        driver: the driver.
        beside: files and folders beside the driver at run time. If None, they are not available here, and the driver
            is not loaded.
        schema: its schema file.

    Raises:
        UsageError: the check failed. The message has the line of the driver, if known.
    """
    compiled = _compiled(read_source(driver, "driver"), driver, written=False)
    if beside is None:
        return compiled
    with tempfile.TemporaryDirectory(prefix="mlmgmt-check-") as folder:
        others = [path for path in beside if path != schema]
        stage = Stage(Path(folder), driver, dependencies=others, models=(), schema=schema)
        return _check(compiled, DriverRun(stage, sys.executable, driver, _SAMPLE_SECONDS, (), written=False), None)


def _compiled(source: str, path: Path, *, written: bool) -> CheckedDriver:
    functions = _functions(source, path, written=written)
    return CheckedDriver(str(path), functions["run"], "init" in functions)


def _check(compiled: CheckedDriver, run: DriverRun, sample: Any) -> CheckedDriver:
    started = time.perf_counter()
    sample, result = run_driver(run, sample)
    seconds = time.perf_counter() - started
    return msgspec.structs.replace(compiled, sample=sample, result=result, seconds=seconds)


def _sample(given: Any) -> Any:
    """Return the sample: a Python value, or the content of a JSON file."""
    if not isinstance(given, (str, os.PathLike)):
        return given
    try:
        return json.loads(read_source(Path(given).expanduser(), "check"))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"check: {given} is not valid JSON: {error}", field="check", fix="Correct the sample."
        ) from error


def _functions(source: str, path: Path, *, written: bool) -> dict[str, list[str]]:
    """Return the top-level functions of the driver, with their arguments.

    Raises:
        UsageError: the driver does not compile, or has no `run`.
    """
    tree = _parsed(source, path, written=written)
    found = {
        node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assigned = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    if "run" not in found and "run" not in assigned:
        raise UsageError(
            f"{path.name} has no function `run`",
            field="driver",
            fix="Write `def run(body): ...`: it gets each request's body and returns the answer.",
        )
    return {"run": [], **found}


def _parsed(source: str, path: Path, *, written: bool) -> ast.Module:
    try:
        return ast.parse(source, str(path))
    except SyntaxError as error:
        line = source_line(source, error.lineno or 1, path, written=written)
        raise UsageError(f"{line}: {error.msg}", field="driver", fix="Correct that line.") from error


_BESIDE = tuple(flag for flag in APPLICATION if flag.dest in {"model_file", "dependency", "requirements"})
"""Deployment flags for files beside the driver. The check uses no other files."""

COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("driver",),
        "Check that a driver compiles, has `run`, loads, and runs on a sample, using only the files that you name; "
        "in a notebook, write the cell to the file first",
        "mlmgmt driver score.py -m model.pkl --check sample.json",
        _driver,
        (
            Flag("file", "driver file", required=True, completes="path"),
            Flag("--check", "JSON file with a sample, or a Python value", "value", completes="path", metavar="FILE"),
            Flag("-s --schema", "schema file", completes="path", metavar="FILE"),
            *_BESIDE,
            Flag("--env", "environment variable of the driver (repeatable)", "many", metavar="NAME=VALUE"),
            Flag("--env-file", "file of NAME=VALUE lines (repeatable)", "many", completes="path", metavar="FILE"),
            Flag(
                "--timeout",
                "seconds to wait for the sample",
                "integer",
                default=int(_SAMPLE_SECONDS),
                metavar="SECONDS",
            ),
        ),
        arguments=_Driver,
    ),
)
