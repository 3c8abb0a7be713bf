"""Extensions of the embedded service to the API of 2017: lists of operations and audit entries, environment variables
and secrets of services, warnings of operations, records of changes, and the recording of requests.
"""

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlmgmt_nb.contract.operations import OPERATIONS, Answer, Operation
from mlmgmt_nb.contract.recording import Recording
from mlmgmt_nb.contract.resolving import resolve, resolve_all_of
from mlmgmt_nb.contract.resources import (
    AsyncOperationStatus,
    Deployment,
    Image,
    ServiceCreateRequest,
    ServiceResponse,
    ServiceUpdateRequest,
    UtcTime,
    Wire,
)
from mlmgmt_nb.contract.variables import check_variables, hidden
from mlmgmt_nb.short_repr import ShortRepr

__all__ = [
    "AUDIT_LIST",
    "BODIES",
    "CHANGES",
    "DEPLOYMENTS_LIST",
    "OPERATIONS_LIST",
    "SERVICES_LIST",
    "VARIABLES",
    "ArchivableImage",
    "AuditEntry",
    "CandidateSummary",
    "ChangeRecord",
    "DeploymentRecord",
    "DetailedImage",
    "DockerImage",
    "OperationStatus",
    "Service",
    "ServiceCreate",
    "ServiceUpdate",
]

VARIABLES = "environment"
"""Name of the extension for variables and secrets, in the list that `GET .../extensions` returns."""

CHANGES = "changes"
"""Name of the extension for reasons of changes and rollbacks in that list."""


class _Checked:
    """Checks the variables of a request, and hides its secrets."""

    __slots__ = ()

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        check_variables(self.environment, self.secrets)  # type: ignore[attr-defined]

    def __rich_repr__(self) -> Any:
        return _without_secrets(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _without_secrets(self))})"


def _without_secrets(body: Any) -> list[tuple[str, Any]]:
    """Return the properties of a body for its `repr`, with masked secrets."""
    given = {name: getattr(body, name) for name in body.__struct_fields__}
    return list((given | {"secrets": hidden(body.secrets)}).items())


class ServiceCreate(_Checked, ServiceCreateRequest, frozen=True, kw_only=True):
    """A request for a service, with the environment of its driver.

    Attributes:
        environment: variables by name.
        secrets: secret variables; responses do not contain their values.
        reason: the reason for the change, for its record.
        recording: settings for recording requests.
    """

    environment: dict[str, str | None] | None = None
    secrets: dict[str, str | None] | None = None
    reason: str | None = None
    recording: Recording | None = None


class ServiceUpdate(_Checked, ServiceUpdateRequest, frozen=True, kw_only=True):
    """Changes to a service. Variables that are not named keep their values; null removes one.

    Attributes:
        environment, secrets, reason, recording: as in `ServiceCreate`.
    """

    environment: Annotated[dict[str, str | None] | None, Meta(description="Environment variables of the driver.")] = (
        None
    )
    secrets: Annotated[dict[str, str | None] | None, Meta(description="Variables that are never shown.")] = None
    reason: Annotated[str | None, Meta(description="Reason of the change, for its record.")] = None
    recording: Annotated[Recording | None, Meta(description="Whether and how requests are recorded.")] = None


class ChangeRecord(Wire, frozen=True, kw_only=True):
    """The record of the change that made a deployment.

    Attributes:
        change: the kind of request.
        changed_by: name of the caller.
        reason: the reason that the caller gave.
        replaces: id of the previous deployment.
        restores: id of the deployment that a rollback restored.
        evidence: evidence for the record of the change, such as the path of a report.
        outcome: result of the canary of a candidate that was not promoted.
        kept_until: time until which the replicas of the replaced deployment are kept for a rollback.
    """

    change: Literal["create", "update", "rollback", "propose", "promote"]
    changed_by: str
    reason: str | None = None
    replaces: str | None = None
    restores: str | None = None
    evidence: str | None = None
    outcome: str | None = None
    kept_until: UtcTime | None = None

    def keeps(self, now: dt.datetime) -> bool:
        """Return whether the replicas of the replaced deployment are kept at this time."""
        return self.kept_until is not None and now < self.kept_until


