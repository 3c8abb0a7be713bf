"""Keys that a JSON object has twice: found, whatever they are spelled like, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.schema.arguments import decode_object
from mlmgmt_nb.scoring.schema.repeated import repeated_argument, repeated_key

KEYS = st.sampled_from(["data", "a", "b", "é", "", 'd"', "data\\"])
VALUES = st.recursive(
    st.none() | st.integers() | KEYS | st.just('"data": 1'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.booleans())
def test_exactly_those_that_come_twice(pairs: list[tuple[str, object]], ascii_only: bool) -> None:
    keys = [key for key, _ in pairs]
    text = ", ".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=ascii_only)}" for k, v in pairs)
    is_twice = len(set(keys)) < len(keys)
    body = f"{{{text}}}".encode()
    assert (repeated_key(body) is not None) == is_twice
    assert (repeated_key(b"[%b]" % body) is not None) == is_twice
    if not {'d"', "data\\"} & set(keys):  # no argument has such a name
        assert (repeated_argument(body, set(keys)) is not None) == is_twice


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": 1, "data": 2}',
        b'{"data": [{"x": 1}], "other": "data", "data": 1}',
        b'{"data": 1, "d\\u0061ta": 2}',
        b'{"d\\u0061ta": 1, "d\\u0061t\\u0061": 2}',
        b'{"data":1,\n "data" : 1}',
    ],
)
def test_an_argument_that_is_given_twice(body: bytes) -> None:
    with pytest.raises(RequestError, match="data: this argument is given more than once; send it once"):
        decode_object(body, {"data": None})


@pytest.mark.parametrize("body", [b'{"data": {"data": [{"data": "data"}]}}', b'{"data": "\\"data\\": 1"}'])
def test_what_only_looks_like_it(body: bytes) -> None:
    decode_object(body, {"data": None})
    assert repeated_key(body) is None


def test_long_numbers_are_left_to_the_decoder() -> None:
    assert repeated_key(b'{"data": %b}' % (b"9" * 10_000)) is None


def test_a_key_that_no_response_could_hold() -> None:
    assert repeated_key(b'{"\\ud800": 1, "\\ud800": 2}') == "?"
    assert repeated_key(b'{"%b": 1, "%b": 2}' % (b"k" * 500, b"k" * 500)) == "k" * 100
