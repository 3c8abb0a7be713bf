"""Arguments that are pandas DataFrames: JSON lists of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from mlmgmt_nb.scoring.encoding.encoder import JsonFormError
from mlmgmt_nb.scoring.schema.plain import plain_json
from mlmgmt_nb.scoring.schema.tables.columns import Column, check_dtype, swagger_of_dtype
from mlmgmt_nb.scoring.schema.tables.places import distinct_problems
from mlmgmt_nb.scoring.schema.text_values import type_of_objects
from mlmgmt_nb.scoring.schema.types import (
    ArgumentType,
    DataTypes,
    InputError,
    SchemaError,
    UnitError,
    describe,
)

__all__ = ["PandasType"]

_EXAMPLE_ROWS = 5
_FROM_SWAGGER = {
    ("number", "float"): "float32",
    ("number", None): "float64",
    ("integer", "int32"): "int32",
    ("integer", None): "int64",
    ("boolean", None): "bool",
    ("string", "date-time"): "datetime64[ns]",
}


def _check_columns(columns: Any) -> None:
    from mlmgmt_nb.scoring.encoding.builtins import key_text
    from mlmgmt_nb.scoring.encoding.frames import check_labels

    try:
        check_labels(columns, key_text)
    except JsonFormError as error:
        raise SchemaError(f"the sample is {error.problem}. {error.fix}") from None
    for label in columns:
        if type(_python(label)) not in (str, int, float, bool):
            kind = type(label).__name__
            raise SchemaError(f"the sample has a column with the name {label!r} of type {kind}. Make its name text")


def _cell_path(name: str, key: str, row: int) -> str:
    return f"{name}[{row}].{key}"


class PandasType(ArgumentType):
    """A DataFrame with fixed columns and any number of rows.

    Args:
        columns: pairs of column label and NumPy or pandas data type, in order.
        example: sample rows as records.
        rows: the number of rows of the sample.
        labels: the data type of the labels and their name; None to infer them.
        objects: types of the elements of object columns, in `OBJECT_TYPES`, by label.
    """

    data_type = DataTypes.PANDAS

    def __init__(
        self,
        columns: Sequence[tuple[Any, Any]],
        example: Any = None,
        rows: int = 1,
        labels: tuple[str, Any] | None = None,
        objects: Mapping[Any, str] | None = None,
    ) -> None:
        import pandas as pd

        kinds = objects or {}
        self.columns = [
            Column(label, pd.api.types.pandas_dtype(dtype), kinds.get(_python(label))) for label, dtype in columns
        ]
        self.example = example
        self.rows = rows
        self._keys = [column.key for column in self.columns]
        if len(set(self._keys)) != len(self._keys):
            raise SchemaError(f"two columns have the same name: {', '.join(self._keys)}")
        dtype, name = labels or (None, None)
        self.labels = pd.Index([column.label for column in self.columns], dtype=dtype, name=name)
        self._pick = itemgetter(*self._keys) if len(self._keys) > 1 else None
        self._common = _common_column(self.columns)

    @classmethod
    def from_sample(cls, sample: Any) -> PandasType:
        """Return the type of a sample DataFrame."""
        import pandas as pd

        if not isinstance(sample, pd.DataFrame):
            raise SchemaError(f"a PANDAS sample must be a DataFrame, not {type(sample).__name__}")
        _check_columns(sample.columns)
        objects: dict[Any, str] = {}
        for place, (label, dtype) in enumerate(sample.dtypes.items()):
            check_dtype(dtype, str(label))
            if dtype.kind == "O" and (kind := type_of_objects(sample.iloc[:, place])):
                objects[_python(label)] = kind
        example = plain_json(sample.head(_EXAMPLE_ROWS))
        return cls(list(sample.dtypes.items()), example, len(sample), _labels(sample.columns), objects)

    @classmethod
    def from_state(cls, state: dict[str, Any], example: Any) -> PandasType:
        """Create the type from the attributes of a pickled `PandasSchema`."""
        names, types = list(state["column_names"]), list(state["column_types"])
        own, categories = state.get("pandas_types", {}), state.get("categories", {})
        types = [
            _category_type(*categories[n]) if n in categories else own.get(n, t)
            for n, t in zip(names, types, strict=True)
        ]
        shape = state.get("shape") or (1,)
        columns = list(zip(names, types, strict=True))
        return cls(columns, example, int(shape[0]), state.get("labels"), state.get("object_types"))

    @classmethod
    def from_swagger(cls, swagger: dict[str, Any]) -> PandasType:
        """Create the type from the `swagger` part of a schema file, with columns in its order."""
        columns = []
        for name, kind in swagger.get("items", {}).get("properties", {}).items():
            pair = (kind.get("type"), kind.get("format"))
            columns.append((name, _FROM_SWAGGER.get(pair) or _FROM_SWAGGER.get((pair[0], None)) or "object"))
        if not columns:
            raise SchemaError("the swagger part names no columns")
        return cls(columns, swagger.get("example"))

    def parse(self, value: Any, name: str) -> Any:
        import pandas as pd

        if type(value) is not list:
            raise InputError([f"{name}: expected a list of records, one object per row; got {describe(value)}"])
        rows = self.row_values(value, name)
        if self._common is not None and rows:
            flat = [item for row in rows for item in row]
            if self._common.accepts(flat):
                try:
                    block = self._common.numbers(rows)
                except (OverflowError, UnitError):
                    pass  # column by column, to name the value at fault
                else:
                    return pd.DataFrame(block, columns=self.labels, copy=False)
        return self._by_column(rows, name)

    def parse_known(self, records: list[dict[str, Any]], name: str) -> Any:
        """Return a frame of the given columns: known ones with their types, others as pandas infers them."""
        import pandas as pd

        there = dict.fromkeys(key for record in records for key in record)
        parts, problems = {}, []
        for column in (column for column in self.columns if column.key in there):
            try:
                values = [record.get(column.key) for record in records]
                array = column.convert(values, partial(_cell_path, name, column.key))
                parts[column.label] = pd.Series(array, dtype=object) if column.dtype == object else array
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        others = {key: pd.Series([record.get(key) for record in records]) for key in there if key not in self._keys}
        return pd.DataFrame({**parts, **others})

    def _by_column(self, rows: list[Any], name: str) -> Any:
        import pandas as pd

        lists = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        arrays, problems = [], []
        for column, values in zip(self.columns, lists, strict=True):
            try:
                array = column.convert(values, partial(_cell_path, name, column.key))
                # pandas 3 would convert an object array of text to its own text type
                arrays.append(pd.Series(array, dtype=object) if column.dtype == object else array)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        index = None if arrays else range(len(rows))
        frame = pd.DataFrame(dict(enumerate(arrays)), index=index, copy=False)
        frame.columns = self.labels
        return frame

    def row_values(self, records: list[Any], name: str) -> list[Any]:
        """Return the values of each record in the order of the columns."""
        width = len(self.columns)
        try:
            picked = (
                [self._pick(r) for r in records] if self._pick else [tuple(r[k] for k in self._keys) for r in records]
            )
            if all(len(record) == width for record in records):
                return picked
        except (KeyError, TypeError, IndexError):
            pass
        problems = distinct_problems(records, self._mismatch, lambda row: f"{name}[{row}]", are_rows=True)
        raise InputError(problems)

    def _mismatch(self, record: Any) -> Iterator[tuple[str, str]]:
        """Yield the columns of a record with a problem, each with the problem."""
        if not isinstance(record, dict):
            yield "", f"expected an object with the columns {self._listed()}"
            return
        yield from ((f".{key}", "this column is missing") for key in self._keys if key not in record)
        unknown = f"unknown column; the columns are {self._listed()}"
        yield from ((f".{key}", unknown) for key in record if key not in self._keys)

    def _listed(self) -> str:
        shown = ", ".join(self._keys[:20])
        return f"{shown}, … ({len(self._keys)} in all)" if len(self._keys) > 20 else shown

    def swagger(self) -> dict[str, Any]:
        properties = {column.key: swagger_of_dtype(column.dtype) for column in self.columns}
        made: dict[str, Any] = {"type": "array", "items": {"type": "object", "properties": properties}}
        if self.example is not None:
            made["example"] = self.example
        return made

    def state(self) -> tuple[str, str, dict[str, Any]]:
        import numpy as np
        import pandas as pd

        names = [_python(column.label) for column in self.columns]
        # the original package, with the NumPy and pandas of its time, supports only NumPy's types
        types = [_original_type(column.dtype) for column in self.columns]
        state: dict[str, Any] = {
            "shape": (self.rows, len(names)),
            "column_names": names,
            "column_types": types,
            "schema_map": dict(zip(names, types, strict=True)),
        }
        named = list(zip(names, self.columns, strict=True))
        own = {
            "pandas_types": {
                name: str(column.dtype) for name, column in named if not isinstance(column.dtype, np.dtype)
            },
            "categories": {
                name: (column.dtype.categories.tolist(), column.dtype.ordered, str(column.dtype.categories.dtype))
                for name, column in named
                if column.kind == "C" and column.dtype.categories is not None
            },
            "object_types": {name: column.objects for name, column in named if column.objects},
        }
        state |= {name: value for name, value in own.items() if value}
        if (labels := _labels(self.labels)) != _labels(pd.Index(names)):
            state["labels"] = labels
        return "azureml.api.schema.pandasUtil", "PandasSchema", state


def _common_column(columns: Sequence[Column]) -> Column | None:
    """Return the first column if a single block of numbers has all columns: the cheapest kind of frame."""
    dtypes = {str(column.dtype) for column in columns}
    return columns[0] if len(dtypes) == 1 and columns[0].exact else None


def _labels(columns: Any) -> tuple[str, Any]:
    """Return the data type of column labels, and their name if it is text."""
    dtype = str(columns.dtype)
    return "object" if dtype == "category" else dtype, columns.name if isinstance(columns.name, str) else None


def _category_type(values: Any, ordered: bool | None, dtype: str | None = None) -> Any:
    import pandas as pd

    return pd.CategoricalDtype(pd.Index(values, dtype=dtype), ordered)


def _python(label: Any) -> Any:
    """Return a label whose pickle does not need NumPy, because modules of NumPy were renamed since."""
    import numpy as np

    return label.item() if isinstance(label, np.generic) else label


def _original_type(dtype: Any) -> Any:
    """Return the data type that a column had with the original package."""
    import numpy as np

    if isinstance(dtype, np.dtype) and dtype.kind != "T":
        return dtype
    return np.dtype("datetime64[ns]" if getattr(dtype, "kind", "O") == "M" else "object")
