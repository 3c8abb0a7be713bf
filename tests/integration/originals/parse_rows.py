"""The table of inputs: what a driver declares, and the bodies that callers send.

A group has the declaration of `run`, and a list of bodies; the id of a row is `GROUP: BODY`.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["groups"]

_NUMBERS = ["1", "2.0", "1.5", '"1"', "true", "null", "{}", "[1]", "9223372036854775808", "1e400", "-0.0"]
_ARRAYS = ["[1, 2]", "[]", "[1.5, 2]", "[1.0, 2.0]", '["1", "2"]', "[true, false]", "[null, 1]", "[[1, 2]]", "1", "{}"]
_RECORDS = [
    '[{"a": 1, "b": "x"}]',
    '[{"b": "x", "a": 1}]',
    '[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]',
    "[]",
    '[{"a": 1}]',
    '[{"a": 1, "b": "x", "c": 2}]',
    '[{"a": 1.0, "b": "x"}]',
    '[{"a": 1.5, "b": "x"}]',
    '[{"a": "1", "b": "x"}]',
    '[{"a": "z", "b": "x"}]',
    '[{"a": null, "b": "x"}]',
    '[{"a": 1, "b": null}]',
    '[{"a": 1, "b": 2}]',
    '[{"a": true, "b": "x"}]',
    '[{"a": 1, "b": {"c": 1}}]',
    '{"a": 1, "b": "x"}',
    "1",
    "null",
]
_TWO = "pd.DataFrame({'a': [1], 'b': ['x']})"

_VALUES: dict[str, tuple[str, list[str]]] = {
    "int": ("Std(1)", _NUMBERS),
    "float": ("Std(1.0)", _NUMBERS),
    "str": ("Std('a')", ['"x"', '""', '"2020-01-01"', '"ü\\n"', "1", "null", "[]", "true"]),
    "bool": ("Std(True)", ["true", "false", "1", "0", '"true"', "null"]),
    "date": ("Std(datetime.date(2020, 1, 2))", ['"2021-02-03"', '"2021-02-03T04:05:06"', '"no"', "1", "null"]),
    "datetime": (
        "Std(datetime.datetime(2020, 1, 2))",
        [
            *('"2021-02-03 04:05:06"', '"2021-02-03T04:05:06.5+02:00"', '"2021-02-03"', '"2021-02-03T04:05:06Z"'),
            *('"3 Feb 2021"', '"no"', "1", "null"),
        ],
    ),
    "time": ("Std(datetime.time(1, 2))", ['"04:05:06"', '"04:05"', '"04:05:06.5"', '"04:05:06+02:00"', '"no"', "1"]),
    "bytes": ("Std(b'a')", ['"YWI="', '""', '"?"', "1", "null"]),
    "bytearray": ("Std(bytearray(b'a'))", ['"YWI="', "1"]),
    "list": ("Std([1])", ["[1, 2]", "[]", '["a", null, 1.5]', "{}", "1", "null", "[[1]]"]),
    "empty list": ("Std([])", ["[1, 2]", "[]", "{}"]),
    "tuple": ("Std((1, 2))", ["[1, 2]", "[]", "1"]),
    "dict": ("Std({'a': 1})", ['{"a": 2}', '{"b": 2}', '{"a": "x"}', "{}", "[]", "null"]),
    "dict of types": (
        "Std({'n': Np(np.array([1])), 's': Std('a'), 'free': 1})",
        [
            '{"n": [1, 2], "s": "x", "free": [1]}',
            '{"n": [1, 2]}',
            '{"n": 1, "s": "x"}',
            '{"n": [1], "s": 1}',
            '{"n": [1], "more": 1}',
            "[]",
        ],
    ),
    "list of types": ("Std([Np(np.array([1.0]))])", ["[[1, 2], [3]]", "[]", "[1]", "{}"]),
    "nested types": (
        "Std({'in': Std({'d': Pd(pd.DataFrame({'a': [1]}))})})",
        ['{"in": {"d": [{"a": 1}, {"a": 2}]}}', '{"in": {}}', '{"in": 1}', "{}"],
    ),
    "int64": ("Np(np.array([1, 2]))", [*_ARRAYS, "[9223372036854775808]", '["x"]']),
    "int8": ("Np(np.array([1], dtype='int8'))", ["[127]", "[128]", "[-129]"]),
    "uint8": ("Np(np.array([1], dtype='uint8'))", ["[255]", "[256]", "[-1]"]),
    "float64": ("Np(np.array([1.0, 2.0]))", [*_ARRAYS, '["NaN"]', '["x"]']),
    "float32": ("Np(np.array([1.0], dtype='float32'))", ["[0.1]", "[1e39]", "[16777217]"]),
    "bool array": ("Np(np.array([True]))", ["[true, false]", "[1, 0]", "[2]", '["x"]', '["False"]', "[null]"]),
    "text array": ("Np(np.array(['abc']))", ['["x", "abc"]', '["abcdef"]', "[1]", "[null]", "[true]"]),
    "object array": ("Np(np.array([1, 'a'], dtype=object))", ['[1, "a", null]', "[[1], [2]]", "[1.5]", "[{}]"]),
    "matrix": (
        "Np(np.array([[1, 2, 3]]))",
        ["[[1, 2, 3]]", "[[1, 2, 3], [4, 5, 6]]", "[[1, 2]]", "[]", "[[]]", "[1, 2, 3]", "[[1, 2, 3], [4]]"],
    ),
    "cube": ("Np(np.zeros((1, 2, 2)))", ["[[[1, 2], [3, 4]]]", "[[[1, 2]]]", "[[[1], [2]]]", "[[1, 2], [3, 4]]"]),
    "matrix, any shape": (
        "Np(np.array([[1, 2, 3]]), enforce_shape=False)",
        ["[[1, 2]]", "[1, 2]", "[[[1]]]", "[]", '[["x"]]', "[[1.5]]", "[[1], [2, 3]]"],
    ),
    "matrix, any type": (
        "Np(np.array([[1, 2, 3]]), enforce_column_type=False)",
        ["[[1.5, 2, 3]]", '[["a", "b", "c"]]', '[["a", 1, 2]]', "[[1, 2]]", "[[true, false, true]]", "[[null, 1, 2]]"],
    ),
    "array, anything": (
        "Np(np.array([1]), enforce_column_type=False, enforce_shape=False)",
        ["[1.5]", '["a"]', "[[1, 2], [3, 4]]", "[]", "[null]", "[1, true]", "[1, 2.5]", "1"],
    ),
    "dates": (
        "Np(np.array(['2020-01-01'], dtype='datetime64[D]'))",
        ['["2021-02-03"]', '["2021-02-03T04:05:06"]', '["no"]', "[null]", "[1]", '["NaT"]', '["2021-02"]'],
    ),
    "moments": (
        "Np(np.array(['2020-01-01'], dtype='datetime64[s]'))",
        ['["2021-02-03"]', '["2021-02-03T04:05:06"]', '["2021-02-03T04:05:06.5"]', '["2021-02-03T04:05:06+02:00"]'],
    ),
    "moments in ns": (
        "Np(np.array(['2020-01-01'], dtype='datetime64[ns]'))",
        ['["2021-02-03T04:05:06.123456789"]', '["2300-01-01"]', '["1500-01-01"]', "[1577836800000]"],
    ),
    "spans": (
        "Np(np.array([1], dtype='timedelta64[s]'))",
        ['["2 minutes"]', '["90 seconds"]', '["1 weeks"]', '["1 months"]', '["PT1M"]', "[5]", '["x"]', '["500 ms"]'],
    ),
    "spans in days": (
        "Np(np.array([1], dtype='timedelta64[D]'))",
        ['["2 weeks"]', '["36 hours"]', '["1 days"]', "[3]"],
    ),
    "structured": (
        "Np(np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')]))",
        ['[{"a": 1, "b": 2}]', "[[1, 2]]", '[{"a": 1}]', '[{"a": 1, "b": 2, "c": 3}]', "[1]", "[[1]]"],
    ),
    "frame": (f"Pd({_TWO})", _RECORDS),
    "frame, any type": (f"Pd({_TWO}, enforce_column_type=False)", _RECORDS),
    "frame, any shape": (f"Pd({_TWO}, enforce_shape=False)", _RECORDS),
    "frame, anything": (f"Pd({_TWO}, enforce_column_type=False, enforce_shape=False)", _RECORDS),
    "frame, renamed": (
        f"Pd({_TWO}, apply_column_names=True)",
        ['[{"x": 1, "y": "z"}]', '[{"x": 1}]', '[[1, "z"]]', '[{"a": 1, "b": "x"}]'],
    ),
    "frame, split": (
        f"Pd({_TWO}, orient='split')",
        [
            '{"columns": ["a", "b"], "index": [0], "data": [[1, "x"]]}',
            '{"columns": ["a", "b"], "data": [[1, "x"]]}',
            '{"columns": ["b", "a"], "index": [7], "data": [["x", 1]]}',
            '{"columns": ["a", "b"], "index": ["r"], "data": [[1, "x"]]}',
            '{"columns": ["a"], "index": [0], "data": [[1]]}',
            '{"data": [[1, "x"]]}',
            '[{"a": 1, "b": "x"}]',
        ],
    ),
    "frame, index": (
        f"Pd({_TWO}, orient='index')",
        ['{"0": {"a": 1, "b": "x"}}', '{"r": {"a": 1, "b": "x"}}', '{"7": {"a": 1, "b": "x"}}', '{"0": {"a": 1}}'],
    ),
    "frame, columns": (
        f"Pd({_TWO}, orient='columns')",
        ['{"a": {"0": 1}, "b": {"0": "x"}}', '{"a": {"r": 1}, "b": {"r": "x"}}', '{"a": {"0": 1}}', '{"a": [1]}'],
    ),
    "frame, values": (
        "Pd(pd.DataFrame({0: [1], 1: [2.5]}), orient='values')",
        ["[[1, 2.5]]", "[[1, 2]]", "[[1]]", "[]", "[[1, 2, 3]]", '[["x", 1]]'],
    ),
    "frame, table": (
        f"Pd({_TWO}, orient='table')",
        [
            '{"schema": {"fields": [{"name": "index", "type": "integer"}, {"name": "a", "type": "integer"}, '
            '{"name": "b", "type": "string"}], "primaryKey": ["index"]}, "data": [{"index": 0, "a": 1, "b": "x"}]}',
            '{"data": [{"index": 0, "a": 1, "b": "x"}]}',
        ],
    ),
    "float column": (
        "Pd(pd.DataFrame({'f': [1.5]}))",
        ['[{"f": 1}]', '[{"f": 1.5}]', '[{"f": null}]', '[{"f": "1.5"}]', '[{"f": "NaN"}]', '[{"f": true}]'],
    ),
    "float32 column": ("Pd(pd.DataFrame({'f': [1.5]}, dtype='float32'))", ['[{"f": 0.1}]', '[{"f": 1}]']),
    "int8 column": ("Pd(pd.DataFrame({'i': [1]}, dtype='int8'))", ['[{"i": 127}]', '[{"i": 128}]', '[{"i": -200}]']),
    "bool column": (
        "Pd(pd.DataFrame({'t': [True]}))",
        ['[{"t": false}]', '[{"t": 0}]', '[{"t": "False"}]', '[{"t": ""}]', '[{"t": null}]', '[{"t": 2}]'],
    ),
    "nullable column": (
        "Pd(pd.DataFrame({'i': pd.array([1], dtype='Int64')}))",
        ['[{"i": 1}]', '[{"i": null}]', '[{"i": 1}, {"i": null}]', '[{"i": 1.5}]'],
    ),
    "category column": (
        "Pd(pd.DataFrame({'c': pd.Categorical(['x'], categories=['x', 'y'])}))",
        ['[{"c": "y"}]', '[{"c": "z"}]', '[{"c": null}]'],
    ),
    "date column": (
        "Pd(pd.DataFrame({'d': pd.to_datetime(['2020-01-01'])}))",
        [
            *('[{"d": "2021-02-03"}]', '[{"d": "2021-02-03T04:05:06.500Z"}]', '[{"d": "2021-02-03T04:05:06+02:00"}]'),
            *(
                '[{"d": 1577836800000}]',
                '[{"d": null}]',
                '[{"d": "no"}]',
                '[{"d": "2300-01-01"}]',
                '[{"d": "3/2/2021"}]',
            ),
        ],
    ),
    "date column in ns": (
        "Pd(pd.DataFrame({'d': pd.Series(['2020-01-01'], dtype='datetime64[ns]')}))",
        ['[{"d": "2021-02-03"}]', '[{"d": "2300-01-01"}]'],
    ),
    "date column with zone": (
        "Pd(pd.DataFrame({'d': pd.to_datetime(['2020-01-01T00:00Z'])}))",
        ['[{"d": "2021-02-03T04:05:06Z"}]', '[{"d": "2021-02-03T04:05:06+02:00"}]', '[{"d": "2021-02-03"}]'],
    ),
    "span column": (
        "Pd(pd.DataFrame({'s': pd.to_timedelta(['1 days'])}))",
        [
            '[{"s": "2 days"}]',
            '[{"s": "P1DT2H"}]',
            '[{"s": "01:02:03"}]',
            '[{"s": 5}]',
            '[{"s": null}]',
            '[{"s": "x"}]',
        ],
    ),
    "numbered columns": (
        "Pd(pd.DataFrame([[1, 2.5]]))",
        ['[{"0": 1, "1": 2.5}]', '[{"1": 2.5, "0": 1}]', '[{"0": 1}]'],
    ),
    "list column": ("Pd(pd.DataFrame({'l': [[1, 2]]}))", ['[{"l": [1]}]', '[{"l": {"a": 1}}]', '[{"l": 1}]']),
    "text that looks like dates": (
        "Pd(pd.DataFrame({'date': ['x'], 'updated_at': ['y']}))",
        ['[{"date": "2021-02-03", "updated_at": "2021-02-03"}]', '[{"date": "1577836800", "updated_at": "z"}]'],
    ),
    "numbers that look like dates": (
        "Pd(pd.DataFrame({'timestamp': [1], 'created_at': [2]}))",
        ['[{"timestamp": 1577836800, "created_at": 1577836800}]'],
    ),
}

_TWO_ARGUMENTS = """
@input_schema("x", Std(1))
@input_schema("y", Std("a"))
def run(x, y{default}):
    return describe([x, y])
