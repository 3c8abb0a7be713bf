"""A cell output that is updated in place, even after the cell has ended."""

from __future__ import annotations

import os
from typing import Any

from IPython.display import DisplayHandle

__all__ = ["Live"]


class Live:
    """A cell output of text and HTML. It needs no kernel, so a saved notebook shows its last state.

    The cell must make the first call of `show`, so that the output belongs to the cell; later calls may come from any
    thread, one at a time.
    """

    def __init__(self) -> None:
        self._handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._widget: Any = None
        self._shown: dict[str, str] = {}
        self.is_displayed = False

    def show(self, shown: dict[str, str]) -> None:
        """Display the output the first time; later, update it if it changed."""
        if shown == self._shown:
            return
        self._shown = shown
        if "VOILA_KERNEL_ID" in os.environ:
            self._show_as_widget(shown["text/html"])
        elif self.is_displayed:
            self._handle.update(shown, raw=True)
        else:
            self.is_displayed = True  # set first: an interrupt in between must not cause a second display
            self._handle.display(shown, raw=True)

    def _show_as_widget(self, markup: str) -> None:
        """Show the output as a widget: Voila updates widgets after its cells have run, but not outputs."""
        if self._widget is not None:
            self._widget.value = markup
            return
        import ipywidgets
        from IPython.display import display

        self.is_displayed = True
        self._widget = ipywidgets.HTML(markup)
        display(self._widget)  # type: ignore[no-untyped-call]
