"""Remove the modules and names that Windows lacks from a process, then use the client half of the product in it.

Run as a module, with the base URL of an account, a folder with a driver, and the names of modules of other packages.
Those are imported before the removal, which so affects only this package.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
NAMES: dict[Any, tuple[str, ...]] = {
    os: (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG", "chown", "fchmod", "fork", "getegid"),
        *("geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "pidfd_open", "register_at_fork"),
        *("sched_getaffinity", "setsid", "statvfs", "sysconf", "uname"),
    ),
    socket: ("AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds"),
    signal: ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "pthread_sigmask", "sigtimedwait"),
}
SERVER = ("mlmgmt_nb.service", "mlmgmt_nb.scoring.", "mlmgmt_nb.cli")
"""Prefixes of the modules of the server, which needs POSIX."""


def hide() -> None:
    """Remove the modules and names."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for owner, names in NAMES.items():
        for name in names:
            if hasattr(owner, name):
                delattr(owner, name)


def import_all() -> list[str]:
    """Import every module of the client half; return their names."""
    import mlmgmt_nb

    found = [module.name for module in pkgutil.walk_packages(mlmgmt_nb.__path__, "mlmgmt_nb.", onerror=_raised)]
    ours = [name for name in found if not name.startswith(SERVER)]
    for name in ours:
        importlib.import_module(name)
    return ours


def _raised(name: str) -> None:
    assert name.startswith(SERVER), f"{name} cannot be imported"


def use(base_url: str, folder: Path) -> None:
    """Deploy, call and list in Python and with magics, and render a panel."""
    from IPython.testing.globalipapp import start_ipython

    from mlmgmt_nb import connect
    from mlmgmt_nb.errors import LocalServiceError
    from mlmgmt_nb.notebook.panels import ServicePanel

    with connect(base_url=base_url) as ws:
        model, driver = folder / "model.bin", folder / "score.py"
        service = ws.deploy("elsewhere", model=model, model_name="elsewhere", driver=driver, requirements=[])
        assert ws.services.run(service, {"a": 1}) == {"model": "one", "got": {"a": 1}}
        assert list(ws.models.list(name="elsewhere").to_frame()["version"]) == [1]
        assert "elsewhere" in ServicePanel(ws, service).text()
        ws.services.delete(service)
    os.environ["MLMGMT_BASE_URL"] = base_url
    shell: Any = start_ipython()  # type: ignore[no-untyped-call]
    shell.run_line_magic("load_ext", "mlmgmt_nb")
    assert "elsewhere" in set(shell.run_line_magic("mlmgmt", "model list")["name"])
    try:
        connect(home=folder / "home")
    except LocalServiceError as error:
        print(error)


if __name__ == "__main__":
    for needed in sys.argv[3:]:
        importlib.import_module(needed)
    hide()
    print(len(import_all()), "modules")
    use(sys.argv[1], Path(sys.argv[2]))
