"""The answer of the object in the notebook to the sample, and the errors if it does not answer."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours import Call, Flavour
from mlmgmt_nb.packaging.flavours.base import completed
from mlmgmt_nb.packaging.isolated_run import missing_package
from mlmgmt_nb.packaging.samples.hints import conversion, needs_conversion, type_hints
from mlmgmt_nb.scoring.encoding.encoder import encode_result

__all__ = ["expected_answer"]

_MOST_CHARACTERS = 300


def expected_answer(flavour: Flavour, model: Any, call: Call) -> bytes | None:
    """Return the answer of the object in the notebook, as JSON; None without a sample.

    Raises:
        UsageError: the object refuses the sample, or its answer cannot be expressed as JSON.
    """
    from mlmgmt_nb.scoring.errors import RequestError

    if call.sample.given is None:
        return None
    own_sample = replace(call, sample=replace(call.sample, given=copy.deepcopy(call.sample.given)))
    try:
        answer = completed(flavour.answer(model, own_sample))  # may modify the sample
    except UsageError:
        raise
    except Exception as error:
        raise _refusal(model, call, error) from error
    try:
        return encode_result(answer)
    except RequestError as error:
        message = error.message.replace("run() returned", "it returned")
        raise UsageError(
            f"model: {message}", field="model", fix="Name another method, or give a function that converts the answer."
        ) from error


def _refusal(model: Any, call: Call, error: Exception) -> UsageError:
    kind, reason = type(error).__name__, " ".join(str(error).split())[:_MOST_CHARACTERS]
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_package(error.name, reason)
    if kind == "NotFittedError" or "not fitted" in reason or "not been fitted" in reason:
        return UsageError(
            f"model: this {type(model).__name__} is not fitted", field="model", fix="Call its `fit` first."
        )
    return UsageError(
        f"sample: the {'function' if call.method is None else 'model'} refuses it: {kind}: {reason}",
        field="sample",
        fix=_conversions(model)
        or "Give a value for each argument, as callers will send it: as JSON, without objects of your own classes."
        if call.method is None
        else "Give rows like those it was fitted with, such as `sample=X_train.head(20)`.",
    )


def _conversions(function: Any) -> str | None:
    """Return the fix for a function with arguments that need conversion from JSON; None for other functions."""
    hints = {name: hint for name, hint in type_hints(function).items() if name != "return"}
    if not any(map(needs_conversion, hints.values())):
        return None
    passed = ", ".join(conversion(name, hint) if needs_conversion(hint) else name for name, hint in hints.items())
    return f"Give a function that makes its arguments from JSON: `lambda {', '.join(hints)}: function({passed})`."
