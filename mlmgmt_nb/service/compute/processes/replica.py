"""One replica as a process of this machine: started, watched, controlled over its control socket, and ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence

import psutil

from mlmgmt_nb.service.compute.base import Exit, Launch
from mlmgmt_nb.service.compute.cgroups import ControlGroups
from mlmgmt_nb.service.compute.processes.starting import REPLICA, ReplicaStart
from mlmgmt_nb.service.compute.supervised_replica import LONGEST_LOOK, SupervisedReplica
from mlmgmt_nb.service.system.processes import end_marked

__all__ = ["ReplicaProcess"]

_READ_BYTES = 2**16
_LAST_OUTPUT_SECONDS = 0.5


class ReplicaProcess(SupervisedReplica):
    """A replica as a process.

    Args:
        launch: parameters of the replica.
        sockets: names of its listening sockets, its own first.
        start: the process.
        on_change: see `SupervisedReplica`.
        groups: enforces its reservation.
    """

    def __init__(
        self,
        replica_id: str,
        launch: Launch,
        sockets: Sequence[str],
        start: ReplicaStart,
        on_change: Callable[[SupervisedReplica], None],
        groups: ControlGroups,
    ) -> None:
        super().__init__(replica_id, launch, on_change)
        self._process, self._control, self._mark, descriptors = start
        self.pid = self._process.pid
        # It loads nothing before it is told to start, so that the driver's whole memory is counted.
        self._group = groups.add(replica_id, self.pid, launch.cpus, launch.memory_bytes)
        if launch.memory_bytes is not None and self._group.memory is None:
            launch.log.line("[mlmgmt] memory is reserved but not enforced: control groups are not available")
        self.send_start(sockets, descriptors)

    def _transmit(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(line)

    def memory(self) -> int | None:
        try:
            process = psutil.Process(self.pid)
            return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
        except psutil.Error:  # the process or one of its children has just ended
            return None

    def _end(self) -> None:
        _kill_group(self.pid)

    def _watch(self) -> None:
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector, output, self._control:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._control, selectors.EVENT_READ)
            self._pump(selector, output.fileno())
        code = self._process.wait()
        explained = self._explain(code)
        self._group.kill()
        end_marked(REPLICA, self._mark)
        self._group.remove()
        self._ended(explained)

    def _explain(self, code: int) -> Exit | None:
        explained = super()._explain(code)
        if explained is not None and code == -signal.SIGKILL and self._group.out_of_memory():
            return self._out_of_memory()
        return explained

    def _pump(self, selector: selectors.BaseSelector, output: int) -> None:
        """Read output and messages until the process has ended and all of its output is read."""
        deadline: float | None = None
        looked = time.monotonic()
        while selector.get_map():
            for key, _ in selector.select(timeout=0.2 if deadline else 1.0):
                self._read_from(key, selector, output)
            before, looked = looked, time.monotonic()
            self.silence += min(looked - before, LONGEST_LOOK)
            if deadline is None and self._process.poll() is not None:
                # Child processes of the driver may hold the pipe open indefinitely.
                deadline = time.monotonic() + _LAST_OUTPUT_SECONDS
                _kill_group(self.pid)
            if deadline is not None and time.monotonic() > deadline:
                return

    def _read_from(self, key: selectors.SelectorKey, selector: selectors.BaseSelector, output: int) -> None:
        data = _read(key.fd)
        if not data:
            selector.unregister(key.fileobj)
            if key.fd != output:
                self._on_hangup()
        elif key.fd == output:
            self.launch.log.append(data)
        else:
            self._receive(data)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except ConnectionResetError:
        return b""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
