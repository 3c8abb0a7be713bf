"""Placeholders: values of arguments that have no example, such as those whose sample is not to be shown."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.scoring.schema.types import ArgumentType

__all__ = ["placeholder"]

_DAY, _TIME = "2000-01-01", "00:00:00"
_TEXTS = {"date-time": f"{_DAY}T{_TIME}Z", "date": _DAY, "time": _TIME, "timedelta": "P0D"}
_VALUES = {"integer": 0, "number": 0.0, "boolean": False}


def placeholder(argument: ArgumentType) -> Any:
    """Return a value that the argument accepts: zeros, empty text, one row."""
    return _of(argument.swagger(), (getattr(argument, "shape", None) or ())[1:])


def _of(swagger: dict[str, Any], sizes: tuple[int, ...]) -> Any:
    """Return a value for a schema object; `sizes` are those of the dimensions below the first one."""
    kind = swagger.get("type")
    if "enum" in swagger:
        return swagger["enum"][0]
    if kind == "object":
        return {name: _of(member, ()) for name, member in swagger.get("properties", {}).items()}
    if kind == "array":
        inner = swagger.get("items") or {}
        return [_filled(inner, sizes)] if inner else []
    return _TEXTS.get(swagger.get("format", ""), "") if kind == "string" else _VALUES.get(kind or "")


def _filled(swagger: dict[str, Any], sizes: tuple[int, ...]) -> Any:
    if not sizes or swagger.get("type") != "array":
        return _of(swagger, ())
    return [_filled(swagger["items"], sizes[1:]) for _ in range(sizes[0])]
