"""One replica: a process that loads a driver and serves it on given sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any

import msgspec

from mlmgmt_nb.scoring.application.application import Application
from mlmgmt_nb.scoring.calls.admission import Admission, Stats, log
from mlmgmt_nb.scoring.collection.writer import flush_writers
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.driver.load_warnings import noted_warnings
from mlmgmt_nb.scoring.driver.loading import load_driver
from mlmgmt_nb.scoring.errors import LoadError
from mlmgmt_nb.scoring.fast_path.path import RequestPath, choose_path
from mlmgmt_nb.scoring.handover.listener import HandoverListener
from mlmgmt_nb.scoring.http.access.cors import allowed_origins
from mlmgmt_nb.scoring.http.access.hosts import HostCheck, cross_origins
from mlmgmt_nb.scoring.http.app import ScoringApp
from mlmgmt_nb.scoring.http.request_log import RequestLog
from mlmgmt_nb.scoring.http.server import ReplicaServer
from mlmgmt_nb.scoring.process.control import (
    HANDED,
    Accept,
    Accepting,
    Channel,
    Command,
    Drain,
    Failed,
    Keys,
    KeysSet,
    Move,
    Ready,
    Start,
)
from mlmgmt_nb.scoring.process.failure_file import report_failure
from mlmgmt_nb.scoring.process.forking import protect_forks
from mlmgmt_nb.scoring.process.orchestration import NO_ORCHESTRATION, Orchestration
from mlmgmt_nb.scoring.process.stats_server import serve_stats
from mlmgmt_nb.scoring.recording.recorder import Recorder
from mlmgmt_nb.scoring.recording.settings import start_recorder
from mlmgmt_nb.scoring.schema.swagger import own_descriptions, service_swagger
from mlmgmt_nb.scoring.telemetry import start_telemetry

__all__ = ["EXIT_LOAD_FAILED", "EXIT_NOT_DRAINED", "Replica", "run_in_loop"]

EXIT_NOT_DRAINED = 1
EXIT_LOAD_FAILED = 3

_ORPHAN_SECONDS = 2.0
_STATS_SECONDS = 1.0
_LOG_SECONDS = 0.2
_SEND_SECONDS = 5.0
"""How long the last collected data may take to be written."""


class Replica:
    """A process that loads an application and serves it.

    Args:
        application: the driver and its schema.
        sockets: bound and listening TCP sockets by name, its own first; see `Start`.
        start: name, keys and limits.
        path: the parts of the replica that requests pass, and the loop.
        channel: the channel to the supervisor; None for a standalone process.
        orchestration: the means of an orchestrator that is not a supervisor.
    """

    def __init__(
        self,
        application: Application,
        sockets: Mapping[str, socket.socket],
        start: Start,
        path: RequestPath,
        channel: Channel | None = None,
        orchestration: Orchestration = NO_ORCHESTRATION,
    ) -> None:
        self._application = application
        self._sockets = dict(sockets)
        handed = self._sockets.pop(HANDED, None)
        self._handover = HandoverListener(handed, start.name, path.handed_connection) if handed is not None else None
        self._handed = [] if handed is None else [handed]
        self._start = start
        self._path = path
        self._channel = channel
        self._orchestration = orchestration
        self._server: ReplicaServer | None = None
        self._app: ScoringApp | None = None
        self._admission: Admission | None = None
        self._warning: str | None = None
        self._gave_up = asyncio.Event()
        self._log = RequestLog(enabled=start.request_log)
        self._telemetry = start_telemetry(os.environ)
        self._recorder: Recorder | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self) -> int:
        """Run until drained; return the exit code of the process."""
        try:
            return await self._serve()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._channel:
                await self._channel.close()
            flush_writers(_SEND_SECONDS)
            if self._recorder:
                self._recorder.stop(_SEND_SECONDS)
            if self._telemetry:
                self._telemetry.stop()

    async def _serve(self) -> int:
        began = monotonic()
        os.environ.update(self._start.environment)
        self._catch_signals()
        protect_forks(self._descriptors)
        admission = Admission(self._start.concurrency, self._start.request_timeout_seconds, self._path.make_runner)
        self._admission = admission
        self._observe(admission)
        if self._channel:
            self._start_task(self._listen(self._channel))
        self._watch_keys()
        loading = asyncio.create_task(admission.start(self._load))
        giving_up = asyncio.create_task(self._gave_up.wait())
        await asyncio.wait({loading, giving_up}, return_when=asyncio.FIRST_COMPLETED)
        if self._gave_up.is_set():  # told to stop before it accepted connections
            return 0
        try:
            driver = loading.result()
        except LoadError as error:
            self._report_failure(error)
            return EXIT_LOAD_FAILED
        server = self._make_server(admission, driver)
        serving = asyncio.create_task(server.run_until_drained())
        accepting = asyncio.create_task(server.wait_accepting())
        await asyncio.wait({serving, accepting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():  # it could not start: `result` raises the error
            accepting.cancel()
            return 0 if serving.result() else EXIT_NOT_DRAINED
        if self._channel:
            self._channel.send(self._ready(monotonic() - began))
            self._start_task(self._report_stats(self._channel, admission))
        self._offer_stats(admission)
        self._start_task(self._flush_log())
        in_time = await serving
        self._log.flush()
        if self._channel:
            self._channel.send(self._stats(admission))
        admission.stop()
        if not in_time:
            log(f"drain: {admission.calls} call(s) did not finish in time and were answered with 503")
        return 0 if in_time else EXIT_NOT_DRAINED

    def _watch_keys(self) -> None:
        if keys_file := self._orchestration.keys_file:
            self._start.keys = keys_file.digests
            self._start_task(keys_file.watch(self._replace_keys))

    def _report_failure(self, error: LoadError) -> None:
        log(f"{error.code}: {error.message}")
        report_failure(self._orchestration.failure_file, error.code, error.message)
        if self._channel:
            self._channel.send(Failed(error.code, error.message))

    def _ready(self, seconds: float) -> Ready:
        return Ready(
            os.getpid(),
            round(seconds, 3),
            self._warning,
            moves_sockets="private" in self._sockets,
            takes_connections=self._handover is not None,
        )

    def _offer_stats(self, admission: Admission) -> None:
        if port := self._orchestration.stats_port:
            self._start_task(serve_stats(next(iter(self._sockets.values())).getsockname()[0], port, admission.stats))

    def _load(self) -> Driver:
        with noted_warnings() as noted:
            driver = load_driver(self._application)
        self._warning = "; ".join(dict.fromkeys(noted)) or None
        return driver

    def _observe(self, admission: Admission) -> None:
        if self._telemetry:
            admission.on_failure = self._telemetry.raised
            self._log.listener = self._telemetry.request

    def drain(self, seconds: float, *, idle_seconds: float | None = None) -> None:
        """Stop accepting, and end when the calls in flight are done or after the given seconds."""
        if self._server is None:
            self._gave_up.set()
        elif idle_seconds is None:
            self._server.drain(seconds)
        else:
            self._server.drain(seconds, idle_seconds=idle_seconds)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _make_server(self, admission: Admission, driver: Driver) -> ReplicaServer:
        start = self._start
        swagger = service_swagger(start.name, driver.swagger_schema, driver.optional)
        described = own_descriptions(self._application.folder)
        hosts = HostCheck(start.allowed_hosts, cross_origins(os.environ))
        self._recorder = start_recorder(os.environ)
        self._app = self._path.app(
            start.name,
            admission,
            start.max_body_bytes,
            swagger,
            self._log,
            hosts,
            described,
            allowed_origins(os.environ),
            self._recorder,
        )
        self._app.set_keys(start.keys)
        if self._telemetry:
            self._app.on_trace = self._telemetry.expect
        self._server = ReplicaServer(
            self._app, self._sockets, start.client_timeout_seconds, self._path.connection, self._handover
        )
        return self._server

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.drain, 30.0))

    def _descriptors(self) -> list[int]:
        """Return the descriptors that belong only to this process, not to children of its driver."""
        channel = [self._channel.descriptor] if self._channel else []
        listeners = [listener.fileno() for listener in (*self._sockets.values(), *self._handed)]
        opened = [*listeners, *channel, *(self._server.descriptors() if self._server else [])]
        return [number for number in opened if number >= 0]

    async def _listen(self, channel: Channel) -> None:
        try:
            await channel.listen(lambda command: self._handle(channel, command))
            log("the supervisor has exited: this replica stops")
        except msgspec.MsgspecError as error:
            log(f"the supervisor sent an invalid command: this replica stops ({error})")
        self.drain(_ORPHAN_SECONDS, idle_seconds=0.0)

    def _handle(self, channel: Channel, command: Command) -> None:
        if isinstance(command, Drain):
            self.drain(command.seconds)
        elif isinstance(command, Move):
            if self._app:
                self._app.close_connections(command.connections)
        elif isinstance(command, Accept):
            if self._recorder and command.deployment_id:
                self._recorder.begin(command.deployment_id)
            self._start_task(self._accept(channel, command.sockets))
        elif isinstance(command, Keys):
            self._replace_keys(command.digests)
            channel.send(KeysSet(len(command.digests)))

    async def _accept(self, channel: Channel, sockets: list[str]) -> None:
        if self._server is not None:
            before = None if self._admission is None else self._stats(self._admission)
            await self._server.accept(sockets)
            channel.send(Accepting(sockets, before))

    def _replace_keys(self, digests: list[str]) -> None:
        self._start.keys = digests  # also correct while the driver is still loading
        if self._app:
            self._app.set_keys(digests)

    async def _flush_log(self) -> None:
        while True:
            await asyncio.sleep(_LOG_SECONDS)
            self._log.flush()
            if self._recorder:
                self._recorder.hand_over()

    def _stats(self, admission: Admission) -> Stats:
        stats = admission.stats()
        if self._recorder:
            stats.recorded, stats.not_recorded = self._recorder.recorded, self._recorder.dropped
        return stats

    async def _report_stats(self, channel: Channel, admission: Admission) -> None:
        while True:  # also without changes, to show the supervisor that this replica is responsive
            channel.send(self._stats(admission))
            await asyncio.sleep(_STATS_SECONDS)


def run_in_loop(main: Callable[[RequestPath], Coroutine[Any, Any, int]]) -> int:
    """Run the coroutine of `main`, with uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        new_loop = asyncio.new_event_loop
    else:
        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        path = choose_path(runner.get_loop(), os.environ)
        return path.run(main(path))
