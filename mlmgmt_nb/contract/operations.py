"""The 20 operations of the Model Management API, as one table.

The client's requests, the service's routes and the OpenAPI document are derived from `OPERATIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from msgspec import Struct

from mlmgmt_nb.contract import resources as r
from mlmgmt_nb.contract.limits import API_VERSION, Count

__all__ = ["ACCOUNT_PATH", "OPERATIONS", "Answer", "Operation", "Parameter"]

ACCOUNT_PATH = "/api/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/accounts/{accountName}"
"""Prefix of every path of the API."""

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Parameter(Struct, frozen=True):
    """A parameter of the query or path. `type` is the decoded type, with its limits."""

    name: str
    description: str
    type: Any = str
    required: bool = False
    example: str | None = None


class Answer(Struct, frozen=True):
    """A possible response of an operation. `body` is None if the response has no body."""

    description: str
    body: Any = None
    headers: tuple[str, ...] = ()


class Operation(Struct, frozen=True, kw_only=True):
    """An operation. `path` is relative to `ACCOUNT_PATH`. An `{id}` in it identifies a resource of kind `subject`."""

    id: str
    tag: str
    method: Method
    path: str
    summary: str
    description: str = ""
    query: tuple[Parameter, ...] = ()
    body: Any = None
    body_name: str = ""
    body_description: str = ""
    answers: Mapping[int, Answer]

    @property
    def subject(self) -> str:
        """The kind of resource that `{id}` identifies, in the singular: `model`, `service`, ..."""
        return self.path.split("/")[1].removesuffix("s")

    def url(self, base_url: str, **path_parameters: str) -> str:
        """Return the URL of this operation, without the query.

        Args:
            base_url: base URL of the account, ending in `/accounts/NAME`.
            **path_parameters: values of the parameters in braces in `path`.
        """
        return base_url + re.sub(r"\{(\w+)\}", lambda m: quote(path_parameters[m[1]], safe=""), self.path)


API_VERSION_PARAMETER = Parameter("api-version", "Version of the API.", required=True, example=API_VERSION)
PATH_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "subscriptionId": "Azure subscription, or a placeholder.",
        "resourceGroupName": "Resource group of the account.",
        "accountName": "Model Management account.",
    }
)

_PAGE = (
    Parameter("count", "Maximum number of items in one page.", Count),
    Parameter("$skipToken", "Start of the page; taken from a `nextLink`."),
)
_ACCEPTED_HEADERS = ("Operation-Location",)


def _filters(**descriptions: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, description) for name, description in descriptions.items())


def _ok(body: Any, description: str) -> Mapping[int, Answer]:
    return {200: Answer(description, body)}


def _accepted(what: str, **others: Answer) -> Mapping[int, Answer]:
    return {202: Answer(f"Accepted; poll the operation for the state of {what}.", headers=_ACCEPTED_HEADERS)} | {
        int(status.removeprefix("_")): answer for status, answer in others.items()
    }


_TABLE = (
    Operation(
        id="models_register",
        tag="Models",
        method="POST",
        path="/models",
        summary="Register a model",
        description="An existing name gets its next version, which has its own id.",
        body=r.Model,
        body_name="model",
        body_description="The model.",
        answers=_ok(r.Model, "The registered model."),
    ),
    Operation(
        id="models_list",
        tag="Models",
        method="GET",
        path="/models",
        summary="List models",
        description="The models that match every filter given, newest first, in pages.",
        query=_filters(name="Models of this name.", tag="Models with this tag.") + _PAGE,
        answers=_ok(r.PaginatedModelList, "A page."),
    ),
    Operation(
        id="models_get",
        tag="Models",
        method="GET",
        path="/models/{id}",
        summary="Get a model",
        answers=_ok(r.Model, "The model."),
    ),
    Operation(
        id="manifests_register",
        tag="Manifests",
        method="POST",
        path="/manifests",
        summary="Register a manifest",
        description="Defines which models run with which driver, files and runtime.",
        body=r.Manifest,
        body_name="manifestRequest",
        body_description="The manifest.",
        answers=_ok(r.Manifest, "The registered manifest."),
    ),
    Operation(
        id="manifests_list",
        tag="Manifests",
        method="GET",
        path="/manifests",
        summary="List manifests",
        description="The manifests that match every filter given, newest first, in pages.",
        query=_filters(modelId="Manifests with this model.", manifestName="Manifests of this name.") + _PAGE,
        answers=_ok(r.PaginatedManifestList, "A page."),
    ),
    Operation(
        id="manifests_get",
        tag="Manifests",
        method="GET",
        path="/manifests/{id}",
        summary="Get a manifest",
        answers=_ok(r.Manifest, "The manifest."),
    ),
    Operation(
        id="images_create",
        tag="Images",
        method="POST",
        path="/images",
        summary="Create an image",
        description="Starts the build of an image from a manifest.",
        body=r.ImageRequest,
        body_name="imageRequest",
        body_description="The image to build.",
        answers=_accepted("the build"),
    ),
    Operation(
        id="images_list",
        tag="Images",
        method="GET",
        path="/images",
        summary="List images",
        description="The images that match every filter given, newest first, in pages.",
        query=_filters(manifestId="Images of this manifest.", manifestName="Images of manifests of this name.") + _PAGE,
        answers=_ok(r.PaginatedImageList, "A page."),
    ),
    Operation(
        id="images_get",
        tag="Images",
        method="GET",
        path="/images/{id}",
        summary="Get an image",
        answers=_ok(r.Image, "The image."),
    ),
    Operation(
        id="services_create",
        tag="Services",
        method="POST",
        path="/services",
        summary="Create a service",
        description="Starts an image as a web service.",
        body=r.ServiceCreateRequest,
        body_name="serviceRequest",
        body_description="The service.",
        answers=_accepted("the start", _409=Answer("Another service has the name.", r.ErrorResponse)),
    ),
    Operation(
        id="services_list",
        tag="Services",
        method="GET",
        path="/services",
        summary="List services",
        description="The services that match every filter given, newest first, in pages.",
        query=_filters(
            serviceName="The service of this name.",
            modelId="Services with this model.",
            modelName="Services with a model of this name.",
            manifestId="Services of this manifest.",
            manifestName="Services of manifests of this name.",
            imageId="Services of this image.",
            computeResourceId="Services on this compute.",
        )
        + _PAGE,
        answers=_ok(r.PaginatedServiceList, "A page."),
    ),
    Operation(
        id="services_get",
        tag="Services",
        method="GET",
        path="/services/{id}",
        summary="Get a service",
        answers=_ok(r.ServiceResponse, "The service."),
    ),
    Operation(
        id="services_update",
        tag="Services",
        method="PUT",
        path="/services/{id}",
        summary="Update a service",
        description="Changes the given properties and keeps the others, the URL and the keys.",
        body=r.ServiceUpdateRequest,
        body_name="serviceUpdateRequest",
        body_description="The changes.",
        answers=_accepted("the update", _404=Answer("There is no such service.", r.ErrorResponse)),
    ),
    Operation(
        id="services_delete",
        tag="Services",
        method="DELETE",
        path="/services/{id}",
        summary="Delete a service",
        answers={200: Answer("Deleted."), 204: Answer("There is no such service.")},
    ),
    Operation(
        id="services_get_keys",
        tag="Services",
        method="GET",
        path="/services/{id}/keys",
        summary="Get the keys of a service",
        answers=_ok(r.AuthKeys, "Both keys."),
    ),
    Operation(
        id="services_regenerate_keys",
        tag="Services",
        method="POST",
        path="/services/{id}/keys",
        summary="Regenerate a key of a service",
        description="Replaces one key and keeps the other. Takes effect immediately, without a restart.",
        body=r.ServiceRegenerateKeyRequest,
        body_name="regenerateKeyRequest",
        body_description="The key to replace.",
        answers=_ok(r.AuthKeys, "Both current keys."),
    ),
    Operation(
        id="services_regenerate_keys_alias",
        tag="Services",
        method="POST",
        path="/services/{id}/regenerateKeys",
        summary="Regenerate a key of a service (path of the 2017 client)",
        description="The same as POST `keys`.",
        body=r.ServiceRegenerateKeyRequest,
        body_name="regenerateKeyRequest",
        body_description="The key to replace.",
        answers=_ok(r.AuthKeys, "Both current keys."),
    ),
    Operation(
        id="deployments_list",
        tag="Deployments",
        method="GET",
        path="/deployments",
        summary="List deployments",
        description="The deployments of the account or of one service, newest first, in one response.",
        query=_filters(serviceId="Deployments of this service."),
        answers=_ok(list[r.Deployment], "The deployments."),
    ),
    Operation(
        id="deployments_get",
        tag="Deployments",
        method="GET",
        path="/deployments/{id}",
        summary="Get a deployment",
        answers=_ok(r.Deployment, "The deployment."),
    ),
    Operation(
        id="operations_get",
        tag="Operations",
        method="GET",
        path="/operations/{id}",
        summary="Get an operation",
        description="The state of an asynchronous request.",
        answers=_ok(r.AsyncOperationStatus, "The operation."),
    ),
)

OPERATIONS: Mapping[str, Operation] = MappingProxyType({operation.id: operation for operation in _TABLE})
"""All operations, by id."""
