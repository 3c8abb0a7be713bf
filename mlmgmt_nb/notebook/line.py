"""From the line of a magic to tokens: our own quoting, the same on every system, and the notebook's values in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mlmgmt_nb.commands.grammar import Token
from mlmgmt_nb.errors import UsageError

__all__ = ["Line", "read_line"]

_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_NAME_IN_BRACES = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_PIECE = re.compile(r"""\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")(?=\s|$)|\s*(?P<bare>\S)""")

Evaluate = Callable[[str], Any]
"""Gives the value of a Python expression in the notebook; raises what Python raises."""


class Line(NamedTuple):
    """A line as it was understood: its tokens, and the variable that the result goes to."""

    tokens: list[Token]
    target: str | None


def read_line(line: str, evaluate: Evaluate) -> Line:
    """Split the line of a magic at its blanks.

    Text in quotes is one token, as it is. `{expression}` and `$name` by themselves are the value; a name in braces or
    after `$` inside of a longer token is put in as text. `>> name` at the end, or `--out name`, names a variable.

    Raises:
        UsageError: a quote or brace is open, or a name is unknown.
    """
    tokens: list[Token] = []
    target = None
    pieces = list(_pieces(line))
    place = 0
    while place < len(pieces):
        text, is_quoted = pieces[place]
        if not is_quoted and text in (">>", "--out"):
            target = _target(pieces[place + 1 : place + 2])
            place += 2
            continue
        tokens.append(text if is_quoted else _value(text, evaluate))
        place += 1
    return Line(tokens, target)


def _pieces(line: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts between blanks, and whether each was in quotes."""
    place, end = 0, len(line.rstrip())
    while place < end:
        found = _PIECE.match(line, place)
        if found is None:
            return
        if found["bare"] is None:
            yield found["single"] if found["single"] is not None else found["double"], True
            place = found.end()
            continue
        start = found.start("bare")
        if found["bare"] in "'\"":
            raise UsageError(f"a quote is open: {line[start:].strip()}", field="line", fix="Close it.")
        place = _end_of_bare(line, start)
        yield line[start:place], False


def _end_of_bare(line: str, start: int) -> int:
    """Where a part without quotes around it ends: at a blank outside of brackets and strings."""
    depth, quote = 0, ""
    for place in range(start, len(line)):
        character = line[place]
        if quote:
            quote = "" if character == quote and line[place - 1] != "\\" else quote
        elif depth and character in "'\"":
            quote = character
        elif character in "{[(" and (depth or character == "{"):
            depth += 1
        elif character in "}])" and depth:
            depth -= 1
        elif character.isspace() and not depth:
            return place
    if depth:
        raise UsageError(f"a brace is open: {line[start:].strip()}", field="line", fix="Close it, or quote the text.")
    return len(line.rstrip())


def _value(text: str, evaluate: Evaluate) -> Token:
    whole = _NAME.fullmatch(text)
    if whole:
        return _evaluated(whole[1], text, evaluate)
    if text.startswith("{") and text.endswith("}"):
        try:
            compile(text[1:-1].strip(), "<line>", "eval")
        except SyntaxError:
            return _evaluated(text, text, evaluate)  # a dict, such as {"a": 1}
        return _evaluated(text[1:-1].strip(), text, evaluate)
    text = _NAME_IN_BRACES.sub(lambda name: str(_evaluated(name[1], name[0], evaluate)), text)
    return _NAME.sub(lambda name: _text_of(name, evaluate), text)


def _evaluated(expression: str, shown: str, evaluate: Evaluate) -> Any:
    try:
        return evaluate(expression)
    except NameError as error:
        raise UsageError(
            f"{shown}: {error}", field="line", fix="Define it in a cell above, or quote the text."
        ) from error
    except SyntaxError as error:
        raise UsageError(
            f"{shown} is no Python expression: {error.msg}", field="line", fix="Quote the text."
        ) from error
    except Exception as error:
        raise UsageError(
            f"{shown}: {type(error).__name__}: {error}", field="line", fix="Correct the expression, or quote the text."
        ) from error


def _text_of(name: re.Match[str], evaluate: Evaluate) -> str:
    try:
        return str(evaluate(name[1]))
    except NameError:
        return name[0]  # such as the name of an environment variable: left to whom it is meant for


def _target(pieces: list[tuple[str, bool]]) -> str:
    name = pieces[0][0] if pieces else ""
    if not name.isidentifier():
        raise UsageError(f"{name!r} is no name of a variable", field="out", fix="Write `>> name` or `--out name`.")
    return name
