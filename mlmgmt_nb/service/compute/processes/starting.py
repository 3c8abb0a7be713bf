"""The start of a replica as a process: its command, its environment, and the socket that controls it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the first spare starts before the rest of the service is imported
    from mlmgmt_nb.service.compute.base import Launch

__all__ = [
    "OF_RUNTIME",
    "REPLICA",
    "ReplicaStart",
    "inherited_environment",
    "launch_environment",
    "spawn",
    "start_replica",
]

REPLICA = "MLMGMT_REPLICA"
"""Marks the child processes of a replica, also those in other sessions."""
OF_RUNTIME = frozenset(
    {
        *("SERVICE_NAME", "SERVICE_PATH_PREFIX", "SERVICE_VERSION"),
        *("AML_APP_INSIGHTS_ENABLED", "AML_MODEL_DC_STORAGE", "AML_MODEL_DC_STORAGE_ENABLED"),
    }
)
"""Variables that a service sets for each replica (`reconciling.environment`)."""
_OF_APPLICATION = frozenset({"AML_APP_ROOT", "AZUREML_ENTRY_SCRIPT", "AZUREML_MODEL_DIR"})
"""Variables of the application; a service on an Azure ML machine inherits those of another application."""


class ReplicaStart(NamedTuple):
    """A process that has been started as a replica.

    Attributes:
        control: this end of its control socket.
        mark: its value of `REPLICA`.
        descriptors: descriptors of its listening sockets after the first, which it must be told.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    mark: str
    descriptors: Sequence[int] = ()


def start_replica(
    launch: Launch, listeners: Sequence[socket.socket], marks: Mapping[str, str], mark: str
) -> ReplicaStart:
    """Start a process that serves the application of a launch.

    Raises:
        OSError: it cannot be started.
    """
    app, descriptors = launch.context / "app", [listener.fileno() for listener in listeners]
    options = ["-m", "mlmgmt_nb.scoring", "--app", str(app), "--fd", str(descriptors[0]), "--control-fd"]
    process, control = spawn(
        lambda fd: [launch.interpreter or "", *options, str(fd)],
        app,
        {**inherited_environment(), **launch_environment(launch), **marks, REPLICA: mark},
        descriptors,
    )
    return ReplicaStart(process, control, mark, descriptors[1:])


def spawn(
    command: Callable[[int], Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process with a control socket.

    Args:
        command: returns the command for the number of the control socket in the process.
        folder: its working directory.
        environment: its variables.
        descriptors: further files that it inherits.

    Raises:
        OSError: it cannot be started.
    """
    parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with child_end:
        process = subprocess.Popen(
            command(child_end.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            pass_fds=(*descriptors, child_end.fileno()),
            # A separate process group, so that child processes of the driver can be ended with it.
            start_new_session=True,
        )
    return process, parent_end


def inherited_environment() -> dict[str, str]:
    """Return the user's own variables, without secrets of mlmgmt-nb."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLMGMT_") and name not in _OF_APPLICATION
    }


def launch_environment(launch: Launch) -> dict[str, str]:
    """Return the variables of a launch."""
    from mlmgmt_nb.scoring.recording.settings import FOLDER  # not needed for spares

    python_path = [str(launch.context / "runtime"), *filter(None, [os.environ.get("PYTHONPATH")])]
    folders = {"AML_MODEL_DC_STORAGE": str(launch.data)}
    folders |= {} if launch.recordings is None else {FOLDER: str(launch.recordings)}
    return folders | dict(launch.environment) | {"PYTHONPATH": os.pathsep.join(python_path)}
