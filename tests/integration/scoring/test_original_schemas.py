"""Schema files that we write are read by the original package, `azure-ml-api-sdk` of 2017, on Python 3.6."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema, save_schema
from tests.support.environments import interpreter, make_environment

# Releases of pandas before 1.0 have metadata that uv cannot read.
PACKAGES = ["azure-ml-api-sdk==0.1.0a11", "setuptools", "numpy==1.19.5", "pandas==1.1.5"]
READS = """\
import json, sys
from azureml.api.schema.schemaUtil import load_service_schema, parse_service_input
found = {}
for row in json.load(sys.stdin):
    schema = load_service_schema(row["file"]).input
    value = parse_service_input(json.dumps({"x": row["body"]}), schema)["x"] if row["body"] is not None else None
    known = schema["x"].internal
    types = getattr(known, "column_types", None) or [known.data_type]
    value = value.values if hasattr(value, "values") and hasattr(value, "columns") else value
    text = value.astype(str).tolist() if hasattr(value, "tolist") else str(value)
    found[row["name"]] = [[getattr(one, "__name__", str(one)) for one in types], text]
print(json.dumps(found))
"""


def frame(values: Any, dtype: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, dtype=dtype)})


DAY = "2020-01-02"
FRAMES: dict[str, tuple[pd.DataFrame, str, list[str]]] = {
    "integers": (frame([1, 2]), "int64", ["1", "2"]),
    "small integers": (frame([1], "int8"), "int8", ["1"]),
    "numbers": (frame([1.5]), "float64", ["1.5"]),
    "short numbers": (frame([1.5], "float32"), "float32", ["1.5"]),
    "missing numbers": (frame([1.5, None]), "float64", ["1.5", "nan"]),
    "truth": (frame([True]), "bool", ["True"]),
    "text": (frame(["x"]), "object", ["x"]),
    "objects": (frame(["x"], object), "object", ["x"]),
    "text of pandas": (frame(["x"], "string"), "object", ["x"]),
    "categories": (frame(["x"], "category"), "object", ["x"]),
    "integers of pandas": (frame([1], "Int64"), "object", ["1"]),
    "numbers of pandas": (frame([1.5], "Float64"), "object", ["1.5"]),
    "truth of pandas": (frame([True], "boolean"), "object", ["True"]),
    **{
        f"times in {unit}": (frame([DAY], f"datetime64[{unit}]"), f"datetime64[{unit}]", [f"{DAY}T00:00:00.000000000"])
        for unit in ("s", "ms", "us", "ns")
    },
}
"""Frames, the type that the original package finds in our file, and the values that it parses from its example."""
ARRAYS: dict[str, tuple[Any, str, Any]] = {
    "integers": (np.array([1, 2]), "int64", ["1", "2"]),
    "rows": (np.array([[1.5, 2]]), "float64", [["1.5", "2.0"]]),
    "truth": (np.array([True]), "bool", ["True"]),
    "text": (np.array(["ab"]), "<U2", ["ab"]),
    "bytes": (np.array([b"ab"]), "|S2", ["ab"]),
    "days": (np.array([DAY], "datetime64[D]"), "datetime64[D]", [DAY]),
    "seconds": (np.array([DAY], "datetime64[s]"), "datetime64[s]", [f"{DAY}T00:00:00"]),
    "objects": (np.array(["a"], object), "object", ["a"]),
}
VALUES: dict[str, tuple[Any, str]] = {
    "integer": (1, "1"),
    "number": (1.5, "1.5"),
    "text": ("x", "x"),
    "truth": (True, "True"),
    "list": ([1], "[1]"),
    "mapping": ({"a": 1}, "{'a': 1}"),
    "time": (datetime.datetime.fromisoformat(DAY), f"{DAY} 00:00:00"),
    "time of day": (datetime.time(1, 2), "01:02:00"),
    "bytes": (b"ab", "b'ab'"),
}
ONLY_LOADED: dict[str, tuple[DataTypes, Any]] = {
    "frame of spans": (DataTypes.PANDAS, frame([pd.Timedelta("1 day")])),
    "array of spans": (DataTypes.NUMPY, np.array([1], "timedelta64[D]")),
    "times of a zone": (DataTypes.PANDAS, frame([DAY], "datetime64[ns, UTC]")),
    "columns without names": (DataTypes.PANDAS, pd.DataFrame([[1, 2]])),
    "date": (DataTypes.STANDARD, datetime.date(2020, 1, 2)),
    "tuple": (DataTypes.STANDARD, (1, 2)),
}
"""Kinds whose example the original package does not parse: its own neither, but for spans, see `save_schema`."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with the original package."""
    return make_environment(tmp_path_factory, "schemas-2017", interpreter("3.6"), PACKAGES, "--no-config")


def read(original: Path, folder: Path, samples: dict[str, tuple[DataTypes, Any, bool]]) -> dict[str, Any]:
    """Return types and values that the original package makes of the examples in our schema files."""
    rows = []
    for number, (name, (kind, sample, is_parsed)) in enumerate(samples.items()):
        path = folder / f"{number}.json"
        save_schema(generate_schema(lambda x: x, {"x": SampleDefinition(kind, sample)}), path)
        example = json.loads(path.read_text())["input"]["x"]["swagger"]["example"]
        rows.append({"name": name, "file": str(path), "body": example if is_parsed else None})
    done = subprocess.run([original, "-c", READS], input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_frames(original: Path, tmp_path: Path) -> None:
    samples = {name: (DataTypes.PANDAS, sample, True) for name, (sample, *_) in FRAMES.items()}
    expected = {name: [[kind], [[value] for value in values]] for name, (_, kind, values) in FRAMES.items()}
    assert read(original, tmp_path, samples) == expected


def test_arrays(original: Path, tmp_path: Path) -> None:
    samples = {name: (DataTypes.NUMPY, sample, True) for name, (sample, *_) in ARRAYS.items()}
    assert read(original, tmp_path, samples) == {name: [[kind], text] for name, (_, kind, text) in ARRAYS.items()}


def test_values(original: Path, tmp_path: Path) -> None:
    samples = {name: (DataTypes.STANDARD, sample, True) for name, (sample, _) in VALUES.items()}
    expected = {name: [[type(sample).__name__], text] for name, (sample, text) in VALUES.items()}
    assert read(original, tmp_path, samples) == expected


def test_all_others_are_loaded(original: Path, tmp_path: Path) -> None:
    samples = {name: (kind, sample, False) for name, (kind, sample) in ONLY_LOADED.items()}
    assert set(read(original, tmp_path, samples)) == set(ONLY_LOADED)
