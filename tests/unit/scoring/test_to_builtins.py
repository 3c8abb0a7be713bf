"""One encoder for both sides: each kind of value, in all places where a value can be; and what JSON cannot hold."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import json
import pathlib
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.client.scoring import as_json, encode_input
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.scoring.encoding.encoder import encode_result
from mlmgmt_nb.scoring.errors import RequestError


class Color(enum.Enum):
    RED = "red"


class Weekday(enum.IntEnum):
    MONDAY = 1


@dataclasses.dataclass
class Point:
    x: Any = 1


class Struct(msgspec.Struct):
    x: Any = 1


def refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def strict(data: bytes) -> Any:
    return json.loads(data, parse_constant=refuse)


ENCODERS: list[Callable[[Any], bytes]] = [encode_result, lambda value: encode_input({"v": value}, None)[5:-1]]
FORMS: list[Any] = [
    (np.datetime64("2021-06-07T08:09:10", "ns"), "2021-06-07T08:09:10.000000000"),
    (np.datetime64("2021-06-07"), "2021-06-07"),
    (np.datetime64("-0050-01-01"), "-0050-01-01"),
    (np.datetime64("-0050"), "-0050"),
    (np.datetime64("-0001-12-31T23:59"), "-0001-12-31T23:59"),
    (np.datetime64("-12000-01"), "-12000-01"),
    (np.datetime64("+12000-01"), "+12000-01"),
    (np.datetime64("NaT"), None),
    (np.timedelta64(90 * 10**9, "ns"), 90),
    (np.timedelta64(2, "W"), 1209600),
    (np.timedelta64(5, "M"), "5 months"),
    (np.timedelta64("NaT", "s"), None),
    (np.timedelta64(2**60 + 1, "ns"), "PT1152921504.606846977S"),
    (pd.Timedelta(-(2**60) - 1, "ns"), "-PT1152921504.606846977S"),
    (pd.Timedelta("1min"), 60),
    (pd.Timestamp("2017-10-01T12:00Z"), "2017-10-01T12:00:00+00:00"),
    (pd.NaT, None),
    (pd.NA, None),
    (pd.Series([1, None], dtype="Int64"), [1, None]),
    (pd.Series(pd.to_timedelta(["1D", None])), [86400, None]),
    (pd.array([True, None], dtype="boolean"), [True, None]),
    (pd.Series(["2017-10-01", None], dtype="datetime64[s]"), ["2017-10-01T00:00:00", None]),
    (pd.DataFrame(index=[0, 1]), [{}, {}]),
    (pd.MultiIndex.from_tuples([("a", pd.Timestamp("2017-10-01"))]), [["a", "2017-10-01T00:00:00"]]),
    (Decimal("1.5"), 1.5),
    (Decimal("NaN"), None),
    (Decimal("sNaN"), None),
    (Decimal("-Infinity"), None),
    (pd.DataFrame({"price": [Decimal("NaN"), Decimal("1.10")]}), [{"price": None}, {"price": 1.1}]),
    (np.float16(1.5), 1.5),
    (np.longdouble(1.5), 1.5),
    (np.bool_(True), True),
    (np.bytes_(b"ab"), "ab"),
    (np.ma.array([1, 2], mask=[False, True]), [1, None]),
    (np.array([("a", [1, 2])], dtype=[("n", "U1"), ("v", "i4", (2,))]), [{"n": "a", "v": [1, 2]}]),
    (np.zeros((1, 2), dtype=[("a", "M8[D]")]), [[{"a": "1970-01-01"}, {"a": "1970-01-01"}]]),
    (np.array([None, {"a": np.int8(1)}], dtype=object), [None, {"a": 1}]),
    (range(3), [0, 1, 2]),
    (collections.UserString("ab"), "ab"),
    (dt.time(1, 2, 3, 4, tzinfo=dt.timezone(dt.timedelta(hours=1))), "01:02:03.000004+01:00"),
    ({4}, [4]),
    (frozenset(), []),
    (collections.deque([1, 2]), [1, 2]),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    ({"a": 1}.items(), [["a", 1]]),
    (array.array("i", [1]), [1]),
    pytest.param(memoryview(b"ABC"), "QUJD", id="memoryview"),  # its text contains its address
    (bytearray(b"\xff\xfe"), "//4="),
    ([b"ABC"], ["QUJD"]),
    (Color.RED, "red"),
    (Weekday.MONDAY, 1),
    (Point(np.int8(2)), {"x": 2}),
    (Struct({1: pd.NA}), {"x": {"1": None}}),
    (pathlib.PurePosixPath("a/b"), "a/b"),
    (uuid.UUID(int=7), str(uuid.UUID(int=7))),
    (dt.time(10, 30), "10:30:00"),
    (dt.timedelta(days=1, seconds=2), "P1DT2S"),
    ({Color.RED: 1, np.int64(3): 2, None: 3, True: 4, dt.date(2017, 10, 1): 5, (1, 2): 6, 2.5: 7}, None),
]
KEYS = {"red": 1, "3": 2, "null": 3, "true": 4, "2017-10-01": 5, "(1, 2)": 6, "2.5": 7}


@pytest.mark.parametrize(("value", "form"), FORMS, ids=lambda value: short(value).replace("\n", " "))
@pytest.mark.parametrize("encode", ENCODERS, ids=["runtime", "client"])
def test_both_sides_write_the_same(encode: Callable[[Any], bytes], value: Any, form: Any) -> None:
    form = KEYS if isinstance(value, dict) and form is None else form
    assert strict(encode([{"a": value}])) == [{"a": form}]
    assert strict(encode({"a": [value]})) == {"a": [form]}
    assert strict(encode(Point(value))) == {"x": form}
    if not isinstance(value, pd.DataFrame):
        assert strict(encode(pd.DataFrame({"a": pd.Series([value], dtype=object)}))) == [{"a": form}]


LOOP: list[Any] = [1]
LOOP += [LOOP, LOOP]
DEEP: Any = None
for _ in range(100_000):
    DEEP = [DEEP]
LONG = 10**5000
LONG_KEY = {LONG: 1}
LEVELS = pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])
REFUSED: list[tuple[Any, str]] = [
    ({1: "number", "1": "text"}, r"a dict whose keys 1 and '1' are both \"1\" in JSON"),
    ({2.5: 1, "2.5": 2}, "keys 2.5 and '2.5'"),
    ({np.int64(3): 1, "3": 2}, r"keys np.int64\(3\) and '3'"),
    ({Color.RED: 1, "red": 2}, "and 'red' are both"),
    ({None: 1, "null": 2}, "keys None and 'null'"),
    ({True: 1, "true": 2}, "keys True and 'true'"),
    ({dt.date(2017, 10, 1): 1, "2017-10-01": 2}, "keys .* and '2017-10-01'"),
    (Struct({1: 1, "1": 2}), r"keys 1 and '1'"),
    (pd.DataFrame([[1, 2, 3]], columns=["dose", "dose", "age"]), "a DataFrame with two columns named 'dose'"),
    (pd.DataFrame([[1, 2]], columns=[1, "1"]), r"a DataFrame whose columns 1 and '1' are both \"1\" in JSON"),
    (pd.DataFrame([[1, 2]], columns=LEVELS), "2 levels of column names.*Join each"),
    (pd.DataFrame({None: [1]}), r"column 0 has no name \(None\).*Name it"),
    (pd.DataFrame({np.nan: [1]}), r"column 0 has no name \(nan\).*Name it"),
    (LOOP, "a list that contains itself"),
    (DEEP, "nested too deeply"),
    ("\ud800", "a lone surrogate"),
    ({"\ud800": 1}, "a lone surrogate"),
    (np.longdouble("1e400"), "beyond the range"),
    (Decimal("1E+400"), "beyond the range"),
    (np.timedelta64(5), "without a unit"),
    (dt.time(1, 2, tzinfo=dt.timezone(dt.timedelta(seconds=30))), "whose offset has seconds"),
    (dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(seconds=-61))), "beyond the last or first year"),
    (np.array([b"\xff"]), "not UTF-8"),
    (LONG, "an integer with too many digits"),
    (LONG_KEY, "a key that is an integer with too many digits"),
    (1j, "complex, which has no JSON form"),
    (np.array([1j]), "complex numbers"),
    (object(), "object, which has no JSON form"),
    ({object(): 1}, "a key that is object, which has no JSON form"),
    (int, "type, which has no JSON form"),
]


def short(value: Any) -> str:
    if value is LONG or value is LONG_KEY:
        return "long"
    return "deep" if value is DEEP else str(value)[:30].partition(" at 0x")[0]


@pytest.mark.parametrize(("value", "problem"), REFUSED, ids=short)
def test_what_json_cannot_hold_is_refused_by_its_path(value: Any, problem: str) -> None:
    with pytest.raises(RequestError, match=rf"(?s)run\(\) returned .*{problem}"):
        encode_result([value])
    with pytest.raises(UsageError, match=rf"(?s){problem}"):
        encode_input([value], None)
    if value is not DEEP:
        with pytest.raises(UsageError, match=r"(?s)^data\.rows\[1\]\.a"):
            encode_input({"rows": [{"a": 1}, {"a": value}]}, None)
        with pytest.raises(RequestError, match=r"(?s)at result\[1\]\.a"):
            encode_result(pd.DataFrame({"a": pd.Series([1, value], dtype=object)}))


def test_text_with_a_surrogate_is_refused() -> None:
    with pytest.raises(UsageError, match="lone surrogate at character 1"):
        encode_input("a\ud800", None)
    with pytest.raises(RequestError, match="nested too deeply"):
        encode_result("[" * 100_000)


def test_numbers_beyond_64_bits() -> None:
    assert as_json([10**400]) == [10**400]


keys = st.text(max_size=3) | st.integers(-3, 3) | st.floats(-3, 3) | st.booleans() | st.none() | st.sampled_from(Color)
nested = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.just(pd.NA),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4) | st.builds(Point, inner),
    max_leaves=10,
)


def count(value: Any) -> int:
    """How many values there are, also in objects."""
    value = [value.x] if isinstance(value, Point) else value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, parts))


@given(nested)
def test_no_value_is_lost(value: Any) -> None:
    for encode in ENCODERS:
        try:
            data = encode([value])
        except (RequestError, UsageError) as error:
            message = str(error)
        else:
            message = ""
            assert count(strict(data)) == count([value])
        assert not message or "are both" in message
