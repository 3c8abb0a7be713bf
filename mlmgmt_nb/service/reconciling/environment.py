"""The environment variables that a service sets for its driver."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.scoring.recording.settings import FOLDER, SETTINGS, STORAGE, RecordingSettings
from mlmgmt_nb.service.files.recording_files import LocalFiles, StoredFiles
from mlmgmt_nb.service.reconciling.specs import cpus

__all__ = ["driver_environment", "recording_of"]


def driver_environment(spec: ServiceCreate, version: int, data_storage: str | None) -> dict[str, str]:
    """Return the environment variables of a replica: those of the service, and those that drivers of 2017 use.

    Args:
        version: version of the image.
        data_storage: the place for collected data, if it is not the state folder.
    """
    collects = bool(spec.data_collection and spec.data_collection.storage_enabled)
    known = {
        "SERVICE_NAME": spec.name,
        "SERVICE_PATH_PREFIX": f"/api/v1/service/{spec.name}",
        "SERVICE_VERSION": str(version),
        "AML_APP_INSIGHTS_ENABLED": str(bool(spec.app_insights_enabled)).lower(),
        "AML_MODEL_DC_STORAGE_ENABLED": str(collects).lower(),
    }
    if data_storage is not None:
        known["AML_MODEL_DC_STORAGE"] = data_storage
    reserved = cpus(spec)
    # Numeric libraries use all cores by default: limit a replica with a reservation to its share.
    threads = {"OMP_NUM_THREADS": str(max(1, round(reserved)))} if reserved is not None else {}
    chosen = {name: value for name, value in (spec.environment or {}).items() if value is not None}
    return threads | chosen | known


class RecordingParameters(NamedTuple):
    """The parameters for recording requests: variables, some of which are secret, and a folder of this machine."""

    environment: dict[str, str]
    secrets: dict[str, str]
    folder: Path | None = None


def recording_of(
    spec: ServiceCreate, deployment_id: str, service_id: str, files: LocalFiles | StoredFiles
) -> RecordingParameters:
    """Return the parameters for recording requests; empty if they are not recorded.

    Args:
        service_id: the service for which requests are recorded.
        files: the files of recorded requests.
    """
    recording = spec.recording
    if recording is None or not recording.enabled:
        return RecordingParameters({}, {})
    settings = RecordingSettings(
        deployment_id,
        sample=1.0 if recording.sample is None else recording.sample,
        redact=recording.redact or [],
        max_age_seconds=recording.age,
        max_bytes=recording.size,
    )
    variables = {SETTINGS: msgspec.json.encode(settings).decode()}
    if isinstance(files, LocalFiles):
        return RecordingParameters(variables, {}, files.prepare(service_id))
    return RecordingParameters(variables | {FOLDER: files.folder_of(service_id)}, {STORAGE: files.where})
