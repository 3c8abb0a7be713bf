"""A check run of a driver in the scoring runtime: load it in a process, score a sample, and explain a failure."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import requests

from mlmgmt_nb.commands.staging import Stage
from mlmgmt_nb.errors import UsageError

__all__ = ["DriverRun", "read_source", "run_driver", "source_line"]

_LOAD_SECONDS = 60.0
_LOOK_SECONDS = 0.02
"""Seconds between two reads of the log while a driver loads."""
_MISSING = re.compile(r"No module named '([\w.]+)'|No such file or directory: '([^']+)'")
_URL = re.compile(r"http://\S+/score\s*$", re.MULTILINE)


class DriverRun(NamedTuple):
    """The setup of a check: the staged folder and Python, the driver, the timeout, the options, and the origin."""

    stage: Stage
    python: str
    driver: Path
    timeout: float
    options: Sequence[str]
    written: bool


def run_driver(run: DriverRun, sample: Any) -> tuple[Any, Any]:
    """Load the driver in a separate process, as a replica does, and score the given sample or the schema sample."""
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


def _await(process: subprocess.Popen[bytes], log: IO[str], run: DriverRun) -> str:
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
        time.sleep(_LOOK_SECONDS)
    raise UsageError(
        f"{run.driver.name} did not load within {_LOAD_SECONDS:g} s",
        field="driver",
        fix=f"`init()` must return within {_LOAD_SECONDS:g} s: load less in it, or load on the first request.",
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


def _score(url: str, sample: Any, log: IO[str], run: DriverRun) -> Any:
    try:
        answer = requests.post(url, json=sample, timeout=run.timeout + 5.0)
        body = answer.json()
    except requests.RequestException as error:  # the driver ended or blocked the process
        raise _failure(_text(log), run, f"no answer to the sample: {error}") from error
    if answer.ok:
        return body
    if body.get("code") == "DriverError":
        raise _failure(_text(log), run, str(body.get("message")))
    raise UsageError(f"the sample was refused: {body.get('message')}", field="check", fix="Correct the sample.")


def _failure(log: str, run: DriverRun, summary: str) -> UsageError:
    """Return the error for a driver that raised, with the line in the driver."""
    path = run.driver
    lines = [line for line in log.splitlines() if line.strip()]
    numbers = re.findall(rf'File ".*{re.escape(path.name)}", line (\d+)', log)
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    what = raised[-1] if raised and summary == "the driver does not load" else summary
    left_out = _left_out(what, run)
    if not numbers:
        return UsageError(f"{path.name}: {what}", field="driver", fix=left_out or "Correct the driver.")
    where = source_line(read_source(path, "file"), int(numbers[-1]), path, written=run.written)
    return UsageError(f"{where}: {what}", field="driver", fix=left_out or "Correct that line.")


def _left_out(what: str, run: DriverRun) -> str:
    """Return the fix for a missing file that lies beside the driver but was not named; "" if there is none."""
    found = _MISSING.search(what)
    if found is None:
        return ""
    name = found[1].partition(".")[0] if found[1] else Path(found[2]).name
    for candidate in (name, f"{name}.py") if found[1] else (name,):
        if (run.driver.parent / candidate).exists() and not (run.stage.app / candidate).exists():
            return (
                f"{candidate} is beside the driver here, but only files that you name are sent along: "
                f"give it with `-d {candidate}`, or with `-m` if it is a model, here and when you deploy."
            )
    return ""


def _text(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def read_source(path: Path, field: str) -> str:
    """Return the text of a file. `field` is the argument that errors name."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{field}: {path} cannot be read: {error}", field=field, fix="Check the path.") from error


def source_line(source: str, number: int, path: Path, *, written: bool) -> str:
    """Describe a line of the driver, and its line number in the cell. The first line of the cell is the magic."""
    lines = source.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    cell = f" (line {number + 1} of the cell)" if written else ""
    return f"{path.name}, line {number}{cell}: `{text}`"
