"""Arguments of `run`: the cheap check of plain values accepts and returns the same as the types do one by one."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.schema.arguments import read_arguments
from mlmgmt_nb.scoring.schema.nested import OptionalType
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.types import ArgumentType, InputError

NAMES = ("int", "float", "bool", "str", "list", "tuple", "dict", "any", "datetime", "bytes")
VALUES: tuple[Any, ...] = (None, True, 0, -(2**70), 1.0, 1.5, "", "a:b", "2024-01-31T00:00:00Z", [], [1], {}, {"x": 1})


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_their_types(name: str) -> None:
    kinds = (PlainType(name), OptionalType(PlainType(name)))
    for kind, value in itertools.product(kinds, VALUES):
        body = msgspec.json.encode({"x": value, "y": 1})
        types = {"x": kind, "y": PlainType("int"), "z": PlainType("str")}
        expected = parsed(kind, msgspec.json.decode(body)["x"])
        if isinstance(expected, InputError):
            with pytest.raises(RequestError, match="x: expected ") as raised:
                read_arguments(body, types, frozenset({"z"}))
            assert [problem for _, problem in raised.value.details or ()] == expected.problems
        else:
            got = read_arguments(body, types, frozenset({"z"}))
            assert got == {"x": expected, "y": 1}
            assert type(got["x"]) is type(expected)


def parsed(kind: ArgumentType, value: Any) -> Any:
    try:
        return kind.parse(value, "x")
    except InputError as error:
        return error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"age": 1}', "plan: this argument is missing"),
        (b'{"age": 1, "plan": "A", "other": 1}', "other: unknown argument"),
        (b'{"age": 1, "other": "A"}', "other: unknown argument"),
        (b'{"age": 1, "plan": "A", "age": 1}', "age: this argument is given more than once"),
    ],
)
def test_as_many_as_there_are(body: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_arguments(body, {"age": PlainType("int"), "plan": PlainType("str")}, frozenset())
