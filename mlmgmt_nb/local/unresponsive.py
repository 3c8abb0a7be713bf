"""A service that holds its state folder, but cannot be found there or does not answer."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.local.folder import log_file

__all__ = ["holder", "unresponsive"]


def unresponsive(folder: Path) -> LocalServiceError:
    """Return the error for a service that runs but does not respond."""
    pid = holder(folder)
    who, end = (
        (f" (process {pid})", f"it with: kill -9 {pid}") if pid else ("", "the process `mlmgmt serve` of that folder")
    )
    return LocalServiceError(
        f"the service of {folder}{who} runs but does not respond",
        fix=f"Try again; if that does not help, see {log_file(folder)} and end {end}",
    )


def holder(folder: Path) -> int | None:
    """Return the process that holds a lock file of the folder; None if the system does not show it."""
    import psutil  # only for this

    locks = {str(path) for path in folder.resolve().glob("service*.lock")}
    holders = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(file.path in locks for file in process.open_files()):
                holders.append((process.create_time(), process.pid))
    return min(holders, default=(0.0, None))[1]