class DeploymentRecord(Deployment, frozen=True, kw_only=True):
    """A deployment, with the record of the change that made it; None for servers without records.

    Attributes:
        change: `create`, `update`, `rollback`, `propose` or `promote`.
        changed_by: name of the caller.
        reason: the reason that the caller gave.
        replaces: id of the previous deployment.
        restores: id of the deployment that a rollback restored.
        evidence: evidence for the record of the change, such as the path of a report.
        outcome: result of the canary of a candidate that was not promoted.
        kept_until: time until which the replicas of the replaced deployment are kept for a rollback.
    """

    change: Annotated[str | None, Meta(description="The request that made it.")] = None
    changed_by: Annotated[str | None, Meta(description="Name of the caller.")] = None
    reason: Annotated[str | None, Meta(description="Reason that the caller gave.")] = None
    replaces: Annotated[str | None, Meta(description="Id of the deployment that served before.")] = None
    restores: Annotated[str | None, Meta(description="Id of the deployment that a rollback returned to.")] = None
    evidence: Annotated[
        str | None, Meta(description="Evidence for the record of the change, such as the path of a report.")
    ] = None
    outcome: Annotated[str | None, Meta(description="Result of the canary of a candidate.")] = None
    kept_until: Annotated[UtcTime | None, Meta(description="Time until which the replaced replicas are kept.")] = None

    @property
    def summary(self) -> str | None:
        """The change in one line: the request, the caller, the reason, and the time until which replicas are kept."""
        if self.change is None:
            return None
        kept = ""
        if self.kept_until is not None and dt.datetime.now(dt.UTC) < self.kept_until:
            kept = f"; the earlier replicas are kept until {self.kept_until:%Y-%m-%d %H:%M} UTC"
        return f"{self.change} by {self.changed_by}" + (f": {self.reason}" if self.reason else "") + kept


class CandidateSummary(Wire, frozen=True, kw_only=True):
    """The candidate of a service: a proposed deployment that runs beside the current one.

    Attributes:
        id: its id, which `GET /services/{id}` and the requests for keys, logs and metrics accept.
        state: state of its operation.
        scoring_uri: its scoring URL.
        expires_at: time of its removal unless it is promoted first.
    """

    id: Annotated[str, Meta(description="Its id.")]
    state: Annotated[str, Meta(description="State of its operation.")]
    scoring_uri: Annotated[str | None, Meta(description="Its scoring URL.")] = None
    expires_at: Annotated[UtcTime | None, Meta(description="Time of its removal, unless it is promoted before.")] = None

    @property
    def summary(self) -> str:
        """The candidate in one line: its state, its URL and the time of its removal."""
        until = f"until {self.expires_at:%Y-%m-%d %H:%M} UTC" if self.expires_at else None
        return ", ".join(part for part in (self.state, self.scoring_uri, until) if part)


class Service(ServiceResponse, frozen=True, kw_only=True):
    """A service, with the environment of its driver.

    Attributes:
        environment: variables by name; None if the server does not support them.
        secrets: names of the secrets. Responses do not contain their values.
        warning: the warning of its last operation.
        last_change: the current deployment, with the record of the change that made it.
        recording: settings for recording requests; None if they were never set.
        candidate: the proposed deployment that runs beside the current one.
    """

    environment: Annotated[dict[str, str] | None, Meta(description="Environment variables of the driver.")] = None
    secrets: Annotated[list[str] | None, Meta(description="Names of the secrets.")] = None
    warning: Annotated[str | None, Meta(description="Warning of the last operation.")] = None
    last_change: Annotated[DeploymentRecord | None, Meta(description="The deployment that serves.")] = None
    candidate: Annotated[CandidateSummary | None, Meta(description="The proposed deployment beside it.")] = None
    recording: Annotated[Recording | None, Meta(description="Whether and how requests are recorded.")] = None


