"""Dates and spans from JSON: the exact value, or refused; and structured arrays, which hold them among others."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.schema import DataTypes, InputError, SampleDefinition, SchemaError

UNITS = ["W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
COUNTS = st.integers(-(2**63) + 1, 2**63 - 1)


def array_type(dtype: Any) -> Any:
    return SampleDefinition(DataTypes.NUMPY, np.zeros(1, dtype=dtype)).schema


def column_type(dtype: Any) -> Any:
    return SampleDefinition(
        DataTypes.PANDAS, pd.DataFrame({"x": pd.Series(np.zeros(1), dtype="i8").astype(dtype)})
    ).schema


def sent(value: Any) -> Any:
    return json.loads(encode_value(value))


@given(st.sampled_from(["Y", "M", *UNITS]), COUNTS)
def test_spans_of_all_sizes_come_back(unit: str, count: int) -> None:
    array = np.array([count, -(2**63)], dtype=f"timedelta64[{unit}]")
    np.testing.assert_array_equal(array_type(array.dtype.str).parse(sent(array), "x"), array)


@given(st.sampled_from(["Y", "M", *UNITS]), COUNTS)
def test_dates_of_all_sizes_come_back(unit: str, count: int) -> None:
    """Years of up to nine digits: NumPy itself prints others wrongly."""
    bound = {"Y": 10**7, "M": 10**8, "W": 10**9, "D": 10**10, "h": 10**11, "m": 10**13, "s": 10**15}.get(unit, 2**63)
    array = np.array([count % bound, -(2**63)], dtype=f"datetime64[{unit}]")
    np.testing.assert_array_equal(array_type(array.dtype.str).parse(sent(array), "x"), array)


@given(st.sampled_from(["s", "ms", "us", "ns"]), st.integers(-9 * 10**12, 9 * 10**12))
def test_dates_of_frames_come_back(unit: str, count: int) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    dates = pd.Series(np.array([count * per_second // 1000, -(2**63)], dtype=f"datetime64[{unit}]"))
    for series in (dates, dates.dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata")):
        frame = pd.DataFrame({"x": series})
        schema: Any = SampleDefinition(DataTypes.PANDAS, frame).schema
        pd.testing.assert_frame_equal(schema.parse(sent(frame), "x"), frame)


@pytest.mark.parametrize("date", ["2300-01-01T00:00:00", "1500-06-01", "9999-12-31", 10**14, 10**30, "2262-04-12"])
@pytest.mark.parametrize("make", [array_type, column_type])
def test_dates_out_of_range_are_refused(make: Any, date: Any) -> None:
    value = [date] if make is array_type else [{"x": date}]
    with pytest.raises(InputError, match=r"x\[0\](\.x)?: expected a date"):
        make("datetime64[ns]").parse(value, "x")


@pytest.mark.parametrize("text", ["2262-04-11T23:47:16.854775808", "1677-09-21T00:12:43.145224192"])
def test_the_message_says_which_range(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f'got the string "{text}", which is outside the range of')):
        array_type("datetime64[ns]").parse([text], "x")


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        *[(f"timedelta64[{unit}]", "2 weeks", np.timedelta64(2, "W")) for unit in UNITS[:-3]],
        ("timedelta64[D]", "14 days", np.timedelta64(14, "D")),
        ("timedelta64[D]", 172800, np.timedelta64(2, "D")),
        ("timedelta64[h]", "-1 days +23:00:00", np.timedelta64(-1, "h")),
        ("timedelta64[m]", "PT1H30M", np.timedelta64(90, "m")),
        ("timedelta64[as]", "5 attoseconds", np.timedelta64(5, "as")),
        ("timedelta64[M]", "2 years", np.timedelta64(24, "M")),
        ("timedelta64[25s]", 50, np.timedelta64(50, "s")),
        ("timedelta64[ns]", 0.1 + 0.2, np.timedelta64(300, "ms")),
        ("datetime64[M]", "2017-10", np.datetime64("2017-10")),
        ("datetime64[D]", "20171001", np.datetime64("2017-10-01")),
        ("datetime64[s]", "2017-10-01T10", np.datetime64("2017-10-01T10:00:00")),
        ("datetime64[us]", "9999-12-31 23:59:59,999999", np.datetime64("9999-12-31T23:59:59.999999")),
        ("datetime64[us]", "2017-10-01T10:00:00.1234567Z", np.datetime64("2017-10-01T10:00:00.123456")),
        ("datetime64[s]", "2017-05-04 10:26:00.000000 +0530", np.datetime64("2017-05-04T04:56:00")),
        ("datetime64[ms]", -1, np.datetime64("1969-12-31T23:59:59.999")),
    ],
)
def test_forms_that_are_taken(dtype: str, given: Any, expected: Any) -> None:
    parsed = array_type(dtype).parse([given], "x")
    assert parsed.dtype == np.dtype(dtype)
    assert parsed[0] == expected


@pytest.mark.parametrize(
    ("dtype", "given", "reason"),
    [
        ("timedelta64[D]", 3, "not a whole number"),
        ("timedelta64[D]", "1 days 12:00:00", "not a whole number"),
        ("timedelta64[s]", 1.5, "not a whole number"),
        ("timedelta64[D]", "1 years", "not of a fixed length"),
        ("timedelta64[M]", 3, "3 months"),
        ("timedelta64[Y]", "14 months", "not a whole number"),
        ("timedelta64[ns]", "200000 weeks", "outside the range"),
        ("timedelta64[D]", "1", "too short: give a unit"),
        ("timedelta64[s]", "PT0.0000000001S", "too short"),
        ("timedelta64[s]", "P1M", "not of a fixed length"),
        ("datetime64[D]", "2017-10-01T10:00", "not a whole number"),
        ("datetime64[M]", "2017-10-02", "not the first moment"),
        ("datetime64[ns]", "soon", "expected a date"),
        ("datetime64[ns]", "2017-13-01", "expected a date"),
        ("datetime64[ns]", "now", "expected a date"),
        ("timedelta64[s]", "P", "expected a time span"),
    ],
)
def test_forms_that_are_refused(dtype: str, given: Any, reason: str) -> None:
    with pytest.raises(InputError, match=rf"x\[0\]: .*{reason}"):
        array_type(dtype).parse([given], "x")


RECORD = np.dtype([("name", "U4"), ("at", "M8[s]"), ("span", "m8[ms]"), ("in", [("b", "?")]), ("v", "f4", (2, 1))])
ROW = {"name": "Ann", "at": "2017-10-01T00:00:00", "span": 1.5, "in": {"b": True}, "v": [[1.5], [None]]}


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 1)])
def test_structured_arrays_come_back(shape: tuple[int, ...]) -> None:
    array = np.full(shape, np.array(("Ann", 5, 7, (True,), [[1.5], [2]]), dtype=RECORD))
    schema: Any = SampleDefinition(DataTypes.NUMPY, array).schema
    parsed = schema.parse(sent(array), "x")
    assert parsed.dtype == array.dtype
    np.testing.assert_array_equal(parsed, array)


def test_rows_of_structured_arrays() -> None:
    schema: Any = SampleDefinition(DataTypes.NUMPY, np.zeros(1, dtype=RECORD)).schema
    row = schema.parse([ROW], "x")[0]
    assert (row["name"], row["in"]["b"], row["v"].shape) == ("Ann", True, (2, 1))
    assert schema.parse([list(ROW.values())], "x")[0] == row or np.isnan(row["v"]).any()
    assert schema.parse([{**ROW, "name": "Maximilian"}], "x")["name"].tolist() == ["Maximilian"]
    assert schema.parse([], "x").dtype == RECORD


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": 1}, "x[0].name: expected a string"),
        ({"at": "2017-10-01T00:00:00.5"}, "x[0].at: expected a date"),
        ({"in": {}}, "x[0].in.b: this field is missing"),
        ({"in": {"b": True, "c": 1}}, "x[0].in.c: unknown field; the fields are b"),
        ({"in": 1}, "x[0].in: expected an object with the fields b"),
        ({"v": [[1.5]]}, "x[0].v: expected a list of 2 values, got 1 values"),
        ({"v": [[1.5], ["x"]]}, "x[0].v[1][0]: expected a number"),
    ],
)
def test_rows_that_do_not_fit(change: dict[str, Any], problem: str) -> None:
    schema: Any = SampleDefinition(DataTypes.NUMPY, np.zeros(1, dtype=RECORD)).schema
    with pytest.raises(InputError, match=re.escape(problem)):
        schema.parse([{**ROW, **change}], "x")


def test_a_problem_of_many_elements_is_reported_once() -> None:
    schema: Any = SampleDefinition(DataTypes.NUMPY, np.zeros(1, dtype=[("a", "i4"), ("b", "f8")])).schema
    with pytest.raises(InputError) as caught:
        schema.parse([{"a": 1}, {"a": 1, "c": 2}, 3, [1]], "x")
    assert caught.value.problems == [
        "x[0].b: this field is missing (also at x[1])",
        "x[1].c: unknown field; the fields are a, b",
        "x[2]: expected an object with the fields a, b; got the number 3 (also at x[3])",
    ]
    with pytest.raises(InputError, match=r"^x\[0\].a: expected an integer, got null \(in all 2 elements\)$"):
        schema.parse([[None, 1]] * 2, "x")


def test_units_are_needed() -> None:
    with pytest.raises(SchemaError, match="has no unit"):
        array_type("timedelta64")


@pytest.mark.parametrize("make", [array_type, column_type])
@pytest.mark.parametrize(
    ("dtype", "number"), [("f2", 70_000), ("f4", -1e39), ("f4", 10**30 * 10**30), ("f8", 10**400), ("i1", 128)]
)
def test_numbers_out_of_range_are_refused(make: Any, dtype: str, number: float) -> None:
    """NumPy makes infinity of some of them."""
    value = [number] if make is array_type else [{"x": number}]
    with pytest.raises(InputError, match=r"x\[0\](\.x)?: expected"):
        make(dtype).parse(value, "x")


def test_plain_and_nullable_numbers_out_of_range() -> None:
    with pytest.raises(InputError, match="outside the range of Float32"):
        column_type("Float32").parse([{"x": 1e39}, {"x": None}], "x")
    assert column_type("Float32").parse([{"x": 1e38}, {"x": None}], "x")["x"].isna().tolist() == [False, True]
    plain: Any = SampleDefinition(DataTypes.STANDARD, 1.5).schema
    with pytest.raises(InputError, match="outside the range of doubles"):
        plain.parse(10**400, "x")
    span: Any = SampleDefinition(DataTypes.STANDARD, dt.timedelta(1)).schema
    with pytest.raises(InputError, match="expected a time span"):
        span.parse("1", "x")


@pytest.mark.parametrize("make", [array_type, column_type])
def test_booleans_as_files_of_2017_show_them(make: Any) -> None:
    shown: list[Any] = ["True", "False", True]
    value = shown if make is array_type else [{"x": item} for item in shown]
    parsed = make("bool").parse(value, "x")
    assert (parsed if make is array_type else parsed["x"]).tolist() == [True, False, True]
    with pytest.raises(InputError, match="expected true or false"):
        make("bool").parse(["yes"] if make is array_type else [{"x": "yes"}], "x")
