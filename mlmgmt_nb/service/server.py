"""A service as a process: takes its state folder, listens, works until it is told to stop."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import socket
from collections.abc import Callable
from urllib.parse import quote

import uvicorn

from mlmgmt_nb import __version__
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.app import App
from mlmgmt_nb.service.backend import Backend
from mlmgmt_nb.service.home import Home
from mlmgmt_nb.service.resources import EXTENSIONS, HANDLERS
from mlmgmt_nb.service.settings import Settings

__all__ = ["serve"]

log = logging.getLogger(__name__)


def serve(settings: Settings, on_ready: Callable[[str], None] = lambda _: None) -> None:
    """Runs a service until SIGTERM or SIGINT.

    Args:
        on_ready: called with the base URL once it listens.

    Raises:
        LocalServiceError: the state folder or the port cannot be had.
    """
    home = Home(settings.home)
    home.open(shared=settings.database is not None)
    try:
        listener = _listen(settings, home)
        host, port = listener.getsockname()[:2]
        origin = settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
        base_url = f"{origin}/api/subscriptions/local/resourceGroups/local/accounts/{quote(settings.account, safe='')}"
        backend = Backend(settings, home)
        app = App(backend, HANDLERS, EXTENSIONS, home.token())
        backend.start()
        # uvicorn raises the signals that ended it again, for these handlers: there is still something to tidy up.
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: None)
        try:
            config = uvicorn.Config(
                app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
            )
            _Server(config, lambda: _announce(home, base_url, port, on_ready)).run(sockets=[listener])
        finally:
            backend.stop()
    finally:
        home.close()


class _Server(uvicorn.Server):
    """uvicorn, saying when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


def _announce(home: Home, base_url: str, port: int, on_ready: Callable[[str], None]) -> None:
    description: dict[str, object] = {
        "baseUrl": base_url,
        "pid": os.getpid(),
        "home": str(home.path),
        "tokenFile": str(home.token_file),
        "version": __version__,
        "startedAt": dt.datetime.now(dt.UTC).isoformat(),
    }
    home.announce(description, port)
    log.info("listening at %s", base_url)
    on_ready(base_url)


def _listen(settings: Settings, home: Home) -> socket.socket:
    """The socket of the API. Without a port given, the last one again if it can be had: URLs stay the same."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    candidates = [settings.port] if settings.port is not None else [home.last_port() or 0, 0]
    for port in candidates:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
            # Connections wait here from now on, until the service is ready.
            listener.listen(1024)
            return listener
        except OSError as error:
            listener.close()
            reason = error
    raise LocalServiceError(
        f"Port {candidates[0]} of {settings.host} cannot be had: {reason.strerror}.",
        fix="Choose another one with --port.",
    )
