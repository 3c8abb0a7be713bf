"""Tokenizer of magic lines, with the same quoting on every system and with values of the notebook."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mlmgmt_nb.commands.grammar import Token
from mlmgmt_nb.errors import UsageError

__all__ = ["Line", "read_line"]

_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_FLAG = re.compile(r"(--?[A-Za-z][\w-]*)=(\$[A-Za-z_]\w*|\{.*\})", re.DOTALL)
_NAME_IN_BRACES = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_PIECE = re.compile(r"""\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")(?=\s|$)|\s*(?P<bare>\S)""")

Evaluate = Callable[[str], Any]
"""Evaluates a Python expression in the notebook. Exceptions of the expression propagate."""


class Line(NamedTuple):
    """A parsed line: its tokens, and the variable for the result."""

    tokens: list[Token]
    target: str | None


def read_line(line: str, evaluate: Evaluate) -> Line:
    """Split a magic line at blanks.

    Quoted text is one token, unchanged. A token that is only `{expression}` or `$name` becomes the value, also after
    `--flag=`; a name in braces or after `$` within a longer token is inserted as text. `>> name` at the end, or
    `--out name`, names the variable for the result.

    Raises:
        UsageError: a quote or brace is not closed, or a name is unknown.
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
        tokens += [text] if is_quoted else _tokens(text, evaluate)
        place += 1
    return Line(tokens, target)


def _pieces(line: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts between blanks, and whether each was quoted."""
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
            raise UsageError(f"a quote is not closed: {line[start:].strip()}", field="line", fix="Close it.")
        place = _end_of_bare(line, start)
        yield line[start:place], False


def _end_of_bare(line: str, start: int) -> int:
    """Return the end of an unquoted part: the next blank outside brackets and strings."""
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
        raise UsageError(
            f"a brace is not closed: {line[start:].strip()}", field="line", fix="Close it, or quote the text."
        )
    return len(line.rstrip())


def _tokens(text: str, evaluate: Evaluate) -> list[Token]:
    """Return the token of an unquoted part; two for `--flag={expression}` whose value cannot be inserted as text."""
    assigned = _FLAG.fullmatch(text)
    if assigned is None:
        return [_value(text, evaluate)]
    flag, value = assigned[1], _value(assigned[2], evaluate)
    is_text = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return [f"{flag}={value}"] if is_text else [flag, value]


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
            f"{shown} is not a valid Python expression: {error.msg}", field="line", fix="Quote the text."
        ) from error
    except Exception as error:
        raise UsageError(
            f"{shown}: {type(error).__name__}: {error}", field="line", fix="Correct the expression, or quote the text."
        ) from error


def _text_of(name: re.Match[str], evaluate: Evaluate) -> str:
    try:
        return str(evaluate(name[1]))
    except NameError:
        return name[0]  # perhaps an environment variable: the command interprets it


def _target(pieces: list[tuple[str, bool]]) -> str:
    name = pieces[0][0] if pieces else ""
    if not name.isidentifier():
        raise UsageError(f"{name!r} is not a valid variable name", field="out", fix="Write `>> name` or `--out name`.")
    return name
