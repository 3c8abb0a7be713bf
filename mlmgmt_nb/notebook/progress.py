"""Progress of uploads, and of operations in a terminal, while the cell waits."""

from __future__ import annotations

import html
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlmgmt_nb.client import Poller, ScoringReport, ScoringTest
from mlmgmt_nb.client.monitoring.stages import watch
from mlmgmt_nb.commands.upload_progress import Meter
from mlmgmt_nb.errors import OperationTimeout
from mlmgmt_nb.notebook.display.card import bundle
from mlmgmt_nb.notebook.display.live import Live
from mlmgmt_nb.terminal import Terminal

__all__ = ["DeploySteps", "TerminalSteps", "print_line", "run_in_terminal", "upload_meter", "wait_in_terminal"]

_TICK_SECONDS = 0.25


def upload_meter(shell: Any, path: str) -> Meter | None:
    """Return a progress display for an upload: a live output in a notebook, a line in a terminal, None in a pipe.

    Args:
        shell: the IPython shell.
        path: the file.
    """
    if hasattr(shell, "kernel"):
        return Meter(Path(path).name, _Upload().show_part)
    return Meter(Path(path).name, _move_line) if sys.stdout.isatty() else None


def _move_line(text: str, part: float) -> None:
    Terminal(sys.stdout).rewrite(text, "\n" * (part == 1))


class _Upload(Live):
    """An upload in a notebook."""

    def show_part(self, text: str, part: float) -> None:
        """Show the progress as text and, until it is complete, as a bar."""
        bar = f' <progress value="{part:.3f}" max="1" aria-label="uploaded"></progress>' if part < 1 else ""
        self.show(bundle(text, f'<div role="status">{html.escape(text)}{bar}</div>'))


class DeploySteps(Live):
    """The steps of a deployment that packages a model, in one notebook output. The result replaces them."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Add a step to the output."""
        self._lines.append(line)
        text = "\n".join(self._lines)
        self.show(bundle(text, f'<pre style="margin:0">{html.escape(text)}</pre>'))


class TerminalSteps:
    """The steps of a deployment that packages a model, in one terminal line. The result replaces them."""

    def add(self, line: str) -> None:
        """Show a step in place of the previous one."""
        Terminal(sys.stdout).rewrite(line[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Remove the line."""
        Terminal(sys.stdout).rewrite("")


def run_in_terminal(test: ScoringTest) -> ScoringReport:
    """Run a scoring test, with a moving progress line unless the output is a pipe."""
    if not sys.stdout.isatty():
        return test.run()

    def show(end: str = "") -> None:
        Terminal(sys.stdout).rewrite(str(test), end)

    try:
        return test.run(lambda _: show())
    finally:
        show("\n")


def print_line(line: str) -> None:
    """Print a line of progress."""
    Terminal(sys.stdout).write(f"{line}\n")


def wait_in_terminal(
    poller: Poller[Any], timeout: float | None = None, say: Callable[[str], None] = print_line
) -> None:
    """Wait until an operation has ended. Show its progress in one terminal line; elsewhere, a line for each state.

    Args:
        poller: the operation.
        timeout: maximum number of seconds to wait (default: unlimited).
        say: shows a line.

    Raises:
        OperationFailed: it ended `Failed` or `Cancelled`.
        OperationTimeout: it did not end within `timeout` seconds.
        KeyboardInterrupt: the user interrupted the wait; the operation continues.
    """
    started, shown = time.monotonic(), ""
    is_live = say is print_line and sys.stdout.isatty()

    def clear() -> None:
        if is_live:
            Terminal(sys.stdout).rewrite("")

    def show(note: str = "") -> None:
        nonlocal shown
        what = ((poller.operation.operation_type if poller.operation else None) or "operation").lower()
        text = f"{what} {poller.status()}" + (f" ({note})" if note else "")
        if text != shown:
            shown = text
            say(f"{text}, {time.monotonic() - started:.1f} s")

    try:
        for line in watch(poller, timeout, _TICK_SECONDS, reads_log=is_live):
            if is_live:
                Terminal(sys.stdout).rewrite(line[: shutil.get_terminal_size().columns - 1])
            else:
                show()
    except (KeyboardInterrupt, OperationTimeout):
        clear()
        show(f"the operation continues; wait for it with `%mlmgmt operation watch {poller.operation_id}`")
        raise
    clear()
    show()
    poller.result()
