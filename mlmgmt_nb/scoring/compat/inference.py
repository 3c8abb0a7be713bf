"""The decorators of `inference-schema`, which declare the types of `run`'s arguments by samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mlmgmt_nb.scoring.schema.file import ServiceSchema, type_of_sample
from mlmgmt_nb.scoring.schema.nested import LooseArrayType, LooseFrameType, NestedType, OptionalType
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.tables.orient import ORIENTS
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, SchemaError

__all__ = [
    "SCHEMA_MARK",
    "AbstractParameterType",
    "NumpyParameterType",
    "PandasParameterType",
    "SparkParameterType",
    "StandardPythonParameterType",
    "input_schema",
    "output_schema",
]

SCHEMA_MARK = "__mlmgmt_schema__"
OPTIONAL_MARK = "__mlmgmt_optional__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class AbstractParameterType:
    """A type created from a sample; its `schema` reads requests."""

    schema: ArgumentType

    def __init__(self, sample_input: Any) -> None:
        self.sample_input = sample_input


class NumpyParameterType(AbstractParameterType):
    """An array.

    Args:
        sample_input: a sample.
        enforce_column_type: refuse elements of another type.
        enforce_shape: refuse sizes that differ from the sample, except in the first dimension.
    """

    def __init__(self, sample_input: Any, enforce_column_type: bool = True, enforce_shape: bool = True) -> None:
        super().__init__(sample_input)
        strict = type_of_sample(DataTypes.NUMPY, sample_input)
        enforced = enforce_column_type and enforce_shape
        self.schema = strict if enforced else LooseArrayType(strict, enforce_column_type, enforce_shape)


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
        strict = type_of_sample(DataTypes.PANDAS, sample_input)
        plain = enforce_column_type and enforce_shape and not apply_column_names and orient == "records"
        self.schema = (
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
        self.schema = type_of_sample(DataTypes.SPARK, sample_input)


class StandardPythonParameterType(AbstractParameterType):
    """A plain value, or a dict or list that holds further parameter types."""

    def __init__(self, sample_input: Any) -> None:
        super().__init__(sample_input)
        self.schema = _plain_or_nested(sample_input)


def _plain_or_nested(sample: Any) -> ArgumentType:
    if isinstance(sample, AbstractParameterType):
        return sample.schema
    if isinstance(sample, dict) and any(isinstance(item, AbstractParameterType) for item in sample.values()):
        return NestedType({name: _plain_or_nested(item) for name, item in sample.items()})
    if isinstance(sample, (list, tuple)) and any(isinstance(item, AbstractParameterType) for item in sample):
        return NestedType(_plain_or_nested(sample[0]))
    return PlainType.from_sample(sample)


def input_schema(
    param_name: str,
    param_type: AbstractParameterType,
    convert_to_provided_type: bool = True,
    optional: bool = False,
) -> Callable[[_Function], _Function]:
    """Declare the type of an argument of `run`.

    Args:
        param_name: the argument.
        param_type: its type.
        convert_to_provided_type: if False, `run` gets the JSON value unchanged.
        optional: a request may omit the argument or send null, so that `run` gets None.
    """
    argument = param_type.schema if convert_to_provided_type else PlainType("any", param_type.schema.example)
    if optional:
        argument = OptionalType(argument)

    def mark(run: _Function) -> _Function:
        schema = _schema_of(run)
        # decorators are applied from the last argument to the first
        setattr(run, SCHEMA_MARK, ServiceSchema({param_name: argument, **schema.input}, schema.output))
        if optional:
            setattr(run, OPTIONAL_MARK, getattr(run, OPTIONAL_MARK, frozenset()) | {param_name})
        return run

    return mark


def output_schema(output_type: AbstractParameterType) -> Callable[[_Function], _Function]:
    """Declare the type of the result of `run`."""

    def mark(run: _Function) -> _Function:
        setattr(run, SCHEMA_MARK, ServiceSchema(_schema_of(run).input, {"output": output_type.schema}))
        return run

    return mark


def _schema_of(run: Callable[..., Any]) -> ServiceSchema:
    schema: ServiceSchema = getattr(run, SCHEMA_MARK, ServiceSchema())
    return schema
