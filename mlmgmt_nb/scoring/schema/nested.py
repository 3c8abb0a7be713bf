"""Types that `inference-schema` has beyond those of 2017: nested ones, and ones that enforce less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError, describe

__all__ = ["DescribedType", "LooseArrayType", "LooseFrameType", "NestedType"]


class NestedType(ArgumentType):
    """An object with a type for some of its members, or a list with a type for its items."""

    data_type = DataTypes.STANDARD

    def __init__(self, inner: Mapping[str, ArgumentType] | ArgumentType) -> None:
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
            return {"type": "array", "items": _bare(self.items), "example": self.example}
        properties = {name: _bare(member) for name, member in self.members.items()}
        return {"type": "object", "properties": properties, "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("the 2017 format has no nested types: keep the decorators")


class DescribedType(ArgumentType):
    """A type that is only described: the function converts by itself."""

    data_type = DataTypes.STANDARD

    def __init__(self, swagger: Mapping[str, Any], example: Any) -> None:
        self._swagger = dict(swagger)
        self.example = example

    def parse(self, value: Any, name: str) -> Any:  # noqa: ARG002 - takes anything
        return value

    def swagger(self) -> dict[str, Any]:
        return {**self._swagger, "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("this type is known by its description only: keep the decorators")


class _LooseType(ArgumentType):
    """Describes itself as the strict type does, and takes more."""

    def __init__(self, strict: ArgumentType, example: Any) -> None:
        self.strict = strict
        self.example = example

    def swagger(self) -> dict[str, Any]:
        return {**self.strict.swagger(), "example": self.example}

    def state(self) -> tuple[str, str, dict[str, Any]]:
        raise SchemaError("the 2017 format always enforces types and columns: keep the decorators")


class LooseArrayType(_LooseType):
    """An array of any shape, and without `typed` of any type."""

    data_type = DataTypes.NUMPY

    def __init__(self, strict: Any, typed: bool) -> None:
        super().__init__(strict, strict.example)
        self._dtype = strict.elements.dtype if typed else None

    def parse(self, value: Any, name: str) -> Any:
        import numpy as np

        try:
            return np.array(value, dtype=self._dtype)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError([f"{name}: not an array of {self._dtype or 'one type'}: {error}"]) from None


class LooseFrameType(_LooseType):
    """A DataFrame written as records or split, whose columns and types are enforced or not."""

    data_type = DataTypes.PANDAS

    def __init__(self, strict: Any, orient: str, enforced: bool, renamed: bool) -> None:
        self._names = [column.label for column in strict.columns]
        self._orient, self._enforced, self._renamed = orient, enforced, renamed
        example = strict.example
        if orient == "split" and example is not None:
            rows = [[record[str(name)] for name in self._names] for record in example]
            example = {"columns": list(map(str, self._names)), "index": list(range(len(rows))), "data": rows}
        super().__init__(strict, example)

    def parse(self, value: Any, name: str) -> Any:
        import pandas as pd

        records = self._records(value, name)
        if self._enforced:
            return self.strict.parse(records, name)
        try:
            frame = pd.DataFrame(records)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError([f"{name}: not a table: {error}"]) from None
        if self._renamed and len(frame.columns) == len(self._names):
            frame.columns = pd.Index(self._names)
        return frame

    def _records(self, value: Any, name: str) -> Any:
        if self._orient == "split":
            if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
                raise InputError([f"{name}: expected an object with columns and data, got {describe(value)}"])
            columns, rows = value["columns"], value["data"]
        elif self._renamed and isinstance(value, list) and all(isinstance(row, list) for row in value):
            columns, rows = list(map(str, self._names)), value
        else:
            return value
        if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
            raise InputError([f"{name}: each row must have {len(columns)} values, one for each column"])
        keys = list(map(str, self._names)) if self._renamed and len(columns) == len(self._names) else columns
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def swagger(self) -> dict[str, Any]:
        if self._orient == "records":
            return super().swagger()
        return {"type": "object", "example": self.example}


def _bare(argument: ArgumentType) -> dict[str, Any]:
    return {key: value for key, value in argument.swagger().items() if key != "example"}
