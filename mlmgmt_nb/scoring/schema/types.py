"""What all argument types have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar

__all__ = [
    "MAX_PROBLEMS",
    "ArgumentType",
    "DataTypes",
    "InputError",
    "SchemaError",
    "UnitError",
    "UnknownTypeError",
    "describe",
]

MAX_PROBLEMS = 10
"""A bad request is told of at most so many faults."""


class DataTypes(IntEnum):
    """The kinds of argument, numbered as in the schema files of 2017."""

    STANDARD = 0
    NUMPY = 1
    SPARK = 2
    PANDAS = 3


class SchemaError(ValueError):
    """A schema cannot be made, read or used; the text says why."""


class UnknownTypeError(SchemaError):
    """A schema is whole and has a type that is not supported; another type must not take its place."""


class InputError(ValueError):
    """A value does not fit its argument's type.

    Args:
        problems: one sentence for each fault, each starting with the path of the value, such as `input_df[2].age: `.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0])
        self.problems = list(problems)[:MAX_PROBLEMS]


class UnitError(ValueError):
    """A date or time span is outside the range of its unit, or finer than it; the text continues "which is"."""


class ArgumentType(ABC):
    """The type of one argument of `run`, or of its result.

    Attributes:
        data_type: its kind.
        example: sample data as plain JSON values, or None.
    """

    data_type: ClassVar[DataTypes]
    example: Any

    def __repr__(self) -> str:
        return f"{type(self).__name__}(example={self.example!r})"

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Do once, before the first request, what would make that one slow."""

    @abstractmethod
    def parse(self, value: Any, name: str) -> Any:
        """Return the argument from the JSON value of a request.

        Args:
            value: what the JSON decoder gave.
            name: path of the value, for messages.

        Raises:
            InputError: the value does not fit.
        """

    @abstractmethod
    def swagger(self) -> dict[str, Any]:
        """Return the Swagger 2.0 schema object, with the example."""

    @abstractmethod
    def state(self) -> tuple[str, str, dict[str, Any]]:
        """How the 2017 format pickles it: module, class and attributes."""


def describe(value: Any) -> str:
    """Return a JSON value in a few words, for messages: `the string "x"`, `null`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"[:60]
    if isinstance(value, str):
        return f'the string "{value[:40]}{"…" if len(value) > 40 else ""}"'
    return "an object" if isinstance(value, dict) else "a list"
