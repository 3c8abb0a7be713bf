"""Values as text, and queries on them."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.commands.output.formats import formatted, queried
from mlmgmt_nb.commands.usage import Usage, first_record
from mlmgmt_nb.commands.values import Keys, Settings
from mlmgmt_nb.contract import Model
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.terminal import printable

ROWS = Settings(({"name": "a", "value": "1"}, {"name": "b", "value": None}, {"name": "t\tab", "value": 'q"'}))
MODEL = Model(name="iris", mime_type="a/b", url="u", version=3, tags=["x", "y"])


def test_table() -> None:
    assert formatted(ROWS, "table").splitlines()[:3] == ["name  value", "----  -----", "a     1"]
    assert formatted(MODEL, "table").splitlines() == [
        "name      iris",
        "version   3",
        "tags      x, y",
        "mimeType  a/b",
        "url       u",
    ]
    assert formatted([], "table") == ""
    assert json.loads(formatted({"a": [1]}, "table")) == {"a": [1]}


def test_forms_for_programs() -> None:
    assert json.loads(formatted(MODEL, "json"))["mimeType"] == "a/b"
    assert formatted(ROWS, "tsv") == 'name\tvalue\na\t1\nb\t\nt\\tab\tq"'
    assert list(csv.reader(io.StringIO(formatted(ROWS, "csv")))) == [
        ["name", "value"],
        ["a", "1"],
        ["b", ""],
        ["t\tab", 'q"'],
    ]
    assert formatted([1, None, True, "x"], "tsv") == "1\n\ntrue\nx"


def test_queries() -> None:
    assert queried(MODEL, "tags[0]") == "x"
    assert formatted(ROWS, "tsv", "[].name") == "a\nb\nt\\tab"
    with pytest.raises(UsageError, match="--query: "):
        queried(MODEL, "tags[")


def test_keys_are_masked_unless_shown() -> None:
    keys = Keys("first-very-secret-key", "second-very-secret-key")
    for form in ("table", "wide", "json", "tsv", "csv"):
        assert "secret" not in formatted(keys, form)
        assert "-key" in formatted(keys, form)
    assert "secret" not in repr(keys) + str(keys)
    assert "first-very-secret-key" in formatted(Keys("first-very-secret-key", "b", shown=True), "table")
    assert "short" not in formatted(Keys("short", "short"), "table")


def test_usage_can_be_pasted_and_has_no_key() -> None:
    usage = Usage("iris", "http://h/score", "http://h/swagger.json", {"it's": [1, None]})
    for block in usage.blocks[1:]:
        compile(block.code, "<usage>", "exec")
    assert """--data-raw '{"it'\\''s": [1, null]}'""" in usage.curl
    assert usage.curl.startswith("export MLMGMT_KEY=$(mlmgmt service keys -n iris --show --query primaryKey -o tsv)\n")
    assert "$MLMGMT_KEY" in str(usage)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_code_has_the_sample(sample: Any) -> None:
    found: dict[str, Any] = {}
    code = Usage("iris", "http://h/score", "", sample).own.partition("\n\n")[2].rpartition("\n")[0]
    exec(code, {"open": lambda *_: io.BytesIO(b"none")}, found)
    assert found["body"] == (b"none" if sample is None else sample)


def test_code_has_the_first_row_of_a_table() -> None:
    row = {"sepal length (cm)": 5.1, "sepal width (cm)": None, "kind": "a word", "is_wild": True, "more": "x"}
    usage = Usage("iris", "http://h/score", "", first_record({"data": [row, row], "pairs": [[1, 2], [3, 4]]}))
    lines = usage.curl.splitlines()
    assert json.loads("".join(lines[4:])[len("  --data-raw '") : -1]) == {"data": [row], "pairs": [[1, 2], [3, 4]]}
    assert f'  "data": [{json.dumps(row)}],' in lines


def test_usage_without_a_sample_shows_no_body() -> None:
    usage = Usage("iris", "http://h/score", "http://h/swagger.json", None)
    compile(usage.python, "<usage>", "exec")
    assert "--data-binary @body.json" in usage.curl
    assert "{}" not in str(usage)
    assert "the driver has no schema" in str(usage)
    assert json.loads(formatted(usage, "json"))["sample"] is None


TEXTS = st.one_of(st.text(st.characters(), max_size=30), st.text("\x1b\x07\r\n\t=+-@\"', ;\u202e\uff1da1", max_size=30))


@pytest.mark.parametrize("form", ["table", "wide", "json", "tsv", "csv"])
@given(name=TEXTS, text=TEXTS)
def test_text_of_others_does_nothing_to_a_terminal(form: str, name: str, text: str) -> None:
    for value in ([{"name": name, "text": text}], text, {name: [text]}, Settings(({"name": name, "value": text},))):
        shown = formatted(value, form)
        assert printable(shown) == shown
    assert len(formatted([{"a": text}, {"a": name}], "table").split("\n")) == 4
    assert json.loads(formatted({name: text}, "json", encoding="ascii")) == {name: text}
    assert formatted({name: text}, "json", encoding="ascii").isascii()


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_no_cell_is_run_by_a_spreadsheet(texts: list[str]) -> None:
    row = {f"c{place}": text for place, text in enumerate(texts)}
    for form, mark in (("csv", ","), ("tsv", "\t")):
        for line in csv.reader(io.StringIO(formatted([row], form), newline=""), delimiter=mark):
            for cell in line:
                assert not cell.startswith(("=", "+", "-", "@")) or re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", cell)


@pytest.mark.parametrize("number", ["-1", "+1.5", "-2e-3", "-.5"])
def test_numbers_are_no_formulas(number: str) -> None:
    assert formatted([{"a": number}], "csv") == f"a\n{number}"
    assert formatted([{"a": f"{number}+cmd|x"}], "csv") == f"a\n'{number}+cmd|x"


def test_a_value_cannot_look_like_another_one() -> None:
    model = Model(name="iris", mime_type="a/b", url="u", description="good\nversion      9\r\nid  x")
    lines = formatted(model, "table").splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "name         iris",
        "description  good",
        "mimeType     a/b",
        "url          u",
    ]


def test_a_query_is_text() -> None:
    with pytest.raises(UsageError, match="--query is 3, which is not text"):
        queried([1], 3)  # type: ignore[arg-type]


def test_a_single_value_is_for_a_shell() -> None:
    """A key may begin like a formula, and `KEY=$(mlmgmt service keys ... -o tsv)` needs it unchanged."""
    keys = Keys("-begins-like-a-formula", "=", shown=True)
    assert formatted(keys, "tsv", "primaryKey") == "-begins-like-a-formula"
    assert formatted(keys, "csv", "primaryKey") == "'-begins-like-a-formula"
    assert formatted(["-a"], "tsv", "[]") == "'-a"
