"""Environment variables of a driver: `NAME=VALUE`, and files of such lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["read_variables"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_variables(given: Iterable[str] = (), files: Iterable[str | Path] = ()) -> dict[str, str]:
    """Return the variables from files and from `given`, which takes precedence.

    Files have the format of `docker run --env-file`: one literal `NAME=VALUE` per line; empty lines and lines with
    `#` at the start are ignored.

    Args:
        given: variables such as `NAME=VALUE`.
        files: paths of files.

    Raises:
        ValueError: a variable is malformed; the message names it without its value.
        OSError: a file cannot be read.
    """
    found: dict[str, str] = {}
    for file in files:
        for number, line in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                found.update(_read(line, f"{file}, line {number}"))
    for text in given:
        found.update(_read(text, "--env"))
    return found


def _read(text: str, where: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name.strip()):
        raise ValueError(f"{where}: {name.strip()[:64]!r} is not NAME=VALUE; a name has letters, digits and _")
    if "\0" in value:
        raise ValueError(f"{where}: {name.strip()} has a NUL character in its value")
    return {name.strip(): value}
