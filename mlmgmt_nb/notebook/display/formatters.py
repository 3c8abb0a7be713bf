"""Registration of the displays with IPython, by the names of types: their modules are not imported."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.notebook.display.card import Shown, printable_text
from mlmgmt_nb.notebook.display.cards import CHANGE, POLLER, cards

__all__ = ["register", "unregister"]


def register(shell: Any, open_change: Callable[[Any], None]) -> None:
    """Register the displays of all resources, without importing their types.

    Args:
        shell: the IPython shell.
        open_change: displays the panel of a `ProposedChange`, in a notebook.
    """
    itself = shell.display_formatter.ipython_display_formatter
    itself.for_type_by_name(*POLLER, _leave_to_its_panel)
    itself.for_type_by_name(*CHANGE, lambda change: _in_notebook(shell, change, open_change))
    for module, name, card in cards():
        plain = shell.display_formatter.formatters["text/plain"]
        plain.for_type_by_name(module, name, lambda value, printer, _, card=card: printer.text(_text(card(value))))
        markup = shell.display_formatter.formatters["text/html"]
        markup.for_type_by_name(module, name, lambda value, card=card: _markup(card(value)))


def _leave_to_its_panel(poller: Any) -> None:
    """Display nothing if the running cell shows the operation already; IPython goes on to the other displays if not."""
    from mlmgmt_nb.notebook.display.shown import is_shown_here

    if not is_shown_here(poller):
        raise NotImplementedError


def _in_notebook(shell: Any, value: Any, show: Callable[[Any], None]) -> None:
    """Show a value in its panel; in a terminal, IPython goes on to the other displays."""
    if not hasattr(shell, "kernel"):
        raise NotImplementedError
    show(value)


def unregister(shell: Any) -> None:
    """Remove the displays."""
    for shown_by_itself in (POLLER, CHANGE):
        _remove(shell.display_formatter.ipython_display_formatter, *shown_by_itself)
    for module, name, _ in cards():
        for kind in ("text/plain", "text/html"):
            _remove(shell.display_formatter.formatters[kind], module, name)


def _remove(formatter: Any, module: str, name: str) -> None:
    formatter.deferred_printers.pop((module, name), None)
    for known in [type_ for type_ in formatter.type_printers if (type_.__module__, type_.__name__) == (module, name)]:
        formatter.pop(known)


def _text(shown: Shown | str) -> str:
    return printable_text(shown if isinstance(shown, str) else shown.text())


def _markup(shown: Shown | str) -> str:
    return f"<pre>{html.escape(shown)}</pre>" if isinstance(shown, str) else shown.html()
