"""The base of all argument types, and their errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar

from mlmgmt_nb.scoring.errors import PicklableError

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
"""Maximum number of problems in the answer to a bad request."""


class DataTypes(IntEnum):
    """The kinds of argument, numbered as in the schema files of 2017."""

    STANDARD = 0
    NUMPY = 1
    SPARK = 2
    PANDAS = 3


class SchemaError(ValueError):
    """A schema cannot be created, read or used; the message says why."""


class UnknownTypeError(SchemaError):
    """A schema is valid but has an unsupported type, which must not be replaced by another."""


class InputError(PicklableError, ValueError):
    """A value does not fit its argument's type.

    Args:
        problems: one sentence for each fault, each starting with the path of the value, such as `input_df[2].age: `.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0])
        self.problems = list(problems)[:MAX_PROBLEMS]


class UnitError(ValueError):
    """A value is outside the range of its data type, or finer than its unit; the message completes "which is"."""


class ArgumentType(ABC):
    """The type of one argument of `run`, or of its result.

    Attributes:
        data_type: its kind.
        example: sample data as plain JSON values, or None.
        unchanged: the type of decoded values that `parse` returns as they are; None if it has to look at each value.
    """

    data_type: ClassVar[DataTypes]
    example: Any
    unchanged: type | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(example={self.example!r})"

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Do slow preparations once, before the first request."""

    @abstractmethod
    def parse(self, value: Any, name: str) -> Any:
        """Return the argument from the JSON value of a request.

        Args:
            value: the decoded JSON value.
            name: the path of the value, for messages.

        Raises:
            InputError: the value does not fit.
        """

    @abstractmethod
    def swagger(self) -> dict[str, Any]:
        """Return the Swagger 2.0 schema object, with the example."""

    def swagger_without_example(self) -> dict[str, Any]:
        """Return the same without its example, for a part of a description that has one example at its top level."""
        return {key: value for key, value in self.swagger().items() if key != "example"}

    @abstractmethod
    def state(self) -> tuple[str, str, dict[str, Any]]:
        """Return the pickled form in the format of 2017: module, class and attributes."""


def describe(value: Any) -> str:
    """Return a short description of a JSON value, for messages: `the string "x"`, `null`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"[:60]
    if isinstance(value, str):
        return f'the string "{value[:40]}{"…" if len(value) > 40 else ""}"'
    return "an object" if isinstance(value, dict) else "a list"
