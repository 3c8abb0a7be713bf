"""Bodies of requests, checked against the contract's limits before anything is sent."""

from __future__ import annotations

import difflib
import math
import numbers
import re
import reprlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, TypedDict, TypeVar

import msgspec

from mlmgmt_nb.client.quantities import bytes_of, seconds_of
from mlmgmt_nb.contract import AutoScaler, ContainerResourceReservation, ModelDataCollection
from mlmgmt_nb.contract.limits import exceeded, explain
from mlmgmt_nb.contract.recording import Recording
from mlmgmt_nb.errors import UsageError

__all__ = ["ServiceSettings", "check_keywords", "checked", "is_number", "is_uuid", "settings_fields"]

T = TypeVar("T", bound=msgspec.Struct)

_FIXES = {
    "name": "A name has 3 to 32 characters: a-z, 0-9, `-` and `.`, with a letter or digit at both ends.",
    "cpu": "Give CPUs as Kubernetes does: `0.5` or `500m`.",
    "memory": "Give memory as Kubernetes does: `300Mi` or `1G`.",
    "targetUtilization": "Give a percentage from 0 to 100.",
    "numReplicas": "Give a number of at least 0.",
    "maxConcurrentRequestsPerContainer": "Give a number of at least 1.",
    "sample": "Give a share above 0 and at most 1.",
    "maxAgeInSeconds": "Give an age from 1m to 3650d.",
    "maxBytes": "Give a size from 1MB to 10GB.",
    "steps": "Give 1 to 20 percentages, such as `[5, 25, 100]`.",
    "share": "Give a percentage from 0.01 to 100.",
    "minutes": "Give minutes, such as 10.",
    "requests": "Give a whole number from 1 to 100,000.",
    "header": "Give the name of a header, such as `X-Customer`.",
    "maxErrors": "Give a share from 0 to 1, such as 0.01, or None for any.",
    "maxP95": "Give a multiple such as 2, or None for any.",
    "minAgree": "Give a share from 0 to 1, such as 0.95, or None for any.",
    "tolerance": "Give 0 or a small number such as 1e-6.",
}
_RECORDING = {"enabled", "sample", "redact", "max_age", "max_size"}


class ServiceSettings(TypedDict, total=False):
    """The settings of a service. A setting that is left out keeps its value, or gets the service's default.

    Keys:
        num_replicas: number of replicas; cannot be combined with an enabled autoscaler.
        autoscaler: an `AutoScaler`, or a dict with its properties in snake_case.
        cpu, memory: reserved for each replica, in Kubernetes notation (`500m`, `300Mi`).
        max_concurrent_requests: maximum number of concurrent requests of a replica.
        collect_model_data: whether inputs and outputs of the models are collected in storage.
        app_insights: whether telemetry goes to Application Insights.
        environment: environment variables of the driver, by name. An update keeps those that you do not name; None
            removes one.
        secrets: additional variables whose values are never shown. Take them from your environment or a file.
        reason: why the service is created or updated, for the record of the change.
        recording: whether requests and answers are recorded, for `services.requests` and replays: True, False, or a
            dict with any of `enabled`, `sample` (a share such as 0.1), `redact` (a list, or text with commas),
            `max_age` (such as `"7d"`) and `max_size` (such as `"100MB"`).
    """

    num_replicas: int | None
    autoscaler: AutoScaler | Mapping[str, Any] | None
    cpu: str | float | None
    memory: str | None
    max_concurrent_requests: int | None
    collect_model_data: bool | None
    app_insights: bool | None
    environment: Mapping[str, str | None] | None
    secrets: Mapping[str, str | None] | None
    reason: str | None
    recording: Recording | Mapping[str, Any] | bool | None


def settings_fields(
    *,
    num_replicas: int | None = None,
    autoscaler: AutoScaler | Mapping[str, Any] | None = None,
    cpu: str | float | None = None,
    memory: str | None = None,
    max_concurrent_requests: int | None = None,
    collect_model_data: bool | None = None,
    app_insights: bool | None = None,
    environment: Mapping[str, str | None] | None = None,
    secrets: Mapping[str, str | None] | None = None,
    reason: str | None = None,
    recording: Recording | Mapping[str, Any] | bool | None = None,
) -> dict[str, Any]:
    """Return the settings as properties of a `ServiceCreate` or `ServiceUpdate`.

    Raises:
        UsageError: the autoscaler or the recording is not a mapping, or has an unknown property.
    """
    reserved = None
    if cpu is not None or memory is not None:
        reserved = ContainerResourceReservation(cpu=None if cpu is None else str(cpu), memory=memory)
    return {
        "num_replicas": num_replicas,
        "auto_scaler": _autoscaler(autoscaler),
        "container_resource_reservation": reserved,
        "max_concurrent_requests_per_container": max_concurrent_requests,
        "data_collection": None
        if collect_model_data is None
        else ModelDataCollection(storage_enabled=collect_model_data),
        "app_insights_enabled": app_insights,
        "environment": _variables("environment", environment),
        "secrets": _variables("secrets", secrets),
        "reason": reason,
        "recording": _recording(recording),
    }


