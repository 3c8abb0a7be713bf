"""Measure `%load_ext mlmgmt_nb` in a running IPython, and `%mlmgmt model list` on 10,000 models, by part.

Run it with `python -m tests.benchmarks.magics`. Each round is a fresh IPython, so that imports count. Target: loading
the extension takes less than 60 ms of CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mlmgmt_nb import local
from tests.benchmarks.listing import fill
from tests.benchmarks.table import show

ROUNDS = 5
MODELS = 10_000

ROUND = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell()
shell.run_cell("1 + 1")
figures = {}

def timed(name, call):
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    figures[name] = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return result

def cell(code):
    ran = shell.run_cell(code, silent=True)
    ran.raise_error()
    return ran.result

timed("%load_ext mlmgmt_nb", lambda: cell("%load_ext mlmgmt_nb"))
timed("imports of the first command", lambda: cell("%mlmgmt config show"))
timed("connecting, and a list of one", lambda: cell("%mlmgmt model list -n none-of-this-name --query '[0]'"))
timed("import pandas", lambda: __import__("pandas"))
timed("%mlmgmt model list", lambda: cell("%mlmgmt model list"))
pager = shell.magics_manager.registry["MlmgmtMagics"].executor.session.workspace.models.list
pages = timed("  of it: pages from the server", lambda: list(pager().by_page()))
from mlmgmt_nb.client.http.frames import to_frame
from mlmgmt_nb.contract import Model
frame = timed("  of it: the frame", lambda: to_frame(Model, [page.value for page in pages]))
timed("displaying the frame (HTML and text)", lambda: shell.display_formatter.format(frame))
timed("%mlmgmt model list -o json", lambda: cell("text = %mlmgmt model list -o json"))
sys.stdout.write("FIGURES " + json.dumps(figures))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = local.ensure(folder)
        try:
            base_url = f"{endpoint.base_url.rpartition('/')[0]}/magics"
            fill(Path(folder), base_url, MODELS)
            environment = {
                **os.environ,
                "MLMGMT_BASE_URL": base_url,
                "MLMGMT_TOKEN": endpoint.token_file.read_text().strip(),
                "MLMGMT_CONFIG": str(Path(folder) / "config.toml"),
                "IPYTHONDIR": str(Path(folder) / "ipython"),
            }
            rounds = [_round(environment) for _ in range(ROUNDS)]
        finally:
            local.stop(folder)
    show(
        f"Magics with {MODELS:,} models (medians of {ROUNDS} fresh IPythons)",
        ["part", "CPU, ms", "wall, ms"],
        [
            [name, *(1000 * median(each[name][kind] for each in rounds) for kind in ("cpu", "wall"))]
            for name in rounds[0]
        ],
    )


def _round(environment: dict[str, str]) -> dict[str, dict[str, float]]:
    ran = subprocess.run([sys.executable, "-c", ROUND], env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(ran.stdout.rpartition("FIGURES ")[2])
    return figures


if __name__ == "__main__":
    main()
