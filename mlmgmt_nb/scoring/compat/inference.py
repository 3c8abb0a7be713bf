"""The decorators of `inference-schema`, which declare the types of `run`'s arguments by samples.

A decorated function converts its arguments when it is called, as in the original. The runtime converts them by the
same types before the call, to be able to name each fault, and then calls the plain function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mlmgmt_nb.scoring.compat.parameter_types import AbstractParameterType
from mlmgmt_nb.scoring.schema.file import ServiceSchema
from mlmgmt_nb.scoring.schema.nested import OptionalType
from mlmgmt_nb.scoring.schema.plain import PlainType

__all__ = ["PLAIN_MARK", "SCHEMA_MARK", "input_schema", "output_schema"]

SCHEMA_MARK = "__mlmgmt_schema__"
OPTIONAL_MARK = "__mlmgmt_optional__"
PLAIN_MARK = "__mlmgmt_plain__"
"""Attribute of a function that converts its arguments: that function, and the plain one inside. Users' decorators copy
the attribute, so it records the function that it belongs to."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


def input_schema(
    param_name: str,
    param_type: AbstractParameterType,
    convert_to_provided_type: bool = True,
    optional: bool = False,
) -> Callable[[_Function], _Function]:
    """Declare the type of an argument of `run`.

    Args:
        param_name: the argument.
        param_type: its type.
        convert_to_provided_type: if False, `run` gets the JSON value unchanged.
        optional: a request may omit the argument or send null, so that `run` gets None.
    """
    argument = param_type.schema
    if not convert_to_provided_type:
        argument = PlainType("any", argument.example)
    if optional:
        argument = OptionalType(argument)

    def mark(run: _Function) -> _Function:
        schema = _schema_of(run)
        made = _converting(run, param_name, param_type) if convert_to_provided_type else run
        # decorators are applied from the last argument to the first
        setattr(made, SCHEMA_MARK, ServiceSchema({param_name: argument, **schema.input}, schema.output))
        if optional:
            setattr(made, OPTIONAL_MARK, getattr(run, OPTIONAL_MARK, frozenset()) | {param_name})
        return made

    return mark


def output_schema(output_type: AbstractParameterType) -> Callable[[_Function], _Function]:
    """Declare the type of the result of `run`."""

    def mark(run: _Function) -> _Function:
        setattr(run, SCHEMA_MARK, ServiceSchema(_schema_of(run).input, {"output": output_type.schema}))
        return run

    return mark


def _schema_of(run: Callable[..., Any]) -> ServiceSchema:
    schema: ServiceSchema = getattr(run, SCHEMA_MARK, ServiceSchema())
    return schema


def _converting(run: _Function, name: str, kind: AbstractParameterType) -> _Function:
    """Return a function of the same kind that converts an argument, unless it is None or converted already."""
    signature = inspect.signature(run)

    def converted(args: Sequence[Any], named: Mapping[str, Any]) -> inspect.BoundArguments:
        bound = signature.bind(*args, **named)
        if bound.arguments.get(name) is not None:
            bound.arguments[name] = kind.convert(bound.arguments[name])
        return bound

    made = _like(run, converted)
    plain = getattr(run, PLAIN_MARK, (None, run))
    setattr(made, PLAIN_MARK, (made, plain[1] if plain[0] is run else run))
    return made


def _like(run: _Function, prepare: Callable[..., inspect.BoundArguments]) -> _Function:
    """Return a function, coroutine function or asynchronous generator that prepares the arguments of another one."""
    wrapper: Any
    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def wrapper(*args: Any, **named: Any) -> Any:
            bound = prepare(args, named)
            return await run(*bound.args, **bound.kwargs)

    elif inspect.isasyncgenfunction(run):

        @functools.wraps(run)
        async def wrapper(*args: Any, **named: Any) -> Any:
            bound = prepare(args, named)
            async for part in run(*bound.args, **bound.kwargs):
                yield part

    else:

        @functools.wraps(run)
        def wrapper(*args: Any, **named: Any) -> Any:
            bound = prepare(args, named)
            return run(*bound.args, **bound.kwargs)

    return wrapper  # type: ignore[no-any-return]
