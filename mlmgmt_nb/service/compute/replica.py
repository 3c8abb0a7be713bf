"""One replica as a process of this machine: started, watched, talked to over its control socket, and ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.service.compute.base import Counters, Exit, Launch
from mlmgmt_nb.service.reconciler import Replica, ReplicaState

__all__ = ["LOAD_FAILED", "ReplicaProcess"]

LOAD_FAILED = 3
"""Exit code of a replica whose driver does not load (`mlmgmt_nb.scoring`)."""
_READ_BYTES = 2**16
_LAST_OUTPUT_SECONDS = 0.5


class ReplicaProcess:
    """A replica. A thread of its own pumps its output into the log and hears its messages, until it ends.

    Args:
        launch: what to start.
        listener: the service's listening socket, which the process inherits.
        on_change: called, in that thread, whenever its state changes, and once after it has ended.
    """

    def __init__(
        self, replica_id: str, launch: Launch, listener: socket.socket, on_change: Callable[[ReplicaProcess], None]
    ) -> None:
        self.id = replica_id
        self.launch = launch
        self.state = ReplicaState.STARTING
        self.since = time.monotonic()
        self.busy = 0
        self.counters = Counters()
        self.ended = False
        self.exit: Exit | None = None
        self._on_change = on_change
        self._failure: tuple[str, str] | None = None
        self._hung = False
        self._keys_confirmed = threading.Event()
        self._process, self._control = _spawn(launch, listener)
        self.pid = self._process.pid
        self.send(type="start", name=launch.name, keys=list(launch.key_digests), concurrency=launch.slots)
        self._thread = threading.Thread(target=self._watch, name=f"replica-{replica_id}", daemon=True)

    def watch(self) -> None:
        self._thread.start()

    def view(self) -> Replica:
        """The replica as the reconciler sees it."""
        return Replica(
            id=self.id,
            service_id=self.launch.service_id,
            deployment_id=self.launch.deployment_id,
            state=self.state,
            since=self.since,
            busy=self.busy,
        )

    def send(self, **message: Any) -> None:
        """Sends a message; to a replica that has just ended it is sent in vain, which its exit will tell."""
        with contextlib.suppress(OSError):
            self._control.sendall(msgspec.json.encode(message) + b"\n")

    def drain(self, seconds: float) -> None:
        self._enter(ReplicaState.DRAINING)
        self.send(type="drain", seconds=seconds)

    def kill(self, *, hung: bool = False) -> None:
        self._hung = hung
        if not hung:
            self._enter(ReplicaState.DRAINING)
        _kill_group(self.pid)

    def set_keys(self, digests: Sequence[str]) -> threading.Event:
        """Sends new keys; the event is set when they are in force."""
        self._keys_confirmed.clear()
        self.send(type="keys", digests=list(digests))
        return self._keys_confirmed

    def join(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _enter(self, state: ReplicaState) -> None:
        self.state = state
        self.since = time.monotonic()

    def _watch(self) -> None:
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector, output, self._control:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._control, selectors.EVENT_READ)
            self._pump(selector, output.fileno())
        code = self._process.wait()
        self.exit = self._explain(code)
        self.launch.log.line(f"[mlmgmt] replica {self.id} ended{f': {self.exit.message}' if self.exit else ''}")
        self.ended = True
        self._on_change(self)

    def _pump(self, selector: selectors.BaseSelector, output: int) -> None:
        """Reads output and messages until the process has ended and all that it wrote is read."""
        pending = b""
        deadline: float | None = None
        while selector.get_map():
            for key, _ in selector.select(timeout=0.2 if deadline else 1.0):
                data = _read(key.fd)
                if not data:
                    selector.unregister(key.fileobj)
                    self._closed(is_control=key.fd != output)
                elif key.fd == output:
                    self.launch.log.append(data)
                else:
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._hear(line)
            if deadline is None and self._process.poll() is not None:
                # What the driver started may hold the pipe open for ever.
                deadline = time.monotonic() + _LAST_OUTPUT_SECONDS
                _kill_group(self.pid)
            if deadline is not None and time.monotonic() > deadline:
                return

    def _closed(self, *, is_control: bool) -> None:
        """A replica that has been drained closes its control socket, some time before its process has ended."""
        if is_control and self.state is ReplicaState.DRAINING:
            self.state = ReplicaState.ENDING
            self._on_change(self)

    def _hear(self, line: bytes) -> None:
        message = msgspec.json.decode(line, type=dict[str, Any])
        match message["type"]:
            case "ready":
                if self.state is ReplicaState.STARTING:
                    self._enter(ReplicaState.READY)
                    self.launch.log.line(f"[mlmgmt] replica {self.id} is ready ({message['loadSeconds']:.2f} s)")
            case "failed":
                self._failure = (message["code"], message["message"])
            case "stats":
                self.busy = message["busy"] + message["waiting"]
                self.counters = msgspec.convert(message, Counters)
            case "keys":
                self._keys_confirmed.set()
                return
        self._on_change(self)

    def _explain(self, code: int) -> Exit | None:
        if self.state in {ReplicaState.DRAINING, ReplicaState.ENDING}:
            return None
        permanent = False
        if self._failure is not None:
            (error_code, message), permanent = self._failure, code == LOAD_FAILED
        elif self._hung:
            error_code, message, permanent = "StartTimeout", "init() did not return in time.", True
        elif code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory, perhaps)" if -code == signal.SIGKILL else ""
            error_code, message = "ReplicaKilled", f"The replica was ended by {name}{hint}."
        else:
            error_code, message = "ReplicaExited", f"The replica ended by itself with exit code {code}."
        return Exit(
            service_id=self.launch.service_id,
            deployment_id=self.launch.deployment_id,
            code=error_code,
            message=message,
            permanent=permanent,
        )


def _spawn(launch: Launch, listener: socket.socket) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        arguments = [
            "--app",
            str(launch.context / "app"),
            "--fd",
            str(listener.fileno()),
            "--control-fd",
            str(theirs.fileno()),
        ]
        process = subprocess.Popen(
            [launch.interpreter or "", "-m", "mlmgmt_nb.scoring", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=launch.context / "app",
            env=dict(launch.environment),
            pass_fds=(listener.fileno(), theirs.fileno()),
            # A group of its own, so that what a driver starts can be ended with it.
            start_new_session=True,
        )
    return process, ours


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except ConnectionResetError:
        return b""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
