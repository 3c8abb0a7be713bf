"""Record of the objects that panels of the running cell show, so that the cell result does not repeat them."""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython

__all__ = ["is_shown_here", "note_shown"]

_shown: tuple[int, object] | None = None


def note_shown(thing: object) -> None:
    """Record that a panel of the running cell shows this object."""
    global _shown
    _shown = (_cell(), thing)


def is_shown_here(thing: object) -> bool:
    """Return whether a panel of the running cell already shows this object."""
    return _shown is not None and _shown[1] is thing and _shown[0] == _cell()


def _cell() -> int:
    shell: Any = get_ipython()
    return int(shell.execution_count) if shell is not None else 0
