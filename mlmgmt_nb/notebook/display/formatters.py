"""Registration of the displays with IPython, by the names of types: their modules are not imported."""

from __future__ import annotations

import html
from typing import Any

from mlmgmt_nb.notebook.display.card import Shown, printable_text
from mlmgmt_nb.notebook.display.cards import POLLER, cards

__all__ = ["register", "unregister"]


def register(shell: Any) -> None:
    """Register the displays of all resources, without importing their types."""
    itself = shell.display_formatter.ipython_display_formatter
    itself.for_type_by_name(*POLLER, _leave_to_its_panel)
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


def unregister(shell: Any) -> None:
    """Remove the displays."""
    _remove(shell.display_formatter.ipython_display_formatter, *POLLER)
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
