"""Arguments that are Spark DataFrames: JSON lists of records, read as for pandas and then handed to Spark."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from mlmgmt_nb.scoring.schema.plain import plain_json
from mlmgmt_nb.scoring.schema.tables.pandas_type import PandasType
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError

__all__ = ["SparkType"]

_EXAMPLE_ROWS = 5
# name of a Spark type -> the pandas type that reads it; values of other types go to Spark unchanged
_READ_AS = {
    "byte": "Int8",
    "short": "Int16",
    "integer": "Int32",
    "long": "Int64",
    "float": "float32",
    "double": "float64",
    "decimal": "float64",
    "boolean": "boolean",
    "string": "string",
    "date": "datetime64[us]",
    "timestamp": "datetime64[us]",
    "timestamp_ntz": "datetime64[us]",
}
_FROM_SWAGGER = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "datetime64[ns]": "timestamp",
}


class SparkType(ArgumentType):
    """A Spark DataFrame with fixed columns and any number of rows.

    Args:
        schema: a Spark `StructType`.
        example: sample rows as records.
    """

    data_type = DataTypes.SPARK

    def __init__(self, schema: Any, example: Any = None) -> None:
        self.schema = schema
        self.example = example
        names = [(field.name, _READ_AS.get(field.dataType.typeName(), "object")) for field in schema.fields]
        self._table = PandasType(names, example)

    @classmethod
    def from_sample(cls, sample: Any) -> SparkType:
        """Return the type of a sample DataFrame."""
        if not (type(sample).__module__.startswith("pyspark.") and hasattr(sample, "schema")):
            raise SchemaError(f"a SPARK sample must be a Spark DataFrame, not {type(sample).__name__}")
        return cls(sample.schema, plain_json([row.asDict(recursive=True) for row in sample.take(_EXAMPLE_ROWS)]))

    @classmethod
    def from_state(cls, state: dict[str, Any], example: Any) -> SparkType:
        """Create the type from the attributes that `state` returns."""
        from pyspark.sql.types import StructType

        return cls(StructType.fromJson(json.loads(state["schema_json"])), example)

    @classmethod
    def from_swagger(cls, swagger: dict[str, Any]) -> SparkType:
        """Create the type from the `swagger` part of a schema file, with columns in its order."""
        from pyspark.sql.types import StructType

        columns = PandasType.from_swagger(swagger).columns
        fields = [
            {"name": c.key, "type": _FROM_SWAGGER.get(str(c.dtype), "string"), "nullable": True, "metadata": {}}
            for c in columns
        ]
        return cls(StructType.fromJson({"fields": fields}), swagger.get("example"))

    def prepare(self) -> None:
        _session()

    def parse(self, value: Any, name: str) -> Any:
        frame = self._table.parse(value, name)
        missing, columns = frame.isna(), []
        for place, field in enumerate(self.schema.fields):
            is_null = missing.iloc[:, place].tolist()
            if not field.nullable and any(is_null):
                raise InputError([f"{name}[{is_null.index(True)}].{field.name}: this column does not accept null"])
            kind = field.dataType.typeName()
            values = zip(frame.iloc[:, place].tolist(), is_null, strict=True)
            columns.append([None if absent else _plain(item, kind) for item, absent in values])
        from pyspark.errors import PySparkException

        try:
            return _session().createDataFrame(list(zip(*columns, strict=True)), self.schema)
        except (PySparkException, TypeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise InputError([f"{name}: does not fit the columns {self.schema.simpleString()}: {first}"]) from None

    def swagger(self) -> dict[str, Any]:
        return self._table.swagger()

    def state(self) -> tuple[str, str, dict[str, Any]]:
        return "azureml.api.schema.sparkUtil", "SparkSchema", {"schema_json": self.schema.json()}


def _plain(value: Any, kind: str) -> Any:
    """Return a value in the form that Spark accepts for a type."""
    if kind == "decimal":
        return Decimal(repr(value))
    moment = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    return moment.date() if kind == "date" and isinstance(moment, datetime) else moment


def _session() -> Any:
    """Return the driver's session, or a local one."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()
