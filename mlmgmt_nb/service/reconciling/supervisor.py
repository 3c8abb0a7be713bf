"""The supervisor: one loop that makes the actual state match the desired state, for all services and computes.

Each round reads the services from the store and lets the controller of each kind of compute observe, decide and act.
It runs when something has changed, and at least once a second. The desired state is in the store, so nothing is lost
when the loop ends. If several processes share the store, only the loop of the leader acts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Row, select

from mlmgmt_nb.service.reconciling.service_rows import ServiceRows
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.errors import is_transient
from mlmgmt_nb.service.store.store import Store

__all__ = ["Controller", "Supervisor"]

log = logging.getLogger(__name__)


class Controller(Protocol):
    """Reconciles the services on one kind of compute, and ignores others."""

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes.

        Args:
            services: all services by id; the same object as before if the store has not changed.
        """
        ...

    def push_keys(self, row: Row[Any]) -> None:
        """Send the keys of a service to its replicas."""
        ...

    def stop(self) -> None:
        """Stop running services in this process: it ends, or is no longer the leader."""
        ...


class Supervisor:
    """The loop, in its own thread.

    Args:
        leads: returns whether this process runs the replicas.
        adopt: called before this process starts to run replicas; cleans up after the previous process.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        leads: Callable[[], bool],
        adopt: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._leads = leads
        self._adopt = adopt
        self._is_leading = False
        self._wake = threading.Event()
        self._rows = ServiceRows(store, clock)
        self._stopping = False
        self._controllers: Sequence[Controller] = ()
        # Replicas are children of this thread: the kernel ends them when the thread ends, as it does with the process.
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self, *controllers: Controller) -> None:
        """Start the loop with these controllers, one for each kind of compute."""
        self._controllers = controllers
        self._thread.start()

    def services_changed(self, service_id: str | None = None) -> None:
        """Run a round now, because a service has changed in the store.

        Args:
            service_id: the only service whose row has changed; None if others may have.
        """
        self._rows.invalidate(service_id)
        self._wake.set()

    def computes_changed(self) -> None:
        """Run a round now, because a compute has something to observe."""
        self._wake.set()

    def stop(self) -> None:
        """End the loop, then every replica."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def push_keys(self, service_id: str) -> None:
        """Send the keys in the store to the replicas of a service."""
        services = schema.services
        self.services_changed(service_id)
        with self._store.reading() as db:
            row = db.execute(select(services).where(services.c.id == service_id)).one_or_none()
        if row is not None:
            for controller in self._controllers:
                controller.push_keys(row)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._update_leadership()
                pause = self._round() if self._is_leading else 1.0
            except Exception as error:
                # The loop must survive a failure in one round; the next round sees the same state again.
                if is_transient(error):
                    log.warning("the supervisor is waiting for the store: %s", error)
                else:
                    log.exception("a round of the supervisor failed")
                pause = 1.0
            self._wake.wait(pause)
        self._stop_controllers()

    def _update_leadership(self) -> None:
        """Start or stop running replicas when this process becomes the leader or is no longer the leader."""
        if self._leads() and not self._is_leading:
            self._adopt()
            self._is_leading = True
        elif self._is_leading and not self._leads():
            # Another process is about to open the same ports.
            self._stop_controllers()
            self._is_leading = False

    def _stop_controllers(self) -> None:
        for controller in self._controllers:
            try:
                controller.stop()
            except Exception:  # the others must stop in any case
                log.exception("%s did not stop as intended", type(controller).__name__)

    def _round(self) -> float:
        services, _ = self._rows.read()
        return min((controller.run(services) for controller in self._controllers), default=1.0)
