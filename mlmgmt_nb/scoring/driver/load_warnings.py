"""Warnings that a model was saved with other package versions, issued while a driver loads it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["noted_warnings"]

_LONGEST = 300


@contextmanager
def noted_warnings() -> Iterator[list[str]]:
    """Yield a list that receives the warnings about versions in the block. All warnings are still written."""
    noted: list[str] = []
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if text := _about_versions(str(message), category):
            noted.append(text)
        shown(message, category, *place)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield noted
    finally:
        if warnings.showwarning is show:  # the driver may have set its own
            warnings.showwarning = shown


def _about_versions(message: str, category: type[Warning]) -> str | None:
    """Return the first line of a warning about versions; None for others."""
    is_later = issubclass(category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning))
    if is_later or "version" not in f"{category.__name__} {message}".lower():
        return None
    first = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return f"{category.__name__}: {first}"[:_LONGEST]
