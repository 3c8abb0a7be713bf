"""A service as a process: opens its state folder, listens, and works until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

import uvicorn
from sqlalchemy.exc import DBAPIError

from mlmgmt_nb import __version__
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.access.guard import Guard
from mlmgmt_nb.service.api.app import App
from mlmgmt_nb.service.api.connection import ApiConnection
from mlmgmt_nb.service.api.resources import EXTENSIONS, HANDLERS
from mlmgmt_nb.service.backend import Backend
from mlmgmt_nb.service.compute.processes.spares import Spares
from mlmgmt_nb.service.files.disk import DISK_FULL, READ_ONLY
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.gateway.handover import Handover
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store.database_file import StoreMissing
from mlmgmt_nb.service.store.errors import store_error
from mlmgmt_nb.service.system.sockets import bind

__all__ = ["run"]

log = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_PATIENCE_OF_STOP = 10.0
"""Seconds without progress after which a client no longer holds the stop of a service."""
_COLLECTION = 10_000
"""New objects until the garbage collector visits them: 700 by default."""


def run(settings: Settings, home: Home, spares: Spares, on_ready: Callable[[str], None]) -> None:
    """Run a service until SIGTERM or SIGINT. The arguments are those of `serve`, opened.

    Raises:
        LocalServiceError: the state folder or the port cannot be used.
    """
    try:
        listener = _listen(settings, home)
        host, port = listener.getsockname()[:2]
        origin = settings.public_url or f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        base_url = f"{origin}/api/subscriptions/local/resourceGroups/local/accounts/{quote(settings.account, safe='')}"
        backend = Backend(settings, home, spares)
        guard = Guard(home.token(), settings.issuer, settings.grants)
        guard.preload()
        app = App(backend, HANDLERS, EXTENSIONS, guard)
        backend.start()
        # uvicorn raises the signals that ended it again. These handlers let the cleanup run.
        stopped = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopped.set())
        # Loaded modules stay, so the garbage collector need not visit them again.
        gc.freeze()
        # A list makes ten thousand objects, none of them in a cycle: by default, they would be visited fifteen times.
        gc.set_threshold(_COLLECTION)
        try:
            config = _configured(app, settings)
            announce = partial(_announce, home, base_url, port, backend, on_ready)
            keep = partial(_keep, home, backend)
            server = _Server(config, app.gateway.handover, announce, keep, stopped, settings.drain_timeout)
            server.run(sockets=[listener])
        finally:
            backend.stop()
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise LocalServiceError(
            f"The service on {home.path} cannot start or continue: {error.strerror or error}{where}.",
            fix=_fix(error),
        ) from error
    except DBAPIError as error:
        found = store_error(error)
        if found is None:
            raise
        message = f"The service on {home.path} cannot start or continue: {found.message}"
        raise LocalServiceError(message, fix=found.fix) from error


def _fix(error: OSError) -> str | None:
    """Return the fix for an error of the disk."""
    if error.errno in DISK_FULL | READ_ONLY:
        return "Free some space on its disk, or make it writable."
    return "Repair or remove that file." if error.filename else None


def _keep(home: Home, backend: Backend) -> None:
    """Restore files that a user may delete while the service runs, and check the database file."""
    home.keep()
    with contextlib.suppress(StoreMissing):  # the store logs this and refuses changes
        backend.store.check_file()


def _configured(app: App, settings: Settings) -> uvicorn.Config:
    """Return the configuration of the HTTP server.

    Raises:
        LocalServiceError: the certificate or its key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=_connection(app, settings),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Over TLS, shutdown would wait half a minute for clients with idle connections.
        timeout_graceful_shutdown=3 if settings.tls else None,
        ssl_certfile=settings.tls.certificate if settings.tls else None,
        ssl_keyfile=settings.tls.key if settings.tls else None,
        # A key with a password would prompt for it in the terminal.
        ssl_keyfile_password="" if settings.tls else None,
    )
    try:
        config.load()
    except OSError as error:  # including ssl.SSLError
        files = settings.tls and f"{settings.tls.certificate} and {settings.tls.key}"
        raise LocalServiceError(
            f"The certificate cannot be used ({files}): {error.strerror or error}.",
            fix="Use matching PEM files for --tls-cert and --tls-key; the key must not have a password.",
        ) from error
    return config


