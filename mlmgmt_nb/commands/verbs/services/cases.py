"""Arguments for cases, and output files, that several commands share."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlmgmt_nb.client.scoring_tests.junit import TestCase, junit
from mlmgmt_nb.errors import MlmgmtError, ScoringTestFailed, UsageError

__all__ = ["cases_in", "errors_in", "file_to_write", "write_error", "write_file"]


def cases_in(given: Any) -> Any:
    """Return cases from a Python value, JSON text, or `@` and the path of a file.

    Raises:
        UsageError: the file cannot be read, or does not contain a list.
    """
    if not isinstance(given, str):
        return given
    return _read(Path(given[1:]).expanduser()) if given.startswith("@") else _list(given, "--cases")


def file_to_write(given: str | None, field: str) -> Path | None:
    """Return the path of a file to write.

    Raises:
        UsageError: it cannot be written.
    """
    path = Path(given).expanduser() if given else None
    if path is not None and (problem := _unwritable(path)):
        raise UsageError(f"--{field}: {problem}", field=field, fix="Give another path, or create its folder.")
    return path


def _unwritable(path: Path) -> str | None:
    """Return why a file cannot be written, without changing it; None if it can."""
    if not path.parent.is_dir():
        return f"folder {path.parent} does not exist"
    if path.is_dir():
        return f"{path} is a folder"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{path} cannot be written: {os.strerror(errno.EACCES)}"
    return None


def write_file(path: Path, text: str, field: str) -> None:
    """Write a file.

    Raises:
        UsageError: it cannot be written, such as on a full disk.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--{field}: {path} cannot be written: {error.strerror or error}", field=field, fix="Give another path."
        ) from error


@contextmanager
def errors_in(path: Path | None, suite: str, gate: Any) -> Iterator[None]:
    """Write errors raised in the block to a JUnit file, which would keep an earlier result otherwise.

    Args:
        path: the file; None to write nothing.
        suite: name of the suite.
        gate: the gate: a condition, a function or None.
    """
    try:
        yield
    except ScoringTestFailed:  # the block has written the result
        raise
    except BaseException as error:
        write_error(path, suite, gate, error)
        raise


def write_error(path: Path | None, suite: str, gate: Any, error: BaseException) -> None:
    """Write a JUnit file with an error as the only result. See `errors_in` for the arguments."""
    if path is None:
        return
    message = error.message if isinstance(error, MlmgmtError) else str(error)
    test = TestCase(gate if isinstance(gate, str) else "gate", "gate", 0.0, "error", message or type(error).__name__)
    with suppress(UsageError):  # the error of the command matters more than that of the file
        write_file(path, junit(suite, 0.0, [test]), "junit")


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".csv":
            import pandas as pd  # needed only for CSV files

            return pd.read_csv(path)
        return _list(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        fix = "Give a .csv or .json file in UTF-8."
        if isinstance(error, OSError):
            fix = f"Check the path; it is relative to {Path.cwd()}."
        raise UsageError(f"--cases: {path} cannot be read: {error}", field="cases", fix=fix) from error


def _list(text: str, where: str) -> list[Any]:
    try:
        cases = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{where} is not valid JSON: {error}", field="cases", fix="Give a list of inputs, or @FILE."
        ) from error
    if not isinstance(cases, list):
        raise UsageError(
            f"{where} is not a list", field="cases", fix="Give a list of inputs, each as `service run` takes it."
        )
    return cases
