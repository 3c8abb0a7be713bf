"""The registry of flavours: built-in flavours, and flavours from installed packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Flavour

__all__ = ["GROUP", "flavour_of", "flavours"]

GROUP = "mlmgmt_nb.flavours"
"""The group of entry points."""

_BUILT_IN = (
    # The first flavour that accepts an object packages it, so specific flavours come before general flavours.
    "frameworks.mlflow",
    "frameworks.onnx",
    "frameworks.transformers",
    "frameworks.spacy",
    "frameworks.keras",
    "frameworks.torch",
    "frameworks.xgboost",
    "frameworks.lightgbm",
    "frameworks.catboost",
    "frameworks.statsmodels",
    "frameworks.sklearn",
    "pickled",
    "function",
)


@cache
def flavours() -> tuple[Flavour, ...]:
    """Return all flavours in order of precedence."""
    return tuple(_found())


def flavour_of(model: Any) -> Flavour:
    """Return the flavour that packages an object, or a file if `model` is a path.

    Raises:
        UsageError: no flavour packages it.
    """
    if isinstance(model, Path):
        found = next((flavour for flavour in flavours() if flavour.takes_file(model)), None)
        if found is None:
            raise UsageError(
                f"model: {model.name} is not a file of a known model format",
                field="model",
                fix=f"Add a driver, or give the fitted object or a file that its framework saved ({_extensions()}).",
            )
        return found
    found = next((flavour for flavour in flavours() if flavour.takes(model)), None)
    if found is None:
        raise UsageError(
            f"model: an object of type {type(model).__name__} has no method `predict` and cannot be called",
            field="model",
            fix="Give a fitted model, a function or a model file, or add a driver.",
        )
    return found


def _found() -> Iterator[Flavour]:
    for point in entry_points(group=GROUP):
        try:
            flavour = point.load()
        except Exception as error:
            raise UsageError(
                f"the flavour {point.name!r} of {point.value} cannot be loaded: {error}",
                fix="Update or remove the package that provides it.",
            ) from error
        if not isinstance(flavour, Flavour):
            raise UsageError(f"the flavour {point.name!r} of {point.value} is not a Flavour object")
        yield flavour
    for name in _BUILT_IN:
        yield importlib.import_module(f"{__package__}.{name}").FLAVOUR


def _extensions() -> str:
    return ", ".join(dict.fromkeys(ending for flavour in flavours() for ending in flavour.endings))
