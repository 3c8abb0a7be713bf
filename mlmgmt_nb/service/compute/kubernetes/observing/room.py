"""The free capacity of the nodes of a cluster: their allocatable resources minus the requests of their pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["describe_room", "quantity"]

Object = dict[str, Any]

_FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_FACTORS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}
_ENDED = frozenset({"Succeeded", "Failed"})
_MOST_NODES = 5


def quantity(text: str) -> float:
    """Return an amount in the notation of Kubernetes as a number."""
    number = text.rstrip("".join(set("".join(_FACTORS))))
    return float(number) * _FACTORS[text[len(number) :]]


def describe_room(nodes: Iterable[Object], pods: Iterable[Object]) -> str:
    """Return the free capacity of each node, for people."""
    free = {node["metadata"]["name"]: _offered(node) for node in nodes}
    for pod in pods:
        name = pod.get("spec", {}).get("nodeName")
        if name in free and pod.get("status", {}).get("phase") not in _ENDED:
            for container in pod["spec"].get("containers", []):
                for resource, amount in container.get("resources", {}).get("requests", {}).items():
                    if resource in free[name]:
                        free[name][resource] -= quantity(amount)
    shown = [f"{_amounts(left)} on {name}" for name, left in list(free.items())[:_MOST_NODES]]
    more = len(free) - len(shown)
    return "; ".join(shown) + (f"; and {more} more nodes" if more else "")


def _offered(node: Object) -> dict[str, float]:
    offered = node.get("status", {}).get("allocatable", {})
    return {name: quantity(offered[name]) for name in ("cpu", "memory", "nvidia.com/gpu") if name in offered}


def _amounts(left: dict[str, float]) -> str:
    words = [f"{left['cpu']:.3g} cpu"] if "cpu" in left else []
    words += [f"{left['memory'] / 2**20:.0f}Mi memory"] if "memory" in left else []
    words += [f"{left['nvidia.com/gpu']:.0f} nvidia.com/gpu"] if "nvidia.com/gpu" in left else []
    return ", ".join(words)
