"""Admission of services to computes: a service has to fit beside the others, and its settings have to be supported."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters
from mlmgmt_nb.service.compute_ids import DOCKER
from mlmgmt_nb.service.docker_engine import Engine
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.http.problems import conflict
from mlmgmt_nb.service.reconciling.capacity import Reservations, check_capacity, reserved_replicas
from mlmgmt_nb.service.reconciling.specs import check_supported_by_clusters
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema

__all__ = ["ServiceAdmission"]


class ServiceAdmission:
    """Admit services to computes.

    Args:
        computes: the computes whose replicas this service starts.
        clusters: the clusters of the settings.
        engine: the Docker engine.
        home: the state folder, with the images.
        settings: settings of the service process.
    """

    def __init__(self, computes: Computes, clusters: Clusters, engine: Engine, home: Home, settings: Settings) -> None:
        self._computes = computes
        self._clusters = clusters
        self._engine = engine
        self._home = home
        self._settings = settings

    def check(self, db: Connection, spec: ServiceCreate, compute_id: str, service_id: str) -> None:
        """Refuse replicas and reservations that exceed the capacity left by other services. On a cluster, its scheduler
        decides on these; settings that a cluster does not support are refused.

        Raises:
            Problem: 409, with the capacity and the amount that is already reserved.
        """
        if compute_id not in self._computes:
            self._check_cluster(spec, compute_id)
            return
        if spec.recording is not None and spec.recording.enabled:
            self._check_recording(spec.image_id, compute_id)
        check_capacity(spec, _reserved(db, compute_id, service_id), self._computes[compute_id].capacity())

    def _check_cluster(self, spec: ServiceCreate, compute_id: str) -> None:
        cluster = self._clusters.current().get(compute_id)
        if cluster is None:
            if cause := self._clusters.unavailable().get(compute_id):
                raise conflict(cause.code, cause.message)
            where = self._settings.clusters_file
            raise conflict("NoCompute", f"Cluster {compute_id!r} is no longer in {where}: restore it there.")
        check_supported_by_clusters(
            spec,
            self._settings.data_storage,
            self._settings.recording_storage,
            scales_itself=cluster.scales_itself,
            is_exposed=cluster.is_exposed,
        )

    def _check_recording(self, image_id: str, compute_id: str) -> None:
        """Refuse to record requests if the engine or the image of the service cannot do this."""
        is_local = self._settings.recording_storage is None
        if compute_id == DOCKER and is_local and not self._engine.shares_files():
            message = (
                "$.recording.enabled: the Docker engine runs elsewhere, and its containers cannot write here. Start "
                "the service with MLMGMT_RECORDING_STORAGE."
            )
            raise conflict("NoRecording", message)
        runtime = self._home.images / image_id / "runtime" / "mlmgmt_nb"
        if runtime.exists() and not (runtime / "scoring" / "recording").exists():
            message = (
                "$.recording.enabled: this image was built by an earlier version, which does not record requests; "
                "create a new image from its manifest."
            )
            raise conflict("NoRecording", message)


def _reserved(db: Connection, compute_id: str, service_id: str) -> Reservations:
    """Return the reservations of the other services on a compute, with those of replicas kept for a rollback."""
    services, deployments = schema.services, schema.deployments
    others = db.execute(
        select(deployments.c.spec, services.c.scale, deployments.c.change)
        .join(services, func.coalesce(services.c.target_id, services.c.deployment_id) == deployments.c.id)
        .where(services.c.compute_id == compute_id, services.c.id != service_id, ~services.c.deleting)
        .where(services.c.target_id.is_not(None) | (deployments.c.status == "Active"))
    ).all()
    reserved = [(other.spec, reserved_replicas(other.spec, other.scale)) for other in others]
    kept = [other.change.replaces for other in others if other.change is not None and other.change.keeps(now())]
    of_kept = select(deployments.c.spec).where(deployments.c.id.in_(kept))
    return reserved + [(spec, reserved_replicas(spec, None)) for spec in (db.scalars(of_kept) if kept else ())]