"""

_DECLARED: dict[str, tuple[str, list[str]]] = {
    "two arguments": (
        _TWO_ARGUMENTS.format(default=""),
        [
            *('{"x": 1, "y": "b"}', '{"y": "b", "x": 1}', '{"x": 1}', "{}", '{"x": 1, "y": "b", "z": 1}', "[1]", ""),
            *("null", "{", '{"x": NaN, "y": "b"}', '{"x": 1, "x": 2, "y": "b"}'),
        ],
    ),
    "with a default": (
        _TWO_ARGUMENTS.format(default='="d"'),
        ['{"x": 1}', '{"x": 1, "y": null}', '{"x": 1, "y": "b"}'],
    ),
    "in another order": (
        """
@input_schema("y", Std("a"))
@input_schema("x", Std(1))
def run(x, y):
    return describe([x, y])
""",
        ['{"x": 1, "y": "b"}'],
    ),
    "optional": (
        """
@input_schema("x", Np(np.array([1])), optional=True)
def run(x=None):
    return describe(x)
""",
        ["{}", '{"x": null}', '{"x": [1]}', '{"x": []}', '{"x": 1}'],
    ),
    "optional without default": (
        """
@input_schema("x", Np(np.array([1])), optional=True)
def run(x):
    return describe(x)
