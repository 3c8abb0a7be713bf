"""The limits of the contract for form fields, in words and as HTML attributes."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from mlmgmt_nb.contract import limits

__all__ = ["attributes", "check", "pattern", "words"]


def check(type_: type[msgspec.Struct], path: str, value: Any) -> str | None:
    """Return why a value is not valid for a property of a contract type; None if it is valid.

    Args:
        type_: the type.
        path: the property, such as `auto_scaler.min_replicas`.
        value: a number for a numeric property, else text; None for an omitted property.
    """
    if value is None:
        return None if not _field(type_, path).required else f"Enter {words(type_, path)}."
    try:
        msgspec.convert(value, _annotation(type_, path))
    except msgspec.ValidationError:
        return f"Enter {words(type_, path)}."
    return None


def words(type_: type[msgspec.Struct], path: str) -> str:
    """Describe the values that a property accepts, as a phrase that can follow "Enter"."""
    found = _found(type_, path)
    if isinstance(found, inspect.IntType):
        if found.ge is not None and found.le is not None:
            return f"a whole number from {found.ge} to {found.le}"
        return "a whole number" if found.ge is None else f"a whole number of at least {found.ge}"
    if isinstance(found, inspect.StrType) and found.pattern is not None:
        return limits.explained(found.pattern)
    return "text"


def attributes(type_: type[msgspec.Struct], path: str) -> dict[str, Any]:
    """Return the limits as attributes of an HTML `input`, with the description as `title`."""
    found = _found(type_, path)
    about: dict[str, Any] = {"title": _about(type_, path)}
    if isinstance(found, inspect.IntType):
        about |= {"type": "number", "step": 1, "min": found.ge, "max": found.le}
    elif isinstance(found, inspect.StrType):
        about |= {"type": "text", "maxLength": found.max_length}
    return {name: value for name, value in about.items() if value is not None}


def pattern(type_: type[msgspec.Struct], path: str) -> str | None:
    """Return the pattern of a text property as a JavaScript regular expression without anchors."""
    found = _found(type_, path)
    if not isinstance(found, inspect.StrType) or found.pattern is None:
        return None
    return found.pattern.removeprefix("^").removesuffix(r"\Z")


@cache
def _field(type_: type[msgspec.Struct], path: str) -> inspect.Field:
    name, _, rest = path.partition(".")
    info = inspect.type_info(type_)
    assert isinstance(info, inspect.StructType)
    field = next(field for field in info.fields if field.name == name)
    inner = _bare(field.type)
    return _field(inner.cls, rest) if rest and isinstance(inner, inspect.StructType) else field


def _found(type_: type[msgspec.Struct], path: str) -> inspect.Type:
    return _bare(_field(type_, path).type)


def _bare(type_: inspect.Type) -> inspect.Type:
    """Return the type without its metadata and without the `None` that means "not set"."""
    while isinstance(type_, (inspect.Metadata, inspect.UnionType)):
        type_ = (
            type_.type
            if isinstance(type_, inspect.Metadata)
            else next(part for part in type_.types if not isinstance(part, inspect.NoneType))
        )
    return type_


@cache
def _annotation(type_: type[msgspec.Struct], path: str) -> Any:
    name, _, rest = path.partition(".")
    if rest:
        inner = _bare(_field(type_, name).type)
        assert isinstance(inner, inspect.StructType)
        return _annotation(inner.cls, rest)
    return next(field.type for field in msgspec.structs.fields(type_) if field.name == name)


def _about(type_: type[msgspec.Struct], path: str) -> str | None:
    outer = _field(type_, path).type
    schema = outer.extra_json_schema if isinstance(outer, inspect.Metadata) else None
    return (schema or {}).get("description")
