"""Kinds of form fields and cells, derived from schemas, and conversion between JSON values and typed text."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from mlmgmt_nb.commands.usage import pretty

__all__ = [
    "ANY",
    "NOT_GIVEN",
    "GivenText",
    "Kind",
    "Rule",
    "has_zone",
    "is_empty_missing",
    "kind_of",
    "rule_of",
    "text_of",
    "value_of",
]

Kind = Literal["integer", "number", "boolean", "date", "datetime", "time", "choice", "text", "any", "table", "json"]
"""The kind of a field. `any` is JSON if it parses, otherwise text; `json` is JSON of one or more lines."""
_MOST_NAMED = 5
_FORMATS: dict[Any, Kind] = {"date": "date", "date-time": "datetime", "time": "time"}
_KINDS: dict[Any, Kind] = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
_HINTS: dict[Kind, str] = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "date": "date",
    "datetime": "date and time",
    "time": "time",
    "text": "text",
    "any": "any value",
    "json": "JSON",
}


class Rule(NamedTuple):
    """The restrictions on a value in addition to its kind.

    Attributes:
        choices: the allowed values; empty if every value is allowed.
        minimum, maximum: inclusive limits of a number; None for no limit.
        has_zone: whether times have a zone. The service takes a time without one as UTC.
    """

    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    has_zone: bool = False

    def hint(self, kind: Kind) -> str:
        """Describe the expected input in a few words."""
        if kind == "choice":
            return f"one of {len(self.choices)}"
        words = _HINTS.get(kind, "") + (" with zone" if self.has_zone else "")
        if self.minimum is not None and self.maximum is not None:
            return f"{words}, {self.minimum} to {self.maximum}"
        if self.minimum is not None:
            return f"{words}, at least {self.minimum}"
        return words if self.maximum is None else f"{words}, at most {self.maximum}"

    def problem(self, value: Any) -> str:
        """Return the problem with a number, or ""."""
        if self.minimum is not None and value < self.minimum:
            return f"less than {self.minimum}"
        return f"more than {self.maximum}" if self.maximum is not None and value > self.maximum else ""


ANY = Rule()
NOT_GIVEN: Any = object()
"""Stands for the value of a cell whose row has none. It is omitted from the request."""


class GivenText(str):
    """The text of a value that the form was given, until it is edited.

    It sends that value, because text alone does not show null, or whether digits are a number.

    Attributes:
        value: the value, or `NOT_GIVEN`.
        is_example: whether the value is part of the example.
    """

    value: Any
    is_example: bool

    def __new__(cls, kind: Kind, value: Any) -> GivenText:
        text = super().__new__(cls, "" if value is NOT_GIVEN else text_of(kind, value))
        text.value, text.is_example = value, False
        return text


def kind_of(schema: Mapping[str, Any]) -> Kind:
    """Return the kind of a value by its Swagger schema; `json` for arrays, objects and values without a type."""
    if schema.get("enum"):
        return "choice"
    kind = schema.get("type")
    return _FORMATS.get(schema.get("format"), "text") if kind == "string" else _KINDS.get(kind, "json")


def rule_of(schema: Mapping[str, Any]) -> Rule:
    """Return the rule of a value by its Swagger schema."""
    return Rule(tuple(schema.get("enum") or ()), _limit(schema.get("minimum")), _limit(schema.get("maximum")))


def has_zone(value: Any) -> bool:
    """Return whether a value is a date and time with a zone."""
    try:
        return isinstance(value, str) and dt.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _limit(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def is_empty_missing(kind: Kind) -> bool:
    """Return whether an empty field of this kind has no value. For text, the empty string is a value."""
    return kind in {"integer", "number", "date", "datetime", "time", "choice"}


def text_of(kind: Kind, value: Any) -> str:
    """Return the text of a JSON value in a field."""
    if kind == "json":
        return pretty(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if kind == "any" and _parsed("any", value)[0] != value:
        return json.dumps(value, ensure_ascii=False)  # text that would parse as a number, for example
    return value


def value_of(kind: Kind, text: str, rule: Rule = ANY) -> tuple[Any, str]:
    """Return the value of a field, and the problem or "". An unedited null or value of the example has no problem."""
    if not isinstance(text, GivenText):
        return _parsed(kind, text, rule)
    is_fine = text.is_example or text.value is None or text.value is NOT_GIVEN
    return text.value, "" if is_fine else _parsed(kind, text, rule)[1]


def _parsed(kind: Kind, text: str, rule: Rule = ANY) -> tuple[Any, str]:
    """Parse the text of a field. Return the value, and the problem or "". The value of invalid text is the text."""
    bare = text.strip()
    if kind == "text":
        return text, ""
    if not bare:
        return None, "" if kind != "json" else "a value is missing"
    if kind == "choice":
        return _chosen(text, rule.choices)
    if kind in _READERS:
        read, problem = _READERS[kind]
        try:
            value = read(bare)
        except ValueError:
            return text, problem
        return (value, rule.problem(value)) if kind in {"integer", "number"} else (value, "")
    try:
        return json.loads(text), ""
    except ValueError as error:
        return text, "" if kind == "any" else f"not JSON: {error}"


def _chosen(text: str, choices: tuple[Any, ...]) -> tuple[Any, str]:
    for choice in choices:
        if text == text_of("choice", choice):
            return choice, ""
    named = ", ".join(text_of("choice", choice) for choice in choices[:_MOST_NAMED])
    return text, f"not one of {named}{', …' if len(choices) > _MOST_NAMED else ''}"


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _boolean(text: str) -> bool:
    return ["false", "true"].index(text.lower()) == 1


def _iso(read: Callable[[str], object]) -> Callable[[str], str]:
    """Return a function that checks the text of a date or time, and returns it unchanged."""

    def checked(text: str) -> str:
        read(text)
        return text

    return checked


_READERS: Mapping[Kind, tuple[Callable[[str], Any], str]] = {
    "integer": (int, "not a whole number"),
    "number": (_number, "not a number"),
    "boolean": (_boolean, "neither true nor false"),
    "date": (_iso(dt.datetime.fromisoformat), "not a date such as 2017-01-31"),
    "datetime": (_iso(dt.datetime.fromisoformat), "not a date such as 2017-01-31T12:00:00"),
    "time": (_iso(dt.time.fromisoformat), "not a time such as 12:30:00"),
}
"""The parser of each kind, and the problem to report if it fails."""
