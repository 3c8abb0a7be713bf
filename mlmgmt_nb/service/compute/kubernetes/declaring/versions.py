"""API versions of our kinds, and objects as older versions write them."""

from __future__ import annotations

from typing import Any

__all__ = ["OPTIONAL", "PLURALS", "VERSIONS", "as_version"]

Object = dict[str, Any]

VERSIONS = {
    "Secret": ("v1",),
    "Service": ("v1",),
    "Deployment": ("apps/v1",),
    "PodDisruptionBudget": ("policy/v1", "policy/v1beta1"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v1"),
    "Ingress": ("networking.k8s.io/v1",),
    "Pod": ("v1",),
    "Event": ("v1",),
}
"""API versions of the kinds that we write or read, the best first."""
PLURALS = {kind: f"{kind.lower()}s" for kind in VERSIONS} | {"Ingress": "ingresses"}
"""Names of the kinds in paths."""
OPTIONAL = frozenset({"HorizontalPodAutoscaler", "Ingress"})
"""Kinds that only some clusters need; not everybody may see them."""


def as_version(wanted: Object, version: str) -> Object:
    """Return an object as an API version writes it."""
    changed = {**wanted, "apiVersion": version}
    if version == "autoscaling/v1":
        spec = dict(wanted["spec"])
        (metric,) = spec.pop("metrics")
        changed["spec"] = {**spec, "targetCPUUtilizationPercentage": metric["resource"]["target"]["averageUtilization"]}
    return changed
