"""Values come back as they were sent, types included, for each type that a schema knows; others are refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlmgmt_nb.scoring.compat.parameter_types import (
    NumpyParameterType,
    PandasParameterType,
    StandardPythonParameterType,
)
from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.schema import DataTypes, SampleDefinition, SchemaError, generate_schema, load_schema
from mlmgmt_nb.scoring.schema.arguments import read_arguments

Sample = tuple[DataTypes, Any]

# JSON cannot express these, and a driver gets null: NaN in an object column, infinity. Doubles hold 17 digits.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
FLOATS = {f"f{size}": st.floats(width=8 * size, allow_infinity=False) for size in (2, 4, 8)}  # type: ignore[arg-type]
INTEGERS = [f"{order}{sign}{size}" for order in "<>" for sign in "iu" for size in (1, 2, 4, 8)]
UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
TIMES = [f"{kind}8[{step}{unit}]" for kind in "mM" for unit in UNITS for step in ("", 7)]
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
ZONES = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30)), ZoneInfo("America/New_York")])
OBJECTS = {
    "date": st.dates(),
    "datetime": st.datetimes() | st.datetimes(timezones=ZONES.filter(lambda zone: not isinstance(zone, ZoneInfo))),
    "time": st.times(),
    "timedelta": st.timedeltas(),
    "bytes": st.binary(max_size=6),
    "bytearray": st.binary(max_size=6).map(bytearray),
    "Decimal": DECIMALS,
    "JSON": st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ),
}


def elements(dtype: Any) -> st.SearchStrategy[Any]:
    """Return elements of a scalar data type of NumPy."""
    dtype = np.dtype(dtype)
    if dtype.kind in "mM":
        # years of datetime64 have at most nine digits in JSON
        largest = 10**8 if dtype.kind == "M" else 2**63 - 1
        return st.integers(-largest, largest).map(lambda count: np.array(count, "i8").view(dtype)[()]) | st.just(
            dtype.type("NaT", np.datetime_data(dtype))
        )
    if dtype.kind == "f":
        return FLOATS.get(f"f{dtype.itemsize}", FLOATS["f8"])
    if dtype.kind == "S":
        return TEXT.map(str.encode).filter(lambda data: len(data) <= dtype.itemsize)
    if dtype.kind == "U":
        return TEXT.filter(lambda text: len(text) <= dtype.itemsize // 4)
    return hnp.from_dtype(dtype)


SCALARS = st.sampled_from([*INTEGERS, *FLOATS, "g", "?", "U5", ">U4", "S7", *TIMES])


@st.composite
def dtypes(draw: st.DrawFn, depth: int = 2) -> Any:
    """Return scalar and structured data types, with nested fields and fields that are arrays."""
    if depth == 0 or draw(st.booleans()):
        return np.dtype(draw(SCALARS))
    names = draw(st.lists(st.sampled_from("abcdü"), min_size=1, max_size=3, unique=True))
    fields = [(name, draw(dtypes(depth - 1)), draw(st.sampled_from([(), (2,), (1, 2)]))) for name in names]
    return np.dtype(fields, align=draw(st.booleans()))


@st.composite
def arrays(draw: st.DrawFn) -> Sample:
    dtype, shape = draw(dtypes()), draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    array = np.zeros(shape, dtype)
    fill(array, draw)
    return DataTypes.NUMPY, array


def fill(array: Any, draw: st.DrawFn) -> None:
    """Draw the elements of an array, field by field."""
    if array.dtype.names:
        for name in array.dtype.names:
            fill(array[name], draw)
        return
    for place in np.ndindex(array.shape):
        array[place] = draw(elements(array.dtype))


@st.composite
def object_arrays(draw: st.DrawFn) -> Sample:
    values = draw(st.lists(draw(st.sampled_from([*OBJECTS.values()])), max_size=4))
    if draw(st.booleans()):
        return DataTypes.NUMPY, np.array(["a", *map(str, values)], dtype=np.dtypes.StringDType())
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return DataTypes.NUMPY, array


NULLABLE = {
    **{f"{sign}Int{bits}": st.integers(0, 127) for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "Float32": FLOATS["f4"].filter(lambda number: number == number),
    "Float64": FLOATS["f8"].filter(lambda number: number == number),
    "boolean": st.booleans(),
    "string": TEXT,
    "str": TEXT,
    "period[D]": st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)).map(lambda day: pd.Period(day, "D")),
    "period[M]": st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)).map(lambda day: pd.Period(day, "M")),
}
ZONED = ["UTC", "Europe/Berlin", "+05:30", "-03:00"]
CATEGORIES: list[Any] = [[3, 1], [1.5, 2.0], ["b", "ü", ""], [True, False], np.array([7, 9], "i2"), []]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Any:
    """Return a column of any data type of pandas."""
    kind = draw(st.sampled_from(["numpy", "object", "nullable", "zoned", "category", "sparse"]))
    if kind == "object":
        strategy = draw(st.sampled_from([*OBJECTS.values()]))
        return pd.Series(draw(st.lists(st.none() | strategy, min_size=rows, max_size=rows)), dtype=object)
    if kind == "nullable":
        name = draw(st.sampled_from(sorted(NULLABLE)))
        values: list[Any] = draw(st.lists(st.none() | NULLABLE[name], min_size=rows, max_size=rows))
        dtype: Any = name
        return pd.Series(pd.array(values, dtype=dtype))
    if kind == "zoned":
        zone, unit = draw(st.sampled_from(ZONED)), draw(st.sampled_from(["s", "ms", "us", "ns"]))
        counts = draw(st.lists(st.integers(-(10**9), 10**9), min_size=rows, max_size=rows))
        return pd.Series(np.array(counts, f"M8[{unit}]")).dt.tz_localize("UTC").dt.tz_convert(zone)
    if kind == "category":
        among, is_ordered = draw(st.sampled_from(CATEGORIES)), draw(st.booleans())
        codes = draw(st.lists(st.integers(-1, len(among) - 1), min_size=rows, max_size=rows))
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index(among), ordered=is_ordered))
    if kind == "sparse":
        return pd.Series(pd.arrays.SparseArray(draw(hnp.arrays("f8", rows, elements=FLOATS["f8"]))))
    name = draw(SCALARS.filter(lambda name: name[0] not in "US>" and "7" not in name))
    dtype = pd.Series(np.zeros(0, "M8[s]" if np.dtype(name).kind == "M" else name)).dtype
    array: Any = np.zeros(rows, dtype)
    fill(array, draw)
    return pd.Series(array)


LABELS: list[Callable[[int], Any]] = [
    lambda count: pd.Index([f"ä {place}" for place in range(count)], dtype="str"),
    lambda count: pd.Index([f"ä {place}" for place in range(count)], dtype=object, name="features"),
    lambda count: pd.RangeIndex(count),
    lambda count: pd.Index(np.arange(count, dtype="i2")),
    lambda count: pd.Index(np.arange(count) / 2),
    lambda count: pd.Index([True, False, "x", 5][:count], dtype=object),
]


@st.composite
def frames(draw: st.DrawFn) -> Sample:
    rows = draw(st.integers(0, 3))
    parts = [draw(columns(rows)) for _ in range(draw(st.integers(0, 4)))]
    frame = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=range(rows))
    frame.columns = draw(st.sampled_from(LABELS))(len(parts))
    return DataTypes.PANDAS, frame.reset_index(drop=True)


plain = st.one_of(
    *[OBJECTS[name] for name in OBJECTS if name not in ("Decimal", "JSON")],
    OBJECTS["JSON"],
    st.lists(OBJECTS["JSON"], max_size=3).map(tuple),
).map(lambda value: (DataTypes.STANDARD, value))


def same(left: Any, right: Any) -> None:
    """Assert equality of values and of types."""
    assert type(left) is type(right)
    if isinstance(right, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True, check_index_type=False)
        for (_, ours), (_, theirs) in zip(left.items(), right.items(), strict=True):
            if theirs.dtype == object:
                assert list(map(type, ours)) == list(map(type, theirs))
    elif isinstance(right, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        for name in right.dtype.names or ():  # NumPy finds NaT equal only outside of fields
            same(left[name], right[name])
        if not right.dtype.names:
            np.testing.assert_array_equal(left, right)
        if right.dtype == object:
            assert list(map(type, left.flat)) == list(map(type, right.flat))
    else:
        assert left == right


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(sample=plain | arrays() | object_arrays() | frames())
def test_what_is_sent_comes_back(sample: Sample, tmp_path: Path) -> None:
    kind, value = sample
    body = encode_value({"x": value})
    made = generate_schema(lambda x: x, {"x": SampleDefinition(kind, value)}, filepath=tmp_path / "schema.json")
    for schema in (made, load_schema(tmp_path / "schema.json")):
        same(read_arguments(body, schema.input, frozenset())["x"], value)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(array=arrays(), frame=frames(), text=TEXT)
def test_nested_values_come_back(array: Sample, frame: Sample, text: str) -> None:
    value = {"array": array[1], "frames": [frame[1], frame[1]], "plain": text}
    types = {
        "array": NumpyParameterType(array[1]),
        "frames": StandardPythonParameterType([PandasParameterType(frame[1])]),
        "plain": StandardPythonParameterType(text),
    }
    schema = {"x": StandardPythonParameterType(types).schema}
    parsed = read_arguments(encode_value({"x": value}), schema, frozenset())["x"]
    same(parsed["array"], value["array"])
    for read in parsed["frames"]:
        same(read, frame[1])
    assert parsed["plain"] == text


def of(values: Any, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, **more)})


REFUSED: dict[str, tuple[int, Any, str]] = {
    "complex in a frame": (3, of([1j]), "complex numbers"),
    "complex in a field": (1, np.zeros(1, [("n", [("c", "c8")])]), "complex numbers"),
    "complex in a list": (0, {"a": [1, 1j]}, r"sample\.a\[1\] is complex"),
    "two levels of columns": (3, pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([(1, 2)])), "2 levels"),
    "two columns of one name": (3, pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns named 'a'"),
    "columns named by times": (3, pd.DataFrame([[1]], columns=pd.to_datetime(["2017"])), "type Timestamp. Make"),
    "columns named by pairs": (3, pd.DataFrame([[1]], columns=pd.Index([(1, 2)], tupleize_cols=False)), "type tuple"),
    "columns named by bytes": (3, pd.DataFrame([[1]], columns=[b"a"]), "type bytes"),
    "categories that are dates": (3, of(pd.Categorical([dt.date(2017, 1, 1)])), "a: the category .* of type date"),
    "categories that are decimals": (3, of(pd.Categorical([Decimal(1)])), "a: the category .* of type Decimal"),
    "a zone without a name": (
        3, of(pd.to_datetime(["2017"]).tz_localize(dt.timezone(dt.timedelta(seconds=7)))), "a: .* need a name"),
    "hidden integers": (1, np.ma.array([1, 2], mask=[False, True]), r"input: sample\[1\]: expected an integer"),
    "a number that is none": (0, float("nan"), "nan, which JSON does not have"),
    "bytes that are no text": (1, np.array([b"\xff"]), "not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_json_lacks_is_refused(case: str) -> None:
    kind, sample, message = REFUSED[case]
    with pytest.raises(SchemaError, match=message):
        SampleDefinition(kind, sample)


@pytest.mark.parametrize("value", ["not so soon", 5, True, [1], {"a": 1}])
@pytest.mark.parametrize("sample", [dt.date(2017, 5, 4), dt.timedelta(1), b"x", Decimal("1.5")], ids=str)
def test_elements_of_another_type_are_named(sample: Any, value: Any) -> None:
    if isinstance(sample, Decimal) and value == 5 and value is not True:
        return
    for kind, data, path in (
        (3, of([sample], dtype=object), r"x\[0\]\.a: "),
        (1, np.array([sample], dtype=object), r"x\[0\]: "),
    ):
        schema = SampleDefinition(kind, data).schema
        body = [{"a": value}] if kind == 3 else [value]
        with pytest.raises(ValueError, match=path + "expected"):
            schema.parse(body, "x")
