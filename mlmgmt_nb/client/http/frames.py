"""Pages of resources as a pandas DataFrame.

Columns are the resource's properties under their Python names: first `id`, `name`, `version`, `state`, then the others
in the contract's order. Their dtypes are the same whether there are rows or not: text is `string`, integers `Int64`,
booleans `boolean`, times `datetime64[us, UTC]`; lists stay lists and settings are dicts as the API writes them, or None
for empty ones (`object`), so that Parquet files keep all columns and dtypes. A resource or error inside another is not
repeated; a column has its id or message instead: `manifest_id`, `image_id`, `model_ids`, `compute_resource_id`,
`error`.

Tags of the form `NAME=VALUE`, as packaged models have for their metrics and parameters, are columns at the end, named
`NAME` (`Int64`, `Float64` or `string`): the 50 names that most resources have, most frequent first. Tags named like a
property stay in `tags` only.
"""

from __future__ import annotations

import datetime as dt
import types
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["flat", "flat_names", "to_frame"]

_DTYPES: dict[Any, str] = {
    str: "string",
    Literal: "string",
    int: "Int64",
    bool: "boolean",
    dt.datetime: "datetime64[us, UTC]",
}

_MAX_TAG_COLUMNS = 50
_TAG_DTYPES: tuple[tuple[Callable[[str], Any], Any], ...] = ((int, "Int64"), (float, "Float64"), (str, "string"))
"""Types of values in tags, from the narrowest, and their dtypes."""
_FIRST = ("id", "name", "version", "state")

# A nested resource: its column, the dtype, and the value.
_NESTED: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "manifest": ("manifest_id", "string", lambda manifest: manifest.id),
    "image": ("image_id", "string", lambda image: image.id),
    "models": ("model_ids", "object", lambda models: [model.id for model in models]),
    "compute_resource": ("compute_resource_id", "string", lambda compute: compute.id),
    "error": ("error", "string", lambda error: error.message),
}


class _Column:
    """The values of one property, gathered page by page.

    Attributes:
        name: its name as a column.
    """

    def __init__(self, field: msgspec.structs.FieldInfo) -> None:
        kind = _plain(field.type)
        as_it_is: tuple[str, str, Callable[[Any], Any] | None] = (field.name, _DTYPES.get(kind, "object"), None)
        self._property = field.name
        self.name, self.dtype, self._take = _NESTED.get(field.name) or as_it_is
        if self._take is None and self.dtype == "object":
            self._take = _builtin
        self.values: list[Any] = []

    def extend(self, items: Sequence[Any]) -> None:
        name, take = self._property, self._take
        values = [getattr(item, name) for item in items]
        if take is not None:
            values = [None if value is None else take(value) for value in values]
        self.values += values

    def series(self) -> pd.Series[Any]:
        """Return the column in its dtype. Clear the list, so that only one copy of the values is in memory."""
        import pandas as pd

        values, self.values = self.values, []
        if self.dtype.startswith("datetime64"):
            return pd.to_datetime(pd.Series(values, dtype=object), utc=True).dt.as_unit("us")
        return pd.Series(values, dtype=self.dtype)


def _builtin(value: Any) -> Any:
    """Return a value as JSON types, without empty objects, which Parquet does not have; None if nothing is left."""
    found = msgspec.to_builtins(value)
    if not isinstance(found, dict):
        return found
    return {name: part for name, part in found.items() if part != {}} or None


class _TagColumns:
    """The values of tags of the form `NAME=VALUE`, gathered page by page.

    Args:
        without: names of other columns.
    """

    def __init__(self, without: Iterable[str]) -> None:
        self._without = frozenset(without)
        self._values: dict[str, dict[int, str]] = {}
        self._rows = 0

    def extend(self, items: Sequence[Any]) -> None:
        for row, item in enumerate(items, self._rows):
            for tag in item.tags or ():
                name, has_value, value = tag.partition("=")
                if has_value and name and name not in self._without:
                    self._values.setdefault(name, {})[row] = value
        self._rows += len(items)

    def series(self) -> dict[str, pd.Series[Any]]:
        """Return the columns of the most frequent names."""
        frequent = Counter({name: len(values) for name, values in self._values.items()}).most_common(_MAX_TAG_COLUMNS)
        return {name: self._column(self._values[name]) for name, _ in frequent}

    def _column(self, values: dict[int, str]) -> pd.Series[Any]:
        import pandas as pd

        for kind, dtype in _TAG_DTYPES:
            try:
                known = pd.array([kind(value) for value in values.values()], dtype=dtype)
            except (ValueError, OverflowError):
                continue
            return pd.Series(known, index=list(values)).reindex(range(self._rows))
        raise AssertionError("each text is a string")


def to_frame(type_: type[msgspec.Struct], pages: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return a DataFrame with a row for each resource of the pages. Holds one page of resources at a time.

    Args:
        type_: type of the resources, from the contract.
        pages: the resources, page by page.
    """
    import pandas as pd

    columns = [_Column(field) for field in _fields(type_)]
    tags = _TagColumns(column.name for column in columns)
    for page in pages:
        for column in columns:
            column.extend(page)
        if hasattr(type_, "tags"):
            tags.extend(page)
    return pd.DataFrame({**{column.name: column.series() for column in columns}, **tags.series()}, copy=False)


def flat(item: msgspec.Struct) -> dict[str, Any]:
    """Return a resource as the row that it is in a DataFrame, as JSON types under the API's names."""
    values = ((field, getattr(item, field.name)) for field in _fields(type(item)))
    return {
        _flat_name(field): msgspec.to_builtins(
            _NESTED[field.name][2](value) if field.name in _NESTED and value else value
        )
        for field, value in values
    }


def flat_names(type_: type[msgspec.Struct]) -> list[str]:
    """Return the names in the rows of `flat`, in order."""
    return [_flat_name(field) for field in _fields(type_)]


def _flat_name(field: msgspec.structs.FieldInfo) -> str:
    if field.name not in _NESTED:
        return field.encode_name
    first, *others = _NESTED[field.name][0].split("_")
    return first + "".join(map(str.capitalize, others))


@cache
def _fields(type_: type[msgspec.Struct]) -> Sequence[msgspec.structs.FieldInfo]:
    """Return the properties of a type in the order of columns."""
    fields = {field.name: field for field in msgspec.structs.fields(type_)}
    return [fields[name] for name in dict.fromkeys((*_FIRST, *fields)) if name in fields]


def _plain(annotation: Any) -> Any:
    """Return the type behind `Annotated` and `| None`."""
    if hasattr(annotation, "__metadata__"):
        return _plain(annotation.__origin__)
    if get_origin(annotation) in {Union, types.UnionType}:
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    return get_origin(annotation) or annotation
