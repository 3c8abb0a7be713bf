"""Open the sockets of services, and retry while another program uses a port."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import Row

from mlmgmt_nb.service.reconciling.current_errors import PORT_TAKEN, with_condition
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder

__all__ = ["Ports"]

_PORT_SECONDS = 5.0
"""Seconds that a rollout waits for the port of its service while another program uses it."""


class _Opener(Protocol):
    def open(self, service_id: str, port: int | None) -> int: ...


class Ports:
    """Opens the ports of services, and keeps the times since which ports could not be opened."""

    def __init__(self, recorder: ServiceRecorder) -> None:
        self._recorder = recorder
        self._missing_since: dict[str, float] = {}

    def open(self, compute: _Opener, row: Row[Any], moment: float) -> str | None:
        """Open the socket of a service on a compute, and record its port.

        Opening is retried indefinitely; a rollout fails sooner.

        Returns:
            The reason for which the rollout fails, or None.
        """
        try:
            port = compute.open(row.id, row.port)
        except OSError as error:
            return self._report(row, error, moment)
        self.forget(row.id)
        self._recorder.set(row.id, port=port)
        return None

    def _report(self, row: Row[Any], error: OSError, moment: float) -> str | None:
        which = "A port" if row.port is None else f"Port {row.port}"
        message = f"{which} of the service is not available: {error}."
        since = self._missing_since.setdefault(row.id, moment)
        if row.target_id is not None and (row.port is None or moment - since >= _PORT_SECONDS):
            return message
        said = with_condition(row.error, PORT_TAKEN, f"{message} Retrying.")
        if row.error != said and (row.error is None or row.error.code != "NoPort"):
            self._recorder.set(row.id, error=said)
        return None

    def forget(self, service_id: str) -> None:
        self._missing_since.pop(service_id, None)

    def clear(self) -> None:
        self._missing_since.clear()
