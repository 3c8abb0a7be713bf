"""The parameter types of `inference-schema`, which declare the type of an argument by a sample."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.scoring.schema.file import type_of_sample
from mlmgmt_nb.scoring.schema.nested import CustomType, LooseArrayType, LooseFrameType, NestedType
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.tables.orient import ORIENTS
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, SchemaError

__all__ = [
    "AbstractParameterType",
    "NumpyParameterType",
    "PandasParameterType",
    "SparkParameterType",
    "StandardPythonParameterType",
]

_UNNAMED = "input_data"


class AbstractParameterType:
    """A type created from a sample. Drivers may subclass it and override `deserialize_input` and `input_to_swagger`.

    Args:
        sample_input: a sample.
    """

    _schema: ArgumentType

    def __init__(self, sample_input: Any) -> None:
        self.sample_input = sample_input
        self.sample_data_type = type(sample_input)

    @property
    def schema(self) -> ArgumentType:
        """The type that reads requests."""
        is_ours = type(self).deserialize_input.__module__ == __name__
        return self._schema if is_ours else CustomType(self)

    def deserialize_input(self, input_data: Any) -> Any:
        """Return the argument from the JSON value of a request.

        Raises:
            InputError: the value does not fit.
        """
        is_converted = isinstance(input_data, self.sample_data_type)
        return input_data if is_converted else self._schema.parse(input_data, _UNNAMED)

    def input_to_swagger(self) -> dict[str, Any]:
        """Return the description of the type, as Swagger."""
        return self._schema.swagger()

    def supported_versions(self) -> list[str]:
        """Return the versions of Swagger and OpenAPI that can describe the type."""
        return ["2.0", "3.0", "3.1"]

    def convert(self, value: Any) -> Any:
        """Return the argument from a JSON value, or from a value that is converted already."""
        return value if isinstance(value, self.sample_data_type) else self.deserialize_input(value)


class NumpyParameterType(AbstractParameterType):
    """An array.

    Args:
        sample_input: a sample.
        enforce_column_type: refuse elements of another type.
        enforce_shape: refuse sizes that differ from the sample, except in the first dimension.
    """

    def __init__(self, sample_input: Any, enforce_column_type: bool = True, enforce_shape: bool = True) -> None:
        super().__init__(sample_input)
        self.enforce_column_type, self.enforce_shape = enforce_column_type, enforce_shape
        strict = type_of_sample(DataTypes.NUMPY, sample_input)
        enforced = enforce_column_type and enforce_shape
        self._schema = strict if enforced else LooseArrayType(strict, enforce_column_type, enforce_shape)


class PandasParameterType(AbstractParameterType):
    """A DataFrame.

    Args:
        sample_input: a sample.
        enforce_column_type: refuse values of another type.
        enforce_shape: refuse columns that differ from the sample.
        apply_column_names: name the columns by position as in the sample.
        orient: the form in requests: `records`, `split`, `index`, `columns`, `values` or `table`, as in pandas.
    """

    def __init__(
        self,
        sample_input: Any,
        enforce_column_type: bool = True,
        enforce_shape: bool = True,
        apply_column_names: bool = False,
        orient: str = "records",
    ) -> None:
        super().__init__(sample_input)
        if orient not in ORIENTS:
            raise SchemaError(f"orient {orient!r} is not supported. Use one of {', '.join(ORIENTS)}")
        self.enforce_column_type, self.enforce_shape = enforce_column_type, enforce_shape
        self.apply_column_names, self.orient = apply_column_names, orient
        strict = type_of_sample(DataTypes.PANDAS, sample_input)
        plain = enforce_column_type and enforce_shape and not apply_column_names and orient == "records"
        self._schema = (
            strict
            if plain
            else LooseFrameType(
                strict, orient, typed=enforce_column_type, shaped=enforce_shape, renamed=apply_column_names
            )
        )


class SparkParameterType(AbstractParameterType):
    """A Spark DataFrame.

    Args:
        sample_input: a sample.
        apply_sample_schema: accepted, but requests always get the column types of the sample.
    """

    def __init__(self, sample_input: Any, apply_sample_schema: bool = True) -> None:
        super().__init__(sample_input)
        self.apply_sample_schema = apply_sample_schema
        self._schema = type_of_sample(DataTypes.SPARK, sample_input)


class StandardPythonParameterType(AbstractParameterType):
    """A plain value, or a dict or list that holds further parameter types.

    Args:
        sample_input: a sample. Members and items that are not parameter types may have any value.
    """

    def __init__(self, sample_input: Any) -> None:
        super().__init__(sample_input)
        self._members = _types_in(sample_input.items()) if isinstance(sample_input, dict) else {}
        self._items = _types_in(enumerate(sample_input)) if isinstance(sample_input, (list, tuple)) else {}
        self._schema = self._plain_or_nested()

    def _plain_or_nested(self) -> ArgumentType:
        if self._members:
            return NestedType({name: _member_type(member) for name, member in self.sample_input.items()})
        if self._items:
            return NestedType(self._item.schema)
        # JSON has lists only, and drivers that declare a tuple have always been given a list
        return PlainType.from_sample(
            list(self.sample_input) if isinstance(self.sample_input, tuple) else self.sample_input
        )

    @property
    def _item(self) -> AbstractParameterType:
        return next(iter(self._items.values()))

    def convert(self, value: Any) -> Any:
        if self._members and isinstance(value, dict):
            return value | {name: kind.convert(value[name]) for name, kind in self._members.items() if name in value}
        if self._items and isinstance(value, (list, tuple)):
            return [self._item.convert(item) for item in value]
        return super().convert(value)


def _types_in(members: Any) -> dict[Any, AbstractParameterType]:
    return {name: member for name, member in members if isinstance(member, AbstractParameterType)}


def _member_type(member: Any) -> ArgumentType:
    if isinstance(member, AbstractParameterType):
        return member.schema
    return PlainType("any", PlainType.from_sample(member).example)
