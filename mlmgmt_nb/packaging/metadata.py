"""The metadata of a packaged model, as tags of its registration and as a sentence."""

from __future__ import annotations

import contextlib
import inspect
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlmgmt_nb.redaction import redacted

__all__ = ["changed_parameters", "description", "git_commit", "tags"]

_LONGEST, _LONGEST_IN_SENTENCE = 200, 60
_COLUMNS = 50
_PARAMETERS_IN_SENTENCE = 20
_SECRET = re.compile(
    r"pass(word|wd|phrase)|(^|_)pwd|secret|token$|(api|access|private|account|auth)_?key|credential", re.I
)
"""Pattern for names of hyperparameters whose values may be secrets."""


def changed_parameters(model: Any) -> dict[str, dict[str, Any]]:
    """Return the changed hyperparameters of a model as the fact `parameters`; an empty dict if it has none.

    Only plain values that differ from the defaults of the class are included. Secrets are masked.
    """
    with contextlib.suppress(Exception):  # `get_params` of a user's class may raise
        return {"parameters": dict(_changed_parameters(model))}
    return {}


def _changed_parameters(model: Any) -> Iterator[tuple[str, Any]]:
    defaults = _defaults(type(model))
    for name, given in model.get_params(deep=False).items():
        value = given.item() if hasattr(given, "dtype") and getattr(given, "ndim", 1) == 0 else given
        # Compare by `repr`, because NaN does not equal itself.
        if isinstance(value, (int, float, str, bool)) and repr(value) != repr(defaults.get(name)):
            yield name, _without_secrets(name, value)


def _defaults(kind: type) -> Mapping[str, Any]:
    """Return the default hyperparameters of a class. Classes with `**kwargs`, as in XGBoost, are instantiated."""
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        made: Mapping[str, Any] = kind().get_params(deep=False)
        return made
    return {name: p.default for name, p in parameters.items()}


def _without_secrets(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return "***" if _SECRET.search(name) else redacted(value)
    return value


def tags(facts: Mapping[str, Any]) -> list[str]:
    """Return facts as tags `name=value`. A list is one tag, a mapping has one tag per entry."""
    made = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            made += [_tag(f"{name}.{key}", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            made.append(_tag(name, ", ".join(map(str, value[:_COLUMNS]))))
        elif value is not None:
            made.append(_tag(name, value))
    return made


def description(facts: Mapping[str, Any]) -> str:
    """Return facts as one sentence."""
    text = f"{facts.get('class') or facts.get('function') or facts['flavour']} ({facts['flavour']}, {facts['format']})"
    if parameters := facts.get("parameters"):
        text += f" with {_listed(parameters)}"
    if metrics := facts.get("metrics"):
        text += f"; {', '.join(f'{name} {value}' for name, value in metrics.items())}"
    return text


def git_commit(folder: Path) -> str | None:
    """Return the current commit of the Git repository that contains a folder, or None."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _listed(parameters: Mapping[str, Any]) -> str:
    shown = [f"{name}={_shortened(repr(value), _LONGEST_IN_SENTENCE)}" for name, value in parameters.items()]
    more = len(shown) - _PARAMETERS_IN_SENTENCE
    return ", ".join([*shown[:_PARAMETERS_IN_SENTENCE], *([f"and {more} more"] if more > 0 else [])])


def _tag(name: str, value: Any) -> str:
    return _shortened(f"{name}={value}", _LONGEST)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
