"""The OpenAPI 3.0 document of the API, generated from the table of operations and the resource types.

`python -m mlmgmt_nb.contract.openapi` prints it as JSON. Nothing is generated at import.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, get_args, get_origin

import msgspec

from mlmgmt_nb.contract import resources as r
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS, CHANGE_TAG
from mlmgmt_nb.contract.extensions import ServiceUpdate
from mlmgmt_nb.contract.limits import API_VERSION
from mlmgmt_nb.contract.operations import (
    ACCOUNT_PATH,
    API_VERSION_PARAMETER,
    OPERATIONS,
    PATH_PARAMETERS,
    Answer,
    Operation,
    Parameter,
)

__all__ = ["document"]

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_NULL: Json = {"$ref": _SCHEMAS + "NullValue"}
_NAMED_ENUMS = {
    "AsyncOperationState": (get_args(r.AsyncOperationState), "State of an operation."),
    "ImageType": (get_args(r.ImageType), "Kind of image."),
}

_TAGS = {
    "Models": "Registered models and their versions.",
    "Manifests": "Inputs of images: models, driver, files and runtime.",
    "Images": "Images and their builds.",
    "Services": "Web services that run an image, and their keys.",
    "Deployments": "History of the images that services ran.",
    "Operations": "States of asynchronous requests.",
    CHANGE_TAG: "Extension: candidates of services, tried beside the deployment that serves.",
}
_HEADERS: Json = {
    "Operation-Location": {
        "required": True,
        "description": "URL of the operation; poll it until its state is `Succeeded`, `Failed` or `Cancelled`.",
        "schema": {"type": "string", "format": "uri"},
    }
}
_AUTOSCALED_AND_FIXED: Json = {
    "type": "object",
    "required": ["autoScaler", "numReplicas"],
    "properties": {
        "autoScaler": {
            "type": "object",
            "required": ["autoscaleEnabled"],
            "properties": {"autoscaleEnabled": {"type": "boolean", "enum": [True]}},
        },
        "numReplicas": {"type": "integer"},
    },
}
_RULED_OUT = {kind.__name__ for kind in (r.ServiceCreateRequest, r.ServiceUpdateRequest, ServiceUpdate)}
"""Schemas in which an enabled autoscaler and a fixed number of replicas are mutually exclusive."""


@lru_cache(maxsize=4)
def document(base_url: str = "/", *, extensions: bool = True) -> Json:
    """Return the document. It is cached and shared, so do not modify it.

    Args:
        base_url: URL of the server, without the path of an account.
        extensions: whether to include the operations that the API of 2017 does not have.

    Returns:
        An OpenAPI 3.0.3 document that `json.dumps` can write.
    """
    operations = [*OPERATIONS.values(), *(CHANGE_OPERATIONS.values() if extensions else ())]
    tags = {operation.tag for operation in operations}
    paths: Json = {}
    for operation in operations:
        item = paths.setdefault(ACCOUNT_PATH + operation.path, {"parameters": _path_parameters(operation)})
        item[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Model Management API",
            "version": API_VERSION,
            "description": (
                "Registers models, describes how they run, builds images and runs them as web services. "
                "Long operations return 202; the `Operation-Location` header names an operation to poll. An optional "
                "property may be left out or be null; both mean 'not set'."
            ),
        },
        "servers": [{"url": base_url}],
        "security": [{"bearerAuth": []}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items() if name in tags],
        "paths": paths,
        "components": _components(operations),
    }


def _path_parameters(operation: Operation) -> list[Json]:
    names = [*PATH_PARAMETERS, *re.findall(r"\{(\w+)\}", operation.path)]
    keys = [_key(f"{operation.subject}Id" if name == "id" else name) for name in names]
    return [{"$ref": f"#/components/parameters/{key}"} for key in [*keys, _key(API_VERSION_PARAMETER.name)]]


def _operation(operation: Operation) -> Json:
    made: Json = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        made["description"] = operation.description
    if operation.query:
        made["parameters"] = [_parameter(parameter, "query") for parameter in operation.query]
    if operation.body is not None:
        made["x-codegen-request-body-name"] = operation.body_name
        made["requestBody"] = {
            "required": True,
            "description": operation.body_description,
            "content": _content(operation.body),
        }
    made["responses"] = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    made["responses"]["default"] = {"$ref": "#/components/responses/Error"}
    return made


def _parameter(parameter: Parameter, where: str) -> Json:
    (schema,), _ = msgspec.json.schema_components([parameter.type])
    made = {
        "name": parameter.name,
        "in": where,
        "required": parameter.required,
        "description": parameter.description,
        "schema": _openapi(schema),
    }
    return made if parameter.example is None else made | {"example": parameter.example}


def _answer(answer: Answer) -> Json:
    made: Json = {"description": answer.description}
    if answer.headers:
        made["headers"] = {name: {"$ref": f"#/components/headers/{_key(name)}"} for name in answer.headers}
    if answer.body is not None:
        made["content"] = _content(answer.body)
    return made


def _content(body: Any) -> Json:
    return {"application/json": {"schema": {"$ref": _SCHEMAS + _schema_name(body)}}}


def _schema_name(body: Any) -> str:
    if get_origin(body) is list:
        return f"{get_args(body)[0].__name__}List"
    return str(body.__name__)


def _key(name: str) -> str:
    """Return the key in `components` for a parameter or header: `api-version` becomes `ApiVersion`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def _components(operations: Sequence[Operation]) -> Json:
    subjects = {operation.subject for operation in operations if "{id}" in operation.path}
    path = {name: Parameter(name, description, required=True) for name, description in PATH_PARAMETERS.items()}
    ids = {f"{subject}Id": Parameter("id", f"Id of the {subject}.", required=True) for subject in subjects}
    parameters = {_key(key): _parameter(parameter, "path") for key, parameter in sorted((path | ids).items())}
    parameters[_key(API_VERSION_PARAMETER.name)] = _parameter(API_VERSION_PARAMETER, "query")
    return {
        "securitySchemes": {
            "bearerAuth": {
                "type": "http",
                "scheme": "bearer",
                "description": "Every request carries `Authorization: Bearer TOKEN`.",
            }
        },
        "parameters": parameters,
        "headers": {_key(name): header for name, header in _HEADERS.items()},
        "responses": {"Error": _answer(Answer("The request failed; the body has the error.", r.ErrorResponse))},
        "schemas": _schemas(operations),
    }


