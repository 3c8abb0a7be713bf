"""DataFrames as records; Series, indexes and scalars of pandas as lists and numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mlmgmt_nb.scoring.encoding.arrays import from_array
from mlmgmt_nb.scoring.encoding.walk import JsonFormError, Walk, whole_offset

__all__ = ["check_labels", "convert"]

_COLUMNS = (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)


def convert(value: Any, walk: Walk) -> Any:
    """Return a pandas value as builtins; NotImplemented for other values.

    Raises:
        JsonFormError: the value has no JSON form.
    """
    if isinstance(value, pd.DataFrame):
        return _records(value, walk)
    if isinstance(value, pd.MultiIndex):
        return walk.items(value)
    if isinstance(value, _COLUMNS):
        return _column(pd.Series(value), walk)
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return whole_offset(value).isoformat()
    if isinstance(value, pd.Timedelta):
        return from_array(np.asarray(value.asm8), walk)
    return str(value) if isinstance(value, (pd.Period, pd.Interval)) else NotImplemented


def check_labels(columns: Any, key_text: Callable[[Any], str]) -> list[str]:
    """Return the keys of the columns in JSON.

    Raises:
        JsonFormError: two columns have the same key, or a column has no key.
    """
    if columns.nlevels > 1:
        raise JsonFormError(
            f"a DataFrame with {columns.nlevels} levels of column names",
            'Join each to a single name: `df.columns = ["_".join(map(str, names)) for names in df.columns]`.',
        )
    keys: dict[str, Any] = {}
    for place, label in enumerate(columns):
        if pd.api.types.is_scalar(label) and pd.isna(label):
            raise JsonFormError(
                f"a DataFrame whose column {place} has no name ({label!r})",
                f'Name it: `df.columns = [..., "name", ...]` (position {place}).',
            )
        key = key_text(label)
        if key in keys:
            raise JsonFormError(_collision(keys[key], label, key), "Rename one of them, or leave one out.")
        keys[key] = label
    return list(keys)


def _collision(first: Any, second: Any, key: str) -> str:
    if type(first) is type(second) and first == second:
        return f"a DataFrame with two columns named {first!r}"
    return f"a DataFrame whose columns {first!r} and {second!r} are both {json.dumps(key)} in JSON"


def _records(frame: Any, walk: Walk) -> list[dict[str, Any]]:
    names = check_labels(frame.columns, walk.key_text)
    if not names:
        return [{} for _ in range(len(frame))]
    columns = [_column(frame.iloc[:, place], walk, f".{name}") for place, name in enumerate(names)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(series: Any, walk: Walk, suffix: str = "") -> list[Any]:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind not in "OM":
        made: list[Any] = from_array(series.to_numpy(), walk)
        return made
    return walk.items(series.tolist(), suffix)