class OperationStatus(AsyncOperationStatus, frozen=True, kw_only=True):
    """An operation. `warning` reports a decision of the server that you may not have intended."""

    warning: str | None = None


BODIES: Mapping[str, type[msgspec.Struct]] = MappingProxyType(
    {"services_create": ServiceCreate, "services_update": ServiceUpdate}
)
"""Bodies of operations of the contract with the properties of extensions, by id."""


class AuditEntry(ShortRepr, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry of the audit log: the caller, the action, the time, the resource and the result.

    Attributes:
        time: time of the response.
        action: id of the API operation; method and path for extensions.
        principal_id, principal_name: the caller; empty if not authenticated.
        address: address of the caller.
        resource_id: the resource, or the new resource for a request that creates one.
        operation_id: the asynchronous operation that the request started.
        status_code, code: HTTP status of the response, and its error code for errors.
        request_id: `x-ms-request-id` of the response.
        not_recorded: number of refused requests since the previous entry that exceeded the limit and were not recorded.
    """

    time: dt.datetime
    action: str
    principal_id: str = ""
    principal_name: str = ""
    address: str = ""
    resource_id: str = ""
    operation_id: str = ""
    status_code: int = 0
    code: str = ""
    request_id: str = ""
    not_recorded: int = 0


class _AuditPage(msgspec.Struct, rename="camel"):
    value: list[AuditEntry] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class _OperationPage(msgspec.Struct, rename="camel"):
    value: list[OperationStatus] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class _ServicePage(msgspec.Struct, rename="camel"):
    value: list[Service] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class DockerImage(ShortRepr, msgspec.Struct, frozen=True, rename="camel"):
    """A Docker image, built on an engine or without one.

    Attributes:
        reference: name and version of the image, with the registry if it was pushed.
        image_id: digest of its configuration, which is the id of the image on an engine.
        base: the base image.
        digest: digest of its manifest in the registry, if it was pushed.
        manifest: digest of its manifest in the state folder, if it was built without an engine.
        size: bytes of its compressed layers, if it was built without an engine.
        reused: layers that were reused from earlier images, if it was built without an engine.
    """

    reference: str
    image_id: str
    base: str
    digest: str | None = None
    manifest: str | None = None
    size: int | None = None
    reused: list[str] = []

    @property
    def summary(self) -> str:
        """Its digest, size and reused layers, in one line."""
        words = [self.digest or self.manifest or self.image_id]
        if self.size is not None:
            words += [f"{self.size / 2**20:.1f} MiB", f"reused: {', '.join(self.reused) or 'nothing'}"]
        return ", ".join(words)

    @property
    def exact(self) -> str:
        """An exact reference to this image: in the registry, or otherwise on the engine."""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}" if self.digest else self.image_id


class ArchivableImage(Image, frozen=True, kw_only=True):
    """An image, which may be archived.

    Attributes:
        archived: whether it is archived, and so hidden in lists.
    """

    archived: Annotated[bool, Meta(description="Whether it is archived.")] = False


class DetailedImage(ArchivableImage, frozen=True, kw_only=True):
    """An image with the Docker image that was built, if it is one."""

    docker: DockerImage | None = None


def _list(tag: str, of: str, page: type[msgspec.Struct]) -> Operation:
    path = tag.lower()
    return Operation(
        id=f"{path}_list",
        tag=tag,
        method="GET",
        path=f"/{path}",
        summary=f"List {of}",
        answers={200: Answer("A page.", page)},
    )


OPERATIONS_LIST = _list("Operations", "operations", _OperationPage)
AUDIT_LIST = _list("Audit", "the audit log", _AuditPage)
DEPLOYMENTS_LIST = msgspec.structs.replace(
    OPERATIONS["deployments_list"], answers={200: Answer("The deployments.", list[DeploymentRecord])}
)
SERVICES_LIST = msgspec.structs.replace(OPERATIONS["services_list"], answers={200: Answer("A page.", _ServicePage)})

resolve_all_of(Wire)
resolve(DockerImage)
resolve(ArchivableImage)
resolve(DetailedImage)
