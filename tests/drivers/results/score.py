"""Returns a result of the kind that is asked for."""

import datetime
import decimal
import uuid

import numpy as np
import pandas as pd

FRAME = pd.DataFrame(
    {
        "n": [1, 2],
        "x": [0.5, float("nan")],
        "when": pd.to_datetime(["2017-10-01", None]),
        "kind": pd.Categorical(["a", "b"]),
        "maybe": pd.array([1, None], dtype="Int64"),
        "text": ["è", None],
    }
)
KINDS = {
    "none": None,
    "bool": True,
    "json text": '{"already": "json"}',
    "text": "not json",
    "bytes": b'{"from": "bytes"}',
    "binary": b"\xff\xfe",
    "tuple": (1, "a"),
    "set": {7},
    "decimal": decimal.Decimal("1.10"),
    "date": datetime.date(2017, 10, 1),
    "datetime": datetime.datetime(2017, 10, 1, 12, tzinfo=datetime.timezone.utc),
    "uuid": uuid.UUID(int=1),
    "nan": [float("nan"), float("inf"), 1.5],
    "keys": {1: "int", (1, 2): "tuple", None: "none", np.int64(3): "numpy", pd.Timestamp("2017-10-01"): "date"},
    "np.float64": np.float64(1.5),
    "np.float32": np.float32(0.5),
    "np.int64": np.int64(3),
    "np.bool": np.bool_(True),
    "np.str": np.str_("x"),
    "np.datetime64": np.datetime64("2017-10-01"),
    "array": np.array([[1, 2], [3, 4]]),
    "array of floats": np.array([1.5, np.nan]),
    "array of dates": np.array(["2017-10-01", "NaT"], dtype="datetime64[D]"),
    "array of text": np.array(["a", "b"]),
    "structured": np.array([(1, "a")], dtype=[("n", int), ("s", "U1")]),
    "frame": FRAME,
    "series": FRAME["x"],
    "index": FRAME.index,
    "timestamp": pd.Timestamp("2017-10-01T12:00:00Z"),
    "timedelta": pd.Timedelta("1min"),
    "nat": [pd.NaT, pd.NA],
    "nested": {"frame": FRAME[["n"]], "scores": [np.float32(0.5)]},
    "object": object(),
    "nested object": [{"deep": object()}],
    "complex": 1j,
    "two columns": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "surrogate": "\ud800",
}
LOOP = []
LOOP.append(LOOP)
KINDS["loop"] = LOOP


def run(body):
    return KINDS[body]
