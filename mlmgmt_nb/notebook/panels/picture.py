"""The picture of a panel, which is saved with the notebook: the time of drawing, and the CSS for its visibility."""

from __future__ import annotations

import datetime as dt
from typing import Any, Protocol
from weakref import WeakSet

from mlmgmt_nb.notebook.display.card import utc

__all__ = ["HasPicture", "keep_pictures", "note", "visibility_css"]


class HasPicture(Protocol):
    """A panel that is displayed."""

    def keep_picture(self) -> None:
        """Draw the picture now, if it is stale."""


_displayed: WeakSet[HasPicture] = WeakSet()


def keep_pictures(shell: Any, panel: HasPicture) -> None:
    """Draw stale pictures at the end of each cell, because the kernel may exit then, as in nbclient."""
    shell.events.register("post_run_cell", _end_of_cell)  # registering it again has no effect
    _displayed.add(panel)


def _end_of_cell(_: Any) -> None:
    for panel in list(_displayed):
        panel.keep_picture()


def note(*, is_closed: bool) -> str:
    """Return the words below a picture: when it was drawn, and how to get the panel back.

    Args:
        is_closed: whether the panel has ended; then its cell may have no panel to show.
    """
    drawn = f"As of {utc(dt.datetime.now(dt.UTC))}."
    return drawn if is_closed else f"{drawn} Run the cell again for the panel."


def visibility_css(id: str) -> str:  # noqa: A002
    """Return CSS that shows either the picture or the widget. A dead widget has a special class, or is absent."""
    live, picture = f".mlmgmt-live-{id}", f".mlmgmt-picture-{id}"
    alive, output = f"{live}:not(.jupyter-widgets-disconnected)", ".jp-OutputArea-child"
    return (
        f"body:has({alive}) {picture}, {output}:has({picture}):has(+ {output} {alive}),"
        f" {live}.jupyter-widgets-disconnected,"
        f" {output}:has({picture}) + {output}:not(:has({alive})) {{ display: none; }}"
    )
