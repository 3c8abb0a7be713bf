"""`inference_schema.schema_util`: the schema that the decorators declared for a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlmgmt_nb.scoring.compat.inference import SCHEMA_MARK
from mlmgmt_nb.scoring.schema.file import ServiceSchema

__all__ = ["get_input_schema", "get_output_schema", "get_schemas_dict", "get_supported_versions", "is_schema_decorated"]

_Function = Callable[..., Any]


def is_schema_decorated(func: _Function) -> bool:
    """Return whether a decorator declared the type of an argument or of the result."""
    return hasattr(func, SCHEMA_MARK)


def get_input_schema(func: _Function) -> dict[str, Any]:
    """Return the schema of the arguments, as Swagger."""
    schema = _schema(func)
    if not schema.input:
        return {"type": "object"}
    properties = {name: argument.swagger() for name, argument in schema.input.items()}
    return {"type": "object", "properties": properties, "example": schema.example()}


def get_output_schema(func: _Function) -> dict[str, Any]:
    """Return the schema of the result, as Swagger."""
    return next((kind.swagger() for kind in _schema(func).output.values()), {"type": "object"})


def get_supported_versions(func: _Function) -> list[str]:  # noqa: ARG001 - all functions have the same
    """Return the versions of Swagger and OpenAPI in which the schema is available."""
    return ["2.0", "3.0", "3.1"]


def get_schemas_dict() -> dict[str, Any]:
    """Return an empty dict: each function carries its own schema."""
    return {}


def _schema(func: _Function) -> ServiceSchema:
    schema: ServiceSchema = getattr(func, SCHEMA_MARK, ServiceSchema())
    return schema
