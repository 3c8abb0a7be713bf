"""The parameter types of `inference-schema`, and plain values of Python, which JSON has as text."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.scoring.compat.inference import SCHEMA_MARK, input_schema
from mlmgmt_nb.scoring.compat.parameter_types import (
    NumpyParameterType,
    PandasParameterType,
    StandardPythonParameterType,
)
from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.schema import (
    DataTypes,
    InputError,
    SampleDefinition,
    SchemaError,
    generate_schema,
    load_schema,
)
from mlmgmt_nb.scoring.schema.pickled import write_internal

ARRAY = np.array([[1, 2]])
FRAME = pd.DataFrame({"age": [1], "name": ["Ann"]})
OTHER_TYPE, OTHER_SHAPE = "other type", "other shape"


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("shaped", [True, False])
@pytest.mark.parametrize(
    ("value", "differs"),
    [
        ([[3, 4]], ""),
        ([[1.5, 2.5]], OTHER_TYPE),
        ([["a", "b"]], OTHER_TYPE),
        ([[1, 2, 3]], OTHER_SHAPE),
        ([1, 2], OTHER_SHAPE),
        ([[[1, 2]]], OTHER_SHAPE),
    ],
)
def test_what_arrays_enforce(typed: bool, shaped: bool, value: Any, differs: str) -> None:
    schema = NumpyParameterType(ARRAY, enforce_column_type=typed, enforce_shape=shaped).schema
    if (differs == OTHER_TYPE and typed) or (differs == OTHER_SHAPE and shaped):
        with pytest.raises(InputError):
            schema.parse(value, "x")
    else:
        assert schema.parse(value, "x").tolist() == value


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("shaped", [True, False])
@pytest.mark.parametrize(
    ("value", "differs"),
    [
        ([{"age": 3, "name": "Bo"}], ""),
        ([{"age": "old", "name": "Bo"}], OTHER_TYPE),
        ([{"age": 3}], OTHER_SHAPE),
        ([{"age": 3, "name": "Bo", "more": 1.5}], OTHER_SHAPE),
    ],
)
def test_what_frames_enforce(typed: bool, shaped: bool, value: Any, differs: str) -> None:
    schema = PandasParameterType(FRAME, enforce_column_type=typed, enforce_shape=shaped).schema
    if (differs == OTHER_TYPE and typed) or (differs == OTHER_SHAPE and shaped):
        with pytest.raises(InputError):
            schema.parse(value, "x")
    else:
        assert schema.parse(value, "x").to_dict(orient="records") == value


def test_mixed_elements_stay_what_they_are() -> None:
    schema = NumpyParameterType(ARRAY, enforce_column_type=False).schema
    assert schema.parse([[1, "a"]], "x").tolist() == [[1, "a"]]


@pytest.mark.parametrize("orient", ["records", "split", "index", "columns", "values", "table"])
@pytest.mark.parametrize("flags", [{}, {"enforce_shape": False}, {"enforce_column_type": False}])
def test_what_pandas_writes_comes_back(orient: Any, flags: dict[str, bool]) -> None:
    frame = pd.DataFrame({"age": [1, 2], "name": ["Ann", "Bo"]}, index=[10, 7])
    schema = PandasParameterType(frame, orient=orient, **flags).schema
    parsed = schema.parse(json.loads(frame.to_json(orient=orient)), "x")
    expected = frame.reset_index(drop=True) if orient in ("records", "values") else frame
    pd.testing.assert_frame_equal(parsed, expected, check_index_type=False)
    example = schema.parse(schema.example, "x")
    pd.testing.assert_frame_equal(example, frame.reset_index(drop=True), check_index_type=False)


@pytest.mark.parametrize(
    ("orient", "body", "columns"),
    [
        ("split", {"columns": ["b", "new"], "index": [], "data": []}, ["b", "new"]),
        ("columns", {"a": {}, "b": {}}, ["a", "b"]),
        ("records", [], []),
        ("values", [], []),
        ("index", {}, []),
    ],
)
@pytest.mark.parametrize("typed", [True, False])
def test_a_table_without_rows_keeps_the_columns_that_it_names(
    orient: Any, body: Any, columns: list[str], typed: bool
) -> None:
    frame = pd.DataFrame({"a": [1], "b": [2.5]})
    flags = {"enforce_shape": False, "enforce_column_type": typed}
    parsed = PandasParameterType(frame, orient=orient, **flags).schema.parse(body, "x")
    assert (list(parsed.columns), len(parsed)) == (columns, 0)
    if "b" in columns:
        assert parsed["b"].dtype == (float if typed else object)


@pytest.mark.parametrize("orient", ["records", "split", "index", "columns", "values", "table"])
@pytest.mark.parametrize("value", [1, None, "x", [1], {"a": 1}, {"data": 1}, {"columns": ["a", "a"], "data": [[1, 1]]}])
def test_other_forms_are_refused(orient: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"^x"):
        PandasParameterType(FRAME, orient=orient).schema.parse(value, "x")


def test_null_for_optional_arguments() -> None:
    @input_schema("a", StandardPythonParameterType(1))
    @input_schema("b", PandasParameterType(FRAME), optional=True)
    def run(a: Any, b: Any = 5) -> None: ...

    types = getattr(run, SCHEMA_MARK).input
    assert types["b"].parse(None, "b") is None
    assert types["b"].parse([{"age": 3, "name": "Bo"}], "b").shape == (1, 2)
    with pytest.raises(InputError, match="a: expected an integer, got null"):
        types["a"].parse(None, "a")


def test_members_whose_keys_collide() -> None:
    with pytest.raises(SchemaError, match="two keys of the sample are both '1' in JSON"):
        StandardPythonParameterType({1: NumpyParameterType(ARRAY), "1": NumpyParameterType(ARRAY)})


moments = st.datetimes(timezones=st.none() | st.just(dt.UTC))
values = (
    st.binary()
    | st.binary().map(bytearray)
    | moments
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.lists(st.integers()).map(tuple)
)


@given(values)
def test_plain_values_of_python_come_back(value: Any) -> None:
    schema = SampleDefinition(DataTypes.STANDARD, value).schema
    parsed = schema.parse(json.loads(encode_value(value)), "x")
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize(
    ("sample", "given", "message"),
    [
        (b"", "not Base64!", "x: expected bytes"),
        (dt.date.max, "2017-13-01", "x: expected a date"),
        (dt.time.max, 5, "x: expected a time"),
        (dt.datetime(2017, 5, 4, tzinfo=dt.UTC), "soon", "x: expected a date and time"),
        (dt.timedelta(1), "300000000 weeks", "x: expected a time span"),
    ],
)
def test_text_that_is_none(sample: Any, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SampleDefinition(DataTypes.STANDARD, sample).schema.parse(given, "x")


@pytest.mark.parametrize(
    "sample", [b"ABC", bytearray(b"A"), dt.datetime(2017, 5, 4, tzinfo=dt.UTC), dt.date(2017, 5, 4), dt.time(1), (1, 2)]
)
def test_files_keep_types_of_python(sample: Any, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    generate_schema(lambda x: x, {"x": SampleDefinition(DataTypes.STANDARD, sample)}, filepath=path)
    schema = load_schema(path).input["x"]
    assert schema.parse(schema.example, "x") == sample


@pytest.mark.parametrize("kind", [set, complex, range, dt.tzinfo, Path])
def test_other_types_in_files_are_refused(kind: type, tmp_path: Path) -> None:
    """The swagger part says what JSON has, which would be another type to the driver."""
    internal = write_internal("azureml.api.schema.pythonUtil", "PythonSchema", {"data_type": kind})
    entry = {"type": 0, "internal": internal, "swagger": {"type": "object"}}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"input": {"x": entry}}))
    with pytest.raises(SchemaError, match=r"schema.json: input x: "):
        load_schema(path)


def test_columns_are_written_as_types_of_numpy(tmp_path: Path) -> None:
    """The original package calls the columns' types by their names, and knows NumPy's only."""
    from base64 import b64decode

    frame = pd.DataFrame({"s": ["x"], "n": pd.array([1], dtype="Int64"), "t": pd.to_datetime(["2017-10-01"], utc=True)})
    path = tmp_path / "schema.json"
    generate_schema(lambda x: x, {"x": SampleDefinition(DataTypes.PANDAS, frame)}, filepath=path)
    data = b64decode(json.loads(path.read_text())["input"]["x"]["internal"])
    modules = {text for text, *_ in _globals(data)}
    assert modules == {"azureml.api.schema.pandasUtil", "numpy", "_codecs"}
    pd.testing.assert_frame_equal(load_schema(path).input["x"].parse(json.loads(encode_value(frame)), "x"), frame)


def _globals(data: bytes) -> list[list[str]]:
    import pickletools

    return [str(argument).split() for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"]


def test_samples_with_nan_load(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    generate_schema(lambda x: x, {"x": SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"a": [1.5]}))}, filepath=path)
    path.write_text(path.read_text().replace("1.5", "NaN"))
    schema = load_schema(path).input["x"]
    assert schema.example == [{"a": None}]
    assert schema.parse([{"a": None}], "x")["a"].isna().tolist() == [True]


def test_a_decorated_function_converts_its_arguments() -> None:
    @input_schema("frame", PandasParameterType(FRAME))
    @input_schema("array", NumpyParameterType(ARRAY), optional=True)
    def run(frame: Any, array: Any = None) -> Any:
        return frame, array

    rows = [{"age": 2, "name": "Bo"}]
    for frame, array in (run(rows, [[3, 4]]), run(frame=rows, array=[[3, 4]]), run(FRAME, ARRAY)):
        assert (type(frame), type(array)) == (pd.DataFrame, np.ndarray)
    assert run(rows)[1] is None
    with pytest.raises(InputError, match="name"):
        run([{"age": 2}])


async def _collected(parts: Any) -> list[Any]:
    return [part async for part in parts]


def test_decorated_coroutine_functions_stay_what_they_are() -> None:
    @input_schema("array", NumpyParameterType(ARRAY))
    async def run(array: Any) -> Any:
        return array.sum()

    @input_schema("array", NumpyParameterType(ARRAY))
    async def parts(array: Any) -> Any:
        yield array.sum()

    assert inspect.iscoroutinefunction(run)
    assert inspect.isasyncgenfunction(parts)
    assert asyncio.run(run([[3, 4]])) == 7
    assert asyncio.run(_collected(parts([[3, 4]]))) == [7]


def test_members_of_a_sample_that_declare_no_type_have_any_value() -> None:
    kind = StandardPythonParameterType({"rows": NumpyParameterType(ARRAY), "note": 1})
    parsed = kind.schema.parse({"rows": [[3, 4]], "note": ["free"]}, "x")
    assert (parsed["rows"].tolist(), parsed["note"]) == ([[3, 4]], ["free"])
    assert kind.schema.example == {"rows": [[1, 2]], "note": 1}


class Shouted(PandasParameterType):
    """A type of a driver's own, on top of another."""

    def deserialize_input(self, input_data: Any) -> Any:
        if not isinstance(input_data, dict):
            raise TypeError("expected an object")
        return super().deserialize_input([input_data]).rename(columns=str.upper)


def test_types_of_a_drivers_own() -> None:
    kind = Shouted(FRAME)
    assert list(kind.schema.parse({"age": 1, "name": "Ann"}, "x").columns) == ["AGE", "NAME"]
    with pytest.raises(InputError, match=r"^x: expected an object$"):
        kind.schema.parse([], "x")
    with pytest.raises(InputError, match="age"):
        kind.schema.parse({"name": "Ann"}, "x")
