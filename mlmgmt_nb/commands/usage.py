"""Instructions to call a service from other programs: code to paste, with a sample body and without keys."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CodeBlock", "Usage", "first_record", "pretty"]

_WIDTH = 110
_NO_SAMPLE = "body          the driver has no schema: put what its run() takes into body.json"


@dataclass(frozen=True)
class CodeBlock:
    """Code to paste.

    Attributes:
        title: the place to paste it, and its prerequisites.
        code: the code.
        language: its language, as Pygments names it.
    """

    title: str
    code: str
    language: str


@dataclass(frozen=True)
class Usage:
    """Instructions to call a service from other programs. They contain no keys: the shell reads one into MLMGMT_KEY.

    Attributes:
        name: name of the service.
        scoring_uri: the URL that data is posted to.
        swagger_uri: the URL of the Swagger description.
        sample: a valid body: text to send unchanged, or a JSON value; None if unknown.
    """

    name: str
    scoring_uri: str
    swagger_uri: str
    sample: Any

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": "Bearer $MLMGMT_KEY", "Content-Type": "application/json"}

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The URLs of the service, each with its label."""
        return [("scoring URL", self.scoring_uri), ("swagger", self.swagger_uri)]

    @property
    def blocks(self) -> list[CodeBlock]:
        """The code blocks, one for each kind of program."""
        return [
            CodeBlock("In a shell; the first line reads the key and does not show it", self.curl, "bash"),
            CodeBlock("In Python, with MLMGMT_KEY of the shell", self.python, "python"),
            CodeBlock("In Python with mlmgmt-nb", self.own, "python"),
        ]

    @property
    def note(self) -> str:
        """A note about further prerequisites of the code, or ""."""
        return _NO_SAMPLE if self.sample is None else ""

    @property
    def curl(self) -> str:
        """Shell commands that score the sample or, without a sample, the file `body.json`."""
        data = "--data-binary @body.json"
        if self.sample is not None:
            body = self.sample if isinstance(self.sample, str) else pretty(self.sample)
            data = "--data-raw '" + body.replace("'", "'\\''") + "'"
        keys = f"mlmgmt service keys -n {shlex.quote(self.name)} --show --query primaryKey -o tsv"
        return (
            f"export MLMGMT_KEY=$({keys})\n"
            f"curl {self.scoring_uri} \\\n"
            '  -H "Authorization: Bearer $MLMGMT_KEY" \\\n'
            "  -H 'Content-Type: application/json' \\\n"
            f"  {data}"
        )

    @property
    def python(self) -> str:
        """Python code that scores the sample or, without a sample, the file `body.json`."""
        return (
            "import os\n\n"
            "import requests\n\n"
            f"{self._body}\n"
            "answer = requests.post(\n"
            f"    {_literal(self.scoring_uri)},\n"
            f"    {self._sent},\n"
            '    headers={"Authorization": f"Bearer {os.environ[\'MLMGMT_KEY\']}"},\n'
            "    timeout=60,\n"
            ")\n"
            "answer.raise_for_status()\n"
            "print(answer.json())"
        )

    @property
    def own(self) -> str:
        """Python code that scores the sample with the client of mlmgmt-nb, which finds the key itself."""
        return f"from mlmgmt_nb import connect\n\n{self._body}\nconnect().services.run({_literal(self.name)}, body)"

    @property
    def _body(self) -> str:
        if self.sample is None:
            return 'body = open("body.json", "rb").read()'
        return f"body = {pretty(self.sample, write=_literal)}"

    @property
    def _sent(self) -> str:
        if self.sample is None:
            return "data=body"
        return "data=body.encode()" if isinstance(self.sample, str) else "json=body"

    def __str__(self) -> str:
        facts = [f"{label:<12}  {value}" for label, value in self.facts]
        blocks = [f"\n# {block.title}\n{block.code}" for block in self.blocks]
        return "\n".join([*facts, *([self.note] if self.note else []), *blocks])


def first_record(sample: Any) -> Any:
    """Return a body with only the first record of each table, which shows the format."""
    if not isinstance(sample, dict):
        return sample
    return {name: value[:1] if _is_table(value) else value for name, value in sample.items()}


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _literal(value: Any) -> str:
    """Return a JSON value as a Python literal. Text has double quotes unless its JSON form contains escapes."""
    if isinstance(value, str):
        text = _json(value)
        return repr(value) if "\\" in text else text
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(name)}: {_literal(item)}' for name, item in value.items())}}}"
    return repr(value)


def pretty(value: Any, indent: str = "", *, write: Callable[[Any], str] = _json) -> str:
    """Format a JSON value for reading. Values that fit on one line stay on one line.

    Args:
        value: lists, objects, text, numbers, booleans and None.
        indent: indentation of each line except the first.
        write: formats a value on one line (default: as JSON).
    """
    flat = write(value)
    if len(indent) + len(flat) <= _WIDTH or not _may_span_lines(value):
        return flat
    inner = indent + "  "
    parts = (
        [f"{write(name)}: {pretty(item, inner, write=write)}" for name, item in value.items()]
        if isinstance(value, dict)
        else [pretty(item, inner, write=write) for item in value]
    )
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}{closing}"


def _may_span_lines(value: Any) -> bool:
    """Return whether a value is an object that is not empty, or a list that contains objects or lists."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
