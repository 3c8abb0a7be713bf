"""Run a driver folder standalone, in one or several processes that share a listening socket."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from time import monotonic

import msgspec

from mlmgmt_nb.scoring.application.application import find_application
from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.errors import LoadError
from mlmgmt_nb.scoring.process.control import Start
from mlmgmt_nb.scoring.process.failure_file import report_failure
from mlmgmt_nb.scoring.process.orchestration import NO_ORCHESTRATION, Orchestration
from mlmgmt_nb.scoring.process.replica import EXIT_LOAD_FAILED, Replica, run_in_loop

__all__ = ["bind", "run_standalone"]

_BACKLOG = 2048
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_STEADY_SECONDS = 10.0
"""A worker that dies after at least this time is restarted at once."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket.

    Raises:
        OSError: the address is in use or not local.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(_BACKLOG)
    return listener


def run_standalone(
    folder: str,
    driver: str | None,
    schema: str | None,
    host: str,
    port: int,
    workers: int,
    start: Start,
    orchestration: Orchestration = NO_ORCHESTRATION,
) -> int:
    """Serve a folder until SIGTERM or SIGINT.

    Args:
        folder, driver, schema: as for `find_application`.
        host, port: the address to listen on; port 0 chooses a free one.
        workers: number of processes.
        start: name, keys and limits.
        orchestration: the means of an orchestrator, for one worker.

    Returns:
        The exit code.
    """
    try:
        application = find_application(folder, driver, schema)
        listener = bind(host, port)
    except LoadError as error:
        log(f"{error.code}: {error.message}")
        report_failure(orchestration.failure_file, error.code, error.message)
        return EXIT_LOAD_FAILED
    except OSError as error:
        log(f"cannot listen on {host}:{port}: {error.strerror}. Choose another --port, or 0 for a free one")
        return 2
    shown = f"[{host}]" if ":" in host else host
    log(f"{application.driver.name}: http://{shown}:{listener.getsockname()[1]}/api/v1/service/{start.name}/score")
    if workers == 1:
        return run_in_loop(
            lambda path: Replica(application, {"service": listener}, start, path, orchestration=orchestration).serve()
        )
    arguments = ["--app", str(application.folder), "--driver", str(application.driver)]
    if application.schema:
        arguments += ["--schema", str(application.schema)]
    return _Pool(arguments, listener, start, workers).run()


class _Pool:
    """A pool that keeps its workers alive."""

    def __init__(self, arguments: list[str], listener: socket.socket, start: Start, workers: int) -> None:
        self._arguments = arguments
        self._listener = listener
        self._start = start
        self._stopping = threading.Event()
        self._failed = False
        self._keepers = [threading.Thread(target=self._keep, name=f"worker-{n}") for n in range(workers)]

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        for keeper in self._keepers:
            keeper.start()
        for keeper in self._keepers:
            keeper.join()
        return EXIT_LOAD_FAILED if self._failed else 0

    def _keep(self) -> None:
        """Keep one worker running: restart it when it dies, with increasing delays unless it lived long."""
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            began = monotonic()
            code = self._run_worker()
            if self._stopping.is_set():
                return
            if code == EXIT_LOAD_FAILED:
                self._failed = True
                self._stopping.set()
                return
            delay = _FIRST_DELAY if monotonic() - began >= _STEADY_SECONDS else min(delay * 2, _LONGEST_DELAY)
            log(f"a worker ended with exit code {code}; the next one starts in {delay:g} seconds")
            self._stopping.wait(delay)

    def _run_worker(self) -> int:
        ours, theirs = socket.socketpair()
        fds = (self._listener.fileno(), theirs.fileno())
        command = [sys.executable, "-m", "mlmgmt_nb.scoring", *self._arguments]
        command += ["--fd", str(fds[0]), "--control-fd", str(fds[1])]
        with contextlib.closing(ours):
            # a separate process group: Ctrl-C reaches the parent, which then drains the workers
            process = subprocess.Popen(command, pass_fds=fds, start_new_session=True)
            theirs.close()
            ours.sendall(msgspec.json.encode(self._start) + b"\n")
            self._watch(ours, process)
            return process.wait()

    def _watch(self, ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """Read the reports of the worker until it ends; send the drain when the pool stops."""
        ours.settimeout(0.2)
        drained = False
        while process.poll() is None:
            if self._stopping.is_set() and not drained:
                drained = True
                with contextlib.suppress(OSError):
                    ours.sendall(b'{"type":"drain","seconds":30}\n')
            try:
                if not ours.recv(65536):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
