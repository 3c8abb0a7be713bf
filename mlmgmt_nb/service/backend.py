"""The components of a service, assembled: the interface of the API's handlers to everything else."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from mlmgmt_nb import __version__
from mlmgmt_nb.service.access.audit_log import AuditLog
from mlmgmt_nb.service.building.build_steps import BuildSteps
from mlmgmt_nb.service.building.builder import Builder, build_log, release_builds
from mlmgmt_nb.service.building.docker.builder import DockerBuilder
from mlmgmt_nb.service.building.docker.dockerfile import default_base
from mlmgmt_nb.service.building.docker.images import EngineImages
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.building.image_builders import ImageBuilders
from mlmgmt_nb.service.building.oci.builder import DaemonlessBuilder
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.directory import ComputeDirectory
from mlmgmt_nb.service.compute.docker import DockerCompute
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.local import LocalCompute
from mlmgmt_nb.service.compute.processes.records import ReplicaProcesses
from mlmgmt_nb.service.compute.processes.spares import Preparation, Spares
from mlmgmt_nb.service.compute_ids import DOCKER, LOCAL
from mlmgmt_nb.service.coordination.leader import ask_leader
from mlmgmt_nb.service.coordination.membership import Membership
from mlmgmt_nb.service.coordination.notifications import Notifications
from mlmgmt_nb.service.docker_engine import Engine
from mlmgmt_nb.service.files.artifacts import ArtifactStore
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.mirrors import Mirrors
from mlmgmt_nb.service.files.recording_files import LocalFiles, StoredFiles
from mlmgmt_nb.service.files.recordings import Recordings
from mlmgmt_nb.service.gateway.handover import HandoverChannel, HandoverChannels
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.housekeeping.check import missing_files
from mlmgmt_nb.service.housekeeping.pruning import Pruner
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.reconciling.admission import ServiceAdmission
from mlmgmt_nb.service.reconciling.candidates import CandidateController
from mlmgmt_nb.service.reconciling.declared.controller import DeclaredController
from mlmgmt_nb.service.reconciling.declared.declarations import Declarations
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder, service_log
from mlmgmt_nb.service.reconciling.replicas.controller import ReplicaController
from mlmgmt_nb.service.reconciling.replicas.launches import Launches
from mlmgmt_nb.service.reconciling.supervisor import Supervisor
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.installation import bind, check_database
from mlmgmt_nb.service.store.store import PASSING, Store
from mlmgmt_nb.service.store.transitions import forget_kept
from mlmgmt_nb.service.system.processes import ownership
from mlmgmt_nb.service.system.sockets import is_free

if TYPE_CHECKING:
    from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster

__all__ = ["Backend"]

log = logging.getLogger(__name__)

_KEYS_SECONDS = 2.0
"""Seconds that a process waits for the leader to send new keys to the replicas."""


class Backend:
    """A service without HTTP: store, artifacts, builder and supervisor on one state folder.

    Args:
        home: the opened state folder.
        spares: prepares replicas.
    """

    def __init__(self, settings: Settings, home: Home, spares: Spares) -> None:
        self.settings = settings
        self.home = home
        if not settings.is_new:
            check_database(home, settings.database)
        self.store = Store(settings.database or home.database, may_migrate=home.is_alone())
        bind(home, self.store, partial(is_free, settings.service_host), is_new=settings.is_new)
        self.audit = AuditLog(home.logs / "audit")
        self.artifacts = ArtifactStore(home.artifacts)
        fetcher = Fetcher(self.artifacts, settings.readable_schemes, settings.url_hosts, is_shared=settings.is_shared)
        self._membership = Membership(
            self.store, home, release_builds, on_release=self._builds_released, on_change=self._leader_changed
        )
        self.engine = Engine()
        environments = Environments(home.environments)
        daemonless = DaemonlessBuilder(home, environments)
        self.images = EngineImages(self.engine, daemonless.blobs)
        on_engine = DockerBuilder(self.engine, self.images, home, settings.pip_config)
        self._image_builders = ImageBuilders(settings.image_builder, self.engine, on_engine, daemonless)
        bases = {
            "Python": settings.base_image or default_base(),
            "SparkPython": settings.base_image_spark or settings.base_image or default_base(),
        }
        steps = BuildSteps(
            self.store,
            home,
            fetcher,
            environments,
            images=self._image_builders,
            registries=self._registry_of,
            indexes=on_engine.indexes,
            bases=bases,
            limits=settings.unpack_limits,
            on_interpreter=self.prepare_replica,
        )
        self._builder = Builder(self.store, home, steps, process_id=lambda: self._membership.id)
        self._replica_processes = ReplicaProcesses(self.store, home)
        self._spares = spares
        self._supervisor = Supervisor(self.store, leads=lambda: self._membership.leads, adopt=self._adopt)
        self._listeners = Listeners(settings.service_host, settings.service_ports, self._supervisor.computes_changed)
        self._computes = self._make_computes(self._supervisor.computes_changed)
        self._clusters = Clusters(settings.clusters_file, settings.registry, self._make_cluster)
        self.computes = ComputeDirectory(
            self.store, self._computes, self._clusters, self.engine, self._image_builders.check
        )
        self.admission = ServiceAdmission(self._computes, self._clusters, self.engine, home, settings)
        self._router = Router()
        self.recording_files = recording_files(home, settings.recording_storage)
        self.recordings = Recordings(self.recording_files)
        self.mirrors = Mirrors(home.mirrors)
        self._pruner = Pruner(
            self.store, settings.operation_days, self.recordings, leads=lambda: self._membership.leads
        )
        self._notifications = Notifications(self.store, self._on_notification)
        self._receipts: dict[str, threading.Event] = {}

    def _make_computes(self, on_change: Callable[[], None]) -> Computes:
        self._containers = DockerCompute(
            self._listeners,
            self.engine,
            self.images,
            self._image_builders.sweep_engine,
            self.home.containers,
            self.home.identity(),
            on_change,
        )
        self._local = LocalCompute(
            self._listeners,
            self._replica_processes,
            on_change,
            ownership(self.home.path),
            self._spares,
            HandoverChannels(is_enabled=self.settings.hands_over and not self.settings.tls),
        )
        return Computes({LOCAL: self._local, DOCKER: self._containers})

    def handover_channel(self, service_id: str) -> HandoverChannel | None:
        """Return the channel through which replicas of a service take connections from the front door, or None."""
        return self._local.handover_channel(service_id)

    def _make_cluster(self, name: str, settings: ClusterSettings) -> KubernetesCluster:
        # Imported on first use: most services have no cluster.
        from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster

        return KubernetesCluster(
            settings,
            self.home.identity(),
            self.home.clusters / name,
            self._listeners,
            self._supervisor.computes_changed,
            self.service_log,
            self.settings.drain_timeout,
        )

    def _registry_of(self, compute_id: str) -> str | None:
        """Return the registry for the images of a compute."""
        cluster = self._clusters.current().get(compute_id)
        return cluster.settings.registry if cluster else self.settings.registry

    def _declared_controller(self) -> DeclaredController:
        return DeclaredController(
            self._clusters.current,
            self._router,
            ServiceRecorder(self.store, self.home, self.recordings, self._supervisor.services_changed),
            Declarations(self.store, self.home, self.settings, self.recording_files),
            self.settings,
            clock=time.monotonic,
        )

    def _candidate_controller(self) -> CandidateController:
        on_change = self._supervisor.services_changed
        return CandidateController(
            self.store,
            self._router,
            ServiceRecorder(self.store, self.home, self.recordings, on_change),
            self.mirrors,
            on_change,
        )

    def _replica_controller(self) -> ReplicaController:
        return ReplicaController(
            self._computes,
            self._router,
            ServiceRecorder(self.store, self.home, self.recordings, self._supervisor.services_changed),
            Launches(self.store, self.home, self.settings, self.recording_files),
            self.settings,
            run_again=self._supervisor.computes_changed,
            clock=time.monotonic,
        )

    def start(self) -> None:
        """Resume where the last service process stopped."""
        self._membership.join()
        self._notifications.start()
        self._builder.start()
        self._supervisor.start(self._candidate_controller(), self._replica_controller(), self._declared_controller())
        self._pruner.start()
        threading.Thread(target=self._log_missing_files, name="check", daemon=True).start()

    def _log_missing_files(self) -> None:
        """Log missing files that the database refers to. Runs in its own thread: nothing depends on the result."""
        try:
            for damage in missing_files(self.store, self.home):
                log.warning("%s: %s (%s). %s", damage.name, damage.problem, damage.path, damage.fix)
        except (*PASSING, OSError) as error:
            log.warning("cannot check for missing files: %s", error)

    def _adopt(self) -> None:
        """Clean up after the previous process."""
        with self.store.writing() as db:
            forget_kept(db)  # the kept replicas ended with it
        self._replica_processes.sweep()
        if self._uses_docker():
            self._containers.sweep()

    def stop(self) -> None:
        self._builder.stop()
        self._pruner.stop()
        # First, so that requests in progress of clusters and of replicas have the same time, not one after the other.
        self._clusters.retire()
        self._supervisor.stop()
        self._membership.leave()
        self._notifications.send("left")
        self._notifications.stop()
        self.store.close()

    def _builds_released(self) -> None:
        self._builder.clean_up()

    def _leader_changed(self) -> None:
        self._supervisor.services_changed()

    def _on_notification(self, topic: str, subject: str) -> None:
        """Handle a notification of another process."""
        match topic:
            case "images":
                self._builder.wake()
            case "cancelled":
                self._builder.cancel(subject)
            case "services":
                self._supervisor.services_changed()
            case "keys" if self._membership.leads:
                self._supervisor.push_keys(subject)
                self._notifications.send("keys-known", subject)
            case "keys-known":
                if event := self._receipts.get(subject):
                    event.set()
            case "left":
                self._membership.poll()

    def identity(self) -> dict[str, object]:
        """Return the name and version of the program, and the process id and state folder of this service."""
        return {"name": "mlmgmt-nb", "version": __version__, "pid": os.getpid(), "home": str(self.home.path)}

    def metrics(self, request: Request, service_id: str | None = None) -> bytes:
        """Return current metrics, of all services or of one, in the Prometheus text format.

        Raises:
            Problem: 503, when another process runs the services and cannot be reached.
        """
        if not self._membership.leads:
            return ask_leader(self.store, self.home, request)
        # Imported on first use: most services never need it.
        from mlmgmt_nb.service.reconciling.metrics import render

        return render(self.store, {**self._computes.by_id, **self._clusters.current()}, service_id)

    def images_changed(self) -> None:
        self._builder.wake()
        self._notifications.send("images")

    def cancel_build(self, image_id: str) -> None:
        self._builder.cancel(image_id)
        self._notifications.send("cancelled", image_id)

    def services_changed(self) -> None:
        self._supervisor.services_changed()
        self._notifications.send("services")

    def withdraw(self, service_id: str, candidate_id: str) -> None:
        """Send no further requests to a candidate that was removed in the store, if this process runs the services."""
        self._router.withdraw(service_id, candidate_id)
        self.services_changed()

    def keys_changed(self, service_id: str) -> None:
        """Send the keys in the store to the replicas of a service; wait briefly until they confirm."""
        if self._membership.leads:
            self._supervisor.push_keys(service_id)
            return
        confirmed = self._receipts[service_id] = threading.Event()
        self._notifications.send("keys", service_id)
        confirmed.wait(_KEYS_SECONDS)
        self._receipts.pop(service_id, None)

    def prepare_replica(
        self, interpreter: str = sys.executable, service: str = "", modules: tuple[str, ...] = ()
    ) -> None:
        """Prepare a process for the next replica on this machine, since a deployment is likely.

        Args:
            interpreter: its Python.
            service, modules: see `Preparation`.
        """
        if self._membership.leads:
            self._spares.prepare(Preparation(interpreter, service, modules))

    def build_log(self, image_id: str) -> Log:
        return build_log(self.home, image_id)

    def service_log(self, service_id: str) -> Log:
        return service_log(self.home, service_id)

    def _uses_docker(self) -> bool:
        """Return whether the Docker engine may have containers or images of this service."""
        with self.store.reading() as db:
            return (
                db.scalar(select(schema.images.c.id).where(schema.images.c.compute_id == DOCKER).limit(1)) is not None
            )


def recording_files(home: Home, storage: str | None) -> LocalFiles | StoredFiles:
    """Return the storage of recorded requests.

    Args:
        storage: an fsspec URL or the connection string of an Azure storage account; None for the state folder.
    """
    # Other state folders may use the same storage, so each has its own path.
    return LocalFiles(home.recordings) if storage is None else StoredFiles(storage, f"requests/{home.identity()}")
