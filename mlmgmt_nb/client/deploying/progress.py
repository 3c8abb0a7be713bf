"""The progress of a deployment: its callbacks, the seconds of its steps, and the time limit of all its waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mlmgmt_nb.client.http.uploads import Progress
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.contract import Manifest, Model

__all__ = ["DeployEvents", "DeployProgress"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DeployEvents:
    """Callbacks of a deployment.

    Attributes:
        on_package: called with a summary of the package and its seconds.
        on_step: called with `model` (if there is one), `manifest`, `image` or `service` and its seconds when the step
            is done.
        on_operation: called with the poller of the build, and with that of the start of the service.
        on_reuse: called with an existing model or manifest that is used because it has the same content.
        upload_progress: returns the progress callback for the upload of a model, or None.
    """

    on_package: Callable[[str, float], None] | None = None
    on_step: Callable[[str, float], None] | None = None
    on_operation: Callable[[Poller[Any]], None] | None = None
    on_reuse: Callable[[Model | Manifest], None] | None = None
    upload_progress: Callable[[str], Progress | None] | None = None


class DeployProgress:
    """Report the steps of one deployment, and limit the time of its waits.

    Args:
        events: callbacks.
        timeout: maximum number of seconds for all waits together (default: unlimited).
    """

    def __init__(self, events: DeployEvents, timeout: float | None) -> None:
        self.events = events
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the time limit; None if there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def step(self, name: str, call: Callable[[], T]) -> T:
        """Return the result of a step, and report its seconds."""
        started = time.perf_counter()
        result = call()
        if self.events.on_step:
            self.events.on_step(name, time.perf_counter() - started)
        return result

    def result(self, poller: Poller[T]) -> T:
        """Return the result of an operation, and report it when the wait starts."""
        if self.events.on_operation:
            self.events.on_operation(poller)
        return poller.result(self.seconds_left)
