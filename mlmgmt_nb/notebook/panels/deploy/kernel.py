"""The fitted objects and samples of a notebook. The form suggests them, and accepts them as `{name}`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["Kernel", "Variable", "variable_of"]

_NAMED = re.compile(r"\{\s*([^\W\d]\w*)\s*\}")
_METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")


@dataclass(frozen=True, repr=False)
class Variable:
    """A variable of the notebook. Generated code refers to it by its name."""

    name: str

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"{{{self.name}}}"


def variable_of(text: str) -> Variable | None:
    """Return the variable that a text such as `{clf}` names, or None."""
    found = _NAMED.fullmatch(text.strip())
    return Variable(found[1]) if found else None


class Kernel:
    """The variables of a notebook.

    Args:
        namespace: its variables by name.
    """

    def __init__(self, namespace: Mapping[str, Any] | None = None) -> None:
        self._namespace = {} if namespace is None else namespace

    def __contains__(self, variable: Variable) -> bool:
        return variable.name in self._namespace

    def value(self, variable: Variable) -> Any:
        """Return the value of a variable that exists."""
        return self._namespace[variable.name]

    def is_function(self, variable: Variable) -> bool:
        """Return whether a variable is a plain function, whose types can come from its hints instead of a sample."""
        return isinstance(self._namespace.get(variable.name), FunctionType)

    def variable_of(self, value: Any) -> Variable | None:
        """Return the variable whose value is this object, or None."""
        return next((Variable(name) for name, other in self._users() if other is value), None)

    def models(self) -> list[str]:
        """Return the models of the notebook as `{name}`, without unfitted scikit-learn estimators."""
        return [str(Variable(name)) for name, value in self._users() if _is_model(value)]

    def samples(self, model: Variable | None) -> list[str]:
        """Return the tables and arrays whose columns fit a model, as `{name}`; all of them without a model."""
        fitted = None if model is None else self._namespace.get(model.name)
        return [str(Variable(name)) for name, value in self._users() if _is_table(value) and _fits(value, fitted)]

    def methods(self, model: Variable | None) -> list[str]:
        """Return the methods of a model that can answer requests."""
        kind = type(None if model is None else self._namespace.get(model.name))
        return [name for name in _METHODS if callable(getattr(kind, name, None))]

    def _users(self) -> Iterator[tuple[str, Any]]:
        """Yield the user's own variables, without modules, classes and the variables of IPython."""
        for name, value in list(self._namespace.items()):
            if not name.startswith("_") and not isinstance(value, (ModuleType, type)) and name not in {"In", "Out"}:
                yield name, value


def _is_model(value: Any) -> bool:
    from mlmgmt_nb.packaging.flavours import flavours

    if isinstance(value, (str, bytes, int, float)) or _is_table(value):
        return False
    found = next((flavour for flavour in flavours() if flavour.takes(value)), None)
    if found is None or found.name == "function":
        return False
    return found.name != "scikit-learn" or _is_fitted(value)


def _is_fitted(estimator: Any) -> bool:
    """Return whether a scikit-learn estimator is fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


def _is_table(value: Any) -> bool:
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    is_frame = pandas is not None and isinstance(value, pandas.DataFrame)
    return is_frame or (numpy is not None and isinstance(value, numpy.ndarray) and value.ndim > 1)


def _fits(table: Any, model: Any) -> bool:
    """Return whether a table has the columns that a model was fitted with. Without this metadata, every table fits."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None and hasattr(table, "columns"):
        return list(table.columns) == list(names)
    number = getattr(model, "n_features_in_", None)
    return number is None or table.shape[1:] == (number,)
