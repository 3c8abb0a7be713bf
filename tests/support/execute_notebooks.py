"""Run tutorial notebooks and write their output into the files that are committed.

python -m tests.support.execute_notebooks notebooks/01-quickstart.ipynb ...

The notebooks run with this Python, on a separate service that ends with this program. In the output, the state folder
and the folder of this Python are replaced by typical paths of a user.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from mlmgmt_nb import local

__all__ = ["execute"]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path, home: Path) -> None:
    """Run a notebook in its folder. The details of the kernel and the times of execution are not kept.

    Args:
        path: the notebook.
        home: the state folder of its service.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = nbformat.from_dict(_METADATA)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_of_a_kernel(output)]
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    for folder, told in ((str(home), "~/.local/share/mlmgmt-nb"), (sys.prefix, "~/venv")):
        text = text.replace(f"file://{folder}", told).replace(folder, told)
    path.write_text(f"{text}\n", encoding="utf-8")


def _is_of_a_kernel(output: Any) -> bool:
    """Return whether an output is a widget or an empty text, which only a live kernel can show."""
    data = output.get("data")
    return data is not None and set(data) <= {_WIDGET, "text/plain"} and (_WIDGET in data or not data["text/plain"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ.update(MLMGMT_HOME=str(home), MLMGMT_CONFIG=str(Path(folder) / "config.toml"))
        try:
            for name in sys.argv[1:]:
                execute(Path(name), home)
        finally:
            local.stop(home)


if __name__ == "__main__":
    main()
