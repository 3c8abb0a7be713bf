"""Names, labels and annotations of our objects."""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    *("CANDIDATE", "COMPONENT", "CONTAINER", "DECLARATION", "DEPLOYMENT", "FIELD_MANAGER", "HOME", "INSTANCE"),
    *("KEYS", "MANAGED_BY", "NAME", "SERVICE"),
    *("has_labels", "home_selector", "is_copy", "labels", "object_name", "selector"),
]

FIELD_MANAGER = "mlmgmt-nb"
NAME = "app.kubernetes.io/name"
"""Label: the name of the service."""
INSTANCE = "app.kubernetes.io/instance"
"""Label: the name of the object itself, so that a copy of our labels on another object is recognized."""
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
"""Label: `scoring`, or `candidate` for a candidate of a service."""
CANDIDATE = "candidate"
HOME = "mlmgmt-nb/home"
"""Label: the state folder. Several may use one namespace."""
SERVICE = "mlmgmt-nb/service"
"""Label: the id of the service."""
DEPLOYMENT = "mlmgmt-nb/deployment"
"""Label of pods: the id of the deployment."""
DECLARATION = "mlmgmt-nb/declaration"
"""Annotation of a Deployment: the fingerprint of its declaration."""
KEYS = "mlmgmt-nb/keys"
"""Annotation of pods: changed when keys change, because a kubelet then renews mounted Secrets at once."""

CONTAINER = "scoring"
"""Name of the container of the driver."""

_LONGEST_NAME = 40


def object_name(name: str, service_id: str) -> str:
    """Return the name of all objects of a service: readable, and unique by its id."""
    readable = re.sub(r"[^a-z0-9-]", "-", name.lower())[:_LONGEST_NAME].strip("-")
    # The name of a Service must begin with a letter.
    prefix = "" if readable[:1].isalpha() else "s-"
    return f"{prefix}{readable}-{service_id.replace('-', '')[:10]}"


def selector(service_id: str) -> dict[str, str]:
    """Return the labels that select the pods of a service. They can never change."""
    return {MANAGED_BY: FIELD_MANAGER, SERVICE: service_id}


def labels(name: str, service_id: str, home: str) -> dict[str, str]:
    """Return the labels of all objects of a service, or of a candidate, whose name has a second part."""
    service_name, separator, _ = name.partition("/")
    return {
        **selector(service_id),
        NAME: service_name,
        INSTANCE: object_name(name, service_id),
        COMPONENT: CANDIDATE if separator else "scoring",
        HOME: home,
    }


def has_labels(found: dict[str, Any]) -> bool:
    """Return whether an object still has the labels that are read from it."""
    given: dict[str, str] = found["metadata"].get("labels", {})
    return {NAME, COMPONENT, SERVICE, INSTANCE} <= given.keys()


def is_copy(found: dict[str, Any]) -> bool:
    """Return whether somebody else made an object with our labels, as `kubectl expose deployment` does."""
    name: str = found["metadata"]["name"]
    return bool(found["metadata"].get("labels", {}).get(INSTANCE, name) != name)


def home_selector(home: str) -> str:
    """Return the selector of all objects of a state folder."""
    return f"{MANAGED_BY}={FIELD_MANAGER},{HOME}={home}"
