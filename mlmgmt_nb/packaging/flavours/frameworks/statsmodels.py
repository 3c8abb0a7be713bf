"""statsmodels: results of a fit, saved as pickles, the only format that the framework supports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel
from mlmgmt_nb.packaging.pickles import saved_pickle

__all__ = ["FLAVOUR"]


class Statsmodels(Flavour):
    """Results of `fit()`."""

    name = "statsmodels"
    roots: ClassVar[tuple[str, ...]] = ("statsmodels",)

    def method(self, model: Any) -> str | None:
        if not hasattr(model, "params"):
            raise UsageError(
                f"model: a {type(model).__name__} is not fitted",
                field="model",
                fix="Give the results of its `fit()`.",
            )
        return "predict"

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        saved = saved_pickle(model, folder, (f"return model.{call.method}({call.sample.passed})",))
        held = getattr(getattr(model, "model", None), "endog", None)
        if held is None:
            return saved
        note = "the results contain the training data; `results.remove_data()` removes it if predictions do not need it"
        return replace(saved, notes=(note,))


FLAVOUR = Statsmodels()
