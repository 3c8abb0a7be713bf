"""Arguments that are plain JSON: text, numbers, lists, objects, and Python values that are text in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from mlmgmt_nb.scoring.encoding.encoder import JsonFormError, encode_json
from mlmgmt_nb.scoring.schema.text_values import TEXT_TYPES
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError, describe

__all__ = ["PlainType", "plain_json"]

# Python type -> (Swagger type, format, description)
_TYPES: dict[str, tuple[str | None, str | None, tuple[type, ...], str]] = {
    "int": ("integer", "int64", (int,), "an integer"),
    "float": ("number", "double", (int, float), "a number"),
    "bool": ("boolean", None, (bool,), "true or false"),
    "str": ("string", None, (str,), "a string"),
    "list": ("array", None, (list,), "a list"),
    "tuple": ("array", None, (list,), "a list"),
    "dict": ("object", None, (dict,), "an object"),
    "any": (None, None, (object,), "any value"),
    **{name: ("string", text.form, (str,), text.words) for name, text in TEXT_TYPES.items()},
}
_ALIASES = {"unicode": "str", "long": "int", "object": "any", "NoneType": "any"}
_FROM_SWAGGER = {"integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict"}
_FROM_FORMAT = {"date-time": "datetime", "date": "date", "time": "time", "timedelta": "timedelta", "byte": "bytes"}
_PYTHON_TYPES = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "tuple": tuple, "dict": dict}
_IN_JSON = _PYTHON_TYPES.keys() - {"tuple"}


def plain_json(sample: Any) -> Any:
    """Return sample data as dicts, lists, text, numbers and nulls.

    Raises:
        SchemaError: the sample has no JSON form.
    """
    try:
        return msgspec.json.decode(encode_json(sample))
    except JsonFormError as error:
        fix = f" {error.fix}" if error.fix else ""
        raise SchemaError(f"{error.at('sample') or 'the sample'} is {error.problem}.{fix}") from error


def _type_name(kind: type) -> str:
    """Return the name of a type, or of its base that an argument can have: a Timestamp of pandas is a datetime."""
    names = [base.__name__ for base in kind.__mro__ if base is not object]
    return next((name for name in names if name in _TYPES or name in _ALIASES), kind.__name__)


class PlainType(ArgumentType):
    """Plain JSON of one type.

    Args:
        type_name: `int`, `float`, `bool`, `str`, `list`, `tuple`, `dict`, `any`, or one of `TEXT_TYPES`.
        example: sample data.
    """

    data_type = DataTypes.STANDARD

    def __init__(self, type_name: str = "any", example: Any = None) -> None:
        self.type_name = _ALIASES.get(type_name, type_name)
        if self.type_name not in _TYPES:
            raise SchemaError(f"type {type_name!r} is not supported. Use one of {', '.join(_TYPES)}")
        self.example = example
        self._accepted = _TYPES[self.type_name][2]
        # true and false are integers in Python, but not in JSON
        self._refused: tuple[type, ...] = (bool,) if self.type_name in ("int", "float") else ()
        self.unchanged = _PYTHON_TYPES[self.type_name] if self.type_name in _IN_JSON else None

    @classmethod
    def from_sample(cls, sample: Any) -> PlainType:
        """Return the type of a sample; a sample that is itself a type stands for any value of it."""
        if isinstance(sample, type):
            return cls(_type_name(sample))
        example = plain_json(sample)
        if example is None and sample is not None:
            raise SchemaError(f"the sample is {sample!r}, which JSON does not have. Use a finite number")
        made = cls(_type_name(type(sample)), example)
        if not isinstance(example, made._accepted):  # a Timedelta of pandas is a number in JSON, not text
            return cls(type(sample).__name__, example)
        return made

    @classmethod
    def from_swagger(cls, swagger: dict[str, Any]) -> PlainType:
        """Create the type from the `swagger` part of a schema file."""
        kind = swagger.get("type", "")
        text = _FROM_FORMAT.get(swagger.get("format", ""), "str")
        return cls(text if kind == "string" else _FROM_SWAGGER.get(kind, "any"), swagger.get("example"))

    def parse(self, value: Any, name: str) -> Any:
        if self.type_name == "int" and type(value) is float and value.is_integer():
            return int(value)  # JSON has one kind of number: 1.0 is an integer
        is_accepted = isinstance(value, self._accepted) and not isinstance(value, self._refused)
        if not is_accepted:
            _, _, _, words = _TYPES[self.type_name]
            raise InputError([f"{name}: expected {words}, got {describe(value)}"])
        if self.type_name in TEXT_TYPES:
            return self._read(str(value), name)
        if self.type_name == "tuple":
            return tuple(value)
        return self._float(value, name) if type(value) is int and self.type_name == "float" else value

    def _float(self, value: int, name: str) -> float:
        try:
            return float(value)
        except OverflowError:
            message = f"{name}: expected a number, got {describe(value)}, which is outside the range of doubles"
            raise InputError([message]) from None

    def _read(self, text: str, name: str) -> Any:
        kind = TEXT_TYPES[self.type_name]
        try:
            return kind.read(text)
        except (ValueError, OverflowError):
            raise InputError([f"{name}: expected {kind.words}, got {describe(text)}"]) from None

    def swagger(self) -> dict[str, Any]:
        kind, form, _, _ = _TYPES[self.type_name]
        made: dict[str, Any] = {}
        if kind:
            made["type"] = kind
        if form:
            made["format"] = form
        if kind == "array":
            made["items"] = {}
        if self.example is not None:
            made["example"] = self.example
        return made

    def state(self) -> tuple[str, str, dict[str, Any]]:
        text = TEXT_TYPES.get(self.type_name)
        kind = text.kind if text else _PYTHON_TYPES.get(self.type_name, object)
        return "azureml.api.schema.pythonUtil", "PythonSchema", {"data_type": kind}
