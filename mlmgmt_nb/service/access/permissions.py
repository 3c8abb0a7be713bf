"""The role for each operation. Requests are checked against this table, and the docs are generated from it.

A reader can see resources, their states, logs and metrics. Every operation that changes something, reveals keys, or
returns content of other users (driver code, models, collected data, recorded requests, the audit log) requires a
contributor.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mlmgmt_nb.service.access.principals import Role

__all__ = ["METRICS_ACTION", "NEEDED", "action_of"]

METRICS_ACTION = "GET /metrics"
"""The metrics of all accounts, outside of the accounts' paths."""

_READER = (
    "models_list",
    "models_get",
    "manifests_list",
    "manifests_get",
    "images_list",
    "images_get",
    "services_list",
    "services_get",
    "candidate_get",
    "deployments_list",
    "deployments_get",
    "operations_get",
    "GET /operations",
    "GET /computes",
    "GET /extensions",
    "GET /images/{id}/buildLog",
    "GET /images/{id}/docker",
    "GET /services/{id}/logs",
    "GET /services/{id}/metrics",
    "GET /swagger.json",
    "GET /whoami",
    METRICS_ACTION,
)
_CONTRIBUTOR = (
    "models_register",
    "manifests_register",
    "images_create",
    "services_create",
    "services_update",
    "services_delete",
    "services_get_keys",
    "services_regenerate_keys",
    "services_regenerate_keys_alias",
    "candidate_propose",
    "candidate_discard",
    "candidate_canary",
    "candidate_stop_canary",
    "candidate_mirror",
    "candidate_stop_mirror",
    "candidate_mirrored",
    "candidate_promote",
    "PUT /computes/{id}",
    "DELETE /computes/{id}",
    "POST /computes/{id}/prepare",
    "POST /operations/{id}/cancel",
    "POST /operations/{id}/withdraw",
    "POST /models/{id}/archive",
    "POST /models/{id}/unarchive",
    "POST /manifests/{id}/archive",
    "POST /manifests/{id}/unarchive",
    "POST /images/{id}/archive",
    "POST /images/{id}/unarchive",
    "POST /models/{id}/withdraw",
    "POST /manifests/{id}/withdraw",
    "POST /images/{id}/withdraw",
    "GET /images/{id}/contents",
    "GET /images/{id}/context",
    "GET /images/{id}/oci",
    "POST /services/{id}/rollback",
    "GET /services/{id}/data",
    "GET /services/{id}/requests",
    "DELETE /services/{id}/requests",
    "GET /audit",
    "GET /artifacts/*",
    "HEAD /artifacts/*",
    "PATCH /artifacts/*",
)

NEEDED: Mapping[str, Role] = MappingProxyType(
    dict.fromkeys(_READER, Role.READER) | dict.fromkeys(_CONTRIBUTOR, Role.CONTRIBUTOR)
)
"""The required role, by action."""


def action_of(method: str, pattern: tuple[str, ...]) -> str:
    """Return the action of a request for an extension, which is not in the contract."""
    return f"{method} /{'/'.join(pattern)}"
