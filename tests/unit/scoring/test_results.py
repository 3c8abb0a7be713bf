"""Results as JSON: what `tests/drivers/results` does not show."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.scoring.encoding.encoder import encode_result
from mlmgmt_nb.scoring.errors import RequestError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def finite(value: Any) -> Any:
    """As JSON has it: NaN and infinity are null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [finite(item) for item in value]
    return {key: finite(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(plain.filter(lambda value: not isinstance(value, str)))
def test_plain_values_come_back(value: Any) -> None:
    assert json.loads(encode_result(value)) == finite(value)


@given(plain)
def test_json_text_passes(value: Any) -> None:
    text = json.dumps(value)
    assert json.loads(encode_result(text)) == finite(value)
    if "NaN" not in text and "Infinity" not in text:
        assert encode_result(text) == text.encode()


@given(st.text())
def test_any_text_gives_json(text: str) -> None:
    json.loads(encode_result(text))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float32", "float64", "longdouble", "bool"])
def test_numbers_of_numpy(dtype: str) -> None:
    array = np.array([0, 1], dtype=dtype)
    assert json.loads(encode_result(array)) == [0, 1]
    assert json.loads(encode_result(list(array))) == [0, 1]
    assert json.loads(encode_result({"deep": (array[1],)})) == {"deep": [1]}


def test_frames_with_odd_columns() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=pd.Index([0, "a", pd.Timestamp("2017-10-01")], dtype=object))
    assert json.loads(encode_result(frame)) == [{"0": 1, "a": 2, "2017-10-01T00:00:00": 3}]
    assert encode_result(pd.DataFrame()) == b"[]"
    assert encode_result(pd.DataFrame({"a": []})) == b"[]"
    lists = pd.DataFrame({"a": [[1, 2], None]})
    assert json.loads(encode_result(lists)) == [{"a": [1, 2]}, {"a": None}]


def test_the_type_is_named() -> None:
    with pytest.raises(RequestError, match="run\\(\\) returned builtin_function_or_method, which has no JSON form"):
        encode_result([{"f": print}])
