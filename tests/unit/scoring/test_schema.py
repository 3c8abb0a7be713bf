"""Schemas: samples, files of 2017, and what a request may send."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd

from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.schema import (
    DataTypes,
    InputError,
    SampleDefinition,
    SchemaError,
    ServiceSchema,
    generate_schema,
    load_schema,
)
from mlmgmt_nb.scoring.schema.arguments import read_arguments
from mlmgmt_nb.scoring.schema.pickled import read_internal, write_internal
from mlmgmt_nb.scoring.schema.plain import PlainType
from mlmgmt_nb.scoring.schema.swagger import service_swagger


def run(df: Any) -> Any:
    return df


def round_trip(sample: Any, kind: DataTypes, path: Path) -> Any:
    """Sample -> schema file -> read again -> the service's swagger -> its sample data as a request -> parsed."""
    generate_schema(run, {"df": SampleDefinition(kind, sample)}, filepath=path)
    schema = load_schema(path)
    described = json.loads(msgspec.json.encode(service_swagger("iris", schema)))
    request = json.dumps(described["definitions"]["ServiceInput"]["example"]).encode()
    return read_arguments(request, schema.input, frozenset())["df"]


UNITS = ("s", "ms", "us", "ns")
dates = st.datetimes(min_value=pd.Timestamp(1900, 1, 1), max_value=pd.Timestamp(2200, 1, 1))
spans = st.timedeltas(min_value=pd.Timedelta(days=-9999), max_value=pd.Timedelta(days=9999))
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DATES = [f"{kind}64[{unit}]" for kind in ("datetime", "timedelta") for unit in ("D", *UNITS)]
FLOATS = {f"float{bits}": st.floats(width=bits, allow_infinity=False) for bits in (16, 32, 64)}
COLUMNS = {
    **{name: hpd.column(name, dtype=name) for name in INTEGERS},
    **{name: hpd.column(name, elements=floats, dtype=name) for name, floats in FLOATS.items()},
    "bool": hpd.column("bool", dtype="bool"),
    "text": hpd.column("text", elements=st.text(st.characters(codec="utf-8")), dtype=object),
    "mixed": hpd.column("mixed", elements=st.none() | st.integers() | st.lists(st.integers()), dtype=object),
    **{f"date {unit}": hpd.column(f"date {unit}", elements=dates, dtype=f"datetime64[{unit}]") for unit in UNITS},
    **{f"span {unit}": hpd.column(f"span {unit}", elements=spans, dtype=f"timedelta64[{unit}]") for unit in UNITS},
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), names=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
def test_frames_come_back(data: st.DataObject, names: list[str], tmp_path: Path) -> None:
    index = hpd.range_indexes(min_size=1, max_size=5)
    frame = data.draw(hpd.data_frames([COLUMNS[name] for name in names], index=index))
    parsed = round_trip(frame, DataTypes.PANDAS, tmp_path / "schema.json")
    pd.testing.assert_frame_equal(parsed, frame)


