"""The resource types of the Model Management API, with their limits.

Every type is a `msgspec.Struct` whose Python names are snake_case and whose wire names are camelCase. An optional
property may be left out or be null; both mean "not set" (`None`). Answers carry every property, null where it is not
set: clients of 2017 read many of them without checking. Only `next_link` of a page is left out when there is no next
page.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mlmgmt_nb.contract.limits import Cpu, Memory, Name, NonEmpty

__all__ = [
    "Asset",
    "AsyncOperationState",
    "AsyncOperationStatus",
    "AuthKeys",
    "AutoScaler",
    "ComputeResource",
    "ContainerResourceReservation",
    "Deployment",
    "ErrorDetail",
    "ErrorResponse",
    "Image",
    "ImageRequest",
    "ImageType",
    "Manifest",
    "Model",
    "ModelDataCollection",
    "PaginatedImageList",
    "PaginatedManifestList",
    "PaginatedModelList",
    "PaginatedServiceList",
    "ServiceCreateRequest",
    "ServiceRegenerateKeyRequest",
    "ServiceResponse",
    "ServiceUpdateRequest",
    "TargetRuntime",
    "UtcTime",
    "Wire",
]

AsyncOperationState = Literal["NotStarted", "Running", "Cancelled", "Succeeded", "Failed"]
ImageType = Literal["Docker"]

# Not `tz=True`: some servers leave the `Z` out, and mean UTC all the same.
UtcTime = Annotated[dt.datetime, Meta(extra_json_schema={"format": "date-time"})]


def _about(description: str, *, read_only: bool = False) -> Meta:
    return Meta(description=description, extra_json_schema={"readOnly": True} if read_only else None)


class Wire(Struct, rename="camel", frozen=True):
    """Base of all types that go over the wire: immutable values with camelCase names, made by keyword."""


class ErrorDetail(Wire, frozen=True, kw_only=True):
    """One part of an error."""

    code: Annotated[str, _about("A code for programs.")]
    message: Annotated[str, _about("What is wrong; starts with the JSON path of the field where there is one.")]


class ErrorResponse(Wire, frozen=True, kw_only=True):
    """An error, as every failed request and every failed operation carries it."""

    code: Annotated[str, _about("A code for programs.")]
    message: Annotated[str, _about("What is wrong, for people.")]
    status_code: Annotated[int | None, _about("The HTTP status that goes with it.")] = None
    details: Annotated[list[ErrorDetail] | None, _about("Its parts.")] = None


class Asset(Wire, frozen=True, kw_only=True):
    """A file that goes into an image: the driver, a schema, a dependency."""

    id: Annotated[str | None, _about("Name by which the manifest refers to it.")] = None
    mime_type: Annotated[str | None, _about("Media type of the content.")] = None
    unpack: Annotated[bool | None, _about("Whether the content is an archive that the build unpacks.")] = None
    url: Annotated[str | None, _about("Where the content is.")] = None


class Model(Wire, frozen=True, kw_only=True):
    """A registered model: one version of a name."""

    mime_type: Annotated[str, _about("Media type of the content.")]
    name: Annotated[str, _about("Its name; registering the name again makes the next version.")]
    url: Annotated[str, _about("Where the content is.")]
    id: Annotated[str | None, _about("Its id, a UUID.", read_only=True)] = None
    version: Annotated[int | None, _about("Its version; the service counts from 1.", read_only=True)] = None
    created_at: Annotated[UtcTime | None, _about("When it was registered (UTC).", read_only=True)] = None
    description: Annotated[str | None, _about("Free text.")] = None
    tags: Annotated[list[str] | None, _about("Its tags.")] = None
    unpack: Annotated[bool | None, _about("Whether the content is an archive that the build unpacks.")] = None


class TargetRuntime(Wire, frozen=True, kw_only=True):
    """What the driver runs on."""

    properties: Annotated[dict[str, str], _about("Settings by name, such as `pipRequirements` and `condaEnvFile`.")]
    runtime_type: Annotated[Literal["SparkPython", "Python"], _about("Kind of runtime.")]


class Manifest(Wire, frozen=True, kw_only=True):
    """What an image is built from: models, driver, files and runtime."""

    assets: Annotated[list[Asset], _about("Its files.")]
    driver_program: Annotated[str, _about("Id of the asset that is the driver.")]
    name: Annotated[str, _about("Its name; registering the name again makes the next version.")]
    target_runtime: Annotated[TargetRuntime, _about("What the driver runs on.")]
    id: Annotated[str | None, _about("Its id.")] = None
    version: Annotated[int | None, _about("Its version; the service counts from 1.", read_only=True)] = None
    created_time: Annotated[UtcTime | None, _about("When it was registered (UTC).", read_only=True)] = None
    description: Annotated[str | None, _about("Free text.")] = None
    model_ids: Annotated[list[str] | None, _about("Ids of its models, which must be registered.")] = None
    model_type: Annotated[Literal["Registered"] | None, _about("Says that the models are registered ones.")] = None
    webservice_type: Annotated[Literal["Realtime"] | None, _about("Kind of web service that it is for.")] = None


class ImageRequest(Wire, frozen=True, kw_only=True):
    """A request for an image."""

    compute_resource_id: Annotated[NonEmpty, _about("Compute to build it for.")]
    image_type: Annotated[ImageType, _about("Kind of image.")]
    manifest_id: Annotated[NonEmpty, _about("Manifest to build it from.")]
    name: Annotated[Name, _about("Its name; using the name again makes the next version.")]
    description: Annotated[str | None, _about("Free text.")] = None


class Image(Wire, frozen=True, kw_only=True):
    """An image: one version of a name."""

    id: Annotated[str | None, _about("Its id.")] = None
    name: Annotated[str | None, _about("Its name.")] = None
    version: Annotated[int | None, _about("Its version; the service counts from 1.")] = None
    created_time: Annotated[UtcTime | None, _about("When it was requested (UTC).")] = None
    creation_state: Annotated[AsyncOperationState | None, _about("How far the build is.")] = None
    description: Annotated[str | None, _about("Free text.")] = None
    error: Annotated[ErrorResponse | None, _about("Why the build failed.")] = None
    compute_resource_id: Annotated[str | None, _about("Compute that it is built for.")] = None
    image_type: Annotated[ImageType | None, _about("Kind of image.")] = None
    image_location: Annotated[str | None, _about("Where the image is.")] = None
    image_build_log_uri: Annotated[str | None, _about("Where the log of the build is.")] = None
    manifest: Annotated[Manifest | None, _about("The manifest that it is built from.")] = None


class ComputeResource(Wire, frozen=True, kw_only=True):
    """Where a service runs."""

    id: Annotated[str | None, _about("Its id.")] = None
    type: Annotated[Literal["Cluster"] | None, _about("Kind of compute.")] = None


class ContainerResourceReservation(Wire, frozen=True, kw_only=True):
    """What is reserved for one replica."""

    cpu: Annotated[Cpu | None, _about("CPUs in Kubernetes notation, such as `500m`.")] = None
    memory: Annotated[Memory | None, _about("Memory in Kubernetes notation, such as `300Mi`.")] = None


class ModelDataCollection(Wire, frozen=True, kw_only=True):
    """Where the inputs and outputs of the models are collected."""

    event_hub_enabled: Annotated[bool | None, _about("Whether they go to an event hub.")] = None
    storage_enabled: Annotated[bool | None, _about("Whether they go to storage.")] = None


class AutoScaler(Wire, frozen=True, kw_only=True):
    """How the number of replicas follows the load. Not set: 1 to 10 replicas, every second, at 70 %."""

    autoscale_enabled: Annotated[bool | None, _about("Whether it is on.")] = None
    min_replicas: Annotated[Annotated[int, Meta(ge=0)] | None, _about("Fewest replicas.")] = None
    max_replicas: Annotated[
        Annotated[int, Meta(ge=1)] | None, _about("Most replicas; ignored if below the fewest.")
    ] = None
    refresh_period_in_seconds: Annotated[Annotated[int, Meta(ge=1)] | None, _about("Seconds between decisions.")] = None
    target_utilization: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None, _about("Utilization, in percent, that it aims at.")
    ] = None


class _Settings(Wire, frozen=True, kw_only=True):
    """What a service can be asked to do, at its creation or later."""

    app_insights_enabled: Annotated[bool | None, _about("Whether telemetry goes to Application Insights.")] = None
    auto_scaler: Annotated[AutoScaler | None, _about("Autoscaling.")] = None
    container_resource_reservation: Annotated[
        ContainerResourceReservation | None, _about("What is reserved for each replica.")
    ] = None
    data_collection: Annotated[ModelDataCollection | None, _about("Data collection.")] = None
    max_concurrent_requests_per_container: Annotated[
        Annotated[int, Meta(ge=1)] | None, _about("Most requests that a replica accepts at once.")
    ] = None
    num_replicas: Annotated[Annotated[int, Meta(ge=0)] | None, _about("Number of replicas.")] = None


class _RequestedSettings(_Settings, frozen=True, kw_only=True):
    """Settings as a request has them: a fixed number of replicas and an enabled autoscaler exclude each other."""

    def __post_init__(self) -> None:
        if self.num_replicas is not None and self.auto_scaler is not None and self.auto_scaler.autoscale_enabled:
            raise ValueError("numReplicas and an enabled autoScaler exclude each other: leave one of them out")


class ServiceCreateRequest(_RequestedSettings, frozen=True, kw_only=True):
    """A request for a service."""

    compute_resource: Annotated[ComputeResource, _about("Where it is to run.")]
    image_id: Annotated[NonEmpty, _about("Image to run.")]
    name: Annotated[Name, _about("Its name, unique in the account.")]


class ServiceUpdateRequest(_RequestedSettings, frozen=True, kw_only=True):
    """Changes of a service: what is not set stays as it is."""

    image_id: Annotated[str | None, _about("Image to run.")] = None


class ServiceResponse(_Settings, frozen=True, kw_only=True):
    """A service."""

    compute_resource: Annotated[ComputeResource, _about("Where it runs.")]
    id: Annotated[str | None, _about("Its id.")] = None
    name: Annotated[str | None, _about("Its name.")] = None
    state: Annotated[AsyncOperationState | None, _about("State of its last operation.")] = None
    created_at: Annotated[UtcTime | None, _about("When it was created (UTC).")] = None
    updated_at: Annotated[UtcTime | None, _about("When it was last updated (UTC).")] = None
    scoring_uri: Annotated[str | None, _about("Where to send data for scoring.")] = None
    image: Annotated[Image | None, _about("The image that it runs.")] = None
    manifest: Annotated[Manifest | None, _about("The manifest of that image.")] = None
    models: Annotated[list[Model] | None, _about("Its models.")] = None
    error: Annotated[ErrorResponse | None, _about("What is wrong with it.")] = None


class ServiceRegenerateKeyRequest(Wire, frozen=True, kw_only=True):
    """A request for a new key."""

    key_type: Annotated[Literal["Primary", "Secondary"] | None, _about("Which key; the primary when not set.")] = None


class AuthKeys(Wire, frozen=True, kw_only=True):
    """The keys of a service; either one opens its scoring URL. Not shown by `repr`."""

    primary_key: Annotated[str | None, _about("First key.")] = None
    secondary_key: Annotated[str | None, _about("Second key.")] = None

    def __repr__(self) -> str:
        return "AuthKeys(primary_key=***, secondary_key=***)"

    def __rich_repr__(self) -> Any:
        yield "primary_key", "***"
        yield "secondary_key", "***"


class Deployment(Wire, frozen=True, kw_only=True):
    """One deployment of a service: what ran from when to when."""

    id: Annotated[str | None, _about("Its id.")] = None
    service_name: Annotated[str | None, _about("Name of its service.")] = None
    image_id: Annotated[str | None, _about("Image that it runs.")] = None
    status: Annotated[str | None, _about("Its status.")] = None
    created_at: Annotated[UtcTime | None, _about("When it was created (UTC).", read_only=True)] = None
    expired_at: Annotated[UtcTime | None, _about("When it expired (UTC).", read_only=True)] = None


class AsyncOperationStatus(Wire, frozen=True, kw_only=True):
    """An operation: how far an asynchronous request is."""

    id: Annotated[str | None, _about("Its id.")] = None
    operation_type: Annotated[Literal["Image", "Service"] | None, _about("Kind of resource that it works on.")] = None
    state: Annotated[AsyncOperationState | None, _about("How far it is.")] = None
    created_time: Annotated[UtcTime | None, _about("When it was created (UTC).", read_only=True)] = None
    end_time: Annotated[UtcTime | None, _about("When it ended (UTC).", read_only=True)] = None
    resource_location: Annotated[str | None, _about("The resource that it creates or updates.")] = None
    error: Annotated[ErrorResponse | None, _about("Why it failed.")] = None


_NextLink = Annotated[
    str, Meta(description="Absolute URL of the next page; absent on the last.", extra_json_schema={"format": "uri"})
]


class PaginatedModelList(Wire, frozen=True, kw_only=True):
    """A page of models."""

    value: Annotated[list[Model], _about("The models.")] = []
    next_link: _NextLink | UnsetType = UNSET


class PaginatedManifestList(Wire, frozen=True, kw_only=True):
    """A page of manifests."""

    value: Annotated[list[Manifest], _about("The manifests.")] = []
    next_link: _NextLink | UnsetType = UNSET


class PaginatedImageList(Wire, frozen=True, kw_only=True):
    """A page of images."""

    value: Annotated[list[Image], _about("The images.")] = []
    next_link: _NextLink | UnsetType = UNSET


class PaginatedServiceList(Wire, frozen=True, kw_only=True):
    """A page of services."""

    value: Annotated[list[ServiceResponse], _about("The services.")] = []
    next_link: _NextLink | UnsetType = UNSET
