"""Commands: drivers, written from a cell and checked in the scoring runtime."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import requests

from mlmgmt_nb.client.http.files import check_readable
from mlmgmt_nb.commands.flags import APPLICATION, CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.staging import Stage
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS", "CheckedDriver", "check_driver"]

_LOAD_SECONDS, _SAMPLE_SECONDS = 60.0, 60.0
_MISSING = re.compile(r"No module named '([\w.]+)'|No such file or directory: '([^']+)'")
_URL = re.compile(r"http://\S+/score\s*$", re.MULTILINE)


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
        driver: its file.
        arguments: of its `run`.
        has_init: whether it has `init`.
        sample: the sample that it ran on, as JSON, or None.
        result: the result of `run`.
        seconds: how long loading it and the run took; 0 when it was not loaded.
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
    source = session.body if session.body is not None else _read(path, "file")
    compiled = _compiled(source, path, written=written)
    if written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    sample = None if arguments.check is None else _sample(arguments.check)
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
    variables = [part for option in ("env", "env_file") for part in _variables(option, getattr(arguments, option))]
    with tempfile.TemporaryDirectory(prefix="mlmgmt-check-") as folder:
        stage = Stage(Path(folder), path, **beside, schema=schema)
        python = stage.python(arguments.requirements)
        run = _CheckRun(stage, python, path, float(arguments.timeout), variables, written=written)
        return _check(compiled, run, sample)


def _variables(option: str, given: Sequence[str] | None) -> list[str]:
    """Return the arguments that hand variables on to the runtime."""
    flag = f"--{option.replace('_', '-')}"
    return [
        part for value in given or () for part in (flag, str(Path(value).absolute()) if flag == "--env-file" else value)
    ]


def check_driver(driver: Path, beside: Sequence[Path] | None, schema: Path | None = None) -> CheckedDriver:
    """Check a driver before it is deployed: that it compiles and has `run`, that it loads, and that it answers for the
    sample of its schema.

    Args:
        driver: the driver.
        beside: files and folders that lie beside it when it runs; None if they are not available here; then it
            is not loaded.
        schema: its schema file.

    Raises:
        UsageError: what is wrong, with the line of the driver.
    """
    compiled = _compiled(_read(driver, "driver"), driver, written=False)
    if beside is None:
        return compiled
    with tempfile.TemporaryDirectory(prefix="mlmgmt-check-") as folder:
        others = [path for path in beside if path != schema]
        stage = Stage(Path(folder), driver, dependencies=others, models=(), schema=schema)
        return _check(compiled, _CheckRun(stage, sys.executable, driver, _SAMPLE_SECONDS, (), written=False), None)


def _compiled(source: str, path: Path, *, written: bool) -> CheckedDriver:
    functions = _functions(source, path, written=written)
    return CheckedDriver(str(path), functions["run"], "init" in functions)


class _CheckRun(NamedTuple):
    """The environment of a check: the folder and Python of an image, the driver, and the time for a sample."""

    stage: Stage
    python: str
    driver: Path
    timeout: float
    options: Sequence[str]
    written: bool


def _check(compiled: CheckedDriver, run: _CheckRun, sample: Any) -> CheckedDriver:
    started = time.perf_counter()
    sample, result = _run_check(run, sample)
    seconds = time.perf_counter() - started
    return msgspec.structs.replace(compiled, sample=sample, result=result, seconds=seconds)


def _read(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{field}: {path} cannot be read: {error}", field=field, fix="Check the path.") from error


def _sample(given: Any) -> Any:
    """Return the sample: a Python value, or the file that has it as JSON."""
    if not isinstance(given, (str, os.PathLike)):
        return given
    try:
        return json.loads(_read(Path(given).expanduser(), "check"))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"check: {given} is not valid JSON: {error}", field="check", fix="Correct the sample."
        ) from error


def _functions(source: str, path: Path, *, written: bool) -> dict[str, list[str]]:
    """Return the functions at the top of the driver, with their arguments.

    Raises:
        UsageError: it does not compile, or has no `run`.
    """
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        line = _line(source, error.lineno or 1, path, written=written)
        raise UsageError(f"{line}: {error.msg}", field="driver", fix="Correct that line.") from error
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


def _line(source: str, number: int, path: Path, *, written: bool) -> str:
    """Name a line of the driver, and its line in the cell, whose first line is the magic."""
    lines = source.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    cell = f" (line {number + 1} of the cell)" if written else ""
    return f"{path.name}, line {number}{cell}: `{text}`"


def _run_check(run: _CheckRun, sample: Any) -> tuple[Any, Any]:
    """Load the driver in a separate process, as a replica does, and score the sample or that of the schema."""
    command = [run.python, "-m", "mlmgmt_nb.scoring", "--app", str(run.stage.app)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--timeout", str(run.timeout), *run.options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=run.stage.app,
            env=run.stage.environment(),
        )
        try:
            url = _await(process, log, run)
            sample = _schema_sample(url) if sample is None else sample
            return sample, None if sample is None else _score(url, sample, log, run)
        finally:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], log: IO[str], run: _CheckRun) -> str:
    """Wait until the driver is loaded; return its scoring URL."""
    deadline = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        text = _text(log)
        if ended:
            raise _failure(text, run, "the driver does not load")
        found = _URL.search(text)
        if found and _is_ready(found[0].strip()):
            return found[0].strip()
        time.sleep(0.02)
    raise UsageError(
        f"{run.driver.name} did not load within {_LOAD_SECONDS:g} s", field="driver", fix="Make init() faster."
    )


def _is_ready(url: str) -> bool:
    try:
        return requests.get(_origin(url), timeout=1.0).ok
    except requests.RequestException:
        return False


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3]) + "/"


def _schema_sample(url: str) -> Any:
    swagger = requests.get(url.rpartition("/")[0] + "/swagger.json", timeout=5.0).json()
    given = swagger["definitions"]["ServiceInput"]
    return given["example"] if given.get("properties") else None


def _score(url: str, sample: Any, log: IO[str], run: _CheckRun) -> Any:
    try:
        answer = requests.post(url, json=sample, timeout=run.timeout + 5.0)
        body = answer.json()
    except requests.RequestException as error:  # the driver ended the process, or holds it up
        raise _failure(_text(log), run, f"no answer to the sample: {error}") from error
    if answer.ok:
        return body
    if body.get("code") == "DriverError":
        raise _failure(_text(log), run, str(body.get("message")))
    raise UsageError(f"the sample was refused: {body.get('message')}", field="check", fix="Correct the sample.")


def _failure(log: str, run: _CheckRun, summary: str) -> UsageError:
    """Return the error for a driver that raised, at its own line."""
    path = run.driver
    lines = [line for line in log.splitlines() if line.strip()]
    numbers = re.findall(rf'File ".*{re.escape(path.name)}", line (\d+)', log)
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    what = raised[-1] if raised and summary == "the driver does not load" else summary
    left_out = _left_out(what, run)
    if not numbers:
        return UsageError(f"{path.name}: {what}", field="driver", fix=left_out or "Correct the driver.")
    where = _line(_read(path, "file"), int(numbers[-1]), path, written=run.written)
    return UsageError(f"{where}: {what}", field="driver", fix=left_out or "Correct that line.")


def _left_out(what: str, run: _CheckRun) -> str:
    """Return what to do about a file that lies beside the driver here, and was not named."""
    found = _MISSING.search(what)
    if found is None:
        return ""
    name = found[1].partition(".")[0] if found[1] else Path(found[2]).name
    for candidate in (name, f"{name}.py") if found[1] else (name,):
        if (run.driver.parent / candidate).exists() and not (run.stage.app / candidate).exists():
            return (
                f"{candidate} lies beside the driver here, and only what is named is sent along: "
                f"give it with `-d {candidate}`, or with `-m` if it is a model, here and when you deploy."
            )
    return ""


def _text(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


_BESIDE = tuple(flag for flag in APPLICATION if flag.dest in {"model_file", "dependency", "requirements"})
"""What a deployment sends along, by the flags that it has there; nothing else is there in the check."""

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
