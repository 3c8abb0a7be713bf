"""Functions of `azureml.api.schema` and `azureml.api.realtime` for drivers that the client of 2017 wrapped."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import msgspec

from mlmgmt_nb.scoring.compat.exceptions import BadRequestException
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.schema.arguments import read_arguments
from mlmgmt_nb.scoring.schema.file import ServiceSchema, load_schema, save_schema
from mlmgmt_nb.scoring.schema.pickled import read_internal
from mlmgmt_nb.scoring.schema.samples import SampleDefinition
from mlmgmt_nb.scoring.schema.swagger import service_swagger
from mlmgmt_nb.scoring.schema.types import ArgumentType

__all__ = [
    "described",
    "deserialize",
    "generate_service_swagger",
    "load_service_schema",
    "parse_service_input",
    "save_service_schema",
    "serialize",
]


described: ServiceSchema | None = None
"""The schema of the last description that a driver asked for: that of its own service."""


def load_service_schema(filename: str) -> ServiceSchema:
    """Read a schema file.

    Raises:
        SchemaError: the file cannot be read.
    """
    return load_schema(filename)


def save_service_schema(
    file_path: str,
    input_schema_sample: Mapping[str, SampleDefinition] | None = None,
    output_schema_sample: Mapping[str, SampleDefinition] | None = None,
) -> None:
    """Write a schema file from samples."""
    samples = [
        {name: sample.schema for name, sample in (part or {}).items()}
        for part in (input_schema_sample, output_schema_sample)
    ]
    save_schema(ServiceSchema(*samples), file_path)


def parse_service_input(http_body: str, service_input_schema: Mapping[str, ArgumentType]) -> dict[str, Any]:
    """Return the arguments of `run` from the text of a request; the caller's `run` may have defaults for missing ones.

    Raises:
        BadRequestException: the message describes the fault.
    """
    try:
        return read_arguments(_plain(http_body), service_input_schema, frozenset(service_input_schema))
    except RequestError as error:
        raise BadRequestException(error.message) from None


def _plain(http_body: str) -> bytes:
    """Return the JSON of a body. The client of 2017 sends the sample of the description as a JSON string of JSON."""
    body = http_body.encode()
    if body.lstrip()[:1] != b'"':
        return body
    try:
        return msgspec.json.decode(body, type=str).encode()
    except msgspec.DecodeError:
        return body


def generate_service_swagger(
    service_name: str,
    service_schema_file_path: str | None = None,
    service_version: str = "1.0",
    service_path_prefix: str = "",
) -> dict[str, Any]:
    """Return the description of a service, as Swagger 2.0."""
    global described
    schema = described = load_schema(service_schema_file_path) if service_schema_file_path else None
    swagger = service_swagger(service_name, schema)
    swagger["info"]["version"] = service_version
    prefix = service_path_prefix.rstrip("/")
    if prefix:
        swagger["basePath"] = prefix if prefix.startswith("/") else f"/{prefix}"
        swagger["paths"] = {"/" + path.rsplit("/", 1)[-1]: item for path, item in swagger["paths"].items()}
    return swagger


def serialize(value: Any) -> str:
    """Return a schema object in the format of 2017: its pickle in Base64."""
    import base64

    return base64.b64encode(pickle.dumps(value)).decode()


def deserialize(text: str) -> Any:
    """Return the attributes of a pickled schema object.

    Raises:
        SchemaError: the text is something else.
    """
    _, attributes = read_internal(text)
    return msgspec.defstruct("InternalSchema", list(attributes))(*attributes.values())
