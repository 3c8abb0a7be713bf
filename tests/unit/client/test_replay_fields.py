"""The fields of two answers."""

from __future__ import annotations

from typing import Any

import pytest

from mlmgmt_nb.client.replays.fields import MISSING, FieldChanges, pairs_of


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, 2, [("answer", 1, 2)]),
        ([0, 2], [0, 1], [("answer", 0, 0), ("answer", 2, 1)]),
        ([0], [0, 1], [("answer", [0], [0, 1])]),
        ({"a": 1, "b": 2}, {"a": 1, "c": 3}, [("a", 1, 1), ("b", 2, MISSING), ("c", MISSING, 3)]),
        ([{"p": {"x": [1, 2]}}], [{"p": {"x": [1, 3]}}], [("p.x[]", 1, 1), ("p.x[]", 2, 3)]),
        ('{"a": 1}', '{"a": 2}', [("a", 1, 2)]),
        ("text", [1], [("answer", "text", [1])]),
        ("[not json", "[not", [("answer", "[not json", "[not")]),
        ([], [], []),
    ],
)
def test_fields_are_paired(old: Any, new: Any, expected: list[tuple[str, Any, Any]]) -> None:
    assert [tuple(one) for one in pairs_of(old, new)] == expected


def test_classes_are_enumerable_values_only() -> None:
    changes = FieldChanges()
    for number in range(30):
        changes.add("ab"[number % 2], "a", 0.0)
    assert (changes.labels, changes.matrix) == (["a", "b"], [[15, 0], [15, 0]])
    assert changes.numbers()["shift"] is None
    changes.add(0.5, 0.5, 0.0)
    assert changes.labels == []
    many = FieldChanges()
    for number in range(30):
        many.add(number, number, 0.0)
    assert many.labels == []
    assert many.numbers()["shift"] == 0.0


def test_the_shift_of_one_value_has_no_interval() -> None:
    changes = FieldChanges()
    assert changes.add(1.0, 3.0, 0.5)
    assert not changes.add(1.0, 1.4, 0.5)
    only = FieldChanges()
    only.add(1.0, 3.0, 0.0)
    assert only.numbers()["shift_high"] == float("inf")
