"""`uv` as a subprocess: its output goes to the build log, without passwords."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlmgmt_nb.redaction import redacted
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.packages.machine_indexes import UV_INDEXES
from mlmgmt_nb.service.files.logs import Log

__all__ = ["UvError", "run_uv"]

_TIMEOUT_SECONDS = 1800.0
_MOST_OUTPUT = 200_000
_LEFT_OUT = UV_INDEXES | {"UV_NO_VERIFY_HASHES"}
"""Variables that do not hold for `uv`: the indexes are options of the requirements, and hashes are always checked."""
_SET = {"UV_PREVIEW_FEATURES": "pylock", "UV_INDEX_STRATEGY": "first-index"}


class UvError(Exception):
    """`uv` failed. `output` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__("uv failed")
        self.output = output


def run_uv(
    arguments: Sequence[str], folder: Path, variables: Mapping[str, str], log: Log, cancellation: Cancellation
) -> None:
    """Run `uv`.

    Args:
        arguments: command-line arguments, which are logged.
        folder: working directory.
        variables: additional environment variables; they may contain passwords.
        log: receives the output.
        cancellation: cancellation of the build.

    Raises:
        UvError: `uv` failed.
        BuildError: the build was cancelled.
    """
    import uv

    command = [uv.find_uv_bin(), *arguments, "--no-progress", "--color", "never", "--no-config"]
    log.line(f"$ uv {' '.join(arguments)}")
    output: list[str] = []
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**_inherited(), **_SET, **variables, **cancellation.environment},
        ) as process,
        cancellation.ending(process),
    ):
        timer = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                text = redacted(line.decode(errors="replace").rstrip("\n"))
                log.line(text)
                output.append(text)
        finally:
            timer.cancel()
    if process.returncode != 0:
        raise UvError("\n".join(output)[-_MOST_OUTPUT:])


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
