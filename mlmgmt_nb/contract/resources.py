"""The resource types of the Model Management API, with their limits.

Every type is a `msgspec.Struct` with snake_case names in Python and camelCase names on the wire. An optional
property may be omitted or null; both mean "not set" (`None`). Responses contain every property, with null if it is not
set, because clients of 2017 read many properties without checking. Only `next_link` is omitted, on the last page.
"""

import datetime as dt
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mlmgmt_nb.contract.limits import Cpu, Memory, Name, NonEmpty
from mlmgmt_nb.short_repr import ShortRepr

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

# Not `tz=True`: some servers omit the `Z` of UTC times.
UtcTime = Annotated[dt.datetime, Meta(extra_json_schema={"format": "date-time"})]


def _about(description: str, *, read_only: bool = False) -> Meta:
    return Meta(description=description, extra_json_schema={"readOnly": True} if read_only else None)


class Wire(Struct, rename="camel", frozen=True, gc=False):
    """Base class of wire types: immutable, with camelCase names on the wire. They have no reference cycles, so the
    garbage collector need not visit them: lists have thousands.
    """


class _Resource(ShortRepr):
    """Base class of resources. Their `repr` shows the identifying properties and the state."""

    __slots__ = ()

    SHOWN = (
        *("operation_type", "name", "service_name", "version", "archived"),
        *("state", "creation_state", "status", "id", "scoring_uri"),
    )


class ErrorDetail(Wire, frozen=True, kw_only=True):
    """One part of an error."""

    code: Annotated[str, _about("Machine-readable code.")]
    message: Annotated[str, _about("Human-readable message; starts with the JSON path of the field, if any.")]


class ErrorResponse(Wire, frozen=True, kw_only=True):
    """The error of a failed request or a failed operation."""

    code: Annotated[str, _about("Machine-readable code.")]
    message: Annotated[str, _about("Human-readable message.")]
    status_code: Annotated[int | None, _about("HTTP status of the error.")] = None
    details: Annotated[list[ErrorDetail] | None, _about("Details of the error.")] = None


class Asset(Wire, frozen=True, kw_only=True):
    """A file that goes into an image: the driver, a schema, a dependency."""

    id: Annotated[str | None, _about("Name that the manifest uses for the asset.")] = None
    mime_type: Annotated[str | None, _about("Media type of the content.")] = None
    unpack: Annotated[bool | None, _about("Whether the build unpacks the content, an archive.")] = None
    url: Annotated[str | None, _about("URL of the content.")] = None


class Model(_Resource, Wire, frozen=True, kw_only=True):
    """A registered model: one version of a named model."""

    mime_type: Annotated[str, _about("Media type of the content.")]
    name: Annotated[str, _about("Name; registering it again creates the next version.")]
    url: Annotated[str, _about("URL of the content.")]
    id: Annotated[str | None, _about("Id, a UUID.", read_only=True)] = None
    version: Annotated[int | None, _about("Version; the service counts from 1.", read_only=True)] = None
    created_at: Annotated[UtcTime | None, _about("Time of registration (UTC).", read_only=True)] = None
    description: Annotated[str | None, _about("Free text.")] = None
    tags: Annotated[list[str] | None, _about("Tags.")] = None
    unpack: Annotated[bool | None, _about("Whether the build unpacks the content, an archive.")] = None


class TargetRuntime(Wire, frozen=True, kw_only=True):
    """The runtime of the driver."""

    properties: Annotated[dict[str, str], _about("Settings by name, such as `pipRequirements` and `condaEnvFile`.")]
    runtime_type: Annotated[Literal["SparkPython", "Python"], _about("Kind of runtime.")]


class Manifest(_Resource, Wire, frozen=True, kw_only=True):
    """The input of an image build: models, driver, files and runtime."""

    assets: Annotated[list[Asset], _about("Files of the image.")]
    driver_program: Annotated[str, _about("Id of the asset that is the driver.")]
    name: Annotated[str, _about("Name; registering it again creates the next version.")]
    target_runtime: Annotated[TargetRuntime, _about("Runtime of the driver.")]
    id: Annotated[str | None, _about("Id.")] = None
    version: Annotated[int | None, _about("Version; the service counts from 1.", read_only=True)] = None
    created_time: Annotated[UtcTime | None, _about("Time of registration (UTC).", read_only=True)] = None
    description: Annotated[str | None, _about("Free text.")] = None
    model_ids: Annotated[list[str] | None, _about("Ids of registered models.")] = None
    model_type: Annotated[Literal["Registered"] | None, _about("Kind of models.")] = None
    webservice_type: Annotated[Literal["Realtime"] | None, _about("Kind of web service.")] = None


