"""Convert columns of JSON values to arrays of a data type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlmgmt_nb.scoring.encoding.builtins import key_text
from mlmgmt_nb.scoring.schema.tables.places import elsewhere
from mlmgmt_nb.scoring.schema.text_values import OBJECT_TYPES
from mlmgmt_nb.scoring.schema.types import MAX_PROBLEMS, InputError, SchemaError, UnitError, describe

__all__ = ["Column", "swagger_of_dtype"]

_NONE = type(None)
# NumPy kind -> (accepted types of JSON values, description)
_ACCEPTED: dict[str, tuple[frozenset[type], str]] = {
    "f": (frozenset({int, float, _NONE}), "a number or null"),
    "i": (frozenset({int}), "an integer"),
    "u": (frozenset({int}), "an integer that is not negative"),
    "b": (frozenset({bool}), "true or false"),
    "M": (frozenset({str, int, _NONE}), "a date (ISO 8601 text, or milliseconds since 1970) or null"),
    "m": (frozenset({str, int, float, _NONE}), "a time span (ISO 8601 text, or seconds) or null"),
    "c": (frozenset({int, float, str}), 'a number or text such as "1+2j"'),
    "S": (frozenset({str}), "a string"),
    "U": (frozenset({str}), "a string"),
}
_BOOLEANS = {"True": True, "False": False}
_NULLABLE = {"i": "an integer or null", "u": "an integer or null", "b": "true, false or null"}
_JSON_TYPES: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_SWAGGER = {
    "f": ("number", "double"),
    "i": ("integer", "int64"),
    "u": ("integer", "int64"),
    "b": ("boolean", None),
    "M": ("string", "date-time"),
}


def swagger_of_dtype(dtype: Any) -> dict[str, Any]:
    """Return the Swagger type and format of a NumPy or pandas data type; an object column may hold anything."""
    kind = _kind(dtype)
    if kind == "O":
        return {}
    if kind == "C" and dtype.categories is not None and len(dtype.categories):
        return _choices(dtype.categories.tolist())
    swagger_type, form = _SWAGGER.get(kind, ("string", None))
    if getattr(dtype, "itemsize", 8) < 8 and kind in "fi":
        form = "float" if kind == "f" else "int32"
    return {"type": swagger_type, "format": form} if form else {"type": swagger_type}


def _choices(categories: list[Any]) -> dict[str, Any]:
    """Return the Swagger type of categories: the levels that callers may send, and null."""
    kinds = {_JSON_TYPES[type(level)] for level in categories}
    return {"enum": categories} if len(kinds) > 1 else {"type": kinds.pop(), "enum": categories}


def _kind(dtype: Any) -> str:
    """Return NumPy's letter for a data type; T for text, C for categories, O for values that are passed unchanged."""
    name = str(dtype)
    kind: str = getattr(dtype, "kind", "O")
    if name == "category":
        return "C"
    if name == "str" or name.startswith("string") or kind == "T":
        return "T"
    return kind if kind in _ACCEPTED else "O"