def _connection(app: App, settings: Settings) -> Callable[..., ApiConnection]:
    """Return the factory of connections. Replicas do not support TLS, so TLS connections are not handed over."""
    return partial(ApiConnection, hand_over=None if settings.tls else app.gateway.take)


class _Server(uvicorn.Server):
    """uvicorn with a callback when it listens. Connections of clients that do not make progress are closed.

    Args:
        stopped: set by a signal to stop that arrives before uvicorn handles signals.
        longest_stop: seconds after which the stop ends all connections.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        handover: Handover,
        on_started: Callable[[], None],
        keep: Callable[[], None],
        stopped: threading.Event,
        longest_stop: float,
    ) -> None:
        super().__init__(config)
        self._handover = handover
        self._on_started, self._keep = on_started, keep
        self._stopped = stopped
        self._longest_stop = longest_stop
        self._checked = time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._stopped.is_set():
            self.should_exit = True
            return
        await super().startup(sockets)
        self._handover.start(self._returned)
        self._on_started()

    def _returned(self, early: bytes, may_offer: bool) -> asyncio.Protocol:
        """Return the protocol of a connection that a replica returned."""
        make = self.config.http_protocol_class
        of_server = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        return make(**of_server, early=early, may_offer=may_offer)  # type: ignore[call-arg]

    async def on_tick(self, counter: int) -> bool:
        moment = time.monotonic()
        if moment - self._checked >= _CHECK_SECONDS:
            self._checked = moment
            await asyncio.to_thread(self._keep)
            for connection in self._connections():
                connection.check(moment)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.create_task(self._end_connections())
        await asyncio.sleep(0)  # accepts the connections that wait
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    async def _end_connections(self) -> None:
        """End connections whose clients do not make progress, and finally all others."""
        end = time.monotonic() + self._longest_stop
        while (moment := time.monotonic()) < end:
            await asyncio.sleep(_CHECK_SECONDS)
            for connection in self._connections():
                connection.check(moment, _PATIENCE_OF_STOP)
        for connection in self._connections():
            connection.transport.abort()

    def _connections(self) -> list[ApiConnection]:
        return [known for known in self.server_state.connections if isinstance(known, ApiConnection)]


def _announce(home: Home, base_url: str, port: int, backend: Backend, on_ready: Callable[[str], None]) -> None:
    tls = backend.settings.tls
    description: dict[str, object] = {
        "baseUrl": base_url,
        "pid": os.getpid(),
        "home": str(home.path),
        "tokenFile": str(home.token_file),
        "version": __version__,
        "startedAt": dt.datetime.now(dt.UTC).isoformat(),
    }
    if tls is not None:
        # Programs on this machine trust this certificate for this service, regardless of its issuer and name.
        description["certificate"] = str(tls.certificate.absolute())
    home.announce(description, port)
    log.info("listening at %s", base_url)
    on_ready(base_url)
    backend.prepare_replica()


def _listen(settings: Settings, home: Home) -> socket.socket:
    """Return the socket of the API. Without a port in the settings, reuse the last port if possible, to keep URLs."""
    candidates = [settings.port] if settings.port is not None else [home.last_port() or 0, 0]
    for port in candidates:
        try:
            listener = bind(settings.host, port)
        except OSError as error:
            reason = error
            continue
        # Connections wait here until the service is ready.
        listener.listen(1024)
        return listener
    raise LocalServiceError(
        f"Port {candidates[0]} of {settings.host} is not available: {reason.strerror}.",
        fix="Choose another port with --port.",
    )