def check_keywords(function: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Check the names of keyword arguments that a function passes on as a dict. Misspelled names must not be ignored.

    Raises:
        TypeError: a name is unknown, as for any other function.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            similar = difflib.get_close_matches(name, names, 1)
            hint = f". Did you mean {similar[0]!r}?" if similar else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def checked(type_: type[T], **fields: Any) -> T:
    """Return the body of a request with these properties (None: not set), checked against the limits of the contract.

    Raises:
        UsageError: a property exceeds a limit; the message has its JSON path.
    """
    given: Any = None
    try:
        given = msgspec.to_builtins(type_(**fields))
        body = msgspec.convert(given, type_)
    except (ValueError, TypeError) as error:  # msgspec.ValidationError is a ValueError
        path, problem = explain(error)
        field = path.rpartition(".")[2]
        where = "" if path == "$" else f"{path.removeprefix('$.')}: "
        raise UsageError(
            f"{where}{problem}{_given(type_, fields, field) or _number_at(given, path)}",
            field=None if path == "$" else field,
            fix=_FIXES.get(field),
        ) from error
    if infinite := next(_infinite(given), None):
        field = infinite.rpartition(".")[2]
        raise UsageError(f"{infinite}: infinity is not a valid number", field=field, fix=_FIXES.get(field))
    if too_long := exceeded(body):
        path, problem = too_long
        raise UsageError(f"{path.removeprefix('$.')}: {problem}", field=path.rpartition(".")[2], fix="Shorten it.")
    return body


def _infinite(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of infinite numbers, which JSON does not have: they would be sent as null."""
    if isinstance(value, float) and math.isinf(value):
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _infinite(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _infinite(inner, f"{path}[{place}]")


def _number_at(value: Any, path: str) -> str:
    """Return the number at a path such as `$.steps[0].share`, to show it; other values may be secret."""
    for name, place in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        try:
            value = value[name or int(place)]
        except (KeyError, IndexError, TypeError):
            return ""
    return f" (given: {value!r})" if isinstance(value, int | float) else ""


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number; NumPy's numbers are, too."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def is_uuid(text: str) -> bool:
    """Return whether an id or name is a UUID: ids are UUIDs, names are not.

    Raises:
        UsageError: it is not text.
    """
    if not isinstance(text, str):  # from a notebook, where types are not checked
        raise UsageError(f"an id or a name is a text, not {reprlib.repr(text)}", fix="Give the id or the name as text.")
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def _variables(field: str, given: Any) -> dict[str, str | None] | None:
    """Return variables by name, checked here because messages of the contract would show their values."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise UsageError(f"{field}: not a mapping of names to values", field=field, fix="Use {'NAME': 'value'}.")
    for name, value in given.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str)):
            kind = type(value).__name__ if isinstance(name, str) else f"name of type {type(name).__name__}"
            raise UsageError(f"{field}.{name}: {kind} is not text", field=field, fix="Use text, or None to remove it.")
    return dict(given) or None


def _given(type_: type[msgspec.Struct], fields: Mapping[str, Any], field: str) -> str:
    names = {info.encode_name: info.name for info in msgspec.structs.fields(type_)}
    name = names.get(field, "")
    return f" (given: {fields[name]!r})" if name in fields else ""


def _recording(value: Recording | Mapping[str, Any] | bool | None) -> Recording | None:
    if value is None or isinstance(value, Recording):
        return value
    properties = {"enabled": value} if isinstance(value, bool) else value
    given = _properties("recording", properties, _RECORDING, "Give True, False or a dict, such as {'sample': 0.1}.")
    if given.setdefault("enabled", None) is None and any(one is not None for one in given.values()):
        given["enabled"] = True  # any setting turns recording on
    if isinstance(given.get("redact"), str):
        given["redact"] = [name for part in given["redact"].split(",") if (name := part.strip())]
    age, size = given.pop("max_age", None), given.pop("max_size", None)
    return Recording(
        max_age_in_seconds=None if age is None else seconds_of(age, "max_age"),
        max_bytes=None if size is None else bytes_of(size, "max_size"),
        **given,
    )


def _autoscaler(value: AutoScaler | Mapping[str, Any] | None) -> AutoScaler | None:
    if value is None or isinstance(value, AutoScaler):
        return value
    known = {info.name for info in msgspec.structs.fields(AutoScaler)}
    fix = "Give a dict, such as {'autoscale_enabled': True, 'max_replicas': 5}."
    return AutoScaler(**_properties("autoscaler", value, known, fix))


def _properties(field: str, given: Any, known: Set[str], fix: str) -> dict[str, Any]:
    """Return a copy of the properties of a setting.

    Args:
        field: the setting.
        given: the properties.
        known: their names.
        fix: the fix if the properties are not a mapping.

    Raises:
        UsageError: they are not a mapping, or one of them is unknown.
    """
    if not isinstance(given, Mapping):
        problem = f"{field}: {given!r} is not valid" if isinstance(given, str | bool | int | float) else ""
        raise UsageError(problem or f"{field}: {type(given).__name__} is not a mapping", field=field, fix=fix)
    if unknown := sorted(set(given) - known, key=str):
        fix = f"It has: {', '.join(sorted(known))}."
        raise UsageError(f"{field} has no property {unknown[0]!r}", field=field, fix=fix)
    return dict(given)
