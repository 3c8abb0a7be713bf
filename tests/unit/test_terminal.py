"""No text of others makes a terminal do anything but show it."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb import errors
from mlmgmt_nb.notebook.display.card import Card, bundle
from mlmgmt_nb.terminal import Terminal, encodable, is_printable, json_printable, one_line, printable

ANY = st.text(st.characters(), max_size=40)
HOSTILE = st.text("\x1b[31m\x9b\x07\r\n\t\x00\x7f\u202e\u2066\u200f\u2028\ud800é模a=", max_size=40)
TEXTS = st.one_of(ANY, HOSTILE)


def is_obeyed(character: str) -> bool:
    """Whether a terminal would do something for a character, by its properties in Unicode."""
    turns = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or turns or character in "\u200e\u200f\u061c"


@given(TEXTS)
def test_nothing_that_is_obeyed_is_printed(text: str) -> None:
    assert not [one for one in printable(text) if is_obeyed(one) and one not in "\n\t"]
    assert not [one for one in one_line(text) if is_obeyed(one)]
    assert printable(printable(text)) == printable(text)
    assert is_printable(one_line(text))


@given(TEXTS.filter(lambda text: not any(map(is_obeyed, text))))
def test_other_text_is_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == text
    assert is_printable(text)


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8))
def test_json_keeps_its_value(value: object) -> None:
    text = json_printable(json.dumps(value, indent=2, ensure_ascii=False))
    assert not [one for one in text if is_obeyed(one) and one != "\n"]
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("red \x1b[31m", "red \\x1b[31m"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("left \u202e right", "left \\u202e right"),
        ("\x9b2J", "\\x9b2J"),
        ("a\tb", "a\tb"),
    ],
)
def test_how_it_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_of_a_terminal(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    terminal = Terminal(stream)
    terminal.write("prévision für 模型 ✓ \ud800\n")
    terminal.rewrite("模型\x1b[2J", "\n")
    written = raw.getvalue().decode(encoding)
    assert written.startswith("pr")
    assert written.count("\x1b") == 1, "that of the terminal's own line"
    assert encodable("a", None) == "a"


@pytest.mark.parametrize("kind", [errors.MlmgmtError, errors.UsageError, errors.UploadError])
def test_errors(kind: type[errors.MlmgmtError]) -> None:
    error = kind("no \x1b[31m colour", fix="a \u202e fix")
    assert str(error) == "no \\x1b[31m colour\na \\u202e fix"
    assert error.message == "no \x1b[31m colour"


def test_errors_of_the_server() -> None:
    error = errors.BadRequestError("bad \x1b[31m", status_code=400, details=[("a", "\x07")])
    assert str(error) == "bad \\x1b[31m\n  \\x07"


def test_displays_in_a_terminal() -> None:
    card = Card("model", "a\x1b", "b\x07", [("description", "one\ntwo \u202e")])
    assert card.text().splitlines() == ["model a\\x1b [b\\x07]", "  description  one\\ntwo \\u202e"]
    assert bundle("a\x1b[31m", "")["text/plain"] == "a\\x1b[31m"
