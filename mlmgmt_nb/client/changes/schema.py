"""Consequences of a changed schema for callers, in sentences. Works on the Swagger parts of schema files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Consequence", "consequences", "schema_of"]

Swagger = Mapping[str, Any]

_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "": "any value",
}
_FORMATS = {
    "date-time": "a date and time",
    "date": "a date",
    "time": "a time",
    "byte": "bytes",
    "timedelta": "a time span",
}


class Consequence(NamedTuple):
    """A difference of two schemas.

    Attributes:
        path: the argument or column, such as `input_df.age`.
        old, new: its types in words; None if it does not exist there.
        sentence: the consequence for callers.
        breaks: whether requests or programs that worked may fail.
    """

    path: str
    old: str | None
    new: str | None
    sentence: str
    breaks: bool


class _Value(NamedTuple):
    """A value of a schema: its type without the lists around it."""

    depth: int
    kind: str
    form: str
    choices: tuple[Any, ...]

    @property
    def words(self) -> str:
        word = _FORMATS.get(self.form) or _WORDS.get(self.kind, self.kind)
        if self.choices:
            word = f"one of {', '.join(map(_json, self.choices))}"
        return "list of " * (self.depth - 1) + f"a list of {word}" if self.depth else word

    def accepts(self, other: _Value) -> bool:
        """Return whether all values of the other type are accepted."""
        if (self.depth, self.kind, self.choices) == (0, "", ()):
            return True
        return self.depth == other.depth and self._has_choices_of(other) and self._has_type_of(other)

    def _has_choices_of(self, other: _Value) -> bool:
        if not self.choices:
            return True
        return bool(other.choices) and all(choice in self.choices for choice in other.choices)

    def _has_type_of(self, other: _Value) -> bool:
        if (self.kind, other.kind) == ("number", "integer"):
            return True
        return self.kind == other.kind and _FORMATS.get(self.form) in {None, _FORMATS.get(other.form)}


def _json(choice: Any) -> str:
    return json.dumps(choice, ensure_ascii=False)


def schema_of(text: str) -> Mapping[str, Mapping[str, Swagger]] | None:
    """Return the Swagger of each argument of a schema file (`input`) and of the result (`output`); None if damaged."""
    try:
        content = json.loads(text)
        return {
            part: {name: entry.get("swagger") or {} for name, entry in (content.get(part) or {}).items()}
            for part in ("input", "output")
        }
    except (ValueError, AttributeError, RecursionError):
        return None


def consequences(
    old: Mapping[str, Mapping[str, Swagger]], new: Mapping[str, Mapping[str, Swagger]]
) -> Iterator[Consequence]:
    """Yield the differences of two schemas, as `schema_of` returns them."""
    before, after = dict(_values(old["input"])), dict(_values(new["input"]))
    for path in dict.fromkeys([*before, *after]):
        yield from _of_input(path, before.get(path), after.get(path))
    before, after = dict(_values(old["output"])), dict(_values(new["output"]))
    if before and after:
        for path in dict.fromkeys([*before, *after]):
            yield from _of_output(path, before.get(path), after.get(path))


def _of_input(path: str, old: _Value | None, new: _Value | None) -> Iterator[Consequence]:
    name = f"`{path.rpartition('.')[2]}`"
    if old is None and new is not None:
        default = "" if "." in path else ", unless run() has a default for it"
        yield Consequence(path, None, new.words, f"Callers who do not send {name} will be refused{default}.", True)
    elif new is None and old is not None:
        yield Consequence(path, old.words, None, f"Callers who still send {name} will be refused.", True)
    elif old is not None and new is not None and old != new:
        yield _of_changed(path, name, old, new)


def _of_changed(path: str, name: str, old: _Value, new: _Value) -> Consequence:
    breaks = not new.accepts(old)
    if breaks:
        sentence = f"Callers who send {name} as {_refused(old, new)} will be refused."
    elif (old.kind, old.choices, old.depth) == (new.kind, new.choices, new.depth):
        sentence = f"What callers send as {name} today is still accepted."
    else:
        sentence = f"Callers may also send {name} as {new.words}; what they send today is still accepted."
    return Consequence(path, _exact(old, new), _exact(new, old), sentence, breaks)


def _refused(old: _Value, new: _Value) -> str:
    """Return the values that are no longer accepted, in words."""
    if (old.kind, new.kind) == ("number", "integer") and old.depth == new.depth:
        return "a number with a fraction"
    if old.choices and new.choices:
        gone = [choice for choice in old.choices if choice not in new.choices]
        return " or ".join(map(_json, gone)) or old.words
    if new.choices:
        return f"another value than {new.words}"
    return old.words if old.kind else f"anything but {new.words}"


def _of_output(path: str, old: _Value | None, new: _Value | None) -> Iterator[Consequence]:
    if old == new:
        return
    where = f"result {path}".strip()
    if new is None or old is None:
        told = f"Answers {'no longer' if new is None else 'also'} have `{path.rpartition('.')[2]}`."
        yield Consequence(where, old and old.words, new and new.words, told, new is None)
    else:
        told = f"Callers get `{path.rpartition('.')[2]}` as {_exact(new, old)} instead of {_exact(old, new)}."
        yield Consequence(where, _exact(old, new), _exact(new, old), told, not old.accepts(new))


def _exact(value: _Value, other: _Value) -> str:
    """Return the words of a type, with its format if only that differs."""
    return f"{value.words} ({value.form or 'no format'})" if value.words == other.words else value.words


def _values(arguments: Mapping[str, Swagger]) -> Iterator[tuple[str, _Value]]:
    for name, swagger in arguments.items():
        yield from _of_swagger(name, swagger)


def _of_swagger(path: str, swagger: Swagger) -> Iterator[tuple[str, _Value]]:
    """Yield a value, or its fields instead if it is an object or a list of objects."""
    depth, inner = 0, swagger
    while inner.get("type") == "array":
        depth, inner = depth + 1, inner.get("items") or {}
    if fields := inner.get("properties"):
        for name, field in fields.items():
            yield from _of_swagger(f"{path}.{name}", field)
    else:
        yield path, _Value(depth, inner.get("type", ""), inner.get("format", ""), tuple(inner.get("enum", ())))