""",
        ["{}", '{"x": null}', '{"x": [1]}'],
    ),
    "not converted": (
        """
@input_schema("x", Np(np.array([1])), convert_to_provided_type=False)
def run(x):
    return describe(x)
""",
        ['{"x": [1]}', '{"x": "a"}', '{"x": null}', "{}"],
    ),
    "one declared of two": (
        """
@input_schema("x", Np(np.array([1])))
def run(x, y):
    return describe([x, y])
""",
        ['{"x": [1], "y": 2}', '{"x": [1]}'],
    ),
    "one declared of two with a default": (
        """
@input_schema("x", Np(np.array([1])))
def run(x, y=5):
    return describe([x, y])
""",
        ['{"x": [1], "y": {"a": 1}}', '{"x": [1]}'],
    ),
    "only the output": (
        """
@output_schema(Np(np.array([1])))
def run(x):
    return describe(x)
""",
        ['{"x": [1]}', "{}", "[1]"],
    ),
    "headers too": (
        """
@input_schema("x", Std(1))
def run(x, request_headers):
    return describe([x, "Host" in request_headers])
""",
        [],
    ),
    "run of its own": (
        """
@input_schema("x", Np(np.array([1])))
def inner(x):
    return describe(x)

@input_schema("x", Std([1]))
def run(x):
    return inner(x)
