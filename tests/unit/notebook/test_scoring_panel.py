"""The input of a service as a form and as JSON, and what came of it; without a notebook."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.client import Scored
from mlmgmt_nb.commands.usage import pretty
from mlmgmt_nb.errors import ConnectError, DriverError, UsageError
from mlmgmt_nb.notebook.panels.scoring.form import Column, Field, as_table, fields_of
from mlmgmt_nb.notebook.panels.scoring.kinds import Kind, Rule
from mlmgmt_nb.notebook.panels.scoring.state import Input, ScoringState
from mlmgmt_nb.scoring.schema import DataTypes, SampleDefinition, generate_schema
from mlmgmt_nb.scoring.schema.file import load_schema
from mlmgmt_nb.scoring.schema.swagger import service_swagger

FRAME = pd.DataFrame(
    {
        "age": [31, 47],
        "height": [1.75, None],
        "name": ["Ann <b>", "Bob"],
        "is_new": [True, False],
        "since": pd.to_datetime(["2017-01-31", "2018-02-28"]),
    }
)


@pytest.fixture
def swagger(tmp_path: Any) -> dict[str, Any]:
    """Return what a service with arguments of every kind tells of itself."""

    def run(
        frame: Any, matrix: Any, series: Any, count: int, ratio: float, flag: bool, word: str, more: Any
    ) -> None: ...

    samples = {
        "frame": SampleDefinition(DataTypes.PANDAS, FRAME),
        "matrix": SampleDefinition(DataTypes.NUMPY, np.array([[1.5, 2.5], [3.5, 4.5]])),
        "series": SampleDefinition(DataTypes.NUMPY, np.array([1, 2, 3])),
        "count": SampleDefinition(DataTypes.STANDARD, 3),
        "ratio": SampleDefinition(DataTypes.STANDARD, 0.5),
        "flag": SampleDefinition(DataTypes.STANDARD, True),
        "word": SampleDefinition(DataTypes.STANDARD, 'a "word"'),
        "more": SampleDefinition(DataTypes.STANDARD, {"deep": [1, [2]]}),
    }
    generate_schema(run, samples, filepath=tmp_path / "schema.json")
    return service_swagger("iris", load_schema(tmp_path / "schema.json"), frozenset({"count"}))


def field(given: Input, name: str) -> Field:
    return next(one for one in given.fields if one.name == name)


def test_the_sample_is_filled_in_and_gives_the_same_json(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    assert [(one.name, one.kind, one.shape) for one in given.fields] == [
        ("frame", "table", "objects"),
        ("matrix", "table", "lists"),
        ("series", "table", "values"),
        ("count", "integer", "objects"),
        ("ratio", "number", "objects"),
        ("flag", "boolean", "objects"),
        ("word", "text", "objects"),
        ("more", "json", "objects"),
    ]
    kinds: list[Kind] = ["integer", "number", "text", "boolean", "datetime"]
    assert field(given, "frame").columns == list(map(Column, FRAME.columns, kinds))
    assert field(given, "frame").rows[1][:4] == ["47", "", "Bob", "false"]
    assert json.loads(given.check()) == swagger["definitions"]["ServiceInput"]["example"]
    assert given.problems == {}


def test_edits_in_the_form_are_in_the_json(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    given.edit("frame", lambda one: one.set_cell(0, 0, "32"), is_typed=True)
    given.edit("ratio", lambda one: setattr(one, "text", " 1e-3 "), is_typed=True)
    given.edit("flag", lambda one: setattr(one, "text", "false"), is_typed=True)
    given.edit("word", lambda one: setattr(one, "text", ""), is_typed=True)
    given.edit("count", lambda one: setattr(one, "text", ""), is_typed=True)
    given.edit("series", Field.add_row)
    given.edit("matrix", lambda one: one.remove_row(0))
    assert given.form_changes == 2
    body = json.loads(given.check())
    assert body["frame"][0]["age"] == 32
    assert (body["ratio"], body["flag"], body["word"]) == (0.001, False, "")
    assert "count" not in body  # it may be left out
    assert (body["series"], body["matrix"]) == ([1, 2, 3, 3], [[3.5, 4.5]])


def test_edits_in_the_json_are_in_the_form(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    body = json.loads(given.body)
    body |= {"ratio": 7, "more": None, "matrix": [[1, 2, 3]], "unknown": "kept"}
    body["frame"] = [{**body["frame"][0], "age": 99, "extra": [1]}]
    before = given.form_changes
    given.set_body(json.dumps(body), is_typed=True)
    assert given.form_changes == before + 1
    assert field(given, "ratio").text == "7"
    assert field(given, "matrix").rows == [["1", "2", "3"]]
    assert field(given, "frame").columns[-1] == Column("extra", "any")
    assert field(given, "frame").rows[0][0] == "99"
    assert field(given, "frame").rows[0][-1] == "[1]"
    # What the form does not know stays when the form is edited after that.
    given.edit("ratio", lambda one: setattr(one, "text", "8"))
    assert json.loads(given.body) == {**body, "ratio": 8}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("count", "3.5", "count: not a whole number"),
        ("ratio", "much", "ratio: not a number"),
        ("ratio", "nan", "ratio: not a number"),
        ("ratio", "", "ratio: a value is missing"),
        ("more", "{", "more: not JSON"),
    ],
)
def test_what_a_field_does_not_take(swagger: dict[str, Any], name: str, text: str, problem: str) -> None:
    given = Input(swagger)
    given.edit(name, lambda one: setattr(one, "text", text), is_typed=True)
    with pytest.raises(UsageError, match=problem):
        given.check()
    assert json.loads(given.body).get(name) in (text, None)


def test_what_a_cell_does_not_take_is_named(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    given.edit("frame", lambda one: one.paste(0, 3, "maybe\t31.1.2017\ntrue\t2017-02-01"))
    assert given.problems == {
        "frame": {"0,3": "neither true nor false", "0,4": "not a date such as 2017-01-31T12:00:00"}
    }
    with pytest.raises(UsageError, match=r"frame\[0\].is_new: neither true nor false"):
        given.check()
    assert json.loads(given.body)["frame"][1]["is_new"] is True


def test_json_that_is_none_or_fits_no_form_is_told_and_sent_as_it_is(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    given.set_body("{", is_typed=True)
    assert given.problem.startswith("not JSON: ")
    assert given.check() == "{"
    given.set_body("[1]")
    assert "arguments frame, matrix" in given.problem
    given.set_body('{"frame": "none", "ratio": "x"}')
    assert given.problem == ""
    assert field(given, "frame").is_json
    assert given.problems["ratio"] == {"": "not a number"}
    assert given.problems["word"] == {"": "a value is missing"}
    assert "count" not in given.problems
    assert given.check() == '{"frame": "none", "ratio": "x"}'


def test_a_large_table_is_edited_as_json(swagger: dict[str, Any]) -> None:
    given = Input(swagger)
    body = {**json.loads(given.body), "series": list(range(101))}
    given.set_body(json.dumps(body))
    assert field(given, "series").is_json
    assert json.loads(field(given, "series").text) == body["series"]
    given.edit("series", lambda one: setattr(one, "text", "[7]"))
    assert json.loads(given.body)["series"] == [7]


def test_a_driver_without_a_schema_takes_any_text() -> None:
    given = Input({})
    assert not given.has_form
    given.set_body("not <json>", is_typed=True)
    assert (given.check(), given.problem) == ("not <json>", "")


def test_pasting_makes_rows_and_stays_within_bounds() -> None:
    one = Field("t", "table", columns=[Column("a", "number"), Column("b", "text")], rows=[["1", "x"]])
    one.paste(0, 1, "y\t9\nz\n" + "w\n" * 500)
    assert len(one.rows) == 100
    assert one.rows[:3] == [["1", "y"], ["1", "z"], ["1", "w"]]
    one.set_cell(1000, 0, "nowhere")
    one.remove_row(1000)
    assert len(one.rows) == 100


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_pretty_json_is_the_same_json(value: Any) -> None:
    assert json.loads(pretty(value)) == value


@given(
    st.lists(st.fixed_dictionaries({"a": JSON, "b": st.text(), "c": st.none() | st.integers()}), min_size=1, max_size=4)
)
def test_tables_are_read_back_as_they_were(rows: Any) -> None:
    columns = [Column("a", "any"), Column("b", "text"), Column("c", "integer")]
    one = Field("t", "table", columns=columns)
    one.take(rows)
    assert one.value() == (rows, {})


def test_answers_that_are_tables() -> None:
    assert as_table([{"a": 1, "b": None}, {"a": [2]}]) == (["a", "b"], [["1", ""], ["[2]", ""]])
    assert as_table([[1, 2], [3]]) == (["0", "1"], [["1", "2"], ["3", ""]])
    assert as_table(["setosa", 2]) == (["answer"], [["setosa"], ["2"]])
    assert as_table({"a": 1.5, "b": "x"}) == (["a", "b"], [["1.5", "x"]])
    others: list[Any] = [3, "text", [], {}, {"a": []}, [1, [2]], None]
    for other in others:
        assert as_table(other) is None


class Service:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Any = [1]

    def __call__(self, body: str) -> Scored:
        self.asked.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Scored(self.answer, 200, 0.0123, "some-id")


def asked(state: ScoringState) -> None:
    state.remember(state.ask(state.input.check()))


def test_answers_and_their_history() -> None:
    service = Service()
    state = ScoringState(service, {}, now=lambda: "12:00:00")
    for body in ("1", "2"):
        state.input.set_body(body)
        asked(state)
    service.answer = DriverError("ValueError: <i>no</i>", status_code=500, request_id="failed-id", fix="See the log.")
    asked(state)
    service.answer = ConnectError("no connection", fix="Start it.")
    asked(state)
    assert service.asked == ["1", "2", "2", "2"]
    assert [one["words"] for one in state.recent()] == ["no answer", "500 error", "200 OK", "200 OK"]
    assert state.answer is not None
    assert (state.answer.error, state.answer.fix) == ("no connection", "Start it.")
    state.choose(3)
    assert state.answer.shown(state.answer.body)["error"] == "ValueError: <i>no</i>"
    assert state.answer.shown(state.answer.body)["id"] == "failed-id"
    assert [state.answer.shown(body)["stale"] for body in (state.answer.body, "other")] == [False, True]
    state.choose(1)
    assert state.input.body == "1"
    assert [one["chosen"] for one in state.recent()] == [False, False, False, True]
    shown = state.answer.shown(state.answer.body)
    assert (shown["columns"], shown["rows"], shown["ms"], shown["text"]) == (["answer"], [["1"]], "12.3 ms", "[1]")
    state.choose(99)
    assert state.input.body == "1"


def test_an_answer_of_many_columns_is_shown_in_part() -> None:
    service = Service()
    service.answer = [[0.5] * 768] * 3
    state = ScoringState(service, {})
    asked(state)
    assert state.answer is not None
    shown = state.answer.shown(state.answer.body)
    assert (len(shown["columns"]), {*map(len, shown["rows"])}, shown["moreColumns"]) == (50, {50}, 718)


def test_a_large_answer_is_shown_in_part() -> None:
    service = Service()
    service.answer = list(range(10_000))
    state = ScoringState(service, {})
    asked(state)
    assert state.answer is not None
    shown = state.answer.shown(state.answer.body)
    assert (len(shown["rows"]), shown["more"], shown["moreColumns"]) == (200, 9800, 0)
    assert len(shown["text"]) < 20_100
    assert state.answer.value == service.answer


def test_the_history_is_bounded() -> None:
    state = ScoringState(Service(), {})
    for _ in range(60):
        asked(state)
    assert [one.number for one in state.history] == list(range(60, 10, -1))


DESCRIBED = {
    "type": "object",
    "required": ["plan", "share", "day"],
    "properties": {
        "plan": {"type": "string", "enum": ["A", "B"]},
        "level": {"enum": [1, "one", True]},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "time"},
        "rows": {
            "type": "array",
            "items": {"properties": {"n": {"type": "integer", "minimum": 1}, "plan": {"enum": ["A", "B"]}}},
        },
    },
    "example": {"plan": "A", "level": 1, "share": 0.5, "day": "2017-01-31", "rows": [{"n": 1, "plan": None}]},
}
"""What a driver can tell of its input in a description of its own."""


def described(example: Any, columns: dict[str, Any]) -> Input:
    """Return the input of a service that takes a table."""
    table = {"type": "array", "items": {"type": "object", "properties": columns}}
    body = {"properties": {"X": table, "word": {"type": "string"}}, "required": ["X", "word"], "example": example}
    return Input({"definitions": {"ServiceInput": body}})


def test_an_unchanged_form_sends_the_example() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "wait": 3600.0, "at": None},
        {"name": None, "wait": None, "at": "someday"},
        {"name": ""},
    ]
    example = {"X": rows, "word": None}
    columns: dict[str, Any] = {"name": {"type": "string"}, "wait": {"type": "string"}}
    given = described(example, {**columns, "at": {"type": "string", "format": "date-time"}})
    assert json.loads(given.check()) == example
    given.edit("X", lambda one: one.set_cell(0, 0, "b"), is_typed=True)
    given.edit("X", Field.add_row)
    assert json.loads(given.check()) == {**example, "X": [{**rows[0], "name": "b"}, *rows[1:], rows[2]]}


def test_a_null_is_an_empty_text_when_it_was_edited() -> None:
    given = described({"X": [{"name": None}], "word": None}, {"name": {"type": "string"}})
    given.edit("X", lambda one: one.set_cell(0, 0, "b"), is_typed=True)
    given.edit("X", lambda one: one.set_cell(0, 0, ""), is_typed=True)
    type_into(given, "word", "")
    assert json.loads(given.check()) == {"X": [{"name": ""}], "word": ""}
    given.set_body('{"X": [{"name": null}], "word": "x"}')
    type_into(given, "word", "y")
    assert json.loads(given.check()) == {"X": [{"name": None}], "word": "y"}


def test_what_may_be_left_out_and_is_empty_is_not_sent() -> None:
    properties = {"pair": {"type": "array", "items": {"type": "integer"}}, "any": {}, "more": {"type": "object"}}
    kinds = {"a": {"type": "integer"}, **properties}
    of = {"properties": kinds, "required": ["a"], "example": {"a": 1}}
    given = Input({"definitions": {"ServiceInput": of}})
    assert json.loads(given.check()) == {"a": 1}
    given.edit("pair", Field.add_row)
    given.edit("pair", lambda one: one.set_cell(0, 0, "2"), is_typed=True)
    assert json.loads(given.check()) == {"a": 1, "pair": [2]}
    given.edit("pair", lambda one: one.remove_row(0))
    assert json.loads(given.check()) == {"a": 1}
    type_into(given, "more", '{"b": 2}')
    type_into(given, "more", "")
    assert json.loads(given.check()) == {"a": 1}
    given.set_body('{"a": 1, "pair": [], "any": null}')
    type_into(given, "a", "2")
    assert json.loads(given.check()) == {"a": 2, "pair": [], "any": None}
    given.set_body('{"a": 1}')
    type_into(given, "a", "3")
    assert json.loads(given.check()) == {"a": 3}


def test_a_column_of_times_with_a_zone_has_no_picker(tmp_path: Any) -> None:
    def run(frame: Any) -> None: ...

    days = pd.to_datetime(pd.Series(["2017-01-31", None]))
    frame = pd.DataFrame({"here": days.dt.tz_localize("Europe/Berlin"), "plain": days})
    generate_schema(run, {"frame": SampleDefinition(DataTypes.PANDAS, frame)}, filepath=tmp_path / "schema.json")
    given = Input(service_swagger("zone", load_schema(tmp_path / "schema.json")))
    assert [(one.rule.has_zone, one.rule.hint(one.kind)) for one in field(given, "frame").columns] == [
        (True, "date and time with zone"),
        (False, "date and time"),
    ]


def test_time_spans_are_numbers_or_text(tmp_path: Any) -> None:
    def run(frame: Any) -> None: ...

    frame = pd.DataFrame({"wait": pd.to_timedelta(["1h", "2h"])})
    generate_schema(run, {"frame": SampleDefinition(DataTypes.PANDAS, frame)}, filepath=tmp_path / "schema.json")
    given = Input(service_swagger("wait", load_schema(tmp_path / "schema.json")))
    assert json.loads(given.check()) == {"frame": [{"wait": 3600.0}, {"wait": 7200.0}]}
    given.edit("frame", lambda one: one.paste(0, 0, "60\nPT2M"))
    assert json.loads(given.check()) == {"frame": [{"wait": 60}, {"wait": "PT2M"}]}


def type_into(given: Input, name: str, text: str) -> None:
    given.edit(name, lambda one: setattr(one, "text", text), is_typed=True)


def test_choices_limits_and_dates_are_those_of_the_description() -> None:
    given = Input({"definitions": {"ServiceInput": DESCRIBED}})
    assert [one.kind for one in given.fields] == ["choice", "choice", "number", "date", "time", "table"]
    assert [one.rule.hint(one.kind) for one in given.fields][:5] == [
        *("one of 2", "one of 3", "number, 0 to 1"),
        *("date", "time"),
    ]
    assert field(given, "rows").columns[0].rule.hint("integer") == "whole number, at least 1"
    assert given.problems == {}
    assert json.loads(given.check()) == DESCRIBED["example"]
    for name, text in {"plan": "C", "share": "1.5", "day": "31.1.2017", "at": "noon", "level": "True"}.items():
        type_into(given, name, text)
    given.edit("rows", lambda one: one.paste(0, 0, "0\tC"))
    assert given.problems == {
        "plan": {"": "not one of A, B"},
        "share": {"": "more than 1"},
        "day": {"": "not a date such as 2017-01-31"},
        "at": {"": "not a time such as 12:30:00"},
        "level": {"": "not one of 1, one, true"},
        "rows": {"0,0": "less than 1", "0,1": "not one of A, B"},
    }
    given.edit("plan", lambda one: setattr(one, "text", ""), is_typed=True)
    assert given.problems["plan"] == {"": "a value is missing"}
    given.edit("level", lambda one: setattr(one, "text", "true"), is_typed=True)
    assert json.loads(given.body)["level"] is True
    assert Rule(maximum=3).hint("number") == "number, at most 3"


def test_fields_of_nothing() -> None:
    assert fields_of({}) == []
    assert fields_of({"definitions": {"ServiceInput": {"description": "any body", "example": {}}}}) == []
