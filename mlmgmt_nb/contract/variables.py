"""Environment variables and secrets of a service: the limits of their names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MAX_VARIABLES_BYTES", "RESERVED", "check_variables", "hidden"]

MAX_VARIABLES_BYTES = 256 * 2**10
"""Maximum total size of the variables and secrets of a service. Linux may not start a process with more."""

RESERVED: Mapping[str, str] = {
    "MLMGMT_*": "configures mlmgmt-nb",
    "AZUREML_*": "describes the application folder",
    "AML_APP_ROOT": "describes the application folder",
    "AML_APP_INSIGHTS_ENABLED": "follows the setting appInsightsEnabled",
    "AML_MODEL_DC_STORAGE": "follows the settings of the server",
    "AML_MODEL_DC_STORAGE_ENABLED": "follows the setting dataCollection",
    "SERVICE_NAME": "describes the service",
    "SERVICE_PATH_PREFIX": "describes the service",
    "SERVICE_VERSION": "describes the service",
    "PATH": "selects the programs of the image",
    "PYTHONHOME": "selects the Python of the image",
    "PYTHONPATH": "selects the packages of the image",
    "LD_*": "selects the libraries of the image",
}
"""Names that a service cannot set, with their use. A final `*` matches any suffix."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Variables = Mapping[str, str | None]


def check_variables(environment: Variables | None, secrets: Variables | None) -> None:
    """Check names and values. None as a value removes a variable.

    Raises:
        ValueError: a name or value is not allowed. The message does not contain values.
    """
    for path, variables in (("environment", environment or {}), ("secrets", secrets or {})):
        for name, value in variables.items():
            if problem := _problem(name, value):
                raise ValueError(f"{path}.{name[:128]}: {problem}")
    both = _set_names(environment) & _set_names(secrets)
    if both:
        raise ValueError(f"environment.{min(both)}: this name is also among the secrets; leave out one of them")
    size = sum(_sizes(environment or {})) + sum(_sizes(secrets or {}))
    if size > MAX_VARIABLES_BYTES:
        raise ValueError(
            f"environment: variables and secrets have {size:,} bytes; the maximum is {MAX_VARIABLES_BYTES:,}"
        )


def hidden(secrets: Variables | None) -> dict[str, Any] | None:
    """Return secrets with masked values, for a `repr`."""
    return None if secrets is None else {name: None if value is None else "***" for name, value in secrets.items()}


def _set_names(variables: Variables | None) -> set[str]:
    return {name for name, value in (variables or {}).items() if value is not None}


def _problem(name: str, value: str | None) -> str | None:
    if not _NAME.fullmatch(name):
        return "not a name of a variable; use 1 to 128 letters, digits and _, and no digit at the start"
    for reserved, use in RESERVED.items():
        if name == reserved or (reserved.endswith("*") and name.startswith(reserved[:-1])):
            return f"{reserved} is reserved, as it {use}; choose another name"
    if value is not None and "\0" in value:
        return "the value has a NUL character, which no variable can have"
    return None


def _sizes(variables: Variables) -> Iterator[int]:
    for name, value in variables.items():
        if value is not None:
            yield len(name) + len(value.encode(errors="replace")) + 2
