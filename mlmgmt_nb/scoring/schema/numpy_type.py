"""Arguments that are NumPy arrays: nested JSON lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlmgmt_nb.scoring.schema.plain import plain_json
from mlmgmt_nb.scoring.schema.tables.columns import check_dtype
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
    """

    data_type = DataTypes.NUMPY

    def __init__(self, dtype: Any, shape: Sequence[int] | None, example: Any = None) -> None:
        import numpy as np

        from mlmgmt_nb.scoring.schema.tables.records import elements_of

        check_dtype(np.dtype(dtype), "the array")
        self.elements = elements_of(np.dtype(dtype))
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
        return cls(array.dtype, array.shape, plain_json(array[:_EXAMPLE_ROWS] if array.ndim else array))

    @classmethod
    def from_state(cls, state: dict[str, Any], example: Any) -> NumpyType:
        """Create the type from the attributes of a pickled `NumpySchema`."""
        return cls(state["data_type"], state.get("shape"), example)

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
        return NumpyType(self.elements.dtype, shape, self.example)

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
        state = {"shape": self.shape, "data_type": self.elements.dtype}
        return "azureml.api.schema.numpyUtil", "NumpySchema", state