class Column:
    """A column of a table, or the elements of an array.

    Args:
        label: the column's name in the frame; None for the elements of an array.
        dtype: NumPy or pandas data type.
        objects: the type of all elements of an object column, one of `OBJECT_TYPES`; None for JSON values.
    """

    def __init__(self, label: Any, dtype: Any, objects: str | None = None) -> None:
        self.label = label
        self.key = key_text(label)
        self.dtype = dtype
        self.kind = _kind(dtype)
        self.objects = objects
        self.nullable = type(dtype).__module__.startswith("pandas")
        self.accepted, self.words = self._accepted()
        self.narrow = self.kind == "f" and getattr(getattr(dtype, "subtype", dtype), "itemsize", 8) < 8
        self.exact = self.kind in "fiub" and not self.nullable

    def _accepted(self) -> tuple[frozenset[type], str]:
        if self.objects:
            return OBJECT_TYPES[self.objects].accepted, f"{OBJECT_TYPES[self.objects].words} or null"
        if self.kind == "T":
            can_miss = self.nullable or hasattr(self.dtype, "na_object")
            return (frozenset({str, _NONE}), "a string or null") if can_miss else (frozenset({str}), "a string")
        if self.kind == "C":
            self.categories: frozenset[Any] = (
                frozenset(self.dtype.categories) if self.dtype.categories is not None else frozenset()
            )
            return frozenset({str, int, float, bool, _NONE}), "one of the categories or null"
        if self.kind == "O":
            return frozenset(), "any value"
        accepted, words = _ACCEPTED[self.kind]
        return (accepted | {_NONE}, _NULLABLE.get(self.kind, words)) if self.nullable else (accepted, words)

    def accepts(self, values: Sequence[Any]) -> bool:
        """Return whether the column accepts the JSON types of all values."""
        return (self.kind == "O" and not self.objects) or self.accepted.issuperset(set(map(type, values)))

    def convert(self, values: Sequence[Any], path: Callable[[int], str]) -> Any:
        """Return an array of the column's data type.

        Args:
            values: JSON values.
            path: returns the path of the value at a position, for messages.

        Raises:
            InputError: values do not fit; it names the first of them, and the places of others.
        """
        if not self.accepts(values):
            values = self._corrected(values, path)
        self._check_categories(values, path)
        try:
            return self._array(values)
        except (ValueError, TypeError, OverflowError):
            raise self._unconvertible(values, path) from None

    def _corrected(self, values: Sequence[Any], path: Callable[[int], str]) -> list[Any]:
        """Return the values, with harmless deviations corrected; any other wrong type is an error."""
        corrected = [self._correct(value) for value in values]
        wrong = [place for place, value in enumerate(corrected) if type(value) not in self.accepted]
        if wrong:
            raise self._error(f"expected {self.words}, got {describe(corrected[wrong[0]])}", wrong, len(values), path)
        return corrected

    def _error(self, problem: str, places: Sequence[int], total: int, path: Callable[[int], str]) -> InputError:
        """Return one error for all values with the same problem."""
        others = elsewhere(places, total, path if self.label is None else None)
        return InputError([f"{path(places[0])}: {problem}{others}"])

    def _correct(self, value: Any) -> Any:
        """Return 1.0 as an integer, and the text of a boolean, as in samples in files of 2017, as a boolean."""
        if self.kind in "iu" and type(value) is float and value.is_integer():
            return int(value)
        return _BOOLEANS.get(value, value) if self.kind == "b" and type(value) is str else value

    def _check_categories(self, values: Sequence[Any], path: Callable[[int], str]) -> None:
        if self.kind != "C" or not self.categories:
            return
        known = ", ".join(map(str, list(self.dtype.categories)[:20]))
        wrong = [n for n, value in enumerate(values) if value is not None and value not in self.categories]
        if wrong:
            problem = f"expected one of {known}; got {describe(values[wrong[0]])}"
            raise self._error(problem, wrong, len(values), path)

    def _unconvertible(self, values: Sequence[Any], path: Callable[[int], str]) -> InputError:
        places: list[int] = []
        reason = ""
        for place, value in enumerate(values):
            try:
                self._array([value])
            except (ValueError, TypeError, OverflowError) as error:
                if not places and isinstance(error, UnitError):
                    reason = f", which is {error}"
                places.append(place)
                if len(places) == MAX_PROBLEMS:
                    break
        if not places:
            return InputError([f"{path(0)}: the values do not fit {self.dtype} together"])
        problem = f"expected {self.words} ({self.dtype}), got {describe(values[places[0]])}{reason}"
        return self._error(problem, places, len(values), path)

    def _array(self, values: Sequence[Any]) -> Any:
        import numpy as np

        if self.kind == "M":
            return self._dates(values)
        if self.kind == "m":
            return self._spans(values)
        if self.kind == "O" and not self.nullable:
            array = np.empty(len(values), dtype=object)
            array[:] = self._objects(values) if self.objects else values
            return array
        if self.nullable:
            import pandas as pd

            with np.errstate(over="ignore"):
                made = pd.array(list(values), dtype=self.dtype)
            self._check_range(made.to_numpy(dtype=float, na_value=0) if self.narrow else made)
            return made
        if self.kind in "SU":
            return self._texts(values)
        return self.numbers(values)

    def numbers(self, values: Sequence[Any]) -> Any:
        """Return an array of numbers or booleans.

        Raises:
            OverflowError, UnitError: a number is outside the range of the data type.
        """
        import numpy as np

        with np.errstate(over="ignore"):
            array = np.array(values, dtype=self.dtype)
        self._check_range(array)
        return array

    def _check_range(self, array: Any) -> None:
        """Refuse infinity, which JSON does not have: NumPy converts large numbers to it."""
        import numpy as np

        if self.narrow and np.isinf(array).any():
            raise UnitError(f"outside the range of {self.dtype}")

    def _objects(self, values: Sequence[Any]) -> list[Any]:
        read = OBJECT_TYPES[self.objects or ""].read
        return [None if value is None else read(value) for value in values]

    def _texts(self, values: Sequence[Any]) -> Any:
        """Return text of a fixed width that is widened if needed, because NumPy would truncate it."""
        import numpy as np

        array = np.array([v.encode() for v in values] if self.kind == "S" else values, dtype=self.kind)
        return array if array.dtype.itemsize > self.dtype.itemsize else array.astype(self.dtype)

    def _dates(self, values: Sequence[Any]) -> Any:
        from mlmgmt_nb.scoring.schema.times import to_dates

        unit, step = _unit(self.dtype)
        dates = to_dates(values, unit, step)
        if not self.nullable:
            return dates.astype(self.dtype)
        import pandas as pd

        moments = pd.Series(dates)
        zone = getattr(self.dtype, "tz", None)
        return (moments.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else moments).astype(self.dtype).array

    def _spans(self, values: Sequence[Any]) -> Any:
        from mlmgmt_nb.scoring.schema.times import to_spans

        spans = to_spans(values, *_unit(self.dtype))
        if not self.nullable:
            return spans.astype(self.dtype)
        import pandas as pd

        return pd.Series(spans).astype(self.dtype).array


