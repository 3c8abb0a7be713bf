"""Hypothesis strategies for the types of the contract, derived from the types and within their limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import pytest
from hypothesis import strategies as st
from msgspec import inspect

Strategy = st.SearchStrategy[Any]
_MOST_INTEGER = 2**63 - 1


@pytest.fixture(scope="session")
def values() -> Callable[[Any], Strategy]:
    """Return a strategy for values of a type of the contract."""
    return lambda of: _strategy(inspect.type_info(of))


@singledispatch
def _strategy(info: inspect.Type) -> Strategy:
    raise TypeError(f"no strategy for {info}")


@_strategy.register
def _(info: inspect.Metadata) -> Strategy:
    return _strategy(info.type)


@_strategy.register
def _(info: inspect.UnionType) -> Strategy:
    return st.one_of([_strategy(choice) for choice in info.types])


@_strategy.register
def _(info: inspect.StructType) -> Strategy:
    required = {field.name: _strategy(field.type) for field in info.fields if field.required}
    optional = {field.name: _strategy(field.type) for field in info.fields if not field.required}
    arguments = st.fixed_dictionaries(required, optional=optional)
    return arguments.map(lambda given: info.cls(**_without_contradiction(info.cls, given)))


def _without_contradiction(cls: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Drop the fixed number of replicas if the autoscaler is enabled: requests cannot have both."""
    scaler = given.get("auto_scaler")
    if cls.__name__.endswith("Request") and scaler is not None and scaler.autoscale_enabled:
        return {name: value for name, value in given.items() if name != "num_replicas"}
    return given


@_strategy.register
def _(info: inspect.ListType) -> Strategy:
    return st.lists(_strategy(info.item_type), max_size=3)


@_strategy.register
def _(info: inspect.DictType) -> Strategy:
    return st.dictionaries(_strategy(info.key_type), _strategy(info.value_type), max_size=3)


@_strategy.register
def _(info: inspect.LiteralType) -> Strategy:
    return st.sampled_from(info.values)


@_strategy.register
def _(info: inspect.IntType) -> Strategy:
    return st.integers(-_MOST_INTEGER if info.ge is None else info.ge, _MOST_INTEGER if info.le is None else info.le)


@_strategy.register
def _(info: inspect.BoolType) -> Strategy:
    return st.booleans()


@_strategy.register
def _(info: inspect.NoneType) -> Strategy:
    return st.none()


@_strategy.register
def _(info: inspect.DateTimeType) -> Strategy:
    return st.datetimes(min_value=dt.datetime(1970, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


@_strategy.register
def _(info: inspect.StrType) -> Strategy:
    fewest, most = info.min_length or 0, info.max_length
    if info.pattern is None:
        return st.text(min_size=fewest, max_size=12 if most is None else most)
    return st.from_regex(info.pattern.removesuffix(r"\Z"), fullmatch=True).filter(
        lambda text: fewest <= len(text) and (most is None or len(text) <= most)
    )
