"""Specs of services: defaults, updates, and unsupported settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mlmgmt_nb.contract import AutoScaler, ServiceCreateRequest
from mlmgmt_nb.contract.extensions import ServiceCreate, ServiceUpdate
from mlmgmt_nb.contract.limits import MAX_ITEMS, Defaults
from mlmgmt_nb.contract.variables import check_variables
from mlmgmt_nb.service.http.problems import bad_field, conflict, invalid

__all__ = [
    "Scaling",
    "Secrets",
    "changed",
    "check_supported",
    "check_supported_by_clusters",
    "cpus",
    "memory_bytes",
    "replica_bounds",
    "replica_count",
    "restored",
    "scaling",
    "slots",
    "stored",
]

T = TypeVar("T")


class Scaling(msgspec.Struct, frozen=True):
    """The settings of an enabled autoscaler with the API's defaults; `target` is a fraction."""

    minimum: int
    maximum: int
    refresh_seconds: float
    target: float


def _is_scaled(spec: ServiceCreateRequest) -> bool:
    """Return whether the autoscaler of a service is enabled."""
    return spec.auto_scaler is not None and bool(spec.auto_scaler.autoscale_enabled)


def scaling(spec: ServiceCreateRequest) -> Scaling | None:
    """Return the autoscaler of a service, or None if the number of replicas is fixed."""
    given = spec.auto_scaler
    if given is None or not _is_scaled(spec):
        return None
    minimum = _or(given.min_replicas, Defaults.min_replicas)
    maximum = _or(given.max_replicas, Defaults.max_replicas)
    return Scaling(
        minimum=minimum,
        # A maximum below the minimum is ignored, as in the original service.
        maximum=maximum if maximum >= minimum else minimum,
        refresh_seconds=float(given.refresh_period_in_seconds or Defaults.refresh_period_in_seconds),
        target=_or(given.target_utilization, Defaults.target_utilization) / 100,
    )


def _or(value: int | None, default: int) -> int:
    """Return a value, which may be 0, or the default if it is not set."""
    return default if value is None else value


def replica_bounds(spec: ServiceCreateRequest) -> tuple[int, int]:
    """Return the minimum and maximum number of replicas of a service."""
    if auto := scaling(spec):
        return auto.minimum, auto.maximum
    fixed = _or(spec.num_replicas, Defaults.replicas)
    return fixed, fixed


def replica_count(spec: ServiceCreateRequest, scale: int | None) -> int:
    """Return the desired number of replicas. `scale` is the last decision of the autoscaler, if any."""
    return scale if scale is not None and _is_scaled(spec) else replica_bounds(spec)[0]


def slots(spec: ServiceCreateRequest) -> int:
    """Return the maximum concurrent requests of one replica."""
    return spec.max_concurrent_requests_per_container or Defaults.max_concurrent_requests


Secrets = dict[str, str]


def stored(request: ServiceCreate) -> tuple[ServiceCreate, Secrets]:
    """Return the spec to store for a new service, without its secrets, and the secrets."""
    return _split(msgspec.structs.replace(request, environment=None, secrets=None, reason=None), {}, {}, request)


def changed(spec: ServiceCreate, secrets: Secrets, update: ServiceUpdate) -> tuple[ServiceCreate, Secrets]:
    """Return the spec and the secrets after an update, which keeps settings that it does not set, also nested ones.

    Raises:
        Problem: 400, when a fixed number of replicas conflicts with an enabled autoscaler, or there are too many
            variables.
    """
    if update.num_replicas is not None and scaling(spec) and not _switches_autoscaler(update):
        raise bad_field(
            "$.numReplicas", "the autoscaler of this service is enabled; also send autoScaler.autoscaleEnabled false."
        )
    without = msgspec.structs.replace(update, environment=None, secrets=None, reason=None)
    merged = _merged(msgspec.to_builtins(spec), msgspec.to_builtins(without))
    if update.auto_scaler is not None and update.auto_scaler.autoscale_enabled:
        merged["numReplicas"] = None
    try:
        settings = msgspec.convert(merged, ServiceCreate)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    return _split(settings, spec.environment or {}, secrets, update)


def restored(spec: ServiceCreate, secrets: Secrets) -> tuple[ServiceCreate, Secrets]:
    """Return the spec and the secrets of a service that returns to an earlier spec. Secrets keep their current values,
    unless the spec has variables of these names.
    """
    return spec, {name: value for name, value in secrets.items() if name not in (spec.environment or {})}


def _split(
    settings: ServiceCreate,
    environment: Mapping[str, str | None],
    secrets: Secrets,
    given: ServiceCreate | ServiceUpdate,
) -> tuple[ServiceCreate, Secrets]:
    """Return the settings with the variables after a request, and the secrets. No name is in both."""
    new_environment, new_secrets = given.environment or {}, given.secrets or {}
    variables = _changed(environment, new_environment, new_secrets)
    hidden = _changed(secrets, new_secrets, new_environment)
    for name, found in (("environment", variables), ("secrets", hidden)):
        if len(found) > MAX_ITEMS[name]:
            raise bad_field(f"$.{name}", f"has {len(found):,} items; the maximum is {MAX_ITEMS[name]:,}.", "TooLong")
    try:
        check_variables(variables, hidden)
    except ValueError as error:
        raise bad_field("$", str(error)) from None
    return msgspec.structs.replace(settings, environment=variables or None, secrets=None), hidden


