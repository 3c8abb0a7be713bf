"""Find the services of a state folder by their records, and check that each one answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.local.children import reap
from mlmgmt_nb.local.endpoint import Endpoint, get
from mlmgmt_nb.local.folder import is_held, state_folder

__all__ = ["find", "responding"]


def find(home: str | os.PathLike[str] | None = None) -> Endpoint | None:
    """Return the embedded service of a state folder, or None when none answers there."""
    return next(responding(state_folder(home)), None)


def responding(folder: Path) -> Iterator[Endpoint]:
    """Yield the processes of the service of a folder that respond, the oldest first."""
    reap()
    further = sorted(folder.glob("service-*.json"))
    for path in (folder / "service.json", *further):
        endpoint = _recorded(path)
        if endpoint is not None and _answers(endpoint):
            yield endpoint


def _recorded(path: Path) -> Endpoint | None:
    try:
        record = json.loads(path.read_bytes())
        return Endpoint(
            base_url=str(record["baseUrl"]),
            token_file=Path(record["tokenFile"]),
            pid=int(record["pid"]),
            home=path.parent,
            version=record["version"],
            lock=path.with_suffix(".lock"),
            certificate=Path(record["certificate"]) if "certificate" in record else None,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if is_held(path.parent):
            return None  # the service that runs is about to write it again
        reason = error.strerror if isinstance(error, OSError) else None
        raise LocalServiceError(
            f"{path} cannot be read: {reason}." if reason else f"{path} is damaged: its content is not valid.",
            fix="Remove that file; the service writes it again when it starts.",
        ) from error


def _answers(endpoint: Endpoint) -> bool:
    """Return whether the server at the endpoint is the process that the record names, for this folder.

    Only a process that lives is asked: a process that took the port of an ended process must not be given the token.
    """
    import http.client  # not needed to start a service

    try:
        os.kill(endpoint.pid, 0)
        answer = _ping(endpoint)
        return answer.get("pid") == endpoint.pid and os.path.samefile(str(answer.get("home")), endpoint.home)
    except (OSError, http.client.HTTPException, ValueError, OverflowError, RecursionError):
        return False


def _ping(endpoint: Endpoint) -> Mapping[str, Any]:
    answer = json.loads(get(endpoint, "/")[1])
    return answer if isinstance(answer, dict) else {}
