"""Replicas of a supervisor: as its child processes, or in containers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from mlmgmt_nb.scoring.application.application import find_application
from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.errors import LoadError
from mlmgmt_nb.scoring.process.container import control_over_stdio
from mlmgmt_nb.scoring.process.control import Channel, Failed
from mlmgmt_nb.scoring.process.lifetime import die_with_parent
from mlmgmt_nb.scoring.process.replica import EXIT_LOAD_FAILED, Replica, run_in_loop

__all__ = ["run_contained", "run_supervised"]


def run_supervised(
    folder: str, driver: str | None, schema: str | None, listen_fds: Sequence[int], control_fd: int
) -> int:
    """Run a replica for a supervisor, which bound the socket and holds the other end of the control channel.

    Args:
        folder, driver, schema: as for `find_application`.
        listen_fds: inherited, listening TCP sockets, its own first; `Start` may name more.
        control_fd: one end of a stream socket pair.

    Returns:
        The exit code: 0 drained, 1 not drained in time, 3 the application cannot be loaded.
    """
    if not die_with_parent():
        return 0
    return _run(
        folder, driver, schema, Channel(control_fd), lambda: [socket.socket(fileno=number) for number in listen_fds]
    )


def run_contained(
    folder: str, driver: str | None, schema: str | None, listen: Callable[[], Sequence[socket.socket]]
) -> int:
    """Run a replica in a container, with the standard input and output as its control channel.

    Args:
        folder, driver, schema: as for `find_application`.
        listen: returns listening TCP sockets, its own first.

    Returns:
        The exit code, as for `run_supervised`.
    """
    # Collected data is in a private folder of the supervisor, which reads and removes it as another user.
    os.umask(0)
    return _run(folder, driver, schema, Channel(control_over_stdio()), listen)


def _run(
    folder: str,
    driver: str | None,
    schema: str | None,
    channel: Channel,
    listen: Callable[[], Sequence[socket.socket]],
) -> int:
    start = channel.read_start()
    if start is None:
        return 0
    try:
        application = find_application(folder, driver, schema)
    except LoadError as error:
        log(f"{error.code}: {error.message}")
        channel.send(Failed(error.code, error.message))
        return EXIT_LOAD_FAILED
    listeners = [*listen(), *(socket.socket(fileno=descriptor) for descriptor in start.descriptors)]
    for listener in listeners:
        listener.set_inheritable(False)  # it was inheritable, to reach this process
    sockets = dict(zip(start.sockets, listeners, strict=False))  # a container may get only the first
    return run_in_loop(lambda path: Replica(application, sockets, start, path, channel).serve())
