"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlmgmt_nb.archives.extraction import Limits

__all__ = [
    "add_command",
    "add_database",
    "add_home",
    "add_limits",
    "database_of",
    "days",
    "hours",
    "limits_of",
    "seconds",
    "time_limit",
]

_DAYS = 36_500
"""Exclusive upper limit for durations, in days. Longer times could overflow when they are added to a date."""
_LIMITS = {
    "members": "maximum number of files, folders and links in an archive",
    "bytes": "maximum size of an extracted archive in bytes",
    "ratio": "maximum extracted bytes for each byte of an archive, beyond 64 MiB",
}


def add_command(commands: Any, name: str, what: str) -> argparse.ArgumentParser:
    """Add a command whose own help also shows its description."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    return parser


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the state folder."""
    parser.add_argument("--home", type=Path, help="state folder (default: MLMGMT_HOME, or the user's data folder)")


def add_database(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the database."""
    parser.add_argument(
        "--database", metavar="URL", help="PostgreSQL database (default: the database of the state folder)"
    )


def database_of(arguments: argparse.Namespace, home: Path) -> str | None:
    """Return the URL of the PostgreSQL database, or None for SQLite in the folder."""
    from mlmgmt_nb.service.store.installation import database_of as find

    return find(home, arguments.database or os.environ.get("MLMGMT_DATABASE"))


def add_limits(parser: argparse.ArgumentParser, defaults: Mapping[str, str]) -> None:
    """Add the flags that limit archives. Each has an environment variable.

    Args:
        defaults: the default values, as shown in the help.
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
    """Return `defaults` with the limits that the arguments set."""
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
    """Parse a number of days, for `argparse`."""
    return _time(text, "days", _DAYS)


def hours(text: str) -> float:
    """Parse a number of hours above 0, for `argparse`."""
    return _above_zero(text, _time(text, "hours", 24 * _DAYS))


def seconds(text: str) -> float:
    """Parse a number of seconds, for `argparse`."""
    return _time(text, "seconds", 86_400 * _DAYS)


def time_limit(text: str) -> float:
    """Parse a number of seconds above 0, for `argparse`."""
    return _above_zero(text, seconds(text))


def _time(text: str, unit: str, most: int) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < most:  # NaN is not
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}")
    return number


def _above_zero(text: str, number: float) -> float:
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return number
