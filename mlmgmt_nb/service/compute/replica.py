"""One replica as a process of this machine: started, watched, controlled over its control socket, and ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping

from mlmgmt_nb.scoring.recording.settings import FOLDER
from mlmgmt_nb.service.compute.base import Exit, Launch
from mlmgmt_nb.service.compute.cgroups import ControlGroups
from mlmgmt_nb.service.compute.supervised import LONGEST_LOOK, SupervisedReplica
from mlmgmt_nb.service.system.processes import end_marked

__all__ = ["ReplicaProcess"]

_REPLICA = "MLMGMT_REPLICA"
"""Identifies the replica to its child processes, also those in other sessions."""
_OF_APPLICATION = frozenset({"AML_APP_ROOT", "AZUREML_ENTRY_SCRIPT", "AZUREML_MODEL_DIR"})
"""Variables of the application; a service on an Azure ML machine inherits those of another application."""
_READ_BYTES = 2**16
_LAST_OUTPUT_SECONDS = 0.5


class ReplicaProcess(SupervisedReplica):
    """A replica as a process.

    Args:
        launch: parameters of the replica.
        listener: the service's listening socket, which the process inherits.
        on_change: see `SupervisedReplica`.
        groups: enforces its reservation.
        marks: variables that distinguish its processes, and their children, from all others.
    """

    def __init__(
        self,
        replica_id: str,
        launch: Launch,
        listener: socket.socket,
        on_change: Callable[[SupervisedReplica], None],
        groups: ControlGroups,
        marks: Mapping[str, str],
    ) -> None:
        super().__init__(replica_id, launch, on_change)
        self._mark = f"{os.getpid()} {time.monotonic()} {replica_id}"
        self._process, self._control = _spawn(launch, listener, {**marks, _REPLICA: self._mark})
        self.pid = self._process.pid
        # It loads nothing before it is told to start, so that the driver's whole memory is counted.
        self._group = groups.add(replica_id, self.pid, launch.cpus, launch.memory_bytes)
        if launch.memory_bytes is not None and self._group.memory is None:
            launch.log.line("[mlmgmt] memory is reserved but not enforced: control groups are not available")
        self.send_start()

    def _transmit(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(line)

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
        end_marked(_REPLICA, self._mark)
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
                data = _read(key.fd)
                if not data:
                    selector.unregister(key.fileobj)
                    if key.fd != output:
                        self._on_hangup()
                elif key.fd == output:
                    self.launch.log.append(data)
                else:
                    self._receive(data)
            before, looked = looked, time.monotonic()
            self.silence += min(looked - before, LONGEST_LOOK)
            if deadline is None and self._process.poll() is not None:
                # Child processes of the driver may hold the pipe open indefinitely.
                deadline = time.monotonic() + _LAST_OUTPUT_SECONDS
                _kill_group(self.pid)
            if deadline is not None and time.monotonic() > deadline:
                return


def _spawn(
    launch: Launch, listener: socket.socket, marks: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with child_end:
        arguments = [
            "--app",
            str(launch.context / "app"),
            "--fd",
            str(listener.fileno()),
            "--control-fd",
            str(child_end.fileno()),
        ]
        process = subprocess.Popen(
            [launch.interpreter or "", "-m", "mlmgmt_nb.scoring", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=launch.context / "app",
            env={**_environment(launch), **marks},
            pass_fds=(listener.fileno(), child_end.fileno()),
            # A separate process group, so that child processes of the driver can be ended with it.
            start_new_session=True,
        )
    return process, parent_end


def _environment(launch: Launch) -> dict[str, str]:
    """Return the user's own variables, without our secrets, and those of the launch."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLMGMT_") and name not in _OF_APPLICATION
    }
    python_path = [str(launch.context / "runtime"), *filter(None, [inherited.get("PYTHONPATH")])]
    inherited["AML_MODEL_DC_STORAGE"] = str(launch.data)
    inherited |= {} if launch.recordings is None else {FOLDER: str(launch.recordings)}
    return inherited | dict(launch.environment) | {"PYTHONPATH": os.pathsep.join(python_path)}


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except ConnectionResetError:
        return b""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
