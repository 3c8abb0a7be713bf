"""Lines of the magics: quoting, and the notebook's values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.line import read_line

FRAME = object()
NAMES = {"frame": FRAME, "name": "iris", "rows": [{"a": 1}]}


def evaluate(expression: str) -> Any:
    return eval(expression, {}, NAMES)


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("", []),
        ("  model   list ", ["model", "list"]),
        ("-d {frame}", ["-d", FRAME]),
        ("-d $frame -n $name", ["-d", FRAME, "-n", "iris"]),
        ("-d {rows[0]['a'] + 1}", ["-d", 2]),
        ('-d {"a": [1, {"b": 2}]}', ["-d", {"a": [1, {"b": 2}]}]),
        ("-d {len('} {')}", ["-d", 3]),
        ("""-d '{"a": 1}' -x "two words" """, ["-d", '{"a": 1}', "-x", "two words"]),
        ("-d '{frame}' \"$name\"", ["-d", "{frame}", "$name"]),
        ("{name}-v2 models/$name.pkl", ["iris-v2", "models/iris.pkl"]),
        ("$HOME/x a=b it's", ["$HOME/x", "a=b", "it's"]),
        ("--data={frame} -d=$frame", ["--data", FRAME, "-d", FRAME]),
        ("--data={rows[0]} --dry={1 < 2}", ["--data", {"a": 1}, "--dry", True]),
        ('--data={"a": [1]}', ["--data", {"a": [1]}]),
        (
            "--name={name} --number={len(rows)} --env=A={name} --x=$HOME/y",
            ["--name=iris", "--number=1", "--env=A=iris", "--x=$HOME/y"],
        ),
        (r"C:\models\m.pkl", [r"C:\models\m.pkl"]),
        ("'' -t", ["", "-t"]),
    ],
)
def test_lines(line: str, tokens: list[Any]) -> None:
    read = read_line(line, evaluate)
    assert read.tokens == tokens
    assert read.target is None


@pytest.mark.parametrize("line", ["model list >> found", "model list --out found", "model --out found list"])
def test_target(line: str) -> None:
    assert read_line(line, evaluate) == (["model", "list"], "found")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-d 'open", "a quote is not closed"),
        ("-d {open", "a brace is not closed"),
        ("-d {nothere}", "name 'nothere' is not defined"),
        ("-d $nothere", "name 'nothere' is not defined"),
        ("x-{nothere}", "name 'nothere' is not defined"),
        ("-d {1 +}", "is not a valid Python expression"),
        ("-d {name.nothere}", "'str' object has no attribute 'nothere'"),
        ("model list >>", "not a valid variable name"),
        ("model list >> 1x", "not a valid variable name"),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_line(line, evaluate)


@given(st.lists(st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_quoted_text_comes_back(texts: list[str]) -> None:
    line = " ".join(f"'{text}'" for text in texts)
    assert read_line(line, evaluate).tokens == texts
