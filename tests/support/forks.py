"""Run `mlmgmt` in forks of a process that has imported it, because imports take most of the time of a start.

Tests start hundreds of services and commands. Services that `mlmgmt_nb.local` starts, and commands whose interpreter
needs other variables when it starts, are started like those of users.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

__all__ = ["ForkedProcess", "run", "start"]

_ROOT = Path(__file__).parents[2]
_OF_THE_INTERPRETER = ("LD_", "PYTHON")
"""Prefixes of variables that an interpreter reads when it starts, so that a fork cannot get other values."""
_LOCK = threading.Lock()
_servers: dict[int, tuple[subprocess.Popen[bytes], socket.socket]] = {}
"""The fork server and the connection to it, by the id of the process that started it."""


class ForkedProcess:
    """A process that runs a command line of `mlmgmt`, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self._received = b""
        self.returncode: int | None = None
        self.pid = self._next()

    def _next(self) -> int:
        """Return the next number from the fork server: first the process id, then the exit code."""
        while b"\n" not in self._received:
            chunk = self._answers.recv(64)
            assert chunk, "the process that forks has ended"
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return int(line)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._received and not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("mlmgmt", timeout or 0)
            self.returncode = self._next()
            self._answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command line of `mlmgmt` to its end, for at most five minutes; return its exit code and output."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(words, output.fileno(), errors.fileno())
        try:
            code = process.wait(300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(["mlmgmt", *words], code, _text(output), _text(errors))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def start(
    arguments: Sequence[str], stdout: int, stderr: int, environment: Mapping[str, str] | None = None
) -> ForkedProcess | subprocess.Popen[bytes]:
    """Start `mlmgmt` with the variables and the current folder of this process.

    Args:
        arguments: the words after `mlmgmt`.
        stdout: the file descriptor for its output.
        stderr: the file descriptor for its errors.
        environment: further variables. The process is not forked if its interpreter needs one of them.
    """
    variables = {**os.environ, **(environment or {})}
    if any(name.startswith(_OF_THE_INTERPRETER) for name in environment or ()):
        command = [sys.executable, "-m", "mlmgmt_nb.cli", *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=variables)
    ours, theirs = socket.socketpair()
    request = json.dumps({"arguments": list(arguments), "environment": variables, "folder": os.getcwd()})
    with theirs, _LOCK:
        server = _server()
        socket.send_fds(server, [b"."], [theirs.fileno(), stdout, stderr])
        ours.sendall(request.encode() + b"\n")
    return ForkedProcess(ours)


def _server() -> socket.socket:
    """Return the connection to the fork server; start the server on first use."""
    if os.getpid() not in _servers:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        _servers[os.getpid()] = process, ours
        atexit.register(_end, process, ours)
    return _servers[os.getpid()][1]


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.wait()


class _Forks:
    """The fork server: it has one thread, and has imported all modules that services and commands need."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: dict[int, socket.socket] = {}
        """The connection that waits for the end of a process, by process id."""
        self._wake, wakes = socket.socketpair()
        self._wake.setblocking(False)
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        self._wakes = wakes
        signal.signal(signal.SIGCHLD, _nothing)

    def serve(self) -> None:
        """Fork for each request until the connection ends."""
        while True:
            ready, _, _ = select.select([self._connection, self._wake], [], [])
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._report()
            if self._connection in ready:
                data, descriptors, _, _ = socket.recv_fds(self._connection, 1, 3)
                if not data:
                    return
                self._fork(*descriptors)

    def _fork(self, answers: int, stdout: int, stderr: int) -> None:
        connection = socket.socket(fileno=answers)
        with connection.makefile("rb") as file:
            request = json.loads(file.readline())
        pid = os.fork()
        if pid == 0:
            for one in (connection, self._connection, self._wake, *self._waiting.values()):
                one.close()
            _run(request, stdout, stderr)
        os.close(stdout)
        os.close(stderr)
        self._waiting[pid] = connection
        self._answer(connection, pid)

    def _report(self) -> None:
        while self._waiting:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._waiting.pop(pid) as connection:
                self._answer(connection, os.waitstatus_to_exitcode(status))

    @staticmethod
    def _answer(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # the caller no longer waits
            connection.sendall(b"%d\n" % number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal only has to wake the loop."""


def _run(request: dict[str, Any], stdout: int, stderr: int) -> None:
    """Run a command line in this new process, and end it."""
    from mlmgmt_nb.cli import main

    code: object = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor, target in ((stdout, 1), (stderr, 2)):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv = ["mlmgmt", *request["arguments"]]
        code = main()
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:  # noqa: BLE001 - ends like the interpreter
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def main() -> None:
    import mlmgmt_nb.cli
    import mlmgmt_nb.commands
    import mlmgmt_nb.service.server  # noqa: F401

    assert threading.active_count() == 1, "a fork of several threads may stand still"
    gc.collect()
    gc.freeze()  # share the memory of imported modules with the forks
    _Forks(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
