"""Generated code for a deployment: the magic line and the Python code that are equivalent to a form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlmgmt_nb.commands import COMMANDS, Command
from mlmgmt_nb.commands.flags import COMMON, flags_of
from mlmgmt_nb.notebook.panels.deploy.kernel import Variable

__all__ = ["magic_line", "python_code"]

_PLAIN = re.compile(r"[\w./:@%+,~=-]+")


def magic_line(arguments: Mapping[str, Any], registered: frozenset[str], connect: Mapping[str, str]) -> str:
    """Return the equivalent `%mlmgmt service create ...` line.

    Args:
        arguments: the arguments of `Workspace.deploy`.
        registered: the models in `arguments` that are ids or names of registered models.
        connect: the arguments of `connect`.
    """
    flags = {name: given[0].shortest for name, given in flags_of((*_create().flags, *COMMON)).items()}
    parts = ["%mlmgmt service create"]
    given = {flags[name] for name in arguments if name in flags}
    # Arguments of `connect` without a flag are settings of a profile.
    named = {name: value for name, value in connect.items() if name in flags and flags[name] not in given}
    for name, value in {**arguments, **named}.items():
        parts += [f"{flag} {_quoted(one)}" for flag, one in _values_by_flag(name, value, flags, registered)]
    return " ".join(parts)


def _create() -> Command[Any]:
    return next(command for command in COMMANDS if command.words == ("service", "create"))


def _values_by_flag(
    name: str, value: Any, flags: Mapping[str, str], registered: frozenset[str]
) -> list[tuple[str, Any]]:
    """Return the flags that give an argument, each with its value."""
    if name == "model":
        return [("-i" if model in registered else "-m", model) for model in _listed(value)]
    if name == "autoscaler":
        return [(flags[setting], given) for setting, given in value.items()]
    return [(flags[name], one) for one in _listed(value)]


def python_code(arguments: Mapping[str, Any], connect: Mapping[str, str]) -> str:
    """Return the equivalent Python code.

    Args:
        arguments: the arguments of `Workspace.deploy`.
        connect: the arguments of `connect`.
    """
    named = dict(arguments)
    given = [f"    {named.pop('name')!r},", *(f"    {name}={value!r}," for name, value in named.items())]
    opened = ", ".join(f"{name}={value!r}" for name, value in connect.items())
    return "\n".join(
        ["from mlmgmt_nb import connect", "", f"ws = connect({opened})", "service = ws.deploy(", *given, ")", "service"]
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _quoted(value: Any) -> str:
    """Return a value in the syntax of the magic: bare, quoted, or as a Python expression."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, Variable) or _PLAIN.fullmatch(text):
        return text
    quote = next((quote for quote in "'\"" if quote not in text), None)
    return f"{{{text!r}}}" if quote is None else f"{quote}{text}{quote}"
