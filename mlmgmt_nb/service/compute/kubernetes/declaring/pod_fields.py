"""Fields that operators add to pods: a strategic merge, as Kubernetes does it, that changes nothing of ours."""

from __future__ import annotations

from typing import Any

__all__ = ["PodFieldsError", "merged"]

_KEYS = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists whose items are merged, by the field that identifies an item; other lists are values."""


class PodFieldsError(Exception):
    """A field cannot be added; the message names it."""


def merged(ours: Any, given: Any, path: str = "") -> Any:
    """Return a value with the given fields added.

    Args:
        path: where the value is.

    Raises:
        PodFieldsError: a field has another value already.
    """
    name = path.rpartition(".")[2]
    if isinstance(ours, dict) and isinstance(given, dict):
        return _merged_fields(ours, given, path)
    if isinstance(ours, list) and isinstance(given, list) and name in _KEYS:
        return _merged_items(ours, given, path, _KEYS[name])
    if ours != given:
        raise PodFieldsError(f"{path}: this field is set by the service; remove it")
    return ours


def _merged_fields(ours: dict[str, Any], given: dict[str, Any], path: str) -> dict[str, Any]:
    result = dict(ours)
    for name, value in given.items():
        where = f"{path}.{name}" if path else name
        if name.startswith("$"):
            raise PodFieldsError(f"{where}: directives of patches are not supported; fields can only be added")
        result[name] = merged(ours[name], value, where) if name in ours else value
    return result


def _merged_items(ours: list[Any], given: list[Any], path: str, key: str) -> list[Any]:
    by_key = {each[key]: each for each in ours}
    for number, each in enumerate(given):
        if not isinstance(each, dict) or key not in each:
            raise PodFieldsError(f"{path}[{number}]: an item needs {key}")
        known = by_key.get(each[key])
        if known is None:
            by_key[each[key]] = each
        elif not path.endswith(".env"):  # a variable of a service is more specific than one of all pods
            by_key[each[key]] = merged(known, each, f"{path}[{each[key]}]")
    return list(by_key.values())
