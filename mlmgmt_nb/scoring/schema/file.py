"""The service schema: types of the arguments and result of `run`, and their file in the format of 2017.

The file is JSON: `{"input": {name: {"internal": ..., "swagger": {...}, "type": 3}}, "output": {...}}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.scoring.schema.pickled import IgnoredDtype, read_internal, write_internal
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError, UnknownTypeError

__all__ = ["ServiceSchema", "load_schema", "save_schema", "type_of_sample"]


@dataclass(frozen=True)
class ServiceSchema:
    """Types of the arguments of `run` by name, and of its result.

    Attributes:
        input: the types of the arguments, by name.
        output: the type of the result, by any name.
    """

    input: Mapping[str, ArgumentType] = field(default_factory=dict)
    output: Mapping[str, ArgumentType] = field(default_factory=dict)

    def example(self) -> dict[str, Any]:
        """Return sample data for a request: an object with one value for each argument."""
        return {name: argument.example for name, argument in self.input.items()}


class _Entry(msgspec.Struct):
    type: int
    internal: str | dict[str, Any] | None = None
    swagger: dict[str, Any] = msgspec.field(default_factory=dict)


class _File(msgspec.Struct):
    input: dict[str, _Entry] = msgspec.field(default_factory=dict)
    output: dict[str, _Entry] | None = None


def load_schema(path: str | Path) -> ServiceSchema:
    """Read a schema file, also one written by the original package.

    Args:
        path: the path of the file.

    Raises:
        SchemaError: the file cannot be read or parsed; the message names the argument.
    """
    try:
        content = _decode(Path(path).read_bytes())
    except OSError as error:
        raise SchemaError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SchemaError(f"{Path(path).name}: {error}") from error
    return ServiceSchema(
        {name: _read_entry(entry, f"{Path(path).name}: input {name}") for name, entry in content.input.items()},
        {
            name: _read_entry(entry, f"{Path(path).name}: output {name}")
            for name, entry in (content.output or {}).items()
        },
    )


def _decode(data: bytes) -> _File:
    try:
        return msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"NaN" not in data and b"Infinity" not in data:
            raise
        # the original package writes missing sample values this way
        return msgspec.convert(json.loads(data, parse_constant=lambda _: None), _File)


def save_schema(schema: ServiceSchema, path: str | Path) -> None:
    """Write a schema file that the original package can read.

    Time spans in the example are numbers of seconds. The original package loads their type too, but takes them from
    requests as text, such as `1 days`.

    Args:
        schema: the schema.
        path: the path of the file.
    """
    content: dict[str, Any] = {"input": {name: _write_entry(argument) for name, argument in schema.input.items()}}
    if schema.output:
        content["output"] = {name: _write_entry(argument) for name, argument in schema.output.items()}
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))


def type_of_sample(data_type: DataTypes | int, sample: Any) -> ArgumentType:
    """Return the type of sample data.

    Raises:
        SchemaError: the sample is of another kind, or is not valid input itself, such as a masked integer.
    """
    argument = _type_of_sample(DataTypes(data_type), sample)
    if argument.data_type is not DataTypes.SPARK and argument.example is not None:
        try:
            argument.parse(argument.example, "sample")
        except InputError as error:
            raise SchemaError(f"the sample is not valid input: {error}") from None
    return argument


def _type_of_sample(kind: DataTypes, sample: Any) -> ArgumentType:
    if kind is DataTypes.PANDAS:
        from mlmgmt_nb.scoring.schema.tables.pandas_type import PandasType

        return PandasType.from_sample(sample)
    if kind is DataTypes.NUMPY:
        from mlmgmt_nb.scoring.schema.numpy_type import NumpyType

        return NumpyType.from_sample(sample)
    if kind is DataTypes.SPARK:
        from mlmgmt_nb.scoring.schema.tables.spark_type import SparkType

        return SparkType.from_sample(sample)
    return PlainType.from_sample(sample)


def _write_entry(argument: ArgumentType) -> dict[str, Any]:
    module, name, state = argument.state()
    is_spark = argument.data_type is DataTypes.SPARK  # the original package does not pickle its description
    return {
        "internal": json.loads(state["schema_json"]) if is_spark else write_internal(module, name, state),
        "swagger": argument.swagger(),
        "type": int(argument.data_type),
    }


def _read_entry(entry: _Entry, where: str) -> ArgumentType:
    try:
        try:
            internal = _read_internal(entry)
        except UnknownTypeError:
            raise
        except (SchemaError, KeyError, TypeError, ValueError):
            if not entry.swagger:
                raise
            return _from_swagger(entry)
        return _from_internal(*internal, entry.swagger.get("example"))
    except (SchemaError, KeyError, TypeError, ValueError) as error:
        raise SchemaError(f"{where}: {error}") from error
    except ImportError as error:
        raise SchemaError(f"{where}: needs {error.name}, which is not installed; add it to the requirements") from error


def _read_internal(entry: _Entry) -> tuple[str, dict[str, Any]]:
    if not entry.internal:
        raise SchemaError("the internal part is missing")
    if isinstance(entry.internal, dict):  # the format of Spark, as the original package writes it
        return "SparkSchema", {"schema_json": json.dumps(entry.internal)}
    kind, state = read_internal(entry.internal)
    needed = {"PandasSchema": ("column_names", "column_types"), "NumpySchema": ("data_type",)}.get(kind, ())
    if missing := [name for name in needed if name not in state]:
        raise SchemaError(f"the internal part lacks {missing[0]}")
    if any(isinstance(kind_of_column, IgnoredDtype) for kind_of_column in state.get("column_types", ())):
        raise SchemaError("the internal part has columns of pandas' own types")
    return kind, state


def _from_internal(kind: str, state: dict[str, Any], example: Any) -> ArgumentType:
    if kind == "PandasSchema":
        from mlmgmt_nb.scoring.schema.tables.pandas_type import PandasType

        return PandasType.from_state(state, example)
    if kind == "NumpySchema":
        from mlmgmt_nb.scoring.schema.numpy_type import NumpyType

        return NumpyType.from_state(state, example)
    if kind == "PythonSchema":
        return PlainType(getattr(state.get("data_type"), "__name__", "any"), example)
    if kind == "SparkSchema":
        from mlmgmt_nb.scoring.schema.tables.spark_type import SparkType

        return SparkType.from_state(state, example)
    raise SchemaError(f"{kind} is not supported. Use DataTypes.PANDAS and convert in run()")


def _from_swagger(entry: _Entry) -> ArgumentType:
    if entry.type == DataTypes.PANDAS:
        from mlmgmt_nb.scoring.schema.tables.pandas_type import PandasType

        return PandasType.from_swagger(entry.swagger)
    if entry.type == DataTypes.NUMPY:
        from mlmgmt_nb.scoring.schema.numpy_type import NumpyType

        return NumpyType.from_swagger(entry.swagger)
    if entry.type == DataTypes.STANDARD:
        return PlainType.from_swagger(entry.swagger)
    if entry.type == DataTypes.SPARK:
        from mlmgmt_nb.scoring.schema.tables.spark_type import SparkType

        return SparkType.from_swagger(entry.swagger)
    kinds = ", ".join(f"{kind.value} ({kind.name})" for kind in DataTypes)
    raise SchemaError(f"type {entry.type} is unknown. The types are {kinds}")
