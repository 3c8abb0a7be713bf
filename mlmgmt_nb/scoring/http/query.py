"""`GET /score?x=4`: the arguments of `run` from the query of a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from mlmgmt_nb.scoring.schema.types import ArgumentType

__all__ = ["body_of_query"]


def body_of_query(query: bytes, types: Mapping[str, ArgumentType]) -> bytes:
    """Return the body that a POST with the same arguments would have.

    A value is parsed as JSON if it is valid, otherwise it is text; values of text arguments always stay text. A
    repeated name becomes a list.

    Args:
        query: the part of the URL after the question mark.
        types: the types of the arguments.
    """
    given = parse_qs(query.decode("latin1"), keep_blank_values=True, encoding="utf-8", errors="replace")
    # not msgspec: drivers that take text get the same text as from the server of Azure ML, and integers of any size
    return json.dumps({name: _value(values, types.get(name)) for name, values in given.items()}).encode()


def _value(values: list[str], kind: ArgumentType | None) -> Any:
    is_text = kind is not None and kind.swagger().get("type") == "string"
    read = [text if is_text else _read(text) for text in values]
    return read[0] if len(read) == 1 else read


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text
