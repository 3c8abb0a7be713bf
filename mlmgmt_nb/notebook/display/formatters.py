"""Registration of the displays with IPython, by the names of types: their modules are not imported.

A display is one MIME bundle, created once, because the display of a list or poller may send requests. Values inside
others, such as the items of a list, are shown by their short `repr`.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.notebook.display.card import Shown, bundle
from mlmgmt_nb.notebook.display.cards import CHANGE, POLLER, cards

__all__ = ["register", "unregister"]


_BUILT_IN = frozenset({"ComputeList", "LogPart", "Page", "Scored", "SecretText", "ServiceLog", "Text"})
"""Subclasses of built-in types. IPython ignores the text in their MIME bundles, so they also get a text formatter."""


def register(shell: Any, open_change: Callable[[Any], None]) -> None:
    """Register the displays of all resources, without importing their types.

    Args:
        shell: the IPython shell.
        open_change: displays the panel of a `ProposedChange`, in a notebook.
    """
    formatter = shell.display_formatter
    itself = formatter.ipython_display_formatter
    itself.for_type_by_name(*POLLER, _leave_to_its_panel)
    itself.for_type_by_name(*CHANGE, lambda change: _in_notebook(shell, change, open_change))
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
    """Display nothing if the running cell already shows the operation; otherwise, let IPython try other displays."""
    from mlmgmt_nb.notebook.display.shown import is_shown_here

    if not is_shown_here(poller):
        raise NotImplementedError


def _in_notebook(shell: Any, value: Any, show: Callable[[Any], None]) -> None:
    """Show a value in its panel; in a terminal, let IPython try the other displays."""
    if not hasattr(shell, "kernel"):
        raise NotImplementedError
    show(value)


def unregister(shell: Any) -> None:
    """Remove the displays."""
    formatter = shell.display_formatter
    for shown_by_itself in (POLLER, CHANGE):
        _remove(formatter.ipython_display_formatter, *shown_by_itself)
    for module, name, _ in cards():
        _remove(formatter.mimebundle_formatter, module, name)
        _remove(formatter.formatters["text/plain"], module, name)


def _remove(formatter: Any, module: str, name: str) -> None:
    formatter.deferred_printers.pop((module, name), None)
    for known in [type_ for type_ in formatter.type_printers if (type_.__module__, type_.__name__) == (module, name)]:
        formatter.pop(known)


def _bundle(shown: Shown | str) -> dict[str, str]:
    if isinstance(shown, str):
        return bundle(shown, f'<pre style="margin:0">{html.escape(shown)}</pre>')
    return bundle(shown.text(), shown.html())
