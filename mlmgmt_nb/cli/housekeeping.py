"""`mlmgmt gc`, `check`, `backup` and `restore`: maintenance of a state folder."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlmgmt_nb import local
from mlmgmt_nb.cli.arguments import add_command, add_database, add_home, add_limits, database_of, days, limits_of
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.terminal import one_line

if TYPE_CHECKING:
    from mlmgmt_nb.service.files.home import Home
    from mlmgmt_nb.service.store.store import Store

__all__ = ["add_housekeeping"]


def add_housekeeping(commands: Any) -> None:
    """Add the commands and their flags."""
    gc = add_command(commands, "gc", "list unused data in the state folder; remove it with --delete")
    add_home(gc)
    add_database(gc)
    gc.add_argument("--older-than", type=days, default=7.0, metavar="DAYS", help="minimum age (default: 7)")
    gc.add_argument("--delete", action="store_true", help="remove the listed data")
    gc.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )
    gc.set_defaults(run=_gc)

    _add_check(commands)

    backup = add_command(
        commands, "backup", "write the state folder and its database to one file; services may keep running"
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="file to write; compressed if the name ends in .gz")
    add_home(backup)
    add_database(backup)
    backup.set_defaults(run=_backup)

    restore = add_command(commands, "restore", "create a state folder from a backup")
    restore.add_argument("file", type=Path, metavar="FILE", help="file written by mlmgmt backup")
    add_home(restore)
    add_database(restore)
    add_limits(restore, {"members": "10000000", "bytes": "the free disk space", "ratio": "200"})
    restore.set_defaults(run=_restore)


def _add_check(commands: Any) -> None:
    check = add_command(
        commands,
        "check",
        "verify the database, artifacts and images of the state folder byte by byte; services may keep running",
    )
    add_home(check)
    add_database(check)
    check.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )
    check.set_defaults(run=_check)


def _opened(arguments: argparse.Namespace) -> tuple[Store, Home]:
    """Open the database and the state folder of a service, which may be running."""
    from mlmgmt_nb.service.files.home import Home
    from mlmgmt_nb.service.store.installation import check_database
    from mlmgmt_nb.service.store.store import Store

    home = Home(local.state_folder(arguments.home))
    database = database_of(arguments, home.path)
    check_database(home, database)
    if not (home.path / "installation").exists() and not home.database.exists():
        raise MlmgmtError(
            f"{home.path} is not a state folder.", fix="Set --home or MLMGMT_HOME to the state folder of a service."
        )
    return Store(database or home.database, may_migrate=home.is_alone()), home


def _gc(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.housekeeping import garbage

    store, home = _opened(arguments)
    found = garbage.find(store, home, dt.timedelta(days=arguments.older_than))
    if arguments.delete:
        found = garbage.remove(store, home, found)
    store.close()
    total = sum(item.bytes for item in found)
    if arguments.output == "json":
        items = [{"kind": i.kind, "name": i.name, "path": i.path, "bytes": i.bytes, "pushed": i.pushed} for i in found]
        print(json.dumps({"removed": arguments.delete, "bytes": total, "items": items}, indent=2))
        return 0
    for item in found:
        print(one_line(f"{item.kind:<12} {_size(item.bytes):>10}  {item.name}"))
    what = f"{_number(len(found), 'unused item')}, {_size(total)}"
    print(
        f"Removed {what}."
        if arguments.delete
        else f"{what}. Nothing was removed; run it again with --delete to remove them."
    )
    if pushed := [item.pushed for item in found if item.pushed]:
        print(f"Images in a registry stay there; remove them with its own tools: {', '.join(pushed)}")
    return 0


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:,.4g} GiB"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _check(arguments: argparse.Namespace) -> int:
    """Print the problems. Return the exit code, which is 1 if something is missing or damaged."""
    from mlmgmt_nb.service.housekeeping import check

    store, home = _opened(arguments)
    found = check.find(store, home)
    store.close()
    if arguments.output == "json":
        damages = [{name: getattr(one, name) for name in one.__struct_fields__} for one in found.damages]
        print(json.dumps({"artifacts": found.artifacts, "images": found.images, "problems": damages}, indent=2))
        return bool(found.damages)
    for one in found.damages:
        print("\n  ".join(map(one_line, (f"{one.name}: {one.problem}", str(one.path), f"fix: {one.fix}"))))
    outcome = _number(len(found.damages), "problem") if found.damages else "nothing is missing or damaged"
    checked = f"{_number(found.artifacts, 'artifact')} and {_number(found.images, 'image')}"
    print(f"Checked the database, {checked}: {outcome}.")
    return bool(found.damages)


def _backup(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.housekeeping.backup import backup

    store, home = _opened(arguments)
    size = backup(store, home, arguments.file.absolute())
    store.close()
    name = one_line(str(arguments.file))
    print(f"{name}: {_size(size)}. It contains the keys of the services and the token: keep it safe.")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.archives.extraction import Limits
    from mlmgmt_nb.service.housekeeping.backup import restore

    home = local.state_folder(arguments.home)
    database = arguments.database or os.environ.get("MLMGMT_DATABASE")
    lacking = restore(arguments.file, home, database, lambda folder: limits_of(arguments, Limits.of_disk(folder)))
    print(one_line(f"The state folder {home} is ready. Start its service with: mlmgmt serve --home {home}"))
    for what in lacking:
        print(one_line(f"note: {what}"), file=sys.stderr)
    return 0
