"""The sample of a package: the types of the arguments of `run`, and the value that the object receives."""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.proof import MAX_ROWS
from mlmgmt_nb.scoring.schema import ArgumentType, DataTypes, SampleDefinition, SchemaError

__all__ = ["Sample", "example_of", "first_rows", "levels", "of_model", "plain_array", "strict_columns", "type_of"]


@dataclass(frozen=True)
class Sample:
    """A sample, as a driver receives it.

    Attributes:
        values: the arguments of `run` by name; empty without a sample.
        types: their types.
        given: positional and named arguments of the call in the notebook; None without a sample.
        passed: the argument list of the call in the driver, such as `data` or `age=age, plan=plan`.
        signature: the parameter list of `run`.
        imports: import statements for `passed`.
        notes: notes about the types.
    """

    values: Mapping[str, Any]
    types: Mapping[str, ArgumentType]
    given: tuple[tuple[Any, ...], dict[str, Any]] | None
    passed: str = "data"
    signature: str = "data"
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def value(self) -> Any:
        """The value that a model receives: the first positional argument, or None."""
        return self.given[0][0] if self.given and self.given[0] else None

    @property
    def rows(self) -> int:
        """Number of rows; 1 for a value without rows."""
        first = next(iter(self.values.values()), None)
        has_rows = len(self.values) == 1 and _has_rows(first)
        return len(first) if has_rows else 1  # type: ignore[arg-type]

    @property
    def lost_indexes(self) -> str:
        """Sentences on indexes of its DataFrames and Series that the driver does not receive, or ""."""
        positional, named = self.given or ((), {})
        values = [value for value in (*positional, *named.values()) if _is_frame(value) or _is_series(value)]
        return "".join(f" The sample has an index: {note}." for value in values for note in _index(value))

    @property
    def is_frame(self) -> bool:
        """Whether the model receives a DataFrame."""
        return _is_frame(self.value)


def of_model(sample: Any, name: str = "data", *, arrays: bool = False) -> Sample:
    """Return the sample of an object that takes one argument.

    Args:
        sample: DataFrame, Series, array, tensor, list, or Pillow image.
        name: name of the argument.
        arrays: whether a list of numbers becomes an array.

    Raises:
        UsageError: the sample is missing or empty, or cannot be expressed as JSON.
    """
    if sample is None:
        raise UsageError(
            "sample: a sample is needed to describe and verify the service",
            field="sample",
            fix="Give a few rows, such as `sample=X.head(20)`.",
        )
    sample = plain_array(sample)
    if _has_rows(sample) and not len(sample):
        raise UsageError(
            "sample: it has no rows, so it proves nothing", field="sample", fix="Give a few rows: `sample=X.head(20)`."
        )
    if _is_series(sample):
        return _of_series(sample, name)
    if _is_image(sample):
        return _of_image(sample, name)
    value = first_rows(sample)
    if arrays and isinstance(value, list):
        value = _as_array(value)
    kind = type_of(value)
    return Sample({name: value}, {name: kind}, ((value,), {}), name, name, notes=tuple(strict_columns(value)))


def type_of(value: Any) -> ArgumentType:
    """Return the schema type of a value.

    Raises:
        UsageError: the value cannot be expressed as JSON.
    """
    kind = DataTypes.PANDAS if _is_frame(value) else DataTypes.NUMPY if _is_array(value) else DataTypes.STANDARD
    try:
        return SampleDefinition(kind, value).schema
    except SchemaError as error:
        has_fix = ". " in str(error)  # such as the types that are supported
        fix = None if has_fix else "Convert it to a type that JSON supports."
        raise UsageError(f"sample: {error}", field="sample", fix=fix) from error


def example_of(value: Any) -> Any:
    """Return a value as the example of an argument: plain JSON."""
    is_converted = _is_series(value) or _is_image(value)
    return (of_model(value).types["data"] if is_converted else type_of(value)).example


def _of_series(sample: Any, name: str) -> Sample:
    values = first_rows(sample).to_numpy()
    values = values.astype(object) if values.dtype.kind not in "iufbM" else values
    label = plain_array(sample.name)
    passed = f"pd.Series({name})" if label is None else f"pd.Series({name}, name={_source_of(label)})"
    types, imports = {name: type_of(values)}, ("import pandas as pd",)
    return Sample({name: values}, types, ((first_rows(sample),), {}), passed, name, imports, tuple(_index(sample)))


