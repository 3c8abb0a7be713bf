"""The description of a service: Swagger 2.0 for the clients of 2017, and OpenAPI 3 for current ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlmgmt_nb.scoring.schema.file import ServiceSchema
from mlmgmt_nb.scoring.schema.placeholders import placeholder

__all__ = ["as_openapi", "own_descriptions", "service_swagger"]

_ERROR = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "statusCode": {"type": "integer", "format": "int32"},
        "requestId": {"type": "string"},
        "details": {
            "type": "array",
            "items": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}


def service_swagger(name: str, schema: ServiceSchema | None, optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the description of one service.

    Args:
        name: the service's name.
        schema: types of the arguments of `run`; None if it takes any text.
        optional: arguments that a request may leave out.

    Returns:
        A Swagger 2.0 document; `definitions.ServiceInput.example` is a valid body: arguments without an example
        have a placeholder, unless they may be left out.
    """
    return {
        "swagger": "2.0",
        "info": {"title": name, "description": f"Scoring service {name}", "version": "1.0"},
        "schemes": ["http"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "Bearer": {
                "type": "apiKey",
                "name": "Authorization",
                "in": "header",
                "description": "Bearer followed by a key of the service",
            }
        },
        "security": [{"Bearer": []}],
        "paths": {
            "/": {
                "get": {
                    "operationId": "HealthCheck",
                    "summary": "Whether the service answers",
                    "security": [],
                    "responses": {"200": {"description": "The service is healthy"}},
                }
            },
            f"/api/v1/service/{name}/score": {"post": _score_operation()},
        },
        "definitions": {
            "ServiceInput": _input(schema, optional),
            "ServiceOutput": _output(schema),
            "ErrorResponse": _ERROR,
        },
    }


def own_descriptions(folder: Path) -> dict[str, bytes]:
    """Return the descriptions that an application brings along, by version: `swagger2.json` and `swagger3.json`."""
    files = {version: folder / f"swagger{version}.json" for version in ("2", "3")}
    return {version: path.read_bytes() for version, path in files.items() if path.is_file()}


def as_openapi(swagger: dict[str, Any]) -> dict[str, Any]:
    """Return the same description as an OpenAPI 3.0 document.

    Args:
        swagger: a document from `service_swagger`.
    """
    paths: dict[str, Any] = {}
    for path, item in swagger["paths"].items():
        paths[path] = {method: _as_operation(operation) for method, operation in item.items()}
    return {
        "openapi": "3.0.3",
        "info": swagger["info"],
        "servers": [{"url": swagger.get("basePath", "/")}],
        "security": swagger["security"],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "Bearer": {"type": "http", "scheme": "bearer", "description": "A key of the service"},
            },
            "schemas": swagger["definitions"],
        },
    }


def _as_operation(operation: dict[str, Any]) -> dict[str, Any]:
    """Return an operation with its body and its responses in the form of OpenAPI 3."""
    made = {name: value for name, value in operation.items() if name not in ("parameters", "responses")}
    for parameter in operation.get("parameters", []):
        made["requestBody"] = {"required": parameter["required"], "content": _content(parameter["schema"])}
    made["responses"] = {
        status: {
            "description": answer["description"],
            **({"content": _content(answer["schema"])} if "schema" in answer else {}),
        }
        for status, answer in operation["responses"].items()
    }
    return made


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema["$ref"].replace("#/definitions/", "#/components/schemas/")
    return {"application/json": {"schema": {"$ref": reference}}}


def _score_operation() -> dict[str, Any]:
    return {
        "operationId": "RunMLService",
        "summary": "Scores the input with the model",
        "parameters": [
            {
                "name": "serviceInputPayload",
                "in": "body",
                "required": True,
                "schema": {"$ref": "#/definitions/ServiceInput"},
            }
        ],
        "responses": {
            "200": {"description": "What run() returned", "schema": {"$ref": "#/definitions/ServiceOutput"}},
            "default": {"description": "An error", "schema": {"$ref": "#/definitions/ErrorResponse"}},
        },
    }


def _input(schema: ServiceSchema | None, optional: frozenset[str]) -> dict[str, Any]:
    if schema is None:
        return {"description": "Any body; run() receives it as text", "example": {}}
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: argument.swagger_without_example() for name, argument in schema.input.items()},
        "example": dict(_examples(schema, optional)),
    }
    required = [name for name in schema.input if name not in optional]
    if required:
        made["required"] = required
    return made


def _examples(schema: ServiceSchema, optional: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield a valid value of each argument, except for optional ones without an example."""
    for name, argument in schema.input.items():
        if argument.example is not None:
            yield name, argument.example
        elif name not in optional:
            yield name, placeholder(argument)


def _output(schema: ServiceSchema | None) -> dict[str, Any]:
    if schema is None or not schema.output:
        return {"description": "What run() returned"}
    if len(schema.output) == 1:
        return next(iter(schema.output.values())).swagger()
    return {"type": "object", "properties": {name: a.swagger() for name, a in schema.output.items()}}
