"""`uv` as a subprocess: its output goes to the build log, without passwords."""

from __future__ import annotations

import os
import re
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
"""Variables that `uv` does not get: the indexes are options of the requirements, and hashes are always checked."""
_PACKAGES = "[mlmgmt] packages: "
_BEGINS = re.compile(r"\s*(Downloading|Building) (\S+)(?: @ \S+)?( \([\w.]+\))?$")
_ENDS = re.compile(r"\s*(?:Downloaded|Built) (\S+)")
_PREPARED = re.compile(r"Prepared \d+ packages? in ")
_SET = {"UV_PREVIEW_FEATURES": "pylock", "UV_INDEX_STRATEGY": "first-index"}


class UvError(Exception):
    """`uv` failed. `output` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__("uv failed")
        self.output = output


class _Installation:
    """Turns the output of `uv` about packages into progress lines of a build log. `uv` names only large packages."""

    def __init__(self, packages: int) -> None:
        self._count = f"{packages} package{'' if packages == 1 else 's'}"
        self._started: dict[str, str] = {}
        self._done = 0

    def progress(self, line: str) -> str | None:
        """Return the progress after a line; None if the line is about something else."""
        if found := _BEGINS.match(line):
            self._started[found[2]] = f"{found[1].lower()} {found[2]}{found[3] or ''}"
        elif (found := _ENDS.match(line)) and self._started.pop(found[1], None):
            self._done += 1
        elif _PREPARED.match(line):
            return f"{_PACKAGES}installing {self._count}"
        else:
            return None
        first, others = next(iter(self._started.values()), "preparing"), len(self._started) - 1
        more = f" and {others} more" if others > 0 else ""
        return f"{_PACKAGES}{first}{more}, {self._done} of {self._done + len(self._started)} done, {self._count} in all"


def run_uv(
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    log: Log,
    cancellation: Cancellation,
    *,
    packages: int | None = None,
) -> None:
    """Run `uv`.

    Args:
        arguments: command-line arguments, which are logged.
        folder: working directory.
        variables: additional environment variables; they may contain passwords.
        log: receives the output.
        cancellation: cancellation of the build.
        packages: number of packages to install, whose progress is logged; None if this run does not install.

    Raises:
        UvError: `uv` failed.
        BuildError: the build was cancelled.
    """
    import uv

    command = [
        uv.find_uv_bin(),
        *arguments,
        *([] if packages else ["--no-progress"]),
        "--color",
        "never",
        "--no-config",
    ]
    log.line(f"$ uv {' '.join(arguments)}")
    output: list[str] = []
    installation = _Installation(packages or 0)
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
                progress = installation.progress(text)
                log.line(progress or text)
                if progress is None:
                    output.append(text)
        finally:
            timer.cancel()
    if process.returncode != 0:
        raise UvError("\n".join(output)[-_MOST_OUTPUT:])


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
