"""The sample of a function: its arguments by name, with types from the sample or the type hints."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.samples.hints import (
    conversion,
    default_literal,
    hinted_type,
    needs_conversion,
    type_hints,
    value_by_hint,
)
from mlmgmt_nb.packaging.samples.sample import Sample, first_rows, of_model, plain_array, strict_columns, type_of
from mlmgmt_nb.scoring.schema import ArgumentType

__all__ = ["of_function"]


def of_function(function: Callable[..., Any], sample: Any) -> Sample:
    """Return the sample of a function from a dict of its arguments, or a value for its only argument.

    Without a sample, the types come from the type hints.

    Raises:
        UsageError: the function cannot be called with the sample.
    """
    parameters = _parameters(function)
    named = _named(parameters, sample)
    if sample is None:
        _check_known(parameters, named)
        return _of_hints(function, named)
    if isinstance(sample, Mapping) and _fits(named, sample):
        return _of_arguments(function, named, sample)
    positional = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if isinstance(sample, Mapping) and len(positional) != 1:
        raise _misfit(named, sample)
    return of_model(sample, positional[0] if positional else "data")


def _named(parameters: Mapping[str, inspect.Parameter], sample: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters with names: those of the function, and those that its `**` parameter takes of a sample."""
    named = {name: p for name, p in parameters.items() if p.kind not in _OPEN}
    if isinstance(sample, Mapping) and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        named |= {name: _keyword(name) for name in sample if name not in named and _is_name(name)}
    return named


def _check_known(parameters: Mapping[str, inspect.Parameter], named: Mapping[str, inspect.Parameter]) -> None:
    """Raise UsageError for a function with parameters of which none has a name, such as `*args`."""
    if parameters and not named:
        raise UsageError(
            f"sample: without one, the arguments of a function of ({', '.join(map(str, parameters.values()))}) "
            "are not known",
            field="sample",
            fix="Give a dict with a value for each argument.",
        )


def _misfit(named: Mapping[str, inspect.Parameter], sample: Mapping[Any, Any]) -> UsageError:
    return UsageError(
        f"sample: it has {', '.join(map(str, sample)) or 'nothing'}, and the function takes "
        f"{', '.join(named) or 'nothing'}",
        field="sample",
        fix="Give a value for each argument of the function, by its name.",
    )


def _of_arguments(
    function: Callable[..., Any], named: Mapping[str, inspect.Parameter], sample: Mapping[str, Any]
) -> Sample:
    """Return the sample of named arguments. Arguments that it omits keep their defaults, but requests can set them."""
    hints = type_hints(function)
    given = {
        name: _argument(name, first_rows(plain_array(sample[name])), hints.get(name))
        for name in named
        if name in sample
    }
    types = {
        name: given[name][1] if name in given else _type_by_default(name, parameter, hints)
        for name, parameter in named.items()
        if name in given or default_literal(parameter, hints.get(name)) is not None
    }
    values = {name: value for name, (value, _) in given.items()}
    passed = _call_of(named, types)
    notes = tuple(hint for value in values.values() for hint in strict_columns(value))
    return Sample(values, types, _given(named, values), passed, _signature(named, list(types), hints), notes=notes)


def _argument(name: str, value: Any, hint: Any) -> tuple[Any, ArgumentType]:
    """Return the sample of an argument, and its type."""
    if needs_conversion(hint) and isinstance(value, hint):
        raise UsageError(
            f"sample: JSON has no {hint.__name__}, which the argument {name!r} needs",
            field="sample",
            fix=f"Give a function that makes it: `lambda {name}: function({conversion(name, hint)})`.",
        )
    return value_by_hint(value, hint) or (value, type_of(value))


def _type_by_default(name: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> ArgumentType:
    default = parameter.default
    return hinted_type(name, hints.get(name, None if default is None else type(default)))


def _of_hints(function: Callable[..., Any], named: Mapping[str, inspect.Parameter]) -> Sample:
    hints = type_hints(function)
    types = {name: hinted_type(name, hints.get(name)) for name in named}
    passed = _call_of(named, named)
    return Sample({}, types, None, passed, _signature(named, list(named), hints))


def _signature(named: Mapping[str, inspect.Parameter], names: list[str], hints: Mapping[str, Any]) -> str:
    """Return the parameter list of `run`, with the defaults that can be written as source."""
    defaults = [default_literal(named[name], hints.get(name)) for name in names]
    parts = [name if default is None else f"{name}={default}" for name, default in zip(names, defaults, strict=True)]
    optional = [default is not None for default in defaults]
    return ", ".join(parts if optional == sorted(optional) else ["*", *parts])


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a callable implemented in C
        return {}


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Kinds of parameters that accept any number of arguments."""


def _keyword(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def _call_of(named: Mapping[str, inspect.Parameter], names: Iterable[str]) -> str:
    """Return the argument list of the call in a driver."""
    return ", ".join(name if _has_no_name(named[name]) else f"{name}={name}" for name in names)


def _given(named: Mapping[str, inspect.Parameter], values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments of the call in the notebook."""
    positional = [values.get(name, parameter.default) for name, parameter in named.items() if _has_no_name(parameter)]
    by_name = {name: value for name, value in values.items() if not _has_no_name(named[name])}
    return tuple(positional), by_name


def _has_no_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.POSITIONAL_ONLY


def _fits(named: Mapping[str, inspect.Parameter], sample: Mapping[Any, Any]) -> bool:
    needed = {name for name, p in named.items() if p.default is p.empty}
    return bool(sample) and needed <= sample.keys() <= named.keys()
