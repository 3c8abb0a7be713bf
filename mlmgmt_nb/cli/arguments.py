"""What several commands take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["add_database", "add_home", "database_of", "days"]


def add_home(parser: argparse.ArgumentParser) -> None:
    """The flag that names the state folder."""
    parser.add_argument("--home", type=Path, help="state folder (default: MLMGMT_HOME, or the user's data folder)")


def add_database(parser: argparse.ArgumentParser) -> None:
    """The flag that names the database."""
    parser.add_argument("--database", metavar="URL", help="PostgreSQL database (default: that of the folder)")


def database_of(arguments: argparse.Namespace, home: Path) -> str | None:
    """The URL of the PostgreSQL database; None for SQLite in the folder."""
    from mlmgmt_nb.service.installation import database_of as find

    return find(home, arguments.database or os.environ.get("MLMGMT_DATABASE"))


def days(text: str) -> float:
    """A number of days, for `argparse`."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return number
