"""Values as text, and queries on them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from mlmgmt_nb.commands.output import formatted, queried
from mlmgmt_nb.commands.values import Keys, Settings, Usage
from mlmgmt_nb.contract import Model
from mlmgmt_nb.errors import UsageError

ROWS = Settings(({"name": "a", "value": "1"}, {"name": "b", "value": None}, {"name": "t\tab", "value": 'q"'}))
MODEL = Model(name="iris", mime_type="a/b", url="u", version=3, tags=["x", "y"])


def test_table() -> None:
    assert formatted(ROWS, "table").splitlines()[:3] == ["name  value", "----  -----", "a     1"]
    assert formatted(MODEL, "table").splitlines() == [
        "mimeType  a/b",
        "name      iris",
        "url       u",
        "version   3",
        "tags      x, y",
    ]
    assert formatted([], "table") == ""
    assert json.loads(formatted({"a": [1]}, "table")) == {"a": [1]}


def test_forms_for_programs() -> None:
    assert json.loads(formatted(MODEL, "json"))["mimeType"] == "a/b"
    assert formatted(ROWS, "tsv") == 'a\t1\nb\t\nt\\tab\tq"'
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
    for form in ("table", "json", "tsv", "csv"):
        assert "secret" not in formatted(keys, form)
        assert "-key" in formatted(keys, form)
    assert "secret" not in repr(keys) + str(keys)
    assert "first-very-secret-key" in formatted(Keys("first-very-secret-key", "b", shown=True), "table")
    assert "short" not in formatted(Keys("short", "short"), "table")


def test_usage_can_be_pasted_and_has_no_key() -> None:
    usage = Usage("iris", "http://h/score", "http://h/swagger.json", {"it's": [1, None]})
    compile(usage.python, "<usage>", "exec")
    assert """--data-raw '{"it'\\''s": [1, null]}'""" in usage.curl
    assert "$MLMGMT_KEY" in str(usage)
