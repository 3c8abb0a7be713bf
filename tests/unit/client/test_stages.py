"""The stage of an operation, from its log, and the line that follows it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.monitoring.stages import Stage, watch
from mlmgmt_nb.commands.shell import _show_progress
from mlmgmt_nb.contract import AsyncOperationStatus
from mlmgmt_nb.errors import OperationTimeout, TransportError
from mlmgmt_nb.service.building.docker.output import TransferProgress
from mlmgmt_nb.service.building.packages.uv import _Installation
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.terminal import Terminal

UV = """\
Downloading numpy (16.1MiB)
Downloading scipy (33.7MiB)
   Building odd-one @ file:///tmp/odd-one
 Downloaded numpy
      Built odd-one @ file:///tmp/odd-one
 Downloaded scipy
Prepared 8 packages in 4.25s
Installed 8 packages in 373ms
 + numpy==2.4.6
"""


class Operation:
    """A poller whose log has one more line each time, until the operation has ended."""

    operation = AsyncOperationStatus(id="op", operation_type="Image", state="Running")

    def __init__(self, lines: list[str], *, has_log: bool = True) -> None:
        self.lines, self.has_log, self.waits = lines, has_log, 0

    def status(self) -> str:
        return "Running"

    def wait(self, timeout: float) -> None:
        self.waits += 1
        if self.waits <= len(self.lines):
            raise OperationTimeout("not yet", operation=self.operation)

    def log(self, offset: int = 0, tail: int | None = None) -> LogPart:
        if not self.has_log:
            raise TransportError("gone")
        return LogPart("\n".join(self.lines[offset : self.waits]), self.waits)


def log_of(packages: int) -> Iterator[str]:
    installation = _Installation(packages)
    for line in UV.splitlines():
        yield installation.progress(line) or line


def test_the_packages_of_a_build() -> None:
    lines = list(log_of(8))
    assert lines[1] == "[mlmgmt] packages: downloading numpy (16.1MiB) and 1 more, 0 of 2 done, 8 packages in all"
    assert lines[4] == "[mlmgmt] packages: downloading scipy (33.7MiB), 2 of 3 done, 8 packages in all"
    assert lines[5:] == [
        "[mlmgmt] packages: preparing, 3 of 3 done, 8 packages in all",
        "[mlmgmt] packages: installing 8 packages",
        "Installed 8 packages in 373ms",
        " + numpy==2.4.6",
    ]
    stage = Stage()
    stage.read(["[3/4] requirements", *lines])
    assert str(stage) == "step 3 of 4: requirements, installing 8 packages"
    assert stage.part == 0.625


def test_the_layers_of_an_image(tmp_path: Path) -> None:
    now = 0.0
    log = Log(tmp_path / "log")
    progress = TransferProgress("pulled", log, clock=lambda: now)
    for now, layer, current in ((0.5, "a", 10), (1.2, "b", 5), (1.5, "a", 20), (2.5, "b", 10)):  # noqa: B007 - read by the clock
        detail = {"current": current * 2**20, "total": 40 * 2**20}
        progress.take({"status": "Downloading", "id": layer, "progressDetail": detail})
    now = 4.0
    progress.take({"status": "Download complete", "id": "a"})
    progress.take({"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 2}})
    lines = "".join(path.read_text() for path in (tmp_path / "log").iterdir()).splitlines()
    assert lines == [
        "[mlmgmt] image: pulled 15 of 80 MiB, 0 of 2 layers",
        "[mlmgmt] image: pulled 30 of 80 MiB, 0 of 2 layers",
        "[mlmgmt] image: pulled 50 of 80 MiB, 1 of 2 layers",
    ]
    stage = Stage()
    stage.read(["[5/5] Docker image", *lines])
    assert str(stage) == "step 5 of 5: Docker image, pulled 50 of 80 MiB, 1 of 2 layers"


def test_what_pods_wait_for() -> None:
    stage = Stage()
    stage.read(["[mlmgmt] pods ready 0/2: 2 pulling the image"])
    assert (str(stage), stage.part) == ("pods ready 0/2: 2 pulling the image", 0.0)
    stage.read(["[mlmgmt] pods ready 1/2: No node has room for a pod (2 cpu): Insufficient cpu. Free: 1 cpu."])
    assert str(stage) == "pods ready 1/2: No node has room for a pod (2 cpu): Insufficient cpu. Free: 1 cpu."
    stage.read(["[mlmgmt] pods ready 2/2"])
    assert (str(stage), stage.part) == ("pods ready 2/2", 1.0)
    stage.read(["[mlmgmt] replicas ready 1/2"])
    assert str(stage) == "replicas ready 1/2"


def test_a_line_follows_the_operation() -> None:
    operation: Any = Operation(["[1/4] models", "[3/4] requirements", "[mlmgmt] packages: installing 8 packages"])
    shown = [line.rpartition(", ")[0] for line in watch(operation)]
    assert shown == [
        "image Running, step 1 of 4: models",
        "image Running, step 3 of 4: requirements",
        "image Running, step 3 of 4: requirements, installing 8 packages",
    ]
    without: Any = Operation(["x", "y"], has_log=False)
    assert [line.rpartition(", ")[0] for line in watch(without)] == ["image Running"] * 2


def test_the_time_ends() -> None:
    operation: Any = Operation(["x"] * 1000)
    with pytest.raises(OperationTimeout):
        list(watch(operation, timeout=0.0))


def test_a_terminal_has_one_line() -> None:
    stream = io.StringIO()
    operation: Any = Operation(["[1/4] models", "[mlmgmt] replicas ready 1/2"])
    _show_progress(operation, None, Terminal(stream))
    text = stream.getvalue()
    assert "step 1 of 4: models" in text
    assert "\n" not in text
    assert text.endswith("\r\033[K")