@pytest.mark.parametrize(
    "series",
    [
        *[pd.Series([1, None], dtype=f"{sign}Int{bits}") for sign in ("", "U") for bits in (8, 16, 32)],
        pd.Series([1.5, None], dtype="Float32"),
        pd.Series(pd.Categorical([1.5, None])),
        pd.Series(pd.Categorical([True, False])),
        pd.Series(pd.period_range("2017-10", periods=2, freq="M")),
        pd.Series(pd.arrays.SparseArray([0, 0, 1])),
        pd.Series([1.5, 2.5], dtype="longdouble"),
        pd.Series([2**53 + 1, -(2**63)]),
        pd.Series([None, {"a": [1]}], dtype=object),
        pd.to_datetime(pd.Series(["2017-10-01", None]), utc=True).dt.as_unit("ms"),
        pd.Series(pd.to_timedelta(["0 days 00:00:00.000000001"])),
        pd.Series(["a", None, "ü"], dtype="str"),
        pd.Series(["a", None], dtype="string"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1.5, None], dtype="Float64"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(pd.Categorical(["b", None, "a"], categories=["c", "b", "a"], ordered=True)),
        pd.Series(pd.Categorical([3, 1])),
        pd.to_datetime(pd.Series(["2017-10-01T10:00:00.123456789", None])),
        pd.to_datetime(pd.Series(["2017-10-01T10:00+02:00", None]), utc=True),
        pd.Series(pd.to_datetime(["2017-10-01T10:00", "2017-01-01T10:00"]).tz_localize("Europe/Berlin")),
        pd.Series(pd.to_timedelta(["1 days 00:00:01.5", None])),
        pd.Series(["2017-10-01"], dtype="datetime64[s]"),
        pd.Series([1, 2], dtype="uint8"),
    ],
    ids=lambda series: str(series.dtype),
)
def test_columns_of_pandas_come_back(series: pd.Series[Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": series, "n": range(len(series))})
    pd.testing.assert_frame_equal(round_trip(frame, DataTypes.PANDAS, tmp_path / "schema.json"), frame)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from([*INTEGERS, ">i4", *FLOATS, "longdouble", "bool", "U5", "S5", *DATES]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
def test_arrays_come_back(data: st.DataObject, dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    elements: Any = None
    if dtype in FLOATS or dtype == "longdouble":
        elements = FLOATS.get(dtype, FLOATS["float64"])
    elif dtype in ("U5", "S5"):
        elements = st.text(
            st.characters(codec="utf-8" if dtype == "U5" else "ascii", exclude_characters="\0"), max_size=5
        )
        elements = elements.map(str.encode) if dtype == "S5" else elements
    elif dtype in DATES:
        elements = st.integers(-(10**4), 10**4).map(lambda n: np.array(n, dtype))
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
    assume(array.ndim or not pd.isna(array[()]))  # null stands for a sample that is missing
    parsed = round_trip(array, DataTypes.NUMPY, tmp_path / "schema.json")
    np.testing.assert_array_equal(parsed, array)
    assert parsed.dtype == array.dtype


@pytest.mark.parametrize("sample", [5, 1.5, True, "x", [1, "a"], {"a": [1]}], ids=repr)
def test_plain_values_come_back(sample: Any, tmp_path: Path) -> None:
    assert round_trip(sample, DataTypes.STANDARD, tmp_path / "schema.json") == sample
    assert round_trip(type(sample)(), DataTypes.STANDARD, tmp_path / "schema.json") == type(sample)()


def test_the_file_without_its_pickle(tmp_path: Path) -> None:
    """Columns and types then come from the swagger part."""
    path = tmp_path / "schema.json"
    frame = pd.DataFrame({"f": [1.5], "i": [1], "b": [True], "d": pd.to_datetime(["2017-10-01"]), "o": [[1]]})
    generate_schema(run, {"df": SampleDefinition(DataTypes.PANDAS, frame)}, filepath=path)
    content = json.loads(path.read_text())
    for broken in (None, "", "not base64!", base64.b64encode(b"no pickle").decode()):
        content["input"]["df"]["internal"] = broken
        path.write_text(json.dumps(content))
        parsed = load_schema(path).input["df"].parse(json.loads(encode_value(frame)), "df")
        assert [str(kind) for kind in parsed.dtypes] == ["float64", "int64", "bool", "datetime64[ns]", "object"]


def test_the_written_pickle_is_that_of_the_original_classes() -> None:
    """A class with that module and name, as the original package has it, gets the attributes."""
    text = write_internal("azureml.api.schema.numpyUtil", "NumpySchema", {"shape": (1, 2), "data_type": np.dtype("f4")})

    class NumpySchema:
        shape: tuple[int, ...]
        data_type: Any

    class Original(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("azureml.api.schema.numpyUtil", "NumpySchema"):
                return NumpySchema
            return super().find_class(module, name)

    import io

    read = Original(io.BytesIO(base64.b64decode(text))).load()
    assert isinstance(read, NumpySchema)
    assert (read.shape, read.data_type) == ((1, 2), np.dtype("f4"))
    assert read_internal(text) == ("NumpySchema", {"shape": (1, 2), "data_type": np.dtype("f4")})


class Evil:
    """Would run a command when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "evil",
    [Evil(os.system, "true"), Evil(eval, "1"), Evil(getattr, 1, "real"), Evil(np.load, "x"), Evil(pd.read_pickle, "x")],
    ids=["os.system", "eval", "getattr", "numpy.load", "pandas.read_pickle"],
)
@pytest.mark.parametrize("protocol", range(6))
def test_nothing_else_is_unpickled(evil: Evil, protocol: int) -> None:
    with pytest.raises(SchemaError, match="internal: "):
        read_internal(base64.b64encode(pickle.dumps(evil, protocol)).decode())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"other": 1}, "run\\(\\) has no argument other; it has df"),
        ({}, "the schema has no input for run\\(\\)'s argument df"),
    ],
)
def test_inputs_that_run_does_not_take(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        generate_schema(run, {name: SampleDefinition(DataTypes.STANDARD, value) for name, value in inputs.items()})


@pytest.mark.parametrize(
    ("sample", "type_name"),
    [
        (pd.Timestamp("2026-01-31"), "datetime"),
        (pd.Timestamp("2026-01-31", tz="Europe/Berlin"), "datetime"),
        (pd.Timestamp, "datetime"),
        (np.float64(1.5), "float"),
        (OrderedDict(a=1), "dict"),
        (True, "bool"),
    ],
)
def test_a_subclass_is_the_type_that_it_is_of(sample: Any, type_name: str) -> None:
    found = PlainType.from_sample(sample)
    assert found.type_name == type_name
    if found.example is not None:
        found.parse(found.example, "sample")


@pytest.mark.parametrize(
    ("kind", "sample", "message"),
    [
        (DataTypes.PANDAS, [1], "must be a DataFrame, not list"),
        (DataTypes.NUMPY, [1], "must be an array, not list"),
        (DataTypes.SPARK, None, "must be a Spark DataFrame, not NoneType"),
        (DataTypes.STANDARD, object(), "no JSON form"),
        (DataTypes.PANDAS, pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns"),
        (
            DataTypes.PANDAS,
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            "2 levels of column names. Join",
        ),
        (DataTypes.PANDAS, pd.DataFrame({None: [1]}), "column 0 has no name.*Name it"),
        (DataTypes.PANDAS, pd.DataFrame([[1, 2]], columns=[1, "1"]), "columns 1 and .1. are both"),
        (DataTypes.STANDARD, 1j, "complex, which has no JSON form"),
        (DataTypes.STANDARD, {1}, "set. is not supported. Use one of int,"),
        (DataTypes.STANDARD, pd.Timedelta("1D"), "Timedelta. is not supported. Use one of int,"),
        (DataTypes.NUMPY, np.array([1j]), "no JSON form"),
        (DataTypes.PANDAS, pd.DataFrame({"a": pd.interval_range(0, 2)}), "a: data type interval.* no JSON form"),
        (DataTypes.PANDAS, pd.DataFrame({"a": pd.Categorical(pd.to_datetime(["2017-10-01"]))}), "a: categories of"),
        (DataTypes.NUMPY, np.zeros(1, dtype="V8"), "no JSON form"),
        (DataTypes.NUMPY, np.zeros(1, dtype=[("a", "V8")]), "field a: data type .* no JSON form"),
        (DataTypes.NUMPY, np.array(["NaT"], dtype="M8"), "datetime64 has no unit"),
    ],
)
def test_samples_of_another_kind(kind: DataTypes, sample: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        SampleDefinition(kind, sample)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "schema.json: "),
        ('{"input": {"df": {"type": 2}}}', "input df: the internal part is missing"),
        (
            '{"input": {"df": {"type": 4, "swagger": {"type": "array"}}}}',
            "input df: type 4 is unknown. The types are 0",
        ),
        ('{"input": {"df": {}}}', "missing required field `type`"),
    ],
)
def test_files_that_are_no_schema(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(SchemaError, match=message):
        load_schema(path)


def test_text_that_is_longer_than_the_sample() -> None:
    for sample in (np.array(["ab"]), np.array([b"ab"])):
        argument = SampleDefinition(DataTypes.NUMPY, sample).schema
        assert argument.parse(["abcdef", "g"], "x").tolist() == np.array(["abcdef", "g"], sample.dtype.kind).tolist()


def test_a_schema_shows_its_samples() -> None:
    shown = repr(generate_schema(run, {"df": SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"age": [59]}))}))
    assert shown == "ServiceSchema(input={'df': PandasType(example=[{'age': 59}])}, output={})"


def test_imports_of_2017_in_a_notebook() -> None:
    program = (
        "from mlmgmt_nb.schema import install_azureml_imports, generate_schema as ours\n"
        "install_azureml_imports()\n"
        "from azureml.api.realtime.services import generate_schema\n"
        "from azureml.api.schema.dataTypes import DataTypes\n"
        "from azureml.api.schema.sampleDefinition import SampleDefinition\n"
        "assert generate_schema is ours and DataTypes.PANDAS == 3 and SampleDefinition(0, 'x')\n"
        "from azureml.datacollector import ModelDataCollector\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_many_faults_are_cut_short() -> None:
    argument = SampleDefinition(DataTypes.PANDAS, pd.DataFrame(np.ones((1, 20)))).schema
    with pytest.raises(InputError) as caught:
        argument.parse([{str(number): "x" for number in range(20)}] * 1000, "df")
    assert len(caught.value.problems) == 10


ROW = {"age": 1.5, "n": 1}


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        ([{"n": 1}], ["df[0].age: this column is missing"]),
        ([{"n": 1}] * 3, ["df[0].age: this column is missing (in all 3 rows)"]),
        ([ROW, {"n": 1}, ROW], ["df[1].age: this column is missing"]),
        ([ROW, {"n": 1}, {"n": 1}], ["df[1].age: this column is missing (also in row 2)"]),
        ([ROW] + [{"n": 1}] * 9, ["df[1].age: this column is missing (also in rows 2, 3, 4, …)"]),
        ([{**ROW, "x": 1}] * 2, ["df[0].x: unknown column; the columns are age, n (in all 2 rows)"]),
        ([ROW, 3, "a"], ["df[1]: expected an object with the columns age, n; got the number 3 (also in row 2)"]),
        (
            [{"age": "q", "n": 1.5}] * 2 + [{"age": None, "n": None}],
            [
                'df[0].age: expected a number or null, got the string "q" (also in row 1)',
                "df[0].n: expected an integer, got the number 1.5 (in all 3 rows)",
            ],
        ),
        (
            [{"age": 1, "n": 2**64}] * 100,
            ["df[0].n: expected an integer (int64), got the number 18446744073709551616 (also in rows 1, 2, 3, …)"],
        ),
    ],
)
def test_a_problem_of_many_rows_is_reported_once(rows: list[Any], problems: list[str]) -> None:
    argument = SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"age": [1.5], "n": [1]})).schema
    with pytest.raises(InputError) as caught:
        argument.parse(rows, "df")
    assert caught.value.problems == problems


def test_a_problem_of_many_elements_is_reported_once() -> None:
    plan = SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"plan": pd.Categorical(["A"])})).schema
    with pytest.raises(InputError, match=r'one of A; got the string "B" \(also in row 2\)$'):
        plan.parse([{"plan": "B"}, {"plan": "A"}, {"plan": "C"}], "df")
    array = SampleDefinition(DataTypes.NUMPY, np.zeros((2, 2))).schema
    with pytest.raises(InputError, match=r'^x\[0\]\[1\]: expected .* "a" \(also at x\[1\]\[0\]\)$'):
        array.parse([[1, "a"], ["b", 2]], "x")


def test_labels_that_are_no_text() -> None:
    sample = pd.DataFrame(np.eye(2))
    parsed = SampleDefinition(DataTypes.PANDAS, sample).schema.parse([{"0": 1, "1": 0}, {"1": 1, "0": 0}], "df")
    pd.testing.assert_frame_equal(parsed, sample)


def test_categories_are_the_choices_of_the_swagger() -> None:
    frame = pd.DataFrame(
        {
            "plan": pd.Categorical(["A"], categories=["A", "B"]),
            "size": pd.Categorical([1], categories=[1, 2]),
            "mixed": pd.Categorical([1], categories=[1, "two"]),
            "none": pd.Categorical([None]),
        }
    )
    columns = SampleDefinition(DataTypes.PANDAS, frame).schema.swagger()["items"]["properties"]
    assert columns["plan"] == {"type": "string", "enum": ["A", "B"]}
    assert columns["size"] == {"type": "integer", "enum": [1, 2]}
    assert columns["mixed"] == {"enum": [1, "two"]}
    assert columns["none"] == {"type": "string"}


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        (
            DataTypes.PANDAS,
            pd.DataFrame(
                {
                    "age": pd.array([1, None], dtype="Int64"),
                    "dose": [0.5, None],
                    "plan": pd.Categorical(["A", "B"]),
                    "member": [True, False],
                    "since": pd.date_range("2024-01-31", periods=2, tz="Europe/Berlin"),
                    "note": ["x", None],
                }
            ),
        ),
        (DataTypes.NUMPY, np.ones((5, 3))),
        (DataTypes.NUMPY, np.ones((2, 4, 3), dtype="uint8")),
        (DataTypes.NUMPY, np.array(["a", "b"], dtype=object)),
        (DataTypes.STANDARD, {"age": 41, "tags": ["a"], "address": {"city": "Bern"}}),
        (DataTypes.STANDARD, [1, 2]),
        (DataTypes.STANDARD, "text"),
        (DataTypes.STANDARD, b"bytes"),
        (DataTypes.STANDARD, date(2024, 1, 31)),
        (DataTypes.STANDARD, datetime(2024, 1, 31, tzinfo=UTC)),
        (DataTypes.STANDARD, time(10, 30)),
        (DataTypes.STANDARD, timedelta(hours=1)),
        (DataTypes.STANDARD, 1.5),
        (DataTypes.STANDARD, True),
    ],
)
def test_an_argument_without_an_example_has_a_placeholder_that_it_accepts(kind: DataTypes, sample: Any) -> None:
    argument = SampleDefinition(kind, sample).schema
    argument.example = None
    described = service_swagger("secret", ServiceSchema({"data": argument, "more": argument}), frozenset({"more"}))
    body = described["definitions"]["ServiceInput"]["example"]
    assert body.keys() == {"data"}  # the other may be left out
    assert body["data"] is not None
    argument.parse(json.loads(json.dumps(body["data"])), "data")
