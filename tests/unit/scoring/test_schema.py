"""Schemas: samples, files of 2017, and what a request may send."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd

from mlmgmt_nb.scoring.results import encode_value
from mlmgmt_nb.scoring.schema import (
    DataTypes,
    InputError,
    SampleDefinition,
    SchemaError,
    generate_schema,
    load_schema,
)
from mlmgmt_nb.scoring.schema.pickled import read_internal, write_internal


def run(df: Any) -> Any:
    return df


def round_trip(sample: Any, kind: DataTypes, path: Path) -> Any:
    """Sample -> schema file -> read again -> the sample as a request -> parsed."""
    generate_schema(run, {"df": SampleDefinition(kind, sample)}, filepath=path)
    argument = load_schema(path).input["df"]
    return argument.parse(json.loads(encode_value(sample)), "df")


dates = st.datetimes(min_value=pd.Timestamp(1900, 1, 1), max_value=pd.Timestamp(2200, 1, 1))
COLUMNS = {
    "int64": hpd.column("int64", dtype="int64"),
    "int8": hpd.column("int8", dtype="int8"),
    "uint16": hpd.column("uint16", dtype="uint16"),
    "uint64": hpd.column("uint64", dtype="uint64"),
    "float64": hpd.column("float64", elements=st.floats(allow_infinity=False)),
    "float32": hpd.column("float32", elements=st.floats(width=32, allow_infinity=False), dtype="float32"),
    "bool": hpd.column("bool", dtype="bool"),
    "text": hpd.column("text", elements=st.text(st.characters(codec="utf-8")), dtype=object),
    "mixed": hpd.column("mixed", elements=st.none() | st.integers() | st.lists(st.integers()), dtype=object),
    "date": hpd.column("date", elements=dates, dtype="datetime64[us]"),
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
    dtype=st.sampled_from(["int64", "int16", "uint8", "uint64", "float64", "float32", "bool", "U5", "datetime64[s]"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
def test_arrays_come_back(data: st.DataObject, dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    elements: Any = None
    if dtype.startswith("float"):
        elements = st.floats(width=64 if dtype == "float64" else 32, allow_infinity=False)
    elif dtype == "U5":
        elements = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
    elif dtype.startswith("datetime"):
        elements = st.integers(-2_000_000_000, 5_000_000_000).map(lambda n: np.datetime64(n, "s"))
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
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
    ("kind", "sample", "message"),
    [
        (DataTypes.PANDAS, [1], "must be a DataFrame, not list"),
        (DataTypes.NUMPY, [1], "must be an array, not list"),
        (DataTypes.SPARK, None, "Spark data frames are not supported"),
        (DataTypes.STANDARD, object(), "no JSON form"),
        (DataTypes.PANDAS, pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns"),
        (DataTypes.PANDAS, pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        (DataTypes.NUMPY, np.array([1j]), "no JSON form"),
        (DataTypes.NUMPY, np.zeros(1, dtype=[("a", int)]), "no JSON form"),
    ],
)
def test_samples_of_another_kind(kind: DataTypes, sample: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        SampleDefinition(kind, sample)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "schema.json: "),
        ('{"input": {"df": {"type": 2}}}', "input df: there is no internal part"),
        ('{"input": {"df": {"type": 2, "swagger": {"type": "array"}}}}', "input df: type 2 is not supported"),
        ('{"input": {"df": {}}}', "missing required field `type`"),
    ],
)
def test_files_that_are_no_schema(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(SchemaError, match=message):
        load_schema(path)


def test_many_faults_are_cut_short() -> None:
    argument = SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"a": [1.5]})).schema
    with pytest.raises(InputError) as caught:
        argument.parse([{"a": "x"}] * 1000, "df")
    assert len(caught.value.problems) == 10


def test_labels_that_are_no_text() -> None:
    sample = pd.DataFrame(np.eye(2))
    parsed = SampleDefinition(DataTypes.PANDAS, sample).schema.parse([{"0": 1, "1": 0}, {"1": 1, "0": 0}], "df")
    pd.testing.assert_frame_equal(parsed, sample)
