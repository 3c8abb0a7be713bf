"""The order of messages from the frontend of a panel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["InOrder"]

_WAIT_SECONDS = 0.5
"""How long a message waits for an earlier one, which may be held up by a cell that runs."""


class InOrder:
    """Pass on messages in the order in which each view has sent them.

    They may arrive in another order: JupyterLab sends them to the main thread of a kernel until it has created a
    subshell, and then to the thread of that subshell.

    Args:
        on_message: called with each message, one at a time.
    """

    def __init__(self, on_message: Callable[[dict[str, Any]], None]) -> None:
        self._on_message = on_message
        self._lock = threading.Lock()
        self._views: dict[str, _View] = {}

    def __call__(self, content: dict[str, Any]) -> None:
        """Receive a message.

        Args:
            content: the `message`, its `sender` (an id of the view) and its `number`, which counts from 0.
        """
        with self._lock:
            view = self._views.setdefault(content["sender"], _View())
            view.waiting[content["number"]] = content["message"]
            self._pass_on(view)
            if view.waiting and view.timer is None:
                view.timer = threading.Timer(_WAIT_SECONDS, self._give_up, [view])
                view.timer.daemon = True
                view.timer.start()

    def _pass_on(self, view: _View) -> None:
        """Pass on the messages that wait for no earlier one."""
        for number in sorted(view.waiting):
            if number > view.next:
                return
            view.next = max(view.next, number + 1)
            self._on_message(view.waiting.pop(number))

    def _give_up(self, view: _View) -> None:
        """Pass on what waits; an earlier message is passed on when it arrives."""
        with self._lock:
            view.timer = None
            while view.waiting:
                view.next = min(view.waiting)
                self._pass_on(view)


class _View:
    """The messages of a view that wait, by number, and the number of the `next` one to pass on."""

    def __init__(self) -> None:
        self.waiting: dict[int, dict[str, Any]] = {}
        self.next = 0
        self.timer: threading.Timer | None = None
