"""Generated code for a deployment: the magic line and the Python code equivalent to a form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["magic_line", "python_code"]

_FLAGS = {
    "name": "-n",
    "driver": "-f",
    "schema": "-s",
    "requirements": "-p",
    "conda": "-c",
    "dependencies": "-d",
    "runtime": "-r",
    "compute_resource_id": "--compute-resource-id",
    "num_replicas": "-z",
    "autoscale_enabled": "--autoscale-enabled",
    "min_replicas": "--autoscale-min-replicas",
    "max_replicas": "--autoscale-max-replicas",
    "target_utilization": "--autoscale-target-utilization",
    "refresh_period_in_seconds": "--autoscale-refresh-period-seconds",
    "cpu": "--cpu",
    "memory": "--memory",
    "max_concurrent_requests": "--replica-max-concurrent-requests",
    "collect_model_data": "--collect-model-data",
    "if_exists": "--if-exists",
    "home": "--home",
    "base_url": "--base-url",
}
"""The flag of `service create` for each argument of `Workspace.deploy`, of its autoscaler, and of `connect`."""

_PLAIN = re.compile(r"[\w./:@%+,~=-]+")


def magic_line(arguments: Mapping[str, Any], registered: frozenset[str], connect: Mapping[str, str]) -> str:
    """Return the equivalent `%mlmgmt service create ...` line.

    Args:
        arguments: the arguments of `Workspace.deploy`.
        registered: its models that are ids or names of registered models.
        connect: the arguments of `connect`.
    """
    parts = ["%mlmgmt service create"]
    for name, value in {**arguments, **connect}.items():
        if name == "model":
            parts += [f"{'-i' if model in registered else '-m'} {_quoted(model)}" for model in _listed(value)]
        elif name == "autoscaler":
            parts += [f"{_FLAGS[setting]} {_quoted(given)}" for setting, given in value.items()]
        else:
            parts += [f"{_FLAGS[name]} {_quoted(one)}" for one in _listed(value)]
    return " ".join(parts)


def python_code(arguments: Mapping[str, Any], connect: Mapping[str, str]) -> str:
    """Return the equivalent Python code.

    Args:
        arguments: the arguments of `Workspace.deploy`.
        connect: the arguments of `connect`.
    """
    named = dict(arguments)
    given = [f"    {named.pop('name')!r},", *(f"    {name}={value!r}," for name, value in named.items())]
    opened = ", ".join(f"{name}={value!r}" for name, value in connect.items())
    return "\n".join(
        ["from mlmgmt_nb import connect", "", f"ws = connect({opened})", "service = ws.deploy(", *given, ")", "service"]
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _quoted(value: Any) -> str:
    """Return a value in the syntax of the magic: bare, quoted, or as a Python expression."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    quote = next((quote for quote in "'\"" if quote not in text), None)
    return f"{{{text!r}}}" if quote is None else f"{quote}{text}{quote}"