class ImageRequest(Wire, frozen=True, kw_only=True):
    """A request for an image."""

    compute_resource_id: Annotated[NonEmpty, _about("Compute that will run the image.")]
    image_type: Annotated[ImageType, _about("Kind of image.")]
    manifest_id: Annotated[NonEmpty, _about("Manifest to build the image from.")]
    name: Annotated[Name, _about("Name; using it again creates the next version.")]
    description: Annotated[str | None, _about("Free text.")] = None


class Image(_Resource, Wire, frozen=True, kw_only=True):
    """An image: one version of a named image."""

    id: Annotated[str | None, _about("Id.")] = None
    name: Annotated[str | None, _about("Name.")] = None
    version: Annotated[int | None, _about("Version; the service counts from 1.")] = None
    created_time: Annotated[UtcTime | None, _about("Time of the request (UTC).")] = None
    creation_state: Annotated[AsyncOperationState | None, _about("State of the build.")] = None
    description: Annotated[str | None, _about("Free text.")] = None
    error: Annotated[ErrorResponse | None, _about("Error of a failed build.")] = None
    compute_resource_id: Annotated[str | None, _about("Compute that the image is built for.")] = None
    image_type: Annotated[ImageType | None, _about("Kind of image.")] = None
    image_location: Annotated[str | None, _about("Location of the image.")] = None
    image_build_log_uri: Annotated[str | None, _about("URL of the build log.")] = None
    manifest: Annotated[Manifest | None, _about("Manifest that the image is built from.")] = None


class ComputeResource(Wire, frozen=True, kw_only=True):
    """The compute that runs a service."""

    id: Annotated[str | None, _about("Id.")] = None
    type: Annotated[Literal["Cluster"] | None, _about("Kind of compute.")] = None


class ContainerResourceReservation(Wire, frozen=True, kw_only=True):
    """The resources reserved for one replica."""

    cpu: Annotated[Cpu | None, _about("CPUs in Kubernetes notation, such as `500m`.")] = None
    memory: Annotated[Memory | None, _about("Memory in Kubernetes notation, such as `300Mi`.")] = None


class ModelDataCollection(Wire, frozen=True, kw_only=True):
    """The destinations of collected inputs and outputs of models."""

    event_hub_enabled: Annotated[bool | None, _about("Whether data is sent to an event hub.")] = None
    storage_enabled: Annotated[bool | None, _about("Whether data is sent to storage.")] = None


class AutoScaler(Wire, frozen=True, kw_only=True):
    """How the number of replicas follows the load. Defaults: 1 to 10 replicas, decided every second, at 70 %."""

    autoscale_enabled: Annotated[bool | None, _about("Whether the autoscaler is enabled.")] = None
    min_replicas: Annotated[Annotated[int, Meta(ge=0)] | None, _about("Minimum number of replicas.")] = None
    max_replicas: Annotated[
        Annotated[int, Meta(ge=1)] | None, _about("Maximum number of replicas; ignored if below the minimum.")
    ] = None
    refresh_period_in_seconds: Annotated[Annotated[int, Meta(ge=1)] | None, _about("Seconds between decisions.")] = None
    target_utilization: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None, _about("Target utilization, in percent.")
    ] = None


class _Settings(Wire, frozen=True, kw_only=True):
    """Settings of a service that a client can set when it creates or updates the service."""

    app_insights_enabled: Annotated[bool | None, _about("Whether telemetry is sent to Application Insights.")] = None
    auto_scaler: Annotated[AutoScaler | None, _about("Autoscaling.")] = None
    container_resource_reservation: Annotated[
        ContainerResourceReservation | None, _about("Resources reserved for each replica.")
    ] = None
    data_collection: Annotated[ModelDataCollection | None, _about("Data collection.")] = None
    max_concurrent_requests_per_container: Annotated[
        Annotated[int, Meta(ge=1)] | None, _about("Maximum number of concurrent requests of a replica.")
    ] = None
    num_replicas: Annotated[Annotated[int, Meta(ge=0)] | None, _about("Number of replicas.")] = None


