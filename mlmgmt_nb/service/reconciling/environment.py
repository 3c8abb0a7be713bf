"""The environment variables of a driver that its service decides on."""

from __future__ import annotations

from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.reconciling.specs import cpus

__all__ = ["driver_environment"]


def driver_environment(spec: ServiceCreate, version: int, data_storage: str | None) -> dict[str, str]:
    """Return the environment variables of a replica: those of the service, and those that drivers of 2017 use.

    Args:
        version: version of the image.
        data_storage: the place for collected data, if not the folder of the service.
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
