"""What several commands take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlmgmt_nb.archives.extraction import Limits

__all__ = ["add_database", "add_home", "add_limits", "database_of", "days", "limits_of"]

_LIMITS = {
    "members": "most files, folders and links of an archive",
    "bytes": "most bytes that an archive may become",
    "ratio": "most bytes for each byte of an archive, once it becomes larger than 64 MiB",
}


def add_home(parser: argparse.ArgumentParser) -> None:
    """The flag that names the state folder."""
    parser.add_argument("--home", type=Path, help="state folder (default: MLMGMT_HOME, or the user's data folder)")


def add_database(parser: argparse.ArgumentParser) -> None:
    """The flag that names the database."""
    parser.add_argument("--database", metavar="URL", help="PostgreSQL database (default: that of the folder)")


def database_of(arguments: argparse.Namespace, home: Path) -> str | None:
    """Return the URL of the PostgreSQL database; None for SQLite in the folder."""
    from mlmgmt_nb.service.store.installation import database_of as find

    return find(home, arguments.database or os.environ.get("MLMGMT_DATABASE"))


def add_limits(parser: argparse.ArgumentParser, defaults: Mapping[str, str]) -> None:
    """Add the flags that bound archives; each has an environment variable.

    Args:
        defaults: the default values as the help names them.
    """
    for name, what in _LIMITS.items():
        variable = f"MLMGMT_UNPACK_{name.upper()}"
        parser.add_argument(
            f"--unpack-{name}",
            type=_positive,
            default=os.environ.get(variable) or None,
            metavar="N",
            help=f"{what} (default: {defaults[name]}); also {variable}",
        )


def limits_of(arguments: argparse.Namespace, defaults: Limits) -> Limits:
    """Return the bounds of archives that the arguments name, the others as they are in `defaults`."""
    given = {name: getattr(arguments, f"unpack_{name}") for name in _LIMITS}
    return replace(defaults, **{name: value for name, value in given.items() if value is not None})


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number greater than 0")
    return number


def days(text: str) -> float:
    """Return a number of days, for `argparse`."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return number
