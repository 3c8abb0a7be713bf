"""The sample of a package: the types of the arguments of `run`, and the value that the object gets."""

from __future__ import annotations

import inspect
import io
import json
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.proof import MAX_ROWS
from mlmgmt_nb.scoring.schema import ArgumentType, DataTypes, SampleDefinition, SchemaError

__all__ = ["Sample", "of_function", "of_model", "type_of"]

_WORDS = (int, float, str, bool, list, dict)


@dataclass(frozen=True)
class Sample:
    """A sample, as a driver gets it.

    Attributes:
        values: the arguments of `run` by name; empty without a sample.
        types: their types.
        given: positional and named arguments of the call in the notebook; None without a sample.
        passed: how the driver hands its arguments over, such as `data` or `age=age, plan=plan`.
        signature: how the driver declares them.
        imports: what `passed` needs.
        notes: hints about the types.
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
        """The one value that a model gets."""
        return self.given[0][0] if self.given and self.given[0] else None

    @property
    def rows(self) -> int:
        """Number of rows; 1 for a value without rows."""
        first = next(iter(self.values.values()), None)
        has_rows = len(self.values) == 1 and (_is_frame(first) or isinstance(first, list) or _has_rows(first))
        return len(first) if has_rows else 1  # type: ignore[arg-type]

    @property
    def is_frame(self) -> bool:
        """Whether the model gets a DataFrame."""
        return _is_frame(self.value)


def of_model(sample: Any, name: str = "data", *, arrays: bool = False) -> Sample:
    """Return the sample of an object that takes one argument.

    Args:
        sample: DataFrame, Series, array, tensor, list, or Pillow image.
        name: of the argument.
        arrays: whether a list of numbers becomes an array.

    Raises:
        UsageError: it has no JSON form, or it is missing.
    """
    if sample is None:
        raise UsageError(
            "sample: a sample is needed to describe and prove the service",
            field="sample",
            fix="Give a few rows, such as `sample=X.head(20)`.",
        )
    if _is_series(sample):
        return _of_series(sample, name)
    if _is_image(sample):
        return _of_image(sample, name)
    value = _head(_plain_array(sample))
    if arrays and isinstance(value, list):
        value = _as_array(value)
    kind = type_of(value)
    return Sample({name: value}, {name: kind}, ((value,), {}), name, name, notes=tuple(_hints(value)))


def of_function(function: Callable[..., Any], sample: Any) -> Sample:
    """Return the sample of a function: a dict for its arguments by name, or a value for its only one.

    Without a sample the types come from the hints.

    Raises:
        UsageError: the function cannot be called with it.
    """
    parameters = _parameters(function)
    named = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if sample is None:
        return _of_hints(function, named)
    if isinstance(sample, Mapping) and _fits(named, sample):
        return _of_arguments(function, named, sample)
    positional = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if isinstance(sample, Mapping) and len(positional) != 1:
        raise UsageError(
            f"sample: it has {', '.join(map(str, sample)) or 'nothing'}, and the function takes "
            f"{', '.join(named) or 'nothing'}",
            field="sample",
            fix="Give a value for each argument of the function, by its name.",
        )
    return of_model(sample, positional[0] if positional else "data")


def type_of(value: Any) -> ArgumentType:
    """Return the schema type of a value.

    Raises:
        UsageError: it has no JSON form.
    """
    kind = DataTypes.PANDAS if _is_frame(value) else DataTypes.NUMPY if _is_array(value) else DataTypes.STANDARD
    try:
        return SampleDefinition(kind, value).schema
    except SchemaError as error:
        raise UsageError(f"sample: {error}", field="sample", fix="Convert it to a type that JSON supports.") from error


def _of_series(sample: Any, name: str) -> Sample:
    values = _head(sample).to_numpy()
    values = values.astype(object) if values.dtype.kind not in "iufbM" else values
    passed = f"pd.Series({name})" if sample.name is None else f"pd.Series({name}, name={sample.name!r})"
    types = {name: type_of(values)}
    return Sample({name: values}, types, ((_head(sample),), {}), passed, name, ("import pandas as pd",))


def _of_image(sample: Any, name: str) -> Sample:
    """Return the sample of a Pillow image: callers send the bytes of an image file, as base64 text."""
    file = io.BytesIO()
    try:
        sample.save(file, format="PNG")  # it keeps each pixel
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


def _of_arguments(
    function: Callable[..., Any], named: Mapping[str, inspect.Parameter], sample: Mapping[str, Any]
) -> Sample:
    """Return the sample of named arguments. Those that it leaves out keep their defaults, and can be sent as well."""
    values = {name: _head(_plain_array(sample[name])) for name in named if name in sample}
    hints = _type_hints(function)
    types = {
        name: type_of(values[name]) if name in values else _hinted(hints.get(name, type(parameter.default)))
        for name, parameter in named.items()
        if name in values or _has_plain_default(parameter)
    }
    passed = ", ".join(f"{name}={name}" for name in types)
    notes = tuple(hint for value in values.values() for hint in _hints(value))
    return Sample(values, types, ((), values), passed, _signature(named, list(types)), notes=notes)


def _of_hints(function: Callable[..., Any], named: Mapping[str, inspect.Parameter]) -> Sample:
    hints = _type_hints(function)
    types = {name: _hinted(hints.get(name)) for name in named}
    passed = ", ".join(f"{name}={name}" for name in named)
    return Sample({}, types, None, passed, _signature(named, list(named)))


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _hinted(hint: Any) -> ArgumentType:
    from mlmgmt_nb.scoring.schema.plain import PlainType

    return PlainType(hint.__name__ if hint in _WORDS else "any")


def _has_plain_default(parameter: inspect.Parameter) -> bool:
    """Return whether the default can be written into a driver."""
    default = parameter.default
    return default is None or (isinstance(default, (int, float, str, bool)) and default == default)


def _signature(named: Mapping[str, inspect.Parameter], names: list[str]) -> str:
    """Return the arguments of `run`, with those defaults that are plain values."""
    optional = [_has_plain_default(named[name]) for name in names]
    parts = [
        f"{name}={_literal(named[name].default)}" if is_optional else name
        for name, is_optional in zip(names, optional, strict=True)
    ]
    return ", ".join(parts if optional == sorted(optional) else ["*", *parts])


def _literal(value: Any) -> str:
    """Return a plain value as source, with the quotes that formatters prefer."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a callable of C code
        return {}


