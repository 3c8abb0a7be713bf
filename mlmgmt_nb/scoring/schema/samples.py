"""Create a schema from sample data, as drivers and notebooks have done since 2017."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlmgmt_nb.scoring.schema.file import ServiceSchema, save_schema, type_of_sample
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, SchemaError

__all__ = ["SampleDefinition", "generate_schema"]


class SampleDefinition:
    """Sample data of one argument, which determines its type.

    Args:
        input_type: the kind of data.
        sample_data: a DataFrame, an array, or a plain value (or type) for `DataTypes.STANDARD`.

    Raises:
        SchemaError: the sample is of another kind.
    """

    def __init__(self, input_type: DataTypes | int, sample_data: Any) -> None:
        self.type = DataTypes(input_type)
        self.schema: ArgumentType = type_of_sample(self.type, sample_data)

    def __repr__(self) -> str:
        return f"SampleDefinition({self.type.name})"


def generate_schema(
    run_func: Callable[..., Any],
    inputs: Mapping[str, SampleDefinition] | None = None,
    outputs: Mapping[str, SampleDefinition] | None = None,
    filepath: str | Path | None = None,
) -> ServiceSchema:
    """Return the schema of a driver's `run`, and write its file.

    Example:
        >>> def run(flowers, top=1): ...
        >>> frame = pd.DataFrame({"petal_length": [1.4], "petal_width": [0.2]})
        >>> sample = SampleDefinition(DataTypes.PANDAS, frame)
        >>> schema = generate_schema(run, {"flowers": sample}, filepath="schema.json")
        >>> schema.example()
        {'flowers': [{'petal_length': 1.4, 'petal_width': 0.2}]}
        >>> load_schema("schema.json").input["flowers"].data_type.name
        'PANDAS'

    Args:
        run_func: the driver's `run`.
        inputs: a sample for each argument, by name.
        outputs: a sample of the result of `run`, by any name.
        filepath: the path of the schema file; None writes no file.

    Raises:
        SchemaError: the arguments of `run` and the samples do not match.
    """
    inputs = {name: sample for name, sample in (inputs or {}).items() if name != "request_headers"}
    parameters = dict(inspect.signature(run_func).parameters)
    check_arguments(parameters, set(inputs) | ({"request_headers"} & set(parameters)))
    schema = ServiceSchema(
        {name: sample.schema for name, sample in inputs.items()},
        {name: sample.schema for name, sample in (outputs or {}).items()},
    )
    if filepath is not None:
        save_schema(schema, filepath)
    return schema


def check_arguments(parameters: Mapping[str, inspect.Parameter], names: set[str]) -> None:
    """Raise `SchemaError` if a function cannot be called with exactly these arguments."""
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    unknown = sorted(names - set(named)) if not takes_any else []
    if unknown:
        raise SchemaError(f"run() has no argument {', '.join(unknown)}; it has {', '.join(named) or 'none'}")
    missing = [name for name, p in named.items() if p.default is p.empty and name not in names]
    missing += [name for name, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
    if missing:
        raise SchemaError(f"the schema has no input for run()'s argument {', '.join(missing)}")
