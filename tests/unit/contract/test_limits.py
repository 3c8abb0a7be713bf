"""Violations of the contract's limits, in words for people: what msgspec says is for programmers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from mlmgmt_nb.contract.limits import Memory, Name, explain


class Limited(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    text: Annotated[str, Meta(min_length=3, max_length=50_000)] | None = None
    count: Annotated[int, Meta(ge=1, le=9)] | None = None
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    some_items: Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None
    values: Annotated[dict[str, int], Meta(max_length=1)] | None = None
    on: bool = False
    kind: Literal["x", "y"] = "x"
    name: Name | None = None
    memory: Memory | None = None


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"text": "v"}, "$.text", "must have at least 3 characters"),
        ({"text": "v" * 50_001}, "$.text", "must have at most 50,000 characters"),
        ({"text": 1}, "$.text", "must be text or null, not a whole number"),
        ({"count": 0}, "$.count", "must be at least 1"),
        ({"count": 10}, "$.count", "must be at most 9"),
        ({"count": 1.5}, "$.count", "must be a whole number or null, not a number"),
        ({"share": 0}, "$.share", "must be more than 0"),
        ({"share": 1}, "$.share", "must be less than 1"),
        ({"share": None}, "$.share", "must be a number, not null"),
        ({"someItems": []}, "$.someItems", "must have at least 1 item"),
        ({"someItems": ["a", 1]}, "$.someItems[1]", "must be text, not a whole number"),
        ({"values": {"a": 1, "b": 2}}, "$.values", "must have at most 1 property"),
        ({"values": []}, "$.values", "must be an object or null, not a list"),
        ({"on": 1}, "$.on", "must be true or false, not a whole number"),
        ({"kind": "z"}, "$.kind", "Invalid enum value 'z'"),
        ({"other": 1}, "$", "the property 'other' is not known"),
        ({"name": "Not A Name"}, "$.name", "must be a name of 3 to 32 characters: a-z, 0-9, '-' and '.', "
         "with a letter or digit at both ends"),
        ({"memory": "lots"}, "$.memory", "must be bytes in Kubernetes notation, such as '300Mi' or '1G'"),
        ([], "$", "must be an object, not a list"),
    ],
)  # fmt: skip
def test_a_violation_is_told_in_words(given: Any, path: str, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(given, Limited)
    assert explain(raised.value) == (path, words)


def test_a_property_that_is_missing() -> None:
    class Whole(msgspec.Struct):
        part: int

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({}, Whole)
    assert explain(raised.value) == ("$", "the property 'part' is missing")