def _fits(named: Mapping[str, inspect.Parameter], sample: Mapping[Any, Any]) -> bool:
    needed = {name for name, p in named.items() if p.default is p.empty}
    return bool(sample) and needed <= sample.keys() <= named.keys()


def _plain_array(value: Any) -> Any:
    """Convert tensors and lists of numbers to arrays."""
    import numpy as np

    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise UsageError(
            "sample: a sparse matrix has no JSON form", field="sample", fix="Give dense rows: `sample=X[:5].toarray()`."
        )
    if hasattr(value, "to_pandas") and not _is_frame(value):
        raise UsageError("sample: not a pandas DataFrame", field="sample", fix="Give `sample=frame.to_pandas()`.")
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # PyTorch
        return value.detach().cpu().numpy()
    if hasattr(value, "numpy") and hasattr(value, "shape") and not isinstance(value, np.ndarray):  # TensorFlow
        return value.numpy()
    if isinstance(value, np.generic):
        return value.item()
    return value


def _as_array(value: list[Any]) -> Any:
    """Return a list of numbers, or of lists of them, as an array; any other list as it is."""
    import numpy as np

    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    return array if array.dtype.kind in "iufb" else value


def _head(value: Any) -> Any:
    if _is_frame(value) or _is_series(value):
        return value.head(MAX_ROWS)
    if isinstance(value, list) or _has_rows(value):
        return value[:MAX_ROWS]
    return value


def _hints(value: Any) -> list[str]:
    """Return hints for columns whose type is stricter than later requests may be."""
    if not _is_frame(value):
        return []
    whole = [str(name) for name, dtype in value.dtypes.items() if _is_numpy(dtype) and dtype.kind in "iu"]
    if not whole:
        return []
    shown = ", ".join(whole[:5]) + (", ..." if len(whole) > 5 else "")
    return [f"integer columns reject missing values: {shown}; to accept them give `sample=X.astype({{NAME: 'Int64'}})`"]


def _has_rows(value: Any) -> bool:
    return bool(getattr(value, "ndim", 0))


def _is_numpy(dtype: Any) -> bool:
    return type(dtype).__module__.partition(".")[0] == "numpy"


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # without it imported, nothing is a DataFrame
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
