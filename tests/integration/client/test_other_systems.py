"""The client half on systems without POSIX: it works against a service elsewhere, and says that none runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlmgmt_nb import local
from mlmgmt_nb.client import Workspace
from tests.support.waiting import DEADLINE

OTHERS = (
    *("IPython.testing.globalipapp", "anywidget", "asyncio.unix_events", "azure.identity", "cloudpickle", "filelock"),
    *("ipykernel.kernelapp", "ipywidgets", "jupyter_client", "multiprocessing.popen_spawn_posix", "pandas"),
    *("platformdirs", "psutil", "requests", "skops.io", "subprocess", "tempfile", "tornado.ioloop", "uv"),
)
"""Modules of other packages: what they need of a system is theirs to know."""


def test_deploy_call_and_list_without_posix(ws: Workspace, home: Path, echo: Path) -> None:
    endpoint = local.find(home)
    assert endpoint is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLMGMT_")}
    environment |= {"MLMGMT_TOKEN": endpoint.token_file.read_text().strip(), "IPYTHONDIR": str(echo / "ipython")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.without_posix", ws.base_url, echo, *OTHERS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE,  # it imports everything, on a machine that may be busy
    )
    assert done.returncode == 0, done.stderr
    modules, *told = done.stdout.splitlines()
    assert int(modules.split()[0]) > 100
    assert told == [
        "the embedded service does not run on Linux: it needs Linux or macOS",
        "Use it in WSL or in a container of Docker Desktop, or connect to a service elsewhere with `base_url`.",
    ], "the name of the system is the real one here"
