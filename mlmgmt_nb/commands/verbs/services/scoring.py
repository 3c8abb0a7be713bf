"""Commands that score data with a service."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands.flags import (
    SERVICE,
    ServiceArguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.errors import ScoringError, UsageError

__all__ = ["COMMANDS", "is_file_name", "sample"]

_FILE_NAME = re.compile(r"[^@\s{}\[\]\"'][^{}\[\]\"\n\x00]{0,200}")


@dataclass(frozen=True, kw_only=True)
class _Run(ServiceArguments):
    """Arguments of `service run`."""

    data: Any
    timeout: int


def _run(session: Session, arguments: _Run) -> object:
    services = session.workspace.services
    data = _data(arguments.data)
    if data is None:
        data = sample(session.workspace, arguments.service)
        if data is None:
            raise UsageError(f"service {arguments.service!r} has no sample", field="data", fix="Give data with -d.")
    try:
        return services.run(arguments.service, data, timeout=float(arguments.timeout))
    except ScoringError as error:
        if is_file_name(arguments.data):
            error.fix = f"For a file, give `-d @{arguments.data}`. {error.fix or ''}".rstrip()
        raise


def _data(given: Any) -> Any:
    """Return the data of `-d`: a Python value, JSON text, or the content of a file that is named with `@`."""
    if isinstance(given, str) and given.startswith("@"):
        path = Path(given[1:]).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"--data: {path} cannot be read: {error.strerror}",
                field="data",
                fix=f"Check the path; it is relative to {Path.cwd()}.",
            ) from error
    return given


def is_file_name(given: Any) -> bool:
    """Return whether data is text that is not JSON, but looks like the name of a file or is one."""
    if not isinstance(given, str) or not _FILE_NAME.fullmatch(given) or _is_json(given):
        return False
    return bool(Path(given).suffix) or Path(given).expanduser().exists()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def sample(workspace: Workspace, service: str) -> Any:
    """Return the example body in the description of a service; None if its driver has no schema."""
    given = workspace.services.swagger(service).get("definitions", {}).get("ServiceInput", {})
    return given.get("example") if "properties" in given else None


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "run"),
        "Score data with a service (default: its sample)",
        """mlmgmt service run -n iris -d '{"input_df": [{"petal": 1.4}]}'""",
        _run,
        (
            SERVICE,
            Flag("-d --data", "JSON, @FILE, or a Python value in the notebook", "value", completes="path"),
            Flag("--timeout", "seconds to wait for the answer", "integer", default=60, metavar="SECONDS"),
        ),
        arguments=_Run,
    ),
)