def _changed(old: Mapping[str, str | None], new: Mapping[str, str | None], others: Mapping[str, str | None]) -> Secrets:
    """Return variables after a change. A variable is removed by None, or by a value for its name among `others`."""
    moved = {name for name, value in others.items() if value is not None}
    merged = {name: value for name, value in old.items() if name not in moved} | dict(new)
    return {name: value for name, value in merged.items() if value is not None}


def _switches_autoscaler(update: ServiceUpdate) -> bool:
    return isinstance(update.auto_scaler, AutoScaler) and update.auto_scaler.autoscale_enabled is not None


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            result[name] = _merged(old[name], value)
        elif value is not None:
            result[name] = value
    return result


def check_supported(spec: ServiceCreateRequest) -> None:
    """Refuse settings that this service does not support, instead of ignoring them.

    Raises:
        Problem: 409: the request is valid, but this service does not support it.
    """
    if spec.data_collection is not None and spec.data_collection.event_hub_enabled:
        message = "$.dataCollection.eventHubEnabled: event hubs are not supported here; use storageEnabled."
        raise conflict("NoEventHub", message)


def check_supported_by_clusters(
    spec: ServiceCreate,
    data_storage: str | None,
    recording_storage: str | None,
    *,
    scales_itself: bool,
    is_exposed: bool,
) -> None:
    """Refuse settings that a cluster does not support, instead of ignoring them.

    Args:
        data_storage: the place for collected data, if it is not the state folder.
        recording_storage: the place for recorded requests, if it is not the state folder.
        scales_itself: whether the autoscaler of the cluster decides.
        is_exposed: whether requests go to the cluster directly, and so cannot wake a service.

    Raises:
        Problem: 409.
    """
    auto = scaling(spec)
    if scales_itself and auto is not None:
        _check_scalable(spec, auto)
    if is_exposed and auto is not None and auto.minimum == 0:
        message = "$.autoScaler.minReplicas: only requests at the front door wake a service; use 1 with expose."
        raise conflict("NoAutoscaler", message)
    _check_storage(spec, data_storage, recording_storage)


def _check_scalable(spec: ServiceCreateRequest, auto: Scaling) -> None:
    """Refuse settings that the autoscaler of a cluster does not support.

    Raises:
        Problem: 409.
    """
    where = "the autoscaler of this cluster (hpa in its settings)"
    if auto.minimum == 0 or auto.target == 0:
        field = "minReplicas" if auto.minimum == 0 else "targetUtilization"
        raise conflict("NoAutoscaler", f"$.autoScaler.{field}: {where} needs at least 1.")
    if spec.auto_scaler is not None and spec.auto_scaler.refresh_period_in_seconds is not None:
        message = f"$.autoScaler.refreshPeriodInSeconds: {where} has its own period; omit this setting."
        raise conflict("NoAutoscaler", message)
    if cpus(spec) is None:
        message = f"$.containerResourceReservation.cpu: {where} compares the used CPU with this reservation; set it."
        raise conflict("NoAutoscaler", message)


def _check_storage(spec: ServiceCreate, data_storage: str | None, recording_storage: str | None) -> None:
    """Refuse to write to a folder of this service, which the pods of a cluster cannot reach.

    Raises:
        Problem: 409.
    """
    if spec.recording is not None and spec.recording.enabled and recording_storage is None:
        message = (
            "$.recording.enabled: pods of a cluster cannot write to a folder of this service; start it with a storage "
            "URL in MLMGMT_RECORDING_STORAGE."
        )
        raise conflict("NoRecording", message)
    collects = spec.data_collection is not None and spec.data_collection.storage_enabled
    if collects and (data_storage is None or data_storage.startswith(("/", "file:"))):
        message = (
            "$.dataCollection.storageEnabled: pods of a cluster cannot write to a folder of this service; start it "
            "with a storage URL in MLMGMT_DATA_STORAGE."
        )
        raise conflict("NoDataStorage", message)


_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_FACTORS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def cpus(spec: ServiceCreateRequest) -> float | None:
    """Return the CPUs reserved for each replica."""
    reserved = spec.container_resource_reservation
    if reserved is None or reserved.cpu is None:
        return None
    return int(reserved.cpu[:-1]) / 1000 if reserved.cpu.endswith("m") else float(reserved.cpu)


def memory_bytes(spec: ServiceCreateRequest) -> int | None:
    """Return the bytes of memory reserved for each replica."""
    reserved = spec.container_resource_reservation
    if reserved is None or reserved.memory is None:
        return None
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", reserved.memory).groups()  # type: ignore[union-attr]
    return math.ceil(float(number) * _FACTORS[unit])
