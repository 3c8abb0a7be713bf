"""What all panels that one works with have in common: how they are displayed, drawn, fed and frozen.

A panel is two outputs of its cell. The first is a picture: HTML and text of the state, which need no kernel. The second
is the widget. A style in the picture hides it while the widget is alive, and hides the widget's output when it is not:
after a restart of the kernel, and in a notebook that was opened again, one sees the picture and no `model not found`.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from mlmgmt_nb import local
from mlmgmt_nb.charts import still
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.client.http.looking import only_looking
from mlmgmt_nb.errors import MlmgmtError, ServiceStoppedError
from mlmgmt_nb.notebook.display.cards import bundle
from mlmgmt_nb.notebook.display.html import CSS, Trouble, alert
from mlmgmt_nb.notebook.panels.refresh import DRAWING, FEED, Feed
from mlmgmt_nb.notebook.panels.worker import Worker
from mlmgmt_nb.terminal import Terminal

__all__ = ["Panel"]

_VIEW_SECONDS, _PICTURE_SECONDS = 0.1, 1.0
"""Least seconds between two drawings: a server of notebooks drops what comes faster than it can pass on."""
_TROUBLE_SECONDS = 5.0
"""Seconds to the next look after one that failed."""
_WIDGET = "application/vnd.jupyter.widget-view+json"

log = logging.getLogger(__name__)


class Panel(ABC):
    """A panel: a state in plain Python, and a thin view of it.

    Derive from it and write `text` and `html` (the picture), `build` (makes the widget) and `draw` (brings the widget
    up to date); `look` too when the panel is to follow what the server has. Display it at the end of a cell.

    Threads: `text`, `html`, `build` and `draw` are called with `lock` held, so that one thread at a time writes to a
    widget. Callbacks of widgets take `lock`, change the state and call `changed`, or hand longer work to `do`. Whoever
    changes the state from elsewhere does the same. `draw` should only set what comes from the state, never what
    the user types into.

    Args:
        looking: ticks `look`.
        drawing: ticks the drawing, so that a slow server does not hold it up.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, looking: Feed = FEED, drawing: Feed = DRAWING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lock = ForkLock(threading.RLock)
        self._looking, self._drawing, self._clock = looking, drawing, clock
        self._worker = Worker()
        self._troubles: dict[str, Trouble] = {}
        self._working = 0
        self._id = secrets.token_hex(4)
        self._picture_handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._widget_handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._root: Any = None
        self._alert: Any = None
        self._start_button: Any = None
        self._stopped: Path | None = None
        self._is_displayed = self._is_closed = False
        self._views: int | None = None  # not known before the front end tells
        self._stale_view = self._stale_picture = False
        self._view_due = self._picture_due = 0.0
        self._shown: dict[str, str] = {}

    @abstractmethod
    def text(self) -> str:
        """Return the state, for a terminal and for where there is no HTML."""

    @abstractmethod
    def html(self) -> str:
        """Return the state as static HTML. Whatever comes from the server must be escaped."""

    @abstractmethod
    def build(self) -> Any:
        """Make the widget; called once, in a notebook only."""

    @abstractmethod
    def draw(self) -> None:
        """Brings the widget up to date."""

    def prepare(self, *, is_live: bool) -> None:  # noqa: ARG002 - for those that derive
        """Called by the cell before the panel is displayed.

        Args:
            is_live: whether it goes on changing once it is displayed; in a terminal it is text.
        """
        return

    def look(self) -> float | None:
        """Asks the server what is new; gives the seconds until it is due again, None for never.

        Called without the lock, in the thread that looks for all panels, while the panel is seen. An `MlmgmtError` is
        shown in the panel, and tried again after a while.
        """
        return None

    @property
    def trouble(self) -> Trouble | None:
        """The error that the panel shows."""
        return next(iter(self._troubles.values()), None)

    @property
    def is_working(self) -> bool:
        """Whether something that `do` was given is not done yet."""
        return self._working > 0

    def show(self) -> None:
        """Display it: in a notebook as a panel, elsewhere as text."""
        shell = get_ipython()
        is_live = shell is not None and hasattr(shell, "kernel")
        if not self._is_closed:
            self.prepare(is_live=is_live)
        if not is_live:
            Terminal(sys.stdout).write("\n".join([self.text(), *(self.trouble or ()), ""]))
            return
        with self.lock:
            if self._is_closed:
                self._picture_handle.display(self._picture(), raw=True)
                return
            if self._root is None:
                self._make_root()
            self._is_displayed = True
            self._shown = self._picture()
            self._picture_handle.display(self._shown, raw=True)
            view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
            self._widget_handle.display({_WIDGET: view, "text/plain": ""}, raw=True)
            _keep_pictures(shell, self)
        self._looking.follow(self._look)

    def close(self) -> None:
        """End it: the widget goes and the picture stays, as it is now. May be called again."""
        with self.lock:
            if self._is_closed:
                return
            self._is_closed = True
            if not self._is_displayed:
                return
            self._picture_handle.update(self._picture(), raw=True)
            self._widget_handle.update({"text/plain": ""}, raw=True)
            _close(self._root)

    def changed(self) -> None:
        """Tells that the state has changed. It is drawn soon; many changes in a short time are drawn once."""
        with self.lock:
            if not self._is_displayed or self._is_closed or (self._stale_view and self._stale_picture):
                return
            self._stale_view = self._stale_picture = True
        self._drawing.follow(self._redraw)

    def look_now(self) -> None:
        """Has `look` called soon, and not only when it is due."""
        if self._is_displayed and not self._is_closed:
            self._looking.follow(self._look)

    def do(self, work: Callable[[], None]) -> None:
        """Has work done in the panel's own thread, after what was given before; an error of it appears in the panel.

        Args:
            work: what to do. It takes the lock where it changes the state.
        """
        with self.lock:
            self._working += 1
            self._troubles.pop("work", None)
        self.changed()
        self._worker.do(lambda: self._done(work))

    def fail(self, trouble: Trouble | None) -> None:
        """Show an error in the panel, or none any more."""
        self._note("work", trouble)

    def _note(self, source: str, trouble: Trouble | None) -> None:
        with self.lock:
            if trouble is None:
                self._troubles.pop(source, None)
            else:
                self._troubles[source] = trouble
        self.changed()

    def _done(self, work: Callable[[], None]) -> None:
        """In the worker's thread."""
        try:
            work()
        except MlmgmtError as error:
            self._note("work", Trouble.of(error))
        except Exception as error:  # what is not caught here nobody would hear of
            log.exception("a panel's work failed")
            self._note("work", Trouble.of(error))
        finally:
            with self.lock:
                self._working -= 1
            self.changed()

    def _look(self) -> float | None:
        """In the feed's thread."""
        if self._is_closed or self._views == 0:
            return None
        try:
            with only_looking():
                pause = self.look()
        except MlmgmtError as error:
            self._stopped = error.home if isinstance(error, ServiceStoppedError) else None
            self._note("look", Trouble.of(error))
            return _TROUBLE_SECONDS
        self._stopped = None
        self._note("look", None)
        return pause

    def start_service(self) -> None:
        """Start the embedded service again, when it was stopped while the panel was open."""
        if (home := self._stopped) is not None:
            self.do(lambda: self._start(home))

    def _start(self, home: Path) -> None:
        """In the worker's thread."""
        local.ensure(home)
        self.look_now()

    def _redraw(self) -> float | None:
        """In the feed's thread: draws what is stale and due, and gives the seconds until the rest is due."""
        with self.lock:
            if self._is_closed:
                return None
            now = self._clock()
            if self._stale_view and now >= self._view_due:
                self._stale_view, self._view_due = False, now + _VIEW_SECONDS
                self._draw_alert()
                self.draw()
            if self._stale_picture and now >= self._picture_due:
                self._stale_picture, self._picture_due = False, now + _PICTURE_SECONDS
                self._draw_picture()
            due = [self._view_due] * self._stale_view + [self._picture_due] * self._stale_picture
            return max(0.0, min(due) - now) if due else None

    def keep_picture(self) -> None:
        """Draws the picture now if it is stale."""
        with self.lock:
            if self._stale_picture and not self._is_closed:
                self._stale_picture = False
                self._draw_picture()

    def _draw_alert(self) -> None:
        self._alert.value = alert(self.trouble) if self.trouble else ""
        self._start_button.layout.display = "none" if self._stopped is None else ""
        self._start_button.disabled = self.is_working

    def _draw_picture(self) -> None:
        shown = self._picture()
        if shown != self._shown:
            self._shown = shown
            self._picture_handle.update(shown, raw=True)

    def _picture(self) -> dict[str, str]:
        """Return what is saved with the notebook."""
        trouble = self.trouble
        text = "\n".join([self.text(), *(trouble or ())])
        error = alert(trouble) if trouble else ""
        style = f"<style>{CSS}{'' if self._is_closed else _rule(self._id)}</style>"
        return bundle(text, f'<div class="mlmgmt mlmgmt-picture-{self._id}">{style}{error}{still(self.html())}</div>')

    def _make_root(self) -> None:
        import ipywidgets

        self._alert = ipywidgets.HTML()
        style = ipywidgets.HTML(f"<style>{CSS}</style>", layout=ipywidgets.Layout(display="none"))
        # A count that is there has the front end count the views.
        self._start_button = ipywidgets.Button(description="Start the service", icon="play")
        self._start_button.on_click(lambda _: self.start_service())
        self._root = ipywidgets.VBox([style, self._alert, self._start_button, self.build()], _view_count=0)
        self._root.add_class("mlmgmt").add_class(f"mlmgmt-live-{self._id}")
        self._root.observe(self._counted, "_view_count")
        self._draw_alert()
        self.draw()

    def _counted(self, change: Any) -> None:
        self._views = change.new
        if change.new:
            self._looking.follow(self._look)

    def _ipython_display_(self) -> None:
        self.show()


_displayed: WeakSet[Panel] = WeakSet()


def _keep_pictures(shell: Any, panel: Panel) -> None:
    """Has a picture that is stale drawn at the end of each cell: the kernel may end with it, as nbclient's does."""
    shell.events.register("post_run_cell", _end_of_cell)  # which is there once, however often it is registered
    _displayed.add(panel)


def _end_of_cell(_: Any) -> None:
    for panel in list(_displayed):
        panel.keep_picture()


def _rule(id: str) -> str:  # noqa: A002
    """Show the picture or the widget, never both. A dead widget has a class of its own, or is not there."""
    live, picture = f".mlmgmt-live-{id}", f".mlmgmt-picture-{id}"
    alive, output = f"{live}:not(.jupyter-widgets-disconnected)", ".jp-OutputArea-child"
    return (
        f"body:has({alive}) {picture}, {output}:has({picture}):has(+ {output} {alive}),"
        f" {live}.jupyter-widgets-disconnected,"
        f" {output}:has({picture}) + {output}:not(:has({alive})) {{ display: none; }}"
    )


def _close(widget: Any) -> None:
    """Close a widget and those in it."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()
