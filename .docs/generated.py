"""Generated parts of the site, from the tables in the code: commands, settings, REST operations.

A line `<!-- generated: NAME -->` of a page is replaced with the Markdown of the function in `GENERATORS`. Nothing here
depends on Sphinx.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from mlmgmt_nb import cli, other_tools
from mlmgmt_nb.client.http.frames import flat_names
from mlmgmt_nb.commands import COMMANDS, Command, Flag
from mlmgmt_nb.commands.config import DEFAULTS, SETTINGS
from mlmgmt_nb.commands.grammar import metavar
from mlmgmt_nb.commands.output.listing import COLUMNS
from mlmgmt_nb.commands.session import COMMON, WAITING
from mlmgmt_nb.contract import OPERATIONS, ServiceResponse, limits, openapi
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.contract.operations import ACCOUNT_PATH
from mlmgmt_nb.contract.variables import RESERVED
from mlmgmt_nb.scoring.__main__ import driver_parser
from mlmgmt_nb.service.access.permissions import NEEDED
from mlmgmt_nb.service.access.principals import Role
from mlmgmt_nb.service.api.resources import EXTENSIONS

Json = Mapping[str, Any]

ROOT = Path(__file__).parents[1]

_SPECIAL = re.compile(r"([\\*_\[\]<>|#~$])")
_CODE = re.compile(r"(`[^`]+`)")


# Markdown


def _text(text: str) -> str:
    """Escape a text for a line or a table cell; code between backticks is the only markup."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part.replace("|", r"\|") if part[:1] == "`" else _SPECIAL.sub(r"\\\1", part) for part in parts)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table, or nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from ("", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines, "")


# Commands


def commands() -> str:
    """Return the reference of all commands, with their flags."""
    lines = ["## Flags of every command", *_flags(COMMON), "## Flags of commands that wait", *_flags(WAITING)]
    for group, members in groupby(sorted(COMMANDS, key=_place), lambda command: command.words[0]):
        lines.append(f"## mlmgmt {group}")
        for command in members:
            lines += _command(command)
    return "\n".join(lines)


def command_summary() -> str:
    """Return a table of the commands, with a row for each group."""
    rows = []
    for group, members in groupby(sorted(COMMANDS, key=_place), lambda command: command.words[0]):
        verbs = [" ".join(command.words[1:]) for command in members]
        rows.append((_code(f"mlmgmt {group}"), ", ".join(_code(verb) if verb else "(no verb)" for verb in verbs)))
    return "\n".join(_table(("command", "verbs"), rows))


def list_columns() -> str:
    """Return the columns of lists: those of tables, and those for programs."""
    items = {Service if type_ is ServiceResponse else type_: columns for type_, columns in COLUMNS.items()}
    rows = (
        (type_.__name__, ", ".join(map(_code, columns)), ", ".join(map(_code, flat_names(type_))))
        for type_, columns in items.items()
    )
    return "\n".join(_table(("list of", "table", "TSV and CSV"), rows))


def _place(command: Command[Any]) -> int:
    """Return the sort key of a command: groups stay together, in the order of the help."""
    return next(place for place, other in enumerate(COMMANDS) if other.words[0] == command.words[0])


def _command(command: Command[Any]) -> Iterator[str]:
    if len(command.words) > 1:
        yield f"### mlmgmt {command.name}"
    yield f"\n{_text(command.help)}.\n"
    yield f"```console\n{command.example}\n```"
    if command.waits:
        yield "\nIt waits for the operation; see `--no-wait` and `--timeout`."
    yield from _flags(command.flags)


def _flags(flags: Iterable[Flag]) -> Iterator[str]:
    return _table(("flag", "description", "default"), (_flag(flag) for flag in flags))


def _flag(flag: Flag) -> tuple[str, str, str]:
    takes = "" if flag.kind == "switch" else f" {metavar(flag)}"
    names = metavar(flag) if flag.is_positional else ", ".join(flag.names.split()) + takes
    default = "required" if flag.required else "" if flag.default is None else _code(str(flag.default))
    return _code(names), _text(flag.help), default


def service_commands() -> str:
    """Return the shell commands that manage the service."""
    lines: list[str] = []
    for name, help_, parser in _with_parts(_own_commands()):
        lines += [f"### mlmgmt {name}", "", f"{_text(help_[:1].upper() + help_[1:])}.", *_options(parser)]
    return "\n".join(lines)


def serve() -> str:
    """Return the flags of `mlmgmt serve`."""
    return "\n".join(line for name, _, parser in _own_commands() if name == "serve" for line in _options(parser))


def driver_command() -> str:
    """Return the flags of `python -m mlmgmt_nb.scoring`."""
    return "\n".join(_options(driver_parser()))


def _own_commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    return _commands_of(cli.service_parser())


def _commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for shown in action._choices_actions:
                yield shown.dest, shown.help or "", action.choices[shown.dest]


def _with_parts(
    commands: Iterable[tuple[str, str, argparse.ArgumentParser]],
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield commands, each followed by those that it consists of."""
    for name, help_, parser in commands:
        yield name, help_, parser
        for part, its_help, its_parser in _commands_of(parser):
            yield f"{name} {part}", its_help, its_parser


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if actions and group.title not in {"options", "positional arguments"}:
            yield f"\n{(group.title or '').capitalize()}:"
        yield from _table(("flag", "description"), (_option(action) for action in actions))


def _option(action: argparse.Action) -> tuple[str, str]:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    names = ", ".join(action.option_strings) or str(value)
    takes = f" {value}" if action.option_strings and action.nargs != 0 else ""
    return _code(names + takes), _text((action.help or "") % {"default": action.default})


# Settings


def settings() -> str:
    """Return the settings of a profile."""
    rows = (
        (_code(name), _code(f"MLMGMT_{name.upper()}"), _text(about), _code(DEFAULTS[name]) if name in DEFAULTS else "")
        for name, about in SETTINGS.items()
    )
    return "\n".join(_table(("setting", "environment", "description", "default"), rows))


# REST


def operations() -> str:
    """Return the operations of the API, from its OpenAPI document."""
    document = openapi.document()
    found: dict[str, list[str]] = {
        tag["name"]: [f"## {tag['name']}", "", tag["description"]] for tag in document["tags"]
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                found[operation["tags"][0]] += _operation(document, method, path, operation)
    return "\n".join(line for lines in found.values() for line in lines)


def _operation(document: Json, method: str, path: str, operation: Json) -> Iterator[str]:
    yield f"### {operation['summary']}\n"
    yield f"```text\n{method.upper()} {path.removeprefix(ACCOUNT_PATH)}\n```\n"
    yield f"{_text(operation.get('description', ''))} Operation `{operation['operationId']}`."
    yield from _table(
        ("parameter", "type", "description"),
        ((_code(p["name"]), _kind(p["schema"]), _text(p["description"])) for p in operation.get("parameters", ())),
    )
    if body := operation.get("requestBody"):
        yield f"\nBody: {_content(body)}. {_text(body['description'])}"
    yield from _table(
        ("answer", "body", "description"), (_answer(document, *answer) for answer in operation["responses"].items())
    )


def _answer(document: Json, status: str, answer: Json) -> tuple[str, str, str]:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    headers = ", ".join(_code(name) for name in answer.get("headers", ()))
    told = _text(answer["description"]) + (f" Header: {headers}." if headers else "")
    return "else" if status == "default" else status, _content(answer), told


def _content(holder: Json) -> str:
    return _kind(holder["content"]["application/json"]["schema"]) if "content" in holder else ""


def types() -> str:
    """Return the types of request and response bodies, from the OpenAPI document."""
    lines: list[str] = []
    for name, schema in openapi.document()["components"]["schemas"].items():
        if name != "NullValue":
            lines += [f"### {name}", "", _text(schema.get("description", ""))]
            lines += [""] if "properties" in schema else ["", f"Values: {_kind(schema)}."]
            required = set(schema.get("required", ()))
            lines += _table(
                ("property", "type", "description"),
                (
                    (_code(key) + (" (required)" if key in required else ""), _kind(value), _text(_about(value)))
                    for key, value in schema.get("properties", {}).items()
                ),
            )
    return "\n".join(lines)


def _about(schema: Json) -> str:
    if "$ref" in schema:
        schema = openapi.document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    said: str = schema.get("description", "")
    return f"{said} Set by the service." if schema.get("readOnly") else said


_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "pattern": "like {}",
}
_EXCLUSIVE_LIMITS = {
    "minimum": ("exclusiveMinimum", "above {}"),
    "maximum": ("exclusiveMaximum", "below {}"),
}
"""Marks of limits that are not allowed values themselves, and the words for such limits."""


def _kind(schema: Json) -> str:
    """Return the type of a value and its limits, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return _kind(schema["anyOf"][0])
    if "enum" in schema:
        return ", ".join(_code(str(value)) for value in schema["enum"] if value is not None)
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "additionalProperties" in schema:
        return f"object of {_kind(schema['additionalProperties'])}"
    limits = [_limit(schema, key).format(_code(str(schema[key]))) for key in _LIMITS if key in schema]
    return "; ".join([schema.get("format") or schema.get("type", "any"), *limits])


def _limit(schema: Json, key: str) -> str:
    """Return the words for a limit of a type."""
    mark, words = _EXCLUSIVE_LIMITS.get(key, ("", ""))
    return words if schema.get(mark) else _LIMITS[key]


def bounds() -> str:
    """Return the size limits of request bodies that their types do not have."""
    rows = [("the whole body", f"{limits.MAX_BODY_BYTES:,} bytes")]
    rows += [(_bounded(name, "text"), f"{most:,} characters") for name, most in limits.MAX_CHARACTERS.items()]
    rows += [(_bounded(name, "list or object"), f"{most:,} items") for name, most in limits.MAX_ITEMS.items()]
    return "\n".join(_table(("property", "at most"), rows))


def _bounded(name: str, kind: str) -> str:
    return f"any other {kind}" if name == limits.OTHERWISE else _code(name) + f" ({kind})"


def roles() -> str:
    """Return the role that each operation needs, from the table that the service checks."""
    rows = (
        (_code(" ".join(_request_of(action))), "yes" if role <= Role.READER else "no", "yes")
        for action, role in NEEDED.items()
    )
    return "\n".join(_table(("request", "reader", "contributor"), rows))


def _request_of(action: str) -> tuple[str, str]:
    if operation := OPERATIONS.get(action) or CHANGE_OPERATIONS.get(action):
        return operation.method, operation.path
    method, path = action.split()
    return method, path


def extensions() -> str:
    """Return the extensions of the API, from the docstrings of their handlers."""
    lines: list[str] = []
    for pattern, methods in EXTENSIONS.items():
        for method, handler in methods.items():
            path = "/".join(pattern).replace("*", "sha256/DIGEST[/NAME]")
            lines += [f"### {method} /{path}", "", inspect.getdoc(handler) or "", ""]
    return "\n".join(lines)


def reserved_variables() -> str:
    """Return the names that variables of a service cannot have."""
    rows = ((_code(name), _text(use)) for name, use in RESERVED.items())
    return "\n".join(_table(("name", "because it"), rows))


def moving() -> str:
    """Return the counterparts of commands and Python names of other tools."""
    lines: list[str] = []
    for tool, table in other_tools.COMMANDS.items():
        rows = ((_code(f"az ml {e.original}"), _code(f"mlmgmt {e.command}"), _text(e.note)) for e in table)
        lines += [f"### Commands of {tool}", *_table((tool, "mlmgmt-nb", "note"), rows)]
    for tool, table in other_tools.PYTHON.items():
        rows = (
            (_code(e.original), f"{_code(e.python)} or {_code(f'mlmgmt {e.command}')}", _text(e.note)) for e in table
        )
        lines += [f"### Python of {tool}", *_table((tool, "mlmgmt-nb", "note"), rows)]
    return "\n".join(lines)


GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "command-summary": command_summary,
    "list-columns": list_columns,
    "service-commands": service_commands,
    "driver-command": driver_command,
    "serve": serve,
    "settings": settings,
    "operations": operations,
    "types": types,
    "bounds": bounds,
    "roles": roles,
    "extensions": extensions,
    "reserved-variables": reserved_variables,
    "moving": moving,
}

_MARK = re.compile(r"<!-- generated: ([\w-]+) -->")


def filled(source: str) -> str:
    """Return a page with its generated parts filled in."""
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](), source)
