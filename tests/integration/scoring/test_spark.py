"""Spark DataFrames. pyspark has 480 MB, so it may lie in a folder apart: `MLMGMT_TEST_PYSPARK`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import missing

MAKE_SCHEMA = """
import datetime, decimal, sys
from pyspark.sql import SparkSession
from pyspark.sql.types import *
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
schema = StructType([
    StructField("n", IntegerType(), False), StructField("x", DoubleType()), StructField("s", StringType()),
    StructField("b", BooleanType()), StructField("day", DateType()), StructField("when", TimestampNTZType()),
    StructField("price", DecimalType(10, 2)), StructField("list", ArrayType(LongType())),
])
day = datetime.datetime(2017, 10, 1, 12)
row = (1, 0.5, "a", True, day.date(), day, decimal.Decimal("1.10"), [1, 2])
sample = spark.createDataFrame([row], schema)
generate_schema(lambda df: df, {"df": SampleDefinition(DataTypes.SPARK, sample)}, filepath=sys.argv[1])
spark.stop()
"""
DRIVER = """
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

def init():
    SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()

def run(df):
    if df.count() == 0:
        return Vectors.dense([1.5, 2.5])
    return {"schema": df.schema.simpleString(), "rows": df.orderBy("n")}
"""
ROW = {
    "n": 2,
    "x": None,
    "b": None,
    "s": "b",
    "day": "2017-10-02",
    "when": "2017-10-02T08:30:00",
    "price": 2.25,
    "list": [3],
}
FIRST = {"n": 1, "x": 0.5, "s": "a", "b": True, "day": "2017-10-01", "when": "2017-10-01T12:00:00", "price": 1.1}


@pytest.fixture
def _pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("java") is None:
        missing("Java, which pyspark needs,", "apt-get install default-jre-headless")
    if importlib.util.find_spec("pyspark") is not None:
        return
    if not (folder := os.environ.get("MLMGMT_TEST_PYSPARK")):
        missing("pyspark", "pip install pyspark, or name a folder with it in MLMGMT_TEST_PYSPARK")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))


@pytest.mark.usefixtures("_pyspark")
def test_spark_frames(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    app = folder(DRIVER)
    subprocess.run([sys.executable, "-c", MAKE_SCHEMA, app / "service_schema.json"], check=True, timeout=120)
    replica = spawn(app, requestTimeoutSeconds=120.0).ready()
    example = replica.session.get(f"{replica.url}/swagger.json").json()["definitions"]["ServiceInput"]["example"]
    answer = replica.score(json.dumps({"df": [*example["df"], ROW]})).json()
    assert answer["rows"] == [{**FIRST, "list": [1, 2]}, ROW]
    assert answer["schema"] == (
        "struct<n:int,x:double,s:string,b:boolean,day:date,when:timestamp_ntz,price:decimal(10,2),list:array<bigint>>"
    )
    assert replica.score('{"df": []}').json() == [1.5, 2.5]
    for change, message in (
        ({"n": "2"}, 'df[0].n: expected an integer or null, got the string "2"'),
        ({"n": None}, "df[0].n: this column does not accept null"),
        ({"n": 2**40}, "df[0].n: expected an integer or null (Int32), got the number 1099511627776"),
        ({"day": "soon"}, "df[0].day: expected a date"),
        ({"list": ["x"]}, "df: does not fit the columns struct<n:int,"),
        ({"more": 1}, "df[0].more: unknown column"),
    ):
        response = replica.score(json.dumps({"df": [{**ROW, **change}]}))
        assert response.status_code == 400, response.text
        assert response.json()["message"].startswith(message)


def test_without_pyspark(folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path) -> None:
    """The schema file names what is missing, and the replica does not start."""
    app = folder("def run(df):\n    return df.count()\n")
    swagger = {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    (app / "service_schema.json").write_text(json.dumps({"input": {"df": {"type": 2, "swagger": swagger}}}))
    hidden = tmp_path / "without" / "pyspark"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden', name='pyspark')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")]))
        replica = spawn(app)
    assert replica.report("ready", "failed") == {
        "type": "failed",
        "code": "SchemaError",
        "message": "service_schema.json: input df: needs pyspark, which is not installed; add it to the requirements",
    }
