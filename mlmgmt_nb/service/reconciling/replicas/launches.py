"""The parameters for starting a replica, from the rows of its service and image."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.compute.base import Launch
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.recording_files import LocalFiles, StoredFiles
from mlmgmt_nb.service.reconciling.environment import driver_environment, recording_of
from mlmgmt_nb.service.reconciling.keys import digests
from mlmgmt_nb.service.reconciling.specs import cpus, memory_bytes, slots
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["Launches"]


class Launches:
    """Makes the parameters of replicas."""

    def __init__(self, store: Store, home: Home, settings: Settings, recordings: LocalFiles | StoredFiles) -> None:
        self._store = store
        self._home = home
        self._settings = settings
        self._recordings = recordings

    def launch(self, row: Row[Any], deployment_id: str, log: Log) -> Launch:
        """Return the parameters for a replica of a deployment: the target or the current one of the service."""
        is_target = deployment_id == row.target_id
        spec: ServiceCreate = row.target_spec if is_target else row.serving_spec
        images = schema.images
        with self._store.reading() as db:
            image = db.execute(select(images).where(images.c.id == spec.image_id)).one()
        # A candidate records requests under its service, so that promoted replicas can continue.
        recording = recording_of(spec, deployment_id, row.candidate_of or row.id, self._recordings)
        return Launch(
            service_id=row.id,
            deployment_id=deployment_id,
            name=spec.name or row.name,
            account=row.account,
            context=self._home.images / image.id,
            interpreter=image.interpreter,
            key_digests=digests(row),
            environment=driver_environment(spec, image.version, self._settings.data_storage) | recording.environment,
            secrets=((row.target_secrets if is_target else row.serving_secrets) or {}) | recording.secrets,
            data=self._home.data,
            recordings=recording.folder,
            slots=slots(spec),
            allowed_hosts=self._settings.answered_hosts,
            cpus=cpus(spec),
            memory_bytes=memory_bytes(spec),
            log=log,
            candidate_of=row.candidate_of,
        )