class _RequestedSettings(_Settings, frozen=True, kw_only=True):
    """Settings in a request: a fixed number of replicas and an enabled autoscaler are mutually exclusive."""

    def __post_init__(self) -> None:
        if self.num_replicas is not None and self.auto_scaler is not None and self.auto_scaler.autoscale_enabled:
            raise ValueError("numReplicas and an enabled autoScaler are mutually exclusive: leave one of them out")


class ServiceCreateRequest(_RequestedSettings, frozen=True, kw_only=True):
    """A request for a service."""

    compute_resource: Annotated[ComputeResource, _about("Compute to run the service on.")]
    image_id: Annotated[NonEmpty, _about("Image to run.")]
    name: Annotated[Name, _about("Name, unique in the account.")]


class ServiceUpdateRequest(_RequestedSettings, frozen=True, kw_only=True):
    """Changes to a service. Properties that are not set keep their values."""

    image_id: Annotated[str | None, _about("Image to run.")] = None


class ServiceResponse(_Resource, _Settings, frozen=True, kw_only=True):
    """A service."""

    compute_resource: Annotated[ComputeResource, _about("Compute that runs the service.")]
    id: Annotated[str | None, _about("Id.")] = None
    name: Annotated[str | None, _about("Name.")] = None
    state: Annotated[AsyncOperationState | None, _about("State of the last operation.")] = None
    created_at: Annotated[UtcTime | None, _about("Time of creation (UTC).")] = None
    updated_at: Annotated[UtcTime | None, _about("Time of the last update (UTC).")] = None
    scoring_uri: Annotated[str | None, _about("URL for scoring requests.")] = None
    image: Annotated[Image | None, _about("Image that the service runs.")] = None
    manifest: Annotated[Manifest | None, _about("Manifest of the image.")] = None
    models: Annotated[list[Model] | None, _about("Models of the manifest.")] = None
    error: Annotated[ErrorResponse | None, _about("Current error.")] = None


class ServiceRegenerateKeyRequest(Wire, frozen=True, kw_only=True):
    """A request for a new key."""

    key_type: Annotated[Literal["Primary", "Secondary"] | None, _about("Key to replace; default: Primary.")] = None


class AuthKeys(Wire, frozen=True, kw_only=True):
    """The keys of a service. Each one authorizes scoring requests. `repr` does not show them."""

    primary_key: Annotated[str | None, _about("First key.")] = None
    secondary_key: Annotated[str | None, _about("Second key.")] = None

    def __repr__(self) -> str:
        return "AuthKeys(primary_key=***, secondary_key=***)"

    def __rich_repr__(self) -> Any:
        yield "primary_key", "***"
        yield "secondary_key", "***"


class Deployment(_Resource, Wire, frozen=True, kw_only=True):
    """One deployment of a service: the image that ran during a period of time."""

    id: Annotated[str | None, _about("Id.")] = None
    service_name: Annotated[str | None, _about("Name of the service.")] = None
    image_id: Annotated[str | None, _about("Image of the deployment.")] = None
    status: Annotated[str | None, _about("Status.")] = None
    created_at: Annotated[UtcTime | None, _about("Time of creation (UTC).", read_only=True)] = None
    expired_at: Annotated[UtcTime | None, _about("Time of expiry (UTC).", read_only=True)] = None


class AsyncOperationStatus(_Resource, Wire, frozen=True, kw_only=True):
    """An operation: the progress of an asynchronous request."""

    id: Annotated[str | None, _about("Id.")] = None
    operation_type: Annotated[
        Literal["Image", "Service"] | None, _about("Kind of resource that the operation works on.")
    ] = None
    state: Annotated[AsyncOperationState | None, _about("State.")] = None
    created_time: Annotated[UtcTime | None, _about("Time of creation (UTC).", read_only=True)] = None
    end_time: Annotated[UtcTime | None, _about("Time of the end (UTC).", read_only=True)] = None
    resource_location: Annotated[str | None, _about("Resource that the operation creates or updates.")] = None
    error: Annotated[ErrorResponse | None, _about("Error of a failed operation.")] = None


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
