"""A spare: a process that imports the runtime, waits, and then becomes exactly one replica of a supervisor.

It runs no code of a driver while it waits, and serves no second application. `python -m mlmgmt_nb.scoring.process.spare
FD`: the control channel. The supervisor may send modules to import, and then sends an assignment with the listening
sockets; everything after it is as for any other replica.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import all_suffixes
from importlib.util import find_spec

import msgspec

from mlmgmt_nb.scoring.compat.table import EXPORTS
from mlmgmt_nb.scoring.driver.output import capture
from mlmgmt_nb.scoring.process.lifetime import die_with_parent, end_process
from mlmgmt_nb.scoring.process.spare_messages import HEADER_BYTES, Assignment, Modules
from mlmgmt_nb.scoring.process.supervised import run_supervised

__all__ = ["main", "provides_loaded_module"]

_MOST_LISTENERS = 8


def main(arguments: Sequence[str]) -> int:
    """Wait for an assignment and serve it; return the exit code."""
    (control_fd,) = arguments
    if not die_with_parent():
        return 0
    packages, variables = _package_times(), dict(os.environ)
    _import(["uvloop"])
    control = socket.socket(fileno=int(control_fd))
    message, listeners = _receive(control)
    sources: dict[str, int] = {}
    while isinstance(message, Modules):
        _import(message.names)
        sources = _source_times()
        message, listeners = _receive(control)
    if message is None:  # the supervisor no longer needs it
        return 0
    assignment = message
    os.environ.update(assignment.environment)
    os.chdir(assignment.app)
    of_listeners = [text for number in listeners for text in ("--fd", str(number))]
    options = ["--app", assignment.app, *of_listeners, "--control-fd", control_fd]
    is_changed = packages != _package_times() or any(_time_of(path) != then for path, then in sources.items())
    if is_changed or provides_loaded_module(assignment.app):
        _start_over(options, [*listeners, control.detach()], {**variables, **assignment.environment})
    sys.path[0] = os.getcwd()
    sys.argv[1:] = options
    _look_as_started()
    capture()
    return run_supervised(assignment.app, None, None, listeners, control.detach())


def _look_as_started() -> None:
    """Give `__main__` the name that it has in a process that was started for one application: errors show it, and
    `multiprocessing` imports it.
    """
    spec = find_spec("mlmgmt_nb.scoring.__main__")
    main_module = sys.modules["__main__"]
    main_module.__spec__ = spec
    main_module.__file__ = spec.origin if spec else None


def _import(modules: Sequence[str]) -> None:
    """Import modules of packages; not those that may need a substitute, which the loading of a driver chooses.

    `from package import name` may mean a module or another value: a module is imported only if the package has neither.
    """
    for name in modules:
        if name.partition(".")[0] in EXPORTS:
            continue
        package, _, part = name.rpartition(".")
        with contextlib.suppress(Exception, SystemExit):  # the driver imports it itself, and reports why it cannot
            if not (package and hasattr(importlib.import_module(package), part)):
                importlib.import_module(name)


def _receive(control: socket.socket) -> tuple[Modules | Assignment | None, list[int]]:
    """Return a message, None at the end of the channel; and for an assignment the listening sockets, its own first."""
    header, descriptors, _, _ = socket.recv_fds(control, HEADER_BYTES, _MOST_LISTENERS)
    if not header:
        return None, []
    body = control.recv(int.from_bytes(header), socket.MSG_WAITALL)
    return msgspec.json.decode(body, type=Modules | Assignment), descriptors


def _package_times() -> list[int]:
    """Return a value that changes when packages are installed, upgraded or removed."""
    return [os.stat(folder).st_mtime_ns for folder in _package_folders()]


def _package_folders() -> list[str]:
    folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return [folder for folder in folders if os.path.isdir(folder)]


def _source_times() -> dict[str, int]:
    """Return when the files of loaded modules changed, for modules whose packages are edited where they are.

    Those in the folders of installed packages change with these folders.
    """
    installed = tuple(folder + os.sep for folder in (os.path.dirname(os.__file__), *_package_folders()))
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {file: _time_of(file) for file in files if file and not file.startswith(installed)}


def _time_of(file: str) -> int:
    """Return when a file changed; 0 if it does not exist."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def provides_loaded_module(app: str) -> bool:
    """Return whether a file of the application would have been imported instead of a module that is already loaded."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    suffixes = tuple(all_suffixes())
    with os.scandir(app) as entries:
        return any(
            entry.name.partition(".")[0] in loaded and (entry.name.endswith(suffixes) or entry.is_dir())
            for entry in entries
        )


def _start_over(options: Sequence[str], descriptors: Sequence[int], variables: Mapping[str, str]) -> None:
    """Become a process that was started for this application. It keeps its id and its sockets."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", "mlmgmt_nb.scoring", *options]
    os.execve(sys.executable, command, variables)  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
