"""A replica and its control connection to the scoring runtime, independent of the transport.

Both sides send lines of JSON (`scoring.process.control`): `start`, `keys` and `drain` to the replica; `ready`,
`failed`, `stats` and a confirmation of the keys from it.
"""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.service.compute.base import Exit, Launch
from mlmgmt_nb.service.compute.measures import Counters
from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.files.logs import Log

__all__ = ["LONGEST_LOOK", "SupervisedReplica"]

LONGEST_LOOK = 1.5
"""Maximum seconds of silence that one observation counts: this process may have been stopped itself."""
LOAD_FAILED = 3
"""Exit code of a replica whose driver does not load (`mlmgmt_nb.scoring`)."""


class SupervisedReplica(ABC):
    """A replica. A separate thread (`_watch`) reads its messages and copies its output to the log until it ends.

    Args:
        launch: parameters of the replica.
        on_change: called in that thread whenever its state changes, and once after it has ended.

    Attributes:
        silence: seconds that `_watch` has waited for a message.
        moves_connections: whether its runtime can give up connections; runtimes of earlier images cannot.
        moves_sockets: whether its runtime can accept connections at other sockets; runtimes of earlier images cannot.
        takes_connections: whether its runtime takes connections that the front door hands over.
        is_open: whether it accepts connections at the socket of its service or candidate.
        balanced: time of the last move of connections among the replicas of its service.
        counters: its counters since it started.
    """

    def __init__(self, replica_id: str, launch: Launch, on_change: Callable[[SupervisedReplica], None]) -> None:
        self.id = replica_id
        self.launch = launch
        self.state = ReplicaState.STARTING
        self.since = time.monotonic()
        self.busy = 0
        self.occupied = 0.0
        self.silence = 0.0
        self.warning: str | None = None
        self.moves_connections = False
        self.moves_sockets = False
        self.takes_connections = False
        self.is_open = True
        self.balanced = 0.0
        self.counters = Counters()
        self._counted_before = Counters()
        self._is_moving = False
        self.ended = False
        self.exit: Exit | None = None
        self._on_change = on_change
        self._failure: tuple[str, str] | None = None
        self._hung = False
        self._keys_confirmed = threading.Event()
        self._unfinished = b""
        self._thread = threading.Thread(target=self._watch, name=f"replica-{replica_id}", daemon=True)

    def watch(self) -> None:
        self._thread.start()

    def snapshot(self) -> Replica:
        """Return the replica as observed by the reconciler."""
        return Replica(
            id=self.id,
            service_id=self.launch.service_id,
            deployment_id=self.launch.deployment_id,
            state=self.state,
            since=self.since,
            busy=self.busy,
            silence=self.silence,
            warning=self.warning,
            is_open=self.is_open,
            can_move=self.moves_sockets,
        )

    @property
    def counted(self) -> Counters:
        """Its counters since it belongs to its service: without the requests that it answered as a candidate."""
        return Counters() if self._is_moving else self.counters - self._counted_before

    @abstractmethod
    def _watch(self) -> None:
        """Read messages until the replica ends."""

    @abstractmethod
    def _transmit(self, line: bytes) -> None:
        """Send a line. If the replica has just ended, the line is lost, and its exit is reported."""

    @abstractmethod
    def _end(self) -> None:
        """End it immediately."""

    def memory(self) -> int | None:
        """Return the bytes of memory that it uses; None if they are not known."""
        return None

    def send(self, **message: Any) -> None:
        self._transmit(msgspec.json.encode(message) + b"\n")

    def send_start(self, sockets: Sequence[str] = ("service",), descriptors: Sequence[int] = ()) -> None:
        """Send the start command.

        Args:
            sockets: names of its sockets, its own first.
            descriptors: descriptors of the others in the process, unless it receives the sockets in another way.
        """
        launch = self.launch
        # Images built before replicas supported variables, hosts or several sockets ignore them.
        self.send(
            type="start",
            name=launch.name,
            keys=list(launch.key_digests),
            concurrency=launch.slots,
            allowedHosts=list(launch.allowed_hosts),
            sockets=list(sockets),
            descriptors=list(descriptors),
            **({"environment": dict(launch.secrets)} if launch.secrets else {}),
        )

    def adopt(self, service_id: str, deployment_id: str, log: Log) -> None:
        """Make it a replica of another service and deployment; it is ready again when it accepts connections there."""
        log.line(f"[mlmgmt] replica {self.id} is taken over")
        self._is_moving = service_id != self.launch.service_id
        self.launch = msgspec.structs.replace(
            self.launch, service_id=service_id, deployment_id=deployment_id, candidate_of=None, log=log
        )
        self._enter(ReplicaState.STARTING)
        self.open(at_service=True)

    def open(self, *, at_service: bool) -> None:
        """Let it accept connections at the socket of its service, or only at that of its deployment."""
        self.is_open = at_service
        sockets = ["service", "private"] if at_service else ["private"]
        self.send(type="accept", sockets=sockets, deploymentId=self.launch.deployment_id)

    def keep(self) -> None:
        """Let it leave the socket of its service and stay as it is: a rollback may take it over."""
        self._enter(ReplicaState.KEPT)
        self.open(at_service=False)
        self.launch.log.line(f"[mlmgmt] replica {self.id} is kept for a rollback")

    def drain(self, seconds: float) -> None:
        self._enter(ReplicaState.DRAINING)
        self.send(type="drain", seconds=seconds)

    def move_connections(self, count: int) -> None:
        """Let it close this many connections, each after its next response."""
        self.send(type="move", connections=count)

    def kill(self, *, hung: bool = False) -> None:
        self._hung = hung
        if not hung:
            self._enter(ReplicaState.DRAINING)
        self._end()

    def set_keys(self, digests: Sequence[str]) -> threading.Event:
        """Send new keys; the event is set when they are in effect."""
        self._keys_confirmed.clear()
        self.send(type="keys", digests=list(digests))
        return self._keys_confirmed

    def join(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _enter(self, state: ReplicaState) -> None:
        self.state = state
        self.since = time.monotonic()

    def _receive(self, data: bytes) -> None:
        """Handle data from the replica."""
        self.silence = 0.0
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self._handle(line)

    def _handle(self, line: bytes) -> None:
        message = msgspec.json.decode(line, type=dict[str, Any])
        match message["type"]:
            case "ready":
                if self.state is ReplicaState.STARTING:
                    self.warning = message.get("warning")  # runtimes of earlier images do not send it
                    self.moves_connections = message.get("movesConnections", False)
                    self.moves_sockets = message.get("movesSockets", False)
                    self.takes_connections = message.get("takesConnections", False)
                    self._enter(ReplicaState.READY)
                    self.launch.log.line(f"[mlmgmt] replica {self.id} is ready ({message['loadSeconds']:.2f} s)")
            case "accepting":
                self._end_move(message.get("stats"))
                if self.state is ReplicaState.STARTING:
                    self._enter(ReplicaState.READY)
            case "failed":
                self._failure = (message["code"], message["message"])
            case "stats":
                before = (self.busy, self.occupied, self.counters)
                self.busy, self.occupied = message["busy"] + message["waiting"], message["occupied"]
                self.counters = msgspec.convert(message, Counters)
                if before == (self.busy, self.occupied, self.counters):
                    return
            case "keys":
                self._keys_confirmed.set()
                return
        self._on_change(self)

    def _end_move(self, stats: dict[str, Any] | None) -> None:
        """Count requests for its new service from now on.

        Args:
            stats: its counters when it was about to accept connections there; None from runtimes of earlier images.
        """
        if self._is_moving:
            before = self.counters if stats is None else msgspec.convert(stats, Counters)
            if self.counters.requests < before.requests:
                self.counters = before
            self._counted_before, self._is_moving = before, False

    def _on_hangup(self) -> None:
        """Note that it sends no further messages: a drained replica stops some time before its process ends."""
        if self.state is ReplicaState.DRAINING:
            self.state = ReplicaState.ENDING
            self._on_change(self)

    def _ended(self, exit_: Exit | None) -> None:
        """Note that it has ended. `exit_` is the reason if it was not asked to."""
        self.exit = exit_
        self.launch.log.line(f"[mlmgmt] replica {self.id} ended{f': {exit_.message}' if exit_ else ''}")
        self.ended = True
        self._on_change(self)

    def _explain(self, code: int) -> Exit | None:
        """Return why it ended, by exit code or negative signal number; None if it was asked to."""
        if self.state in {ReplicaState.DRAINING, ReplicaState.ENDING}:
            return None
        if self._failure is not None:
            return self._exit(*self._failure, permanent=code == LOAD_FAILED)
        if self._hung and self.state is ReplicaState.STARTING:
            return self._exit("StartTimeout", "init() did not return in time.", permanent=True)
        if self._hung:
            return self._exit("Unresponsive", f"The replica did not respond for {self.silence:.0f} s and was ended.")
        if code < 0:
            hint = " (possibly out of memory)" if -code == signal.SIGKILL else ""
            return self._exit("ReplicaKilled", f"The replica was ended by {signal.Signals(-code).name}{hint}.")
        return self._exit("ReplicaExited", f"The replica ended by itself with exit code {code}.")

    def _out_of_memory(self) -> Exit:
        limit = f"{self.launch.memory_bytes or 0:,}"
        return self._exit("OutOfMemory", f"The replica exceeded its reserved memory of {limit} bytes.")

    def _exit(self, code: str, message: str, *, permanent: bool = False) -> Exit:
        return Exit(
            service_id=self.launch.service_id,
            deployment_id=self.launch.deployment_id,
            code=code,
            message=message,
            permanent=permanent,
            lived=time.monotonic() - self.since if self.state is ReplicaState.READY else 0.0,
        )
