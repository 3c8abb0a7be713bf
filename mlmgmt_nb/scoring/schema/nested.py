"""Types of `inference-schema` that the format of 2017 lacks: nested types, and less strict types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlmgmt_nb.scoring.encoding.builtins import key_text
from mlmgmt_nb.scoring.schema.tables.orient import columns_of_empty, read_records, write_example
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError, describe

__all__ = ["CustomType", "DescribedType", "LooseArrayType", "LooseFrameType", "NestedType", "OptionalType"]


class NestedType(ArgumentType):
    """An object with types for some of its members, or a list with a type for its items."""

    data_type = DataTypes.STANDARD

    def __init__(self, inner: Mapping[str, ArgumentType] | ArgumentType) -> None:
        if isinstance(inner, Mapping):
            inner = _by_text(inner)
        self.members = inner if isinstance(inner, Mapping) else None
        self.items = None if isinstance(inner, Mapping) else inner
        self.example = (
            {name: member.example for name, member in inner.items()} if isinstance(inner, Mapping) else [inner.example]
        )

    def parse(self, value: Any, name: str) -> Any:
        if self.members is None:
            assert self.items is not None
            if not isinstance(value, list):
                raise InputError([f"{name}: expected a list, got {describe(value)}"])
            return [self.items.parse(item, f"{name}[{place}]") for place, item in enumerate(value)]
        if not isinstance(value, dict):
            raise InputError([f"{name}: expected an object, got {describe(value)}"])
        parsed, problems = dict(value), []
        for key, member in self.members.items():
            if key not in value:
                continue
            try:
                parsed[key] = member.parse(value[key], f"{name}.{key}")
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        return parsed

    def swagger(self) -> dict[str, Any]:
        if self.members is None:
            assert self.items is not None
            return {"type": "array", "items": self.items.swagger_without_example(), "example": self.example}
        properties = {name: member.swagger_without_example() for name, member in self.members.items()}
        return {"type": "object", "properties": properties, "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("the 2017 format has no nested types. Keep the decorators")


def _by_text(members: Mapping[Any, ArgumentType]) -> dict[str, ArgumentType]:
    """Return the members by their keys in JSON."""
    made: dict[str, ArgumentType] = {}
    for key, member in members.items():
        if (text := key_text(key)) in made:
            raise SchemaError(f"two keys of the sample are both {text!r} in JSON. Rename one of them")
        made[text] = member
    return made


class DescribedType(ArgumentType):
    """A type that is only described: the function converts the value itself."""

    data_type = DataTypes.STANDARD

    def __init__(self, swagger: Mapping[str, Any], example: Any) -> None:
        self._swagger = dict(swagger)
        self.example = example

    def parse(self, value: Any, name: str) -> Any:  # noqa: ARG002 - takes anything
        return value

    def swagger(self) -> dict[str, Any]:
        return {**self._swagger, "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("only the description of this type is known. Keep the decorators")


class CustomType(ArgumentType):
    """A type that the driver defines: a subclass of a parameter type of `inference-schema`.

    Args:
        kind: an object with `deserialize_input`, `input_to_swagger` and `sample_data_type`.
    """

    data_type = DataTypes.STANDARD

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.example = kind.input_to_swagger().get("example")

    def parse(self, value: Any, name: str) -> Any:
        if isinstance(value, self._kind.sample_data_type):
            return value
        try:
            return self._kind.deserialize_input(value)
        except Exception as error:
            raise InputError([f"{name}: {error or type(error).__name__}"]) from error

    def swagger(self) -> dict[str, Any]:
        return dict(self._kind.input_to_swagger())

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("the 2017 format has no types of your own. Keep the decorators")


class _LooseType(ArgumentType):
    """A type with the description of the strict type that accepts more values."""

    def __init__(self, strict: ArgumentType, example: Any) -> None:
        self.strict = strict
        self.example = example

    def swagger(self) -> dict[str, Any]:
        return {**self.strict.swagger(), "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("the 2017 format always enforces types and columns. Keep the decorators")


class LooseArrayType(_LooseType):
    """An array whose element type or sizes are not enforced."""

    data_type = DataTypes.NUMPY

    def __init__(self, strict: Any, typed: bool, shaped: bool) -> None:
        super().__init__(strict, strict.example)
        self._parser = strict.with_shape(strict.shape if shaped else None)
        if not typed:
            self._parser.elements = AnyElements()

    def parse(self, value: Any, name: str) -> Any:
        if not isinstance(value, list):
            raise InputError([f"{name}: expected a list, got {describe(value)}"])
        return self._parser.parse(value, name)


class AnyElements:
    """Elements of any type; NumPy chooses a common one."""

    dtype: Any = None
    kind = "*"

    def convert(self, values: Sequence[Any], path: Callable[[int], str]) -> Any:  # noqa: ARG002 - all fit
        import numpy as np

        texts = sum(isinstance(value, str) for value in values)
        if 0 < texts < len(values) or any(isinstance(value, dict) for value in values):
            made = np.empty(len(values), dtype=object)  # NumPy would convert numbers to text
            made[:] = values
            return made
        return np.array(values)


class LooseFrameType(_LooseType):
    """A DataFrame in any orient of pandas, with columns and types enforced or not."""

    data_type = DataTypes.PANDAS

    def __init__(self, strict: Any, orient: str, *, typed: bool, shaped: bool, renamed: bool) -> None:
        self._table = strict
        self._names = [column.key for column in strict.columns]
        self._orient, self._typed, self._shaped, self._renamed = orient, typed, shaped, renamed
        example = strict.example
        super().__init__(strict, None if example is None else write_example(example, orient, self._names))

    def parse(self, value: Any, name: str) -> Any:
        records, labels = self._records(value, name)
        frame = self._frame(records, name) if records or self._shaped else self._empty(value, name)
        if labels is not None:
            frame.index = labels
        return frame

    def _frame(self, records: list[dict[str, Any]], name: str) -> Any:
        import pandas as pd

        if self._shaped and self._typed:
            return self.strict.parse(records, name)
        if self._shaped:
            return pd.DataFrame(self._table.row_values(records, name), columns=self._table.labels)
        return self._table.parse_known(records, name) if self._typed else self._natural(records)

    def _empty(self, value: Any, name: str) -> Any:
        """Return a frame without rows, with the columns that the caller names."""
        names = columns_of_empty(value, self._orient)
        if self._renamed and len(names) == len(self._names):
            names = self._names
        labels = {column.key: column.label for column in self._table.columns}
        frame = self.strict.parse([], name).reindex(columns=[labels.get(key, key) for key in names])
        return frame if self._typed else frame.astype(object)

    def _natural(self, records: list[dict[str, Any]]) -> Any:
        import pandas as pd

        frame = pd.DataFrame(records)
        return frame.rename(columns={column.key: column.label for column in self._table.columns})

    def _records(self, value: Any, name: str) -> Any:
        orient = self._orient
        if (
            self._renamed
            and orient == "records"
            and isinstance(value, list)
            and all(isinstance(r, list) for r in value)
        ):
            orient = "values"
        records, labels = read_records(value, orient, self._names, name)
        if self._renamed and all(len(record) == len(self._names) for record in records):
            records = [dict(zip(self._names, record.values(), strict=True)) for record in records]
        return records, labels

    def swagger(self) -> dict[str, Any]:
        if self._orient == "records":
            return super().swagger()
        if self._orient == "values":
            return {"type": "array", "items": {"type": "array", "items": {}}, "example": self.example}
        return {"type": "object", "example": self.example}


class OptionalType(_LooseType):
    """A type that also accepts null, as None."""

    def __init__(self, strict: ArgumentType) -> None:
        super().__init__(strict, strict.example)
        self.data_type = strict.data_type  # type: ignore[misc]
        self.unchanged = strict.unchanged

    def prepare(self) -> None:
        self.strict.prepare()

    def parse(self, value: Any, name: str) -> Any:
        return None if value is None else self.strict.parse(value, name)

    def swagger(self) -> dict[str, Any]:
        return self.strict.swagger()

    def state(self) -> tuple[str, str, dict[str, Any]]:
        return self.strict.state()
