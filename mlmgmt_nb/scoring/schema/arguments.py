"""Read the arguments of `run` from the body of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.schema.repeated import repeated_argument
from mlmgmt_nb.scoring.schema.types import ArgumentType, InputError, describe

__all__ = ["bad_input", "decode_object", "decode_text", "read_arguments"]

_DECODER = msgspec.json.Decoder()


def bad_input(problems: list[str]) -> RequestError:
    """Return a 400 with one detail for each problem."""
    return RequestError(400, "BadInput", problems[0], details=[("BadInput", problem) for problem in problems])


def decode_text(body: bytes) -> str:
    """Return the body as text.

    Raises:
        RequestError: 400, it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise bad_input([f"the body is not UTF-8 text: {error.reason} at byte {error.start}"]) from None


def decode_object(body: bytes, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as a JSON object; `names` are the expected keys, for the message.

    Raises:
        RequestError: 400, the body is something else.
    """
    try:
        values = _DECODER.decode(body)
        repeated = repeated_argument(body, values) if isinstance(values, dict) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = " (NaN and Infinity are not JSON: send null)" if b"NaN" in body or b"Infinity" in body else ""
        raise bad_input([f"the body is not JSON: {error}{hint}"]) from None
    if not isinstance(values, dict):
        raise bad_input([f"the body must be an object with the arguments {', '.join(names)}; got {describe(values)}"])
    if repeated is not None:
        raise bad_input([f"{repeated}: this argument is given more than once; send it once"])
    return values


def read_arguments(body: bytes, types: Mapping[str, ArgumentType], optional: frozenset[str]) -> dict[str, Any]:
    """Return the arguments, converted to their types.

    Args:
        body: a JSON object whose keys are the arguments.
        types: the types of all arguments.
        optional: arguments that may be left out.

    Raises:
        RequestError: 400; its details name every fault.
    """
    values = decode_object(body, types)
    if _are_arguments(values, types, optional):
        return values
    known = ", ".join(types) or "none"
    problems = [f"{name}: unknown argument; the arguments are {known}" for name in values if name not in types]
    arguments: dict[str, Any] = {}
    for name, argument in types.items():
        if name in values:
            try:
                arguments[name] = argument.parse(values[name], name)
            except InputError as error:
                problems += error.problems
        elif name not in optional:
            problems.append(f"{name}: this argument is missing")
    if problems:
        raise bad_input(problems)
    return arguments


def _are_arguments(values: Mapping[str, Any], types: Mapping[str, ArgumentType], optional: frozenset[str]) -> bool:
    """Return whether decoded values are valid arguments as they are: the case of most requests, checked cheaply."""
    for name, value in values.items():
        argument = types.get(name)
        if argument is None or type(value) is not argument.unchanged:
            return False
    return len(values) == len(types) or values.keys() >= types.keys() - optional
