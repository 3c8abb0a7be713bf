"""Find out what a driver's `run` takes: text, typed arguments, headers, or the whole request."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any

from mlmgmt_nb.scoring import compat
from mlmgmt_nb.scoring.compat.messages import RAW_MARK

__all__ = [
    "HEADERS_ARGUMENT",
    "parameters",
    "plain_function",
    "takes_request",
    "takes_text",
    "text_argument",
    "wraps_arguments",
]

HEADERS_ARGUMENT = "request_headers"
_PLAIN_MARK = "__mlmgmt_plain__"
_RAW_MODULES = ("azureml_inference_server_http.api.aml_request", "azureml.contrib.services.aml_request")
"""Modules of the original packages: their `rawhttp` sets a flag in the module instead of marking the function."""


def parameters(run: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of `run` by name; empty if it cannot be inspected."""
    try:
        return dict(inspect.signature(run).parameters)
    except (TypeError, ValueError):  # a callable of C code
        return {}


def text_argument(names: Iterable[str]) -> str:
    """Return the name of the argument that gets the body as text; empty if there is none."""
    return next((name for name in names if name != HEADERS_ARGUMENT), "")


def takes_text(run: Callable[..., Any]) -> bool:
    """Return whether `run` can be called with the body as text (and the headers, if it asks for them)."""
    try:
        names = parameters(run)
        if HEADERS_ARGUMENT in names:
            inspect.signature(run).bind(**{text_argument(names): "", HEADERS_ARGUMENT: {}})
        else:
            inspect.signature(run).bind("")
    except TypeError:
        return False
    except ValueError:  # it cannot be inspected, so the first request decides
        return True
    return True


def takes_request(run: Callable[..., Any]) -> bool:
    """Return whether the driver asked for the whole request, with our `rawhttp` or that of an installed package."""
    flags = [getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in _RAW_MODULES]
    return bool(getattr(run, RAW_MARK, False)) or any(flags)


def plain_function(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function in one that our decorators made: its arguments are converted before it is called."""
    outer, plain = getattr(run, _PLAIN_MARK, (None, run))
    return plain if outer is run else run


def wraps_arguments(run: Callable[..., Any]) -> bool:
    """Return whether the original `inference-schema` package wraps `run` and converts its arguments."""
    module = sys.modules.get("inference_schema.schema_util")
    return hasattr(run, "__wrapped__") and module is not None and not compat.is_ours(module)
