"""Registration of the displays with IPython, by the names of types: their modules are not imported.

A display is one MIME bundle, made once: that of a list or a poller may ask the server. Values inside others, such as
the items of a list, are shown by their short `repr`.
"""

from __future__ import annotations

import html
from typing import Any

from mlmgmt_nb.notebook.display.card import Shown, bundle
from mlmgmt_nb.notebook.display.cards import POLLER, cards

__all__ = ["register", "unregister"]


_BUILT_IN = frozenset({"ComputeList", "LogPart", "Page", "Scored", "SecretText", "Text"})
"""Subclasses of built-in types, whose own text IPython prefers to that of a bundle."""


def register(shell: Any) -> None:
    """Register the displays of all values, without importing their types."""
    formatter = shell.display_formatter
    formatter.ipython_display_formatter.for_type_by_name(*POLLER, _leave_to_its_panel)
    for module, name, card in cards():
        formatter.mimebundle_formatter.for_type_by_name(
            module, name, lambda value, card=card, **_: _bundle(card(value))
        )
        if name in _BUILT_IN:
            formatter.formatters["text/plain"].for_type_by_name(
                module,
                name,
                lambda value, printer, _, card=card: printer.text(_bundle(card(value))["text/plain"]),
            )


def _leave_to_its_panel(poller: Any) -> None:
    """Display nothing if the running cell shows the operation already; IPython goes on to the other displays if not."""
    from mlmgmt_nb.notebook.display.shown import is_shown_here

    if not is_shown_here(poller):
        raise NotImplementedError


def unregister(shell: Any) -> None:
    """Remove the displays."""
    formatter = shell.display_formatter
    _remove(formatter.ipython_display_formatter, *POLLER)
    for module, name, _ in cards():
        _remove(formatter.mimebundle_formatter, module, name)
        _remove(formatter.formatters["text/plain"], module, name)


def _remove(formatter: Any, module: str, name: str) -> None:
    formatter.deferred_printers.pop((module, name), None)
    for known in [type_ for type_ in formatter.type_printers if (type_.__module__, type_.__name__) == (module, name)]:
        formatter.pop(known)


def _bundle(shown: Shown | str) -> dict[str, str]:
    if isinstance(shown, str):
        return bundle(shown, f"<pre>{html.escape(shown)}</pre>")
    return bundle(shown.text(), shown.html())
