"""The control channel of a supervised replica: lines of JSON over a socket pair.

The supervisor sends `start` first, later `keys`, `move`, `accept` and `drain`; the replica sends `ready` or `failed`,
then `stats`, and `keys` and `accepting` as receipts. The end of the stream means that the other side has exited.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from mlmgmt_nb.scoring.calls.admission import Stats
from mlmgmt_nb.scoring.http.access.hosts import LOOPBACK

__all__ = ["HANDED", "Accept", "Accepting", "Channel", "Drain", "Failed", "Keys", "KeysSet", "Move", "Ready", "Start"]

HANDED = "handed"
"""The name of the socket that is not a listening one: the end of `handover.channel` for replicas."""


class Start(msgspec.Struct, rename="camel", tag="start"):
    """The first line: the service and its limits.

    Attributes:
        name: the service's name, part of its paths.
        keys: SHA-256 of each key in hex; without keys anyone may call.
        concurrency: maximum number of calls that run or wait.
        max_body_bytes: larger bodies are refused.
        request_timeout_seconds: callers get 504 after this time.
        client_timeout_seconds: seconds that a caller may take to send a head or to receive a part of an answer.
        allowed_hosts: hosts that requests may name, in the form of `HostCheck`.
        request_log: write a line of JSON for each request to stderr; failing requests are always written.
        environment: additional variables of the driver. Secrets come this way because lists of processes and
            descriptions of containers do not show them.
        sockets: names of the listening sockets that it has, its own first: `service` of its service, `candidate` of a
            deployment that is tried beside the one that serves, `private` of its deployment, for this machine only, and
            `HANDED` for connections that the front door hands over. It accepts connections at its own and at the
            private one, and takes those of the front door while it accepts connections at `service`.
        descriptors: descriptors of the sockets after the first, if they were inherited.
    """

    name: str = "local"
    keys: list[str] = []
    concurrency: int = 10
    max_body_bytes: int = 32 * 1024 * 1024
    request_timeout_seconds: float = 60.0
    client_timeout_seconds: float = 10.0
    allowed_hosts: tuple[str, ...] = LOOPBACK
    request_log: bool = True
    environment: dict[str, str] = {}
    sockets: tuple[str, ...] = ("service",)
    descriptors: tuple[int, ...] = ()


class Keys(msgspec.Struct, rename="camel", tag="keys"):
    """Replace the keys at once."""

    digests: list[str]


class Move(msgspec.Struct, rename="camel", tag="move"):
    """Close this many connections, each after its next response: their callers may reach a less busy replica."""

    connections: int


class Accept(msgspec.Struct, rename="camel", tag="accept"):
    """Accept connections at these sockets only. Connections of the others end after their next response, and the socket
    of a candidate that is left is closed for good. `deployment_id` is the deployment that it belongs to from then on.
    """

    sockets: list[str]
    deployment_id: str = ""


class Accepting(msgspec.Struct, rename="camel", tag="accepting"):
    """The receipt for `Accept`. `stats` are the counters up to then: later requests count for the new deployment."""

    sockets: list[str]
    stats: Stats | None = None


class Drain(msgspec.Struct, rename="camel", tag="drain"):
    """Stop accepting, finish the calls in flight within the given seconds, exit."""

    seconds: float = 30.0


class Ready(msgspec.Struct, rename="camel", tag="ready"):
    """`init` has returned and connections are accepted. `warning` is about versions that its model was made with. The
    others are abilities of this runtime: `moves_connections`, it supports `Move`; `moves_sockets`, it supports `Accept`
    and has more than one socket; `takes_connections`, it takes connections of the front door.
    """

    pid: int
    load_seconds: float
    warning: str | None = None
    moves_connections: bool = True
    moves_sockets: bool = False
    takes_connections: bool = False


class Failed(msgspec.Struct, rename="camel", tag="failed"):
    """The application cannot be served."""

    code: str
    message: str


class KeysSet(msgspec.Struct, rename="camel", tag="keys"):
    """The receipt for `Keys`."""

    count: int


Command = Start | Keys | Move | Accept | Drain
Report = Ready | Failed | KeysSet | Accepting | Stats
_COMMANDS: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


class Channel:
    """The replica's end of the control channel.

    Args:
        fd: the file descriptor of this end of the socket pair.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self.descriptor = fd
        self._buffer = b""
        self._writer: asyncio.StreamWriter | None = None

    def read_start(self) -> Start | None:
        """Wait for the first line; return None if the supervisor has exited.

        Raises:
            ValueError: the first line is something else.
        """
        while b"\n" not in self._buffer:
            chunk = self._socket.recv(65536)
            if not chunk:
                return None
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        command = _COMMANDS.decode(line)
        if not isinstance(command, Start):
            raise ValueError(f"expected start, got {line[:80]!r}")
        return command

    def send(self, report: Report) -> None:
        """Send a line; `listen` detects a supervisor that has exited."""
        line = msgspec.json.encode(report) + b"\n"
        if self._writer is not None:
            if not self._writer.is_closing():
                self._writer.write(line)
            return
        with contextlib.suppress(OSError):
            self._socket.sendall(line)

    async def close(self) -> None:
        """End the channel once everything has been sent."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        else:
            self._socket.close()

    async def listen(self, obey: Callable[[Command], Any]) -> None:
        """Pass each further command to `obey`; return when the supervisor has exited."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        pending, self._buffer = self._buffer, b""
        while True:
            *lines, pending = pending.split(b"\n")
            for line in lines:
                obey(_COMMANDS.decode(line))
            try:
                chunk = await reader.read(65536)
            except ConnectionError:  # it exited without reading our last reports
                return
            if not chunk:
                return
            pending += chunk
