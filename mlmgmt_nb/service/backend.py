"""The parts of a service, put together: what the handlers of the API work with."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from mlmgmt_nb import __version__
from mlmgmt_nb.contract import ServiceCreateRequest
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.artifacts import ArtifactStore
from mlmgmt_nb.service.building.builder import Builder, build_log
from mlmgmt_nb.service.building.environments import Environments
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.capacity import check_capacity
from mlmgmt_nb.service.compute.computes import LOCAL, Computes
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.local import LocalCompute
from mlmgmt_nb.service.home import Home
from mlmgmt_nb.service.installation import bind
from mlmgmt_nb.service.logs import Log
from mlmgmt_nb.service.problems import not_found
from mlmgmt_nb.service.processes import end_group, started
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.specs import replica_bounds
from mlmgmt_nb.service.store import OutcomeUnknown, Store
from mlmgmt_nb.service.supervisor import Supervisor, service_log

__all__ = ["Backend"]

log = logging.getLogger(__name__)


class Backend:
    """A service without its HTTP: store, artifacts, builder and supervisor on one state folder.

    Args:
        home: the state folder, opened.
    """

    def __init__(self, settings: Settings, home: Home) -> None:
        self.settings = settings
        self.home = home
        self.store = Store(settings.database or home.database, may_migrate=home.is_alone())
        bind(home, self.store)
        self.artifacts = ArtifactStore(home.artifacts)
        fetcher = Fetcher(self.artifacts, settings.readable_schemes, settings.url_hosts)
        self._builder = Builder(self.store, home, fetcher, Environments(home.environments))
        self._register = _Register(self.store, home)
        self._supervisor = Supervisor(self.store, home, settings, self._computes)

    def _computes(self, on_change: Callable[[], None]) -> Computes:
        listeners = Listeners(self.settings.host, self.settings.service_ports)
        return Computes({LOCAL: LocalCompute(listeners, self._register, on_change)})

    def start(self) -> None:
        """Ends what a crash left behind, then goes on where the last service stopped."""
        self._register.sweep()
        self._builder.start()
        self._supervisor.start()

    def stop(self) -> None:
        self._builder.stop()
        self._supervisor.stop()
        self.store.close()

    def about(self) -> dict[str, object]:
        """Which service this is."""
        return {"name": "mlmgmt-nb", "version": __version__, "pid": os.getpid(), "home": str(self.home.path)}

    def metrics(self, service_id: str | None = None) -> bytes:
        """The metrics of this moment, or those of one service, in the text format of Prometheus."""
        # Loaded when first asked for, which most services never are.
        from mlmgmt_nb.service.metrics import render

        return render(self.store, self._supervisor.computes, service_id)

    def images_changed(self) -> None:
        self._builder.wake()

    def cancel_build(self, image_id: str) -> None:
        self._builder.cancel(image_id)

    def services_changed(self) -> None:
        self._supervisor.wake()

    def keys_changed(self, service_id: str) -> None:
        self._supervisor.push_keys(service_id)

    def build_log(self, image_id: str) -> Log:
        return build_log(self.home, image_id)

    def service_log(self, service_id: str) -> Log:
        return service_log(self.home, service_id)

    def compute_id(self, given: str | None, path: str) -> str:
        """The compute that a request means; clients of 2017 send the whole resource id of theirs.

        Raises:
            Problem: 404.
        """
        if given is None or given.rstrip("/").rpartition("/")[2] == LOCAL:
            return LOCAL
        raise not_found("compute", given, path)

    def check_capacity(self, db: Connection, spec: ServiceCreateRequest, compute_id: str, service_id: str) -> None:
        """Refuses replicas and reservations that cannot be had beside those of the other services.

        Raises:
            Problem: 409, with what there is and what is reserved already.
        """
        services, deployments = schema.services, schema.deployments
        others = db.scalars(
            select(deployments.c.spec)
            .join(services, func.coalesce(services.c.target_id, services.c.deployment_id) == deployments.c.id)
            .where(services.c.compute_id == compute_id, services.c.id != service_id, ~services.c.deleting)
        ).all()
        kept = [(other, max(1, replica_bounds(other)[0])) for other in others]
        check_capacity(spec, kept, self._supervisor.computes[compute_id].capacity())


class _Register:
    """The processes of replicas, in the store."""

    def __init__(self, store: Store, home: Home) -> None:
        self._store = store
        self._home = home

    def add(self, pid: int, service_id: str) -> None:
        replicas = schema.replicas
        try:
            with self._store.writing() as db:
                db.execute(delete(replicas).where(replicas.c.pid == pid))
                db.execute(insert(replicas).values(pid=pid, started=started(pid), service_id=service_id))
        except (DBAPIError, OutcomeUnknown):
            # A replica ends with its service in any case; what it has started itself may be left after a crash.
            log.warning("replica %s cannot be noted in the store", pid)

    def remove(self, pid: int) -> None:
        try:
            with self._store.writing() as db:
                db.execute(delete(schema.replicas).where(schema.replicas.c.pid == pid))
        except (DBAPIError, OutcomeUnknown):
            log.warning("the end of replica %s cannot be noted in the store", pid)

    def sweep(self) -> None:
        """Ends the replicas that outlived the service that started them."""
        replicas = schema.replicas
        with self._store.reading() as db:
            rows = db.execute(select(replicas)).all()
        for row in rows:
            if end_group(row.pid, row.started, f"{self._home.path}{os.sep}"):
                log.warning("ended replica %s of service %s, which a crash had left behind", row.pid, row.service_id)
            self.remove(row.pid)
