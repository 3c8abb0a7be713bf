"""The limits that the contract puts on values, and how a value that breaks one is described."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["API_VERSION", "Count", "Cpu", "Memory", "Name", "NonEmpty", "explain", "explained", "matching"]

API_VERSION = "2017-09-01-preview"
"""The version of the API that this contract describes; sent as `api-version`."""


def matching(body: str) -> str:
    """Pattern for the whole of a string. Python's `$` also matches before a final line break; the API's does not."""
    return rf"^{body}\Z"


Name = Annotated[str, Meta(min_length=3, max_length=32, pattern=matching("[a-z0-9][a-z0-9.-]*[a-z0-9]"))]
"""Name of a service or image: 3 to 32 of a-z, 0-9, `-` and `.`, with a letter or digit at both ends."""

NonEmpty = Annotated[str, Meta(min_length=1)]

Count = Annotated[str, Meta(pattern=matching("[1-9][0-9]*"))]
"""A number of items, at least 1, as the query string has it."""

Cpu = Annotated[str, Meta(pattern=matching(r"([0-9]+m|[0-9]+(\.[0-9]{1,3})?)"))]
"""CPUs in Kubernetes notation: `500m` is half of one, `0.5` too."""

Memory = Annotated[str, Meta(pattern=matching(r"[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)?"))]
"""Bytes in Kubernetes notation: `300Mi`, `1G`."""

_EXPLANATIONS = {
    matching("[a-z0-9][a-z0-9.-]*[a-z0-9]"): "a name of 3 to 32 characters: a-z, 0-9, '-' and '.', "
    "with a letter or digit at both ends",
    matching("[1-9][0-9]*"): "a whole number of at least 1",
    matching(r"([0-9]+m|[0-9]+(\.[0-9]{1,3})?)"): "CPUs in Kubernetes notation, such as '500m' or '0.5'",
    matching(r"[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)?"): "bytes in Kubernetes notation, such as '300Mi' or '1G'",
}


def explained(pattern: str) -> str:
    """What a pattern of the contract asks for, for people."""
    return _EXPLANATIONS[pattern]


def explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """Splits a validation error into the JSON path of the field (`$.name`) and what was expected there, for people."""
    text, separator, path = str(error).partition(" - at `")
    for pattern, explanation in _EXPLANATIONS.items():
        text = text.replace(f"`str` matching regex {pattern!r}", explanation)
    return (path.rstrip("`") if separator else "$"), text.replace("`", "")
