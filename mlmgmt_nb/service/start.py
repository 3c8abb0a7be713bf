"""The start of a service process: it prepares a replica while it imports the rest of the service."""

from __future__ import annotations

import contextlib
import gc
import resource
import shutil
import sys
from collections.abc import Callable

from mlmgmt_nb.service.compute.processes.spares import Preparation, Spares
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.system.processes import ownership

__all__ = ["serve"]

_OPEN_FILES = 16384
"""Limit of open files for this process and its replicas: each connection needs one."""


def serve(settings: Settings, on_ready: Callable[[str], None] = lambda _: None) -> None:
    """Run a service until SIGTERM or SIGINT.

    Args:
        on_ready: called with the base URL once the service listens.

    Raises:
        LocalServiceError: the state folder or the port cannot be used.
    """
    gc.disable()  # the many objects of modules stay, and the collector would visit them again and again
    home = Home(settings.home)
    home.open(shared=settings.database is not None)
    spares = Spares(home.runtime, ownership(home.path), settings.warm_start_seconds)
    try:
        for folder in (home.containers, home.exports, home.runtime):
            shutil.rmtree(folder, ignore_errors=True)
        _allow_connections()
        if settings.database is None:  # otherwise another process may run the replicas
            spares.prepare(Preparation(sys.executable))
        from mlmgmt_nb.service.server import run

        gc.enable()
        run(settings, home, spares, on_ready)
    finally:
        spares.close()
        home.close()


def _allow_connections() -> None:
    """Raise the default limit of 1,024 open files as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # keep the limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
