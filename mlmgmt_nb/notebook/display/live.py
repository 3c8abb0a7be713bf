"""An output of a cell that changes in its place, also after the cell has ended."""

from __future__ import annotations

import os
from typing import Any

from IPython.display import DisplayHandle

__all__ = ["Live"]


class Live:
    """The output: text and HTML, nothing that needs a kernel, so that a saved notebook shows its last state.

    The first `show` must be called by the cell, so that the output is the cell's; the others may be called by one
    thread at a time.
    """

    def __init__(self) -> None:
        self._handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._widget: Any = None
        self._shown: dict[str, str] = {}
        self.is_displayed = False

    def show(self, shown: dict[str, str]) -> None:
        """Display it, the first time; then changes it, if it is another."""
        if shown == self._shown:
            return
        self._shown = shown
        if "VOILA_KERNEL_ID" in os.environ:
            self._show_as_widget(shown["text/html"])
        elif self.is_displayed:
            self._handle.update(shown, raw=True)
        else:
            self.is_displayed = True  # first: an interrupt in between must not have it displayed twice
            self._handle.display(shown, raw=True)

    def _show_as_widget(self, markup: str) -> None:
        """Voila changes widgets after its cells have run, not outputs; and it saves nothing."""
        if self._widget is not None:
            self._widget.value = markup
            return
        import ipywidgets
        from IPython.display import display

        self.is_displayed = True
        self._widget = ipywidgets.HTML(markup)
        display(self._widget)  # type: ignore[no-untyped-call]
