"""Arguments that are NumPy arrays: nested JSON lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlmgmt_nb.scoring.schema.plain import plain_json
from mlmgmt_nb.scoring.schema.tables.columns import check_dtype
from mlmgmt_nb.scoring.schema.text_values import type_of_objects
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError, describe

__all__ = ["NumpyType"]

_EXAMPLE_ROWS = 5
_FROM_SWAGGER = {"number": "float64", "integer": "int64", "boolean": "bool", "string": "object"}


class NumpyType(ArgumentType):
    """An array of a fixed data type, number of dimensions and sizes; the first dimension may have any size.

    Args:
        dtype: NumPy data type.
        shape: the shape of the sample; None accepts any shape.
        example: sample data as nested lists.
        objects: the type of the elements of an object array, one of `OBJECT_TYPES`.
    """

    data_type = DataTypes.NUMPY

    def __init__(
        self, dtype: Any, shape: Sequence[int] | None, example: Any = None, objects: str | None = None
    ) -> None:
        import numpy as np

        from mlmgmt_nb.scoring.schema.tables.records import elements_of

        check_dtype(np.dtype(dtype), "the array")
        self.objects = objects
        self.elements = elements_of(np.dtype(dtype), objects)
        self.shape = None if shape is None else tuple(shape)
        self.example = example

    @classmethod
    def from_sample(cls, sample: Any) -> NumpyType:
        """Return the type of a sample array."""
        import numpy as np

        if not isinstance(sample, (np.ndarray, np.generic)):
            raise SchemaError(f"a NUMPY sample must be an array, not {type(sample).__name__}")
        array = np.asarray(sample)
        check_dtype(array.dtype, "the array")
        objects = type_of_objects(array.flat) if array.dtype == object else None
        shown = sample if isinstance(sample, np.ma.MaskedArray) else array
        return cls(array.dtype, array.shape, plain_json(shown[:_EXAMPLE_ROWS] if array.ndim else shown), objects)

    @classmethod
    def from_state(cls, state: dict[str, Any], example: Any) -> NumpyType:
        """Create the type from the attributes of a pickled `NumpySchema`."""
        return cls(_read_dtype(state), state.get("shape"), example, state.get("object_type"))

    @classmethod
    def from_swagger(cls, swagger: dict[str, Any]) -> NumpyType:
        """Create the type from the `swagger` part of a schema file, with the sizes of its example."""
        import numpy as np

        inner = swagger
        while inner.get("type") == "array":
            inner = inner.get("items", {})
        if inner.get("properties"):
            raise SchemaError(
                "the fields of a structured array are only in the internal part. Generate the schema file again"
            )
        example = swagger.get("example")
        shape = None if example is None else np.array(example, dtype=object).shape
        return cls(_FROM_SWAGGER.get(inner.get("type", ""), "object"), shape, example)

    def with_shape(self, shape: Sequence[int] | None) -> NumpyType:
        """Return the same type with other sizes; None for any."""
        return NumpyType(self.elements.dtype, shape, self.example, self.objects)

    def parse(self, value: Any, name: str) -> Any:
        flat: list[Any] = []
        shape = self._flatten(value, 0, name, flat)
        array = self.elements.convert(flat, lambda place: name + self._index(place, shape))
        return array.reshape(shape)

    def _flatten(self, value: Any, depth: int, name: str, flat: list[Any]) -> tuple[int, ...]:
        """Append the elements to `flat`; return the shape of `value`."""
        if not self._is_level(value, depth):
            if self.shape is not None and depth < len(self.shape):
                raise InputError([f"{name}: expected {self._wanted()}, got {describe(value)} in place of a list"])
            flat.append(value)
            return ()
        if self.shape is not None and depth >= len(self.shape):
            raise InputError([f"{name}: expected {self._wanted()}, got a list with more dimensions"])
        if self.shape is not None and depth and len(value) != self.shape[depth]:
            raise InputError([f"{name}: expected {self.shape[depth]} values, got {len(value)}"])
        if not value:
            return (0, *(self.shape or ())[depth + 1 :])
        if not any(self._is_level(item, depth + 1) for item in value) and self._is_last(depth):
            flat.extend(value)
            return (len(value),)
        shapes = [self._flatten(item, depth + 1, f"{name}[{place}]", flat) for place, item in enumerate(value)]
        for place, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise InputError([f"{name}[{place}]: expected the same size as in {name}[0]"])
        return (len(value), *shapes[0])

    def _is_level(self, value: Any, depth: int) -> bool:
        """Return whether a value is a dimension, not an element: elements of object arrays and records may be lists."""
        if self.elements.kind in "OV" and self.shape is not None and depth >= len(self.shape):
            return False
        return isinstance(value, list)

    def _is_last(self, depth: int) -> bool:
        return self.shape is None or depth == len(self.shape) - 1

    def _wanted(self) -> str:
        if not self.shape:
            return "a single value"
        sizes = " x ".join(["n", *map(str, self.shape[1:])])
        return f"nested lists of {len(self.shape)} dimension{'s' if len(self.shape) > 1 else ''} ({sizes})"

    def _index(self, place: int, shape: tuple[int, ...]) -> str:
        text = ""
        for size in reversed(shape):
            place, here = divmod(place, size)
            text = f"[{here}]{text}"
        return text

    def swagger(self) -> dict[str, Any]:
        from mlmgmt_nb.scoring.schema.tables.records import swagger_of_elements

        made: dict[str, Any] = swagger_of_elements(self.elements.dtype)
        for _ in self.shape or ():
            made = {"type": "array", "items": made}
        if self.example is not None:
            made["example"] = self.example
        return made

    def state(self) -> tuple[str, str, dict[str, Any]]:
        state = {"shape": self.shape, **_written_dtype(self.elements.dtype)}
        if self.objects:
            state["object_type"] = self.objects
        return "azureml.api.schema.numpyUtil", "NumpySchema", state


def _written_dtype(dtype: Any) -> dict[str, Any]:
    """Return attributes for a data type; the original package, with the NumPy of its time, lacks text of variable
    width."""
    import numpy as np

    if dtype.kind != "T":
        return {"data_type": dtype}
    return {"data_type": np.dtype(object), "text_type": "nullable" if hasattr(dtype, "na_object") else "text"}


def _read_dtype(state: dict[str, Any]) -> Any:
    import numpy as np

    if "text_type" not in state:
        return state["data_type"]
    return np.dtypes.StringDType(na_object=None) if state["text_type"] == "nullable" else np.dtypes.StringDType()