def _schemas(operations: Sequence[Operation]) -> Json:
    """Return all schemas by name: the types of bodies and responses, and the types that they refer to."""
    bodies = _bodies(operations)
    made, structs = msgspec.json.schema_components(bodies, ref_template=_SCHEMAS + "{name}")
    lists = {
        _schema_name(body): {"description": f"All {_schema_name(body).removesuffix('List').lower()}s.", **schema}
        for body, schema in zip(bodies, made, strict=True)
        if get_origin(body) is list
    }
    schemas = {name: _openapi(schema) for name, schema in (structs | lists).items()}
    for schema in schemas.values():  # omit the list of attributes in the docstring: they have separate descriptions
        schema["description"] = re.split(r"\n\n\s*Attributes:", schema["description"])[0]
    for name in _RULED_OUT & schemas.keys():
        schemas[name]["not"] = _AUTOSCALED_AND_FIXED
    for name, (values, description) in _NAMED_ENUMS.items():
        schemas[name] = {"type": "string", "description": description, "enum": list(values)}
    schemas["NullValue"] = {
        "type": "object",
        "description": "Null; used beside a reference, where `nullable` has no effect.",
        "nullable": True,
        "enum": [None],
    }
    return dict(sorted(schemas.items()))


def _bodies(operations: Sequence[Operation]) -> list[Any]:
    """Return the types of all responses and requests."""
    answers = [answer.body for operation in operations for answer in operation.answers.values()]
    return [body for body in [*answers, *(o.body for o in operations), r.ErrorResponse] if body is not None]


def _openapi(schema: Json) -> Json:
    """Convert a JSON schema of msgspec to OpenAPI 3.0.

    OpenAPI 3.0 has neither the type null nor keywords beside `$ref`. Exclusive limits are flags beside the limit, and
    Base64 is a format.
    """
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    if "anyOf" in schema:
        return _nullable(schema)
    if "enum" in schema:
        return _enum(schema)
    made = {word: value for word, value in schema.items() if word not in {"title", "default"}}
    if made.pop("contentEncoding", None) == "base64":
        made["format"] = "byte"
    if "pattern" in made:
        # Python's whole-string pattern; `$` in ECMA-262, which OpenAPI uses, does not match before a final newline.
        made["pattern"] = re.sub(r"\\Z$", "$", made["pattern"])
    if not made.get("required", True):
        del made["required"]
    if "properties" in made:
        made["properties"] = {name: _openapi(value) for name, value in made["properties"].items()}
    for word in ("items", "additionalProperties"):
        if word in made:
            made[word] = _openapi(made[word])
    return made | _exclusive_limits(made)


def _exclusive_limits(schema: Json) -> Json:
    made: Json = {}
    for word, mark in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if mark in schema:
            made |= {word: schema[mark], mark: True}
    return made


def _nullable(schema: Json) -> Json:
    (inner,) = (_openapi(choice) for choice in schema["anyOf"] if choice != {"type": "null"})
    outer = {word: value for word, value in schema.items() if word not in {"anyOf", "default"}}
    if "$ref" in inner:
        return outer | {"anyOf": [inner, _NULL]}
    made = outer | inner | {"nullable": True}
    if "enum" in inner:
        made["enum"] = [*inner["enum"], None]
    return made


def _enum(schema: Json) -> Json:
    for name, (values, _) in _NAMED_ENUMS.items():
        if set(values) == set(schema["enum"]):
            return {"$ref": _SCHEMAS + name}
    return {"type": "string"} | {word: value for word, value in schema.items() if word != "default"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1, sort_keys=True) + "\n")
