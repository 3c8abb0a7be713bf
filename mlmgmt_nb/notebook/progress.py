"""Shows how far an operation is while the cell waits for it."""

from __future__ import annotations

import html
import sys
import time
from pathlib import Path
from typing import Any

from IPython.display import DisplayHandle

from mlmgmt_nb.client import Poller
from mlmgmt_nb.commands.uploads import Meter
from mlmgmt_nb.errors import OperationTimeout
from mlmgmt_nb.notebook.display import badge, bundle

__all__ = ["Progress", "upload_meter"]

_TICK_SECONDS = 0.25


def upload_meter(shell: Any, path: str) -> Meter | None:
    """What shows an upload: a live output in a notebook, a line that moves in a terminal, nothing in a pipe.

    Args:
        shell: the IPython.
        path: the file.
    """
    if hasattr(shell, "kernel"):
        return Meter(Path(path).name, _Live().show_part)
    return Meter(Path(path).name, _move_line) if sys.stdout.isatty() else None


def _move_line(text: str, part: float) -> None:
    sys.stdout.write(f"\r{text}" + "\n" * (part == 1))
    sys.stdout.flush()


class _Live:
    """An output that changes in its place."""

    def __init__(self) -> None:
        self._handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._is_displayed = False

    def show(self, shown: dict[str, str]) -> None:
        """Displays it, the first time; then changes it."""
        if self._is_displayed:
            self._handle.update(shown, raw=True)
        else:
            self._handle.display(shown, raw=True)
            self._is_displayed = True

    def show_part(self, text: str, part: float) -> None:
        """Shows how much is done, as text and, until it is all, as a bar."""
        bar = f' <progress value="{part:.3f}" max="1" aria-label="uploaded"></progress>' if part < 1 else ""
        self.show(bundle(text, f'<div role="status">{html.escape(text)}{bar}</div>'))


class Progress:
    """A display of one operation: a live output in a notebook, a line for each state in a terminal.

    Args:
        shell: the IPython.
        poller: the operation.
    """

    def __init__(self, shell: Any, poller: Poller[Any]) -> None:
        self._is_terminal = not hasattr(shell, "kernel")
        self._poller = poller
        self._started = time.monotonic()
        self._live = _Live()
        self._shown = ""

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the operation has ended.

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`.
            OperationTimeout: it has not ended after `timeout` seconds.
            KeyboardInterrupt: the cell was interrupted; the operation goes on.
        """
        try:
            while not self._wait_a_little(timeout):
                self._show()
        except (KeyboardInterrupt, OperationTimeout):
            self._show(f"it goes on; `%mlmgmt operation watch {self._poller.operation_id}` waits for it")
            raise
        self._show()
        self._poller.result()

    def _wait_a_little(self, timeout: float | None) -> bool:
        left = None if timeout is None else timeout - (time.monotonic() - self._started)
        try:
            self._poller.wait(_TICK_SECONDS if left is None else max(0.0, min(left, _TICK_SECONDS)))
        except OperationTimeout:
            if left is not None and left <= _TICK_SECONDS:
                raise
            return False
        return True

    def _show(self, note: str = "") -> None:
        seconds = time.monotonic() - self._started
        operation = self._poller.operation
        what = ((operation.operation_type if operation else None) or "operation").lower()
        state = self._poller.status()
        text = f"{what} {state}" if self._is_terminal else f"{what} {state}, {int(seconds)} s"
        text += f" ({note})" if note else ""
        if text == self._shown:
            return
        self._shown = text
        if self._is_terminal:
            sys.stdout.write(f"{text}, {seconds:.1f} s\n")
            return
        shown = html.escape(f"{what}, {int(seconds)} s{f' ({note})' if note else ''}")
        running = (
            '<progress aria-label="in progress"></progress>' if state in {"NotStarted", "Running"} and not note else ""
        )
        self._live.show(bundle(text, f'<div role="status">{badge(state)} {shown} {running}</div>'))