""",
        ['{"x": [1]}', '{"x": 1}'],
    ),
    "called by keyword": (
        """
@input_schema("data", Pd(pd.DataFrame({"a": [1]})))
def predict(data):
    return describe(data)

@input_schema("rows", Std([{}]))
def run(rows):
    return predict(data=rows)
""",
        ['{"rows": [{"a": 1}]}'],
    ),
    "called with what is converted already": (
        """
@input_schema("data", Pd(pd.DataFrame({"a": [1]})))
def predict(data):
    return describe(data)

@input_schema("data", Pd(pd.DataFrame({"a": [1]})))
def run(data):
    return predict(data)
""",
        ['{"data": [{"a": 1}]}'],
    ),
    "a type of its own": (
        """
from inference_schema.parameter_types.abstract_parameter_type import AbstractParameterType

class Text:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

class Upper(AbstractParameterType):
    def deserialize_input(self, input_data):
        if not isinstance(input_data, str):
            raise ValueError("not text")
        return Text(input_data.upper())

    def input_to_swagger(self):
        return {"type": "string", "example": str(self.sample_input)}

@input_schema("x", Upper(Text("A")))
def run(x):
    return describe(x)
""",
        ['{"x": "ab"}', '{"x": 1}'],
    ),
    "a type used by hand": (
        """
@input_schema("x", Std(1))
def run(x):
    kind = Np(np.array([[1.0, 2.0]]))
    return describe([kind.deserialize_input([[x, 2]]), sorted(kind.input_to_swagger()), kind.supported_versions()])
""",
        ['{"x": 3}'],
    ),
    "its own description": (
        """
from inference_schema.schema_util import get_input_schema, get_output_schema, is_schema_decorated

@input_schema("x", Np(np.array([[1, 2]])))
@output_schema(Std([1]))
def run(x):
    return describe([get_input_schema(run), get_output_schema(run), is_schema_decorated(run)])
""",
        ['{"x": [[1, 2]]}'],
    ),
}


def groups() -> list[dict[str, Any]]:
    """Return the table: for each group, its source and its rows, which are bodies by id."""
    made = []
    for name, (kind, values) in _VALUES.items():
        source = f'@input_schema("x", {kind})\ndef run(x):\n    return describe(x)\n'
        made.append({"source": source, "rows": {f"{name}: {value}": f'{{"x": {value}}}' for value in values}})
    for name, (source, bodies) in _DECLARED.items():
        made.append({"source": source, "rows": {f"{name}: {json.dumps(body)}": body for body in bodies}})
    return made
