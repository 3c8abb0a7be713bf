"""Redaction of recorded requests: no form of a JSON text keeps the value of a redacted field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlmgmt_nb.scoring.recording.redaction import Redactor

SECRET = "4111-1111"
REDACTOR = Redactor(["card", "größe"])


@pytest.mark.parametrize(
    "value",
    [
        {"card": SECRET},
        {"Card": SECRET},
        {"größe": SECRET},
        {"GRÖSSE": SECRET},
        {"rows": [{"age": 3, "card": SECRET}]},
        {"card": [SECRET, {"number": SECRET}]},
        {"card": {SECRET: 1}},
        {"columns": ["age", "card"], "index": [0], "data": [[3, SECRET]]},
        {"rows": {"columns": ["card"], "data": [[SECRET]]}},
        {"input_df": json.dumps([{"card": SECRET}])},
        json.dumps({"a": json.dumps({"card": SECRET})}),
        [[{"a": {"b": {"card": SECRET}}}]],
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("separators", [(",", ":"), (" , ", " :\n ")])
def test_values_of_redacted_fields_are_gone(value: Any, ascii_only: bool, separators: tuple[str, str]) -> None:
    content = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    redacted, is_changed = REDACTOR.redact(content)
    assert redacted is not None
    assert is_changed
    assert SECRET.encode() not in redacted
    json.loads(redacted)


def test_escaped_names_are_found() -> None:
    redacted, _ = REDACTOR.redact(b'{"c\\u0061rd": "4111-1111", "x": 1}')
    assert json.loads(redacted or b"") == {"card": "***", "x": 1}


@pytest.mark.parametrize("name", ["Straße", "straße", "STRASSE", "strasse"])
def test_a_name_that_has_only_ascii_letters_in_another_case_is_found(name: str) -> None:
    content = json.dumps({name: SECRET}, ensure_ascii=False).encode()
    assert Redactor(["Straße"]).redact(content) == (content.replace(SECRET.encode(), b"***").replace(b" ", b""), True)


def test_json_in_a_text_with_half_a_character_is_not_recorded() -> None:
    assert REDACTOR.redact(rb'{"q": "{\"card\": 5, \"x\": \"\ud800\"}"}') == (None, True)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ('{"card": "x", "age": 3}', '{"card": "***", "age": 3}'),
        ('{"card": -1.5e-3, "b": [{"card": true}]}', '{"card": 0, "b": [{"card": false}]}'),
        ('[{"card": null}, {"card" : 1}]', '[{"card": null}, {"card": 0}]'),
        ('{"card": [1, "x", [true]]}', '{"card": [0, "***", [false]]}'),
        ('{"card": {"a": 1}}', '{"card": {}}'),
        ('{"columns": ["card", "b"], "data": [[1, 2]]}', '{"columns": ["card", "b"], "data": [[0, 2]]}'),
        ('{"kind": "card", "b": 12345678901234567890123}', '{"kind": "card", "b": 12345678901234567890123}'),
    ],
)
def test_the_form_stays(given_: str, expected: str) -> None:
    redacted, _ = REDACTOR.redact(given_.encode())
    assert json.loads(redacted or b"") == json.loads(expected)


@pytest.mark.parametrize("content", [b"card,age\n4111,3", b'{"card": ', b"\xff\xfe", b"", b"[" * 100_000, b"[1] x"])
def test_a_text_that_is_not_json_is_not_recorded(content: bytes) -> None:
    assert REDACTOR.redact(content) == (None, True)


@pytest.mark.parametrize("content", [b'{"age": 3}', b"[1, NaN]", b'"text"', b'{"a": "x\\ny"}', b'{"a": "[not json"}'])
def test_other_texts_stay_as_they_are(content: bytes) -> None:
    assert REDACTOR.redact(content) == (content, False)


def _tree(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1) | st.text(max_size=4)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
    )


@given(value=_tree(st.sampled_from(["card", "CARD", "age", "columns", "data"])), ascii_only=st.booleans())
@settings(max_examples=60, deadline=None)
def test_both_ways_agree(value: Any, ascii_only: bool) -> None:
    """The way for texts with scalars only, and the way through the whole structure."""
    content = json.dumps(value, ensure_ascii=ascii_only).encode()
    quick, thorough = Redactor(["card"]).redact(content), Redactor(["card", "größe"]).redact(content)
    assert json.loads(quick[0] or b"") == json.loads(thorough[0] or b"")