def _source_of(label: Any) -> str:
    """Return the name of a Series as source."""
    try:
        ast.literal_eval(repr(label))
    except (ValueError, SyntaxError):
        raise UsageError(
            f"sample: the name of the Series, {label!r}, cannot be written into the driver",
            field="sample",
            fix='Rename it: `sample=X.rename("name")`.',
        ) from None
    return repr(label)


def _of_image(sample: Any, name: str) -> Sample:
    """Return the sample of a Pillow image. Callers send the bytes of an image file as base64 text."""
    file = io.BytesIO()
    try:
        sample.save(file, format="PNG")  # PNG is lossless
    except OSError as error:
        raise UsageError(f"sample: {error}", field="sample", fix='Give `sample=image.convert("RGB")`.') from error
    content = file.getvalue()
    from PIL import Image

    return Sample(
        {name: content},
        {name: type_of(content)},
        ((Image.open(io.BytesIO(content)),), {}),
        f"Image.open(BytesIO({name}))",
        name,
        ("from io import BytesIO", "from PIL import Image"),
        ("callers send the bytes of an image file (PNG, JPEG, ...) as base64 text",),
    )


def plain_array(value: Any) -> Any:
    """Convert tensors to arrays and NumPy scalars to Python values. Refuse sparse matrices and other DataFrames."""
    import numpy as np

    if _is_sparse(value):
        raise UsageError(
            "sample: a sparse matrix has no JSON form", field="sample", fix="Give dense rows: `sample=X[:5].toarray()`."
        )
    if hasattr(value, "to_pandas") and not _is_frame(value):
        raise UsageError("sample: not a pandas DataFrame", field="sample", fix="Give `sample=frame.to_pandas()`.")
    if _is_torch_tensor(value):
        return value.detach().cpu().numpy()
    if _is_tensorflow_tensor(value):
        return value.numpy()
    if isinstance(value, np.generic):
        return value.item()
    return value


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def _is_torch_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _is_tensorflow_tensor(value: Any) -> bool:
    return hasattr(value, "numpy") and hasattr(value, "shape") and not _is_array(value)


def _as_array(value: list[Any]) -> Any:
    """Return a list of numbers, or nested lists of numbers, as an array, and other lists unchanged."""
    import numpy as np

    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    return array if array.dtype.kind in "iufb" else value


def first_rows(value: Any) -> Any:
    if _is_frame(value) or _is_series(value):
        return value.head(MAX_ROWS)
    if _has_rows(value):
        return value[:MAX_ROWS]
    return value


def levels(frame: Any) -> list[str]:
    """Return the names of the category columns of a DataFrame."""
    return [str(name) for name, dtype in frame.dtypes.items() if str(dtype) == "category"]


def strict_columns(value: Any) -> list[str]:
    """Return notes on columns and indexes of a DataFrame whose types may refuse or lose values of later requests."""
    if not _is_frame(value):
        return []
    return [*_whole_columns(value), *_index(value)]


def _index(frame: Any) -> list[str]:
    """Return a note on an index of a DataFrame or Series that is not made of integers, so may have a meaning."""
    if all(dtype.kind in "iu" for dtype in (frame.index.dtypes if frame.index.nlevels > 1 else [frame.index.dtype])):
        return []
    if _is_series(frame):
        return ["the index of a Series is not part of a request; to send it give `sample=X.to_dict()`"]
    return ["the index of the rows is not part of a request; to send it give `sample=X.reset_index()`"]


def _whole_columns(value: Any) -> list[str]:
    whole = [str(name) for name, dtype in value.dtypes.items() if _is_numpy(dtype) and dtype.kind in "iu"]
    if not whole:
        return []
    shown = ", ".join(whole[:5]) + (", ..." if len(whole) > 5 else "")
    return [f"integer columns reject missing values: {shown}; to accept them give `sample=X.astype({{NAME: 'Int64'}})`"]


def _has_rows(value: Any) -> bool:
    """Return whether a value is a list, a DataFrame, a Series, or an array or tensor with a dimension."""
    dimensions = getattr(value, "ndim", 0)  # of a class, a property
    return isinstance(value, list) or (isinstance(dimensions, int) and dimensions > 0)


def _is_numpy(dtype: Any) -> bool:
    return type(dtype).__module__.partition(".")[0] == "numpy"


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # if pandas is not imported, no value can be a DataFrame
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_series(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series)


def _is_image(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)