def _unit(dtype: Any) -> tuple[str, int]:
    """Return the unit of a data type of times, and the number of units per count."""
    import numpy as np

    if isinstance(dtype, np.dtype):
        return np.datetime_data(dtype)
    return getattr(dtype, "unit", "ns"), 1


def check_dtype(dtype: Any, name: str) -> None:
    """Raise `SchemaError` for data types without a JSON form, or that cannot be read again from a schema file."""
    if getattr(dtype, "names", None):
        for field in dtype.names:
            check_dtype(dtype[field].base, f"{name}, field {field}")
        return
    if getattr(dtype, "kind", "O") == "V" or str(dtype).startswith("interval"):
        raise SchemaError(f"{name}: data type {dtype} has no JSON form")
    if str(dtype) in ("datetime64", "timedelta64"):
        raise SchemaError(f"{name}: data type {dtype} has no unit: use a type with a unit, such as {dtype}[s]")
    if getattr(dtype, "na_object", None) is not None:
        raise SchemaError(f"{name}: data type {dtype} is not supported: use na_object=None for missing text")
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        _check_categories(categories, name)
    elif type(dtype).__module__.startswith("pandas") and _kind(dtype) not in "CT":
        _check_name(dtype, name)


def _check_categories(categories: Any, name: str) -> None:
    """Raise `SchemaError` unless each category is the same value in JSON."""
    if _kind(categories.dtype) not in "OTUiufb":
        raise SchemaError(f"{name}: categories of {categories.dtype} have no JSON form: make them text")
    for category in categories.tolist():
        if type(category) not in (str, int, float, bool):
            kind = type(category).__name__
            raise SchemaError(
                f"{name}: the category {category!r} of type {kind} is another value in JSON: make it text"
            )


def _check_name(dtype: Any, name: str) -> None:
    """Raise `SchemaError` unless a data type of pandas can be created again from its name."""
    import pandas as pd

    try:
        same = pd.api.types.pandas_dtype(str(dtype)) == dtype and "binary[pyarrow]" not in str(dtype)
    except (TypeError, ValueError, NotImplementedError):
        same = False
    if not same:
        raise SchemaError(f"{name}: data type {dtype} is not supported. Convert the column; time zones need a name")
