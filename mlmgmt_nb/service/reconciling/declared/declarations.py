"""Declarations, made from the rows of services and images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select

from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.compute.declared.protocol import Bounds, Declaration
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.recording_files import LocalFiles, StoredFiles
from mlmgmt_nb.service.reconciling.environment import driver_environment, recording_of
from mlmgmt_nb.service.reconciling.keys import digests
from mlmgmt_nb.service.reconciling.specs import replica_count, scaling, slots
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["Declarations"]

_PASSED_ON = ("APPLICATIONINSIGHTS_CONNECTION_STRING", "AML_APP_INSIGHTS_KEY")
"""Variables of the service's environment that replicas also get, as secrets."""


class Declarations:
    """Makes declarations."""

    def __init__(self, store: Store, home: Home, settings: Settings, recordings: LocalFiles | StoredFiles) -> None:
        self._store = store
        self._home = home
        self._settings = settings
        self._recordings = recordings
        self._images: dict[str, tuple[str, int]] = {}

    def make(self, row: Row[Any], deployment_id: str) -> Declaration:
        """Return the declaration of a deployment: the target or the current one of the service.

        Raises:
            BuildError: its image is damaged, or is not in a registry.
        """
        spec: ServiceCreate = row.target_spec if deployment_id == row.target_id else row.serving_spec
        reference, version = self._image(spec.image_id)
        reserved = spec.container_resource_reservation
        recording = recording_of(spec, deployment_id, row.candidate_of or row.id, self._recordings)
        return Declaration(
            service_id=row.id,
            deployment_id=deployment_id,
            name=row.name,
            image=reference,
            replicas=replica_count(spec, row.scale),
            bounds=_bounds(spec),
            key_digests=digests(row),
            environment=driver_environment(spec, version, self._settings.data_storage) | recording.environment,
            secrets=_secrets(row, recording.secrets),
            slots=slots(spec),
            cpu=reserved.cpu if reserved else None,
            memory=reserved.memory if reserved else None,
            start_seconds=self._settings.start_timeout,
            drain_seconds=self._settings.drain_timeout,
            hang_seconds=self._settings.hang_timeout,
            is_candidate=row.candidate_of is not None,
        )

    def _image(self, image_id: str) -> tuple[str, int]:
        """Return the exact reference of an image, which never changes, and its version."""
        if image_id not in self._images:
            images = schema.images
            with self._store.reading() as db:
                version = db.scalar(select(images.c.version).where(images.c.id == image_id)) or 0
            built = BuiltImage.of(self._home.images / image_id)
            if built is None or built.pull_reference is None:
                message = "The image was not pushed to a registry. Create it again for this compute."
                raise BuildError("NotInRegistry", message)
            self._images[image_id] = built.pull_reference, version
        return self._images[image_id]


def _bounds(spec: ServiceCreate) -> Bounds | None:
    auto = scaling(spec)
    return Bounds(auto.minimum, auto.maximum, round(auto.target * 100)) if auto else None


def _secrets(row: Row[Any], more: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return the secrets of the current deployment and of the target, by deployment: both may have replicas.

    Args:
        more: further secrets, which both get.
    """
    passed_on = {**more, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
    found: dict[str, Mapping[str, str]] = {row.deployment_id: passed_on | (row.serving_secrets or {})}
    if row.target_id is not None:
        found[row.target_id] = passed_on | (row.target_secrets or {})
    return found
