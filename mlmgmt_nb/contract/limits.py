"""The limits of the contract on values, their defaults, and readable descriptions of violations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

__all__ = [
    "API_VERSION",
    "MAX_BODY_BYTES",
    "MAX_CHARACTERS",
    "MAX_ITEMS",
    "OTHERWISE",
    "Count",
    "Cpu",
    "Defaults",
    "Memory",
    "Name",
    "NonEmpty",
    "Offset",
    "exceeded",
    "explain",
    "explained",
    "matching",
]

API_VERSION = "2017-09-01-preview"
"""The version of the API that this contract describes; sent as `api-version`."""


def matching(body: str) -> str:
    """Return a pattern for the whole string. In Python, unlike in the API, `$` also matches before a final newline."""
    return rf"^{body}\Z"


Name = Annotated[str, Meta(min_length=3, max_length=32, pattern=matching("[a-z0-9][a-z0-9.-]*[a-z0-9]"))]
"""Name of a service or image: 3 to 32 of a-z, 0-9, `-` and `.`, with a letter or digit at both ends."""

NonEmpty = Annotated[str, Meta(min_length=1)]

Count = Annotated[str, Meta(pattern=matching("[1-9][0-9]*"))]
"""A number of items, at least 1, in the query string."""

Offset = Annotated[str, Meta(pattern=matching("[0-9]{1,9}"))]
"""A number of items to skip, in the query string."""

Cpu = Annotated[str, Meta(pattern=matching(r"([0-9]+m|[0-9]+(\.[0-9]{1,3})?)"))]
"""CPUs in Kubernetes notation: `500m` and `0.5` are half a CPU."""

Memory = Annotated[str, Meta(pattern=matching(r"[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)?"))]
"""Bytes in Kubernetes notation: `300Mi`, `1G`."""

MAX_BODY_BYTES = 16 * 2**20
"""Maximum size of a request body. Contents of models and assets are uploaded to the artifact store instead."""


class Defaults:
    """Settings of a service that sets no others."""

    replicas = 1
    max_concurrent_requests = 10
    """Of a replica, as in the original service."""
    min_replicas, max_replicas = 1, 10
    """Bounds of the autoscaler."""
    refresh_period_in_seconds = 1
    target_utilization = 70


OTHERWISE = "otherwise"
"""Key in the two tables below for properties that they do not list."""
MAX_CHARACTERS: Mapping[str, int] = MappingProxyType(
    {
        "name": 256,
        "tags": 256,
        "description": 16_384,
        "url": 8_192,
        "properties": 8_192,
        "environment": 32_768,
        "secrets": 32_768,
        "evidence": 8_192,
        OTHERWISE: 1_024,
    }
)
"""Maximum number of characters of a text, by property name. Only the service enforces these limits. The API of 2017 and
the OpenAPI document do not have them, and the client accepts longer responses from other servers.
"""
MAX_ITEMS: Mapping[str, int] = MappingProxyType(
    {"tags": 256, "assets": 10_000, "environment": 256, "secrets": 256, OTHERWISE: 1_000}
)
"""Maximum number of items in a list, or of entries in an object with user-defined names, by property name."""


def too_long(name: str, text: str) -> str | None:
    """Return the problem of a text that is too long for a property or parameter of this name; None if it fits."""
    most = MAX_CHARACTERS.get(name, MAX_CHARACTERS[OTHERWISE])
    return f"has {len(text):,} characters; the maximum is {most:,}." if len(text) > most else None


def exceeded(body: Any) -> tuple[str, str] | None:
    """Return the JSON path of the first value in a body that is too long, and the problem; None if all values fit."""
    return next(_exceeded(body, "$", OTHERWISE), None)


def _exceeded(value: Any, path: str, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if problem := too_long(name, value):
            yield path, problem
    elif isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            yield from _exceeded(getattr(value, field.name), f"{path}.{field.encode_name}", field.encode_name)
    elif isinstance(value, list | dict):
        yield from _exceeded_items(value, path, name)


def _exceeded_items(value: list[Any] | dict[str, Any], path: str, name: str) -> Iterator[tuple[str, str]]:
    most = MAX_ITEMS.get(name, MAX_ITEMS[OTHERWISE])
    if len(value) > most:
        yield path, f"has {len(value):,} items; the maximum is {most:,}."
        return
    if isinstance(value, dict):
        for key in value:
            yield from _exceeded(key, path, OTHERWISE)
    places: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for place, item in places:
        yield from _exceeded(item, f"{path}[{place if isinstance(place, int) else '...'}]", name)


_EXPLANATIONS = {
    matching("[a-z0-9][a-z0-9.-]*[a-z0-9]"): "a name of 3 to 32 characters: a-z, 0-9, '-' and '.', "
    "with a letter or digit at both ends",
    matching("[A-Za-z0-9-]{1,64}"): "the name of a header: letters, digits and '-'",
    matching("[1-9][0-9]*"): "a whole number of at least 1",
    matching("[0-9]{1,9}"): "a whole number of at most 9 digits",
    matching(r"([0-9]+m|[0-9]+(\.[0-9]{1,3})?)"): "CPUs in Kubernetes notation, such as '500m' or '0.5'",
    matching(r"[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)?"): "bytes in Kubernetes notation, such as '300Mi' or '1G'",
}


def explained(pattern: str) -> str:
    """Return a human-readable description of a pattern of the contract."""
    return _EXPLANATIONS[pattern]


_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_PARTS = {"str": ("characters", "character"), "array": ("items", "item"), "object": ("properties", "property")}
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_KIND = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_PROPERTY = re.compile(r"Object (missing required|contains unknown) field `([^`]*)`")


def explain(error: Exception) -> tuple[str, str]:
    """Split a validation error of msgspec into the JSON path of the field (`$.name`) and the problem, in words."""
    text, separator, path = str(error).partition(" - at `")
    return (path.rstrip("`") if separator else "$"), _in_words(text)


def _in_words(text: str) -> str:
    for pattern, explanation in _EXPLANATIONS.items():
        text = text.replace(f"Expected `str` matching regex {pattern!r}", f"must be {explanation}")
    if found := _LENGTH.fullmatch(text):
        count = int(found[3])
        return f"must have {_BOUNDS[found[2]]} {count:,} {_PARTS[found[1]][count == 1]}"
    if found := _BOUND.fullmatch(text):
        return f"must be {_BOUNDS[found[1]]} {found[2].removesuffix('.0')}"
    if found := _KIND.fullmatch(text):
        kinds = " or ".join(_KINDS.get(kind, kind) for kind in found[1].split(" | "))
        return f"must be {kinds}, not {_KINDS.get(found[2], found[2])}"
    if found := _PROPERTY.fullmatch(text):
        return f"the property {found[2]!r} is {'missing' if 'missing' in found[1] else 'not known'}"
    return text.replace("`", "")
