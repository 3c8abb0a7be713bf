"""Base class of interactive panels: display, drawing, polling and the saved picture.

A panel is two outputs of its cell. The first is a picture: HTML and text of the state, which need no kernel. The second
is the widget. A style in the picture hides it while the widget is alive, and hides the widget's output when it is not:
after a kernel restart, and in a reopened notebook, the picture is shown instead of `model not found`.
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

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from mlmgmt_nb import local
from mlmgmt_nb.charts import still
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.errors import MlmgmtError, ServiceStoppedError
from mlmgmt_nb.notebook.display.card import bundle
from mlmgmt_nb.notebook.display.html import CSS, ErrorText, alert, escape
from mlmgmt_nb.notebook.panels.picture import keep_pictures, note, visibility_css
from mlmgmt_nb.notebook.panels.refresh import DRAWING, REFRESH_THREAD, RefreshThread
from mlmgmt_nb.notebook.panels.worker import Worker
from mlmgmt_nb.terminal import Terminal

__all__ = ["Panel"]

_VIEW_SECONDS, _PICTURE_SECONDS = 0.1, 1.0
"""Minimum seconds between two drawings. Notebook servers drop messages above their rate limit."""
_TROUBLE_SECONDS = 5.0
"""Seconds until the next poll after a failed one."""
_WIDGET = "application/vnd.jupyter.widget-view+json"

log = logging.getLogger(__name__)


class Panel(ABC):
    """A panel: a state in plain Python, and a thin view of it.

    Subclasses implement `text` and `html` (the picture), `build` (creates the widget) and `draw` (updates the widget),
    and also `look` if the panel follows the state of the server. Display a panel as the last expression of a cell.

    Threads: `text`, `html`, `build` and `draw` are called with `lock` held, so that one thread at a time writes to a
    widget. Callbacks of widgets take `lock`, change the state and call `changed`, or hand longer work to `do`. Code
    that changes the state from elsewhere does the same. `draw` must set only what comes from the state, never the
    fields that the user types into.

    Args:
        refresh: the thread that calls `look`.
        drawing: the thread that draws, separate so that a slow server does not delay it.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        *,
        refresh: RefreshThread = REFRESH_THREAD,
        drawing: RefreshThread = DRAWING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lock = ForkLock(threading.RLock)
        self._refresh, self._drawing, self._clock = refresh, drawing, clock
        self._worker = Worker()
        self._errors: dict[str, ErrorText] = {}
        self._working = 0
        self._id = secrets.token_hex(4)
        self._picture_handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._widget_handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
        self._root: Any = None
        self._alert: Any = None
        self._start_button: Any = None
        self._stopped: Path | None = None
        self._is_displayed = self._is_closed = self._is_embedded = False
        self._views: int | None = None  # unknown until the frontend reports it
        self._stale_view = self._stale_picture = False
        self._view_due = self._picture_due = 0.0
        self._shown: tuple[str, str] | None = None

    @abstractmethod
    def text(self) -> str:
        """Return the state as text, for terminals and viewers without HTML."""

    @abstractmethod
    def html(self) -> str:
        """Return the state as static HTML. Text from the server must be escaped."""

    @abstractmethod
    def build(self) -> Any:
        """Create the widget; called once, only in a notebook."""

    @abstractmethod
    def draw(self) -> None:
        """Update the widget."""

    def prepare(self, *, is_live: bool) -> None:  # noqa: ARG002 - for subclasses
        """Prepare the first display, in the thread of the cell.

        Args:
            is_live: whether the panel is updated after it is displayed; in a terminal it is static text.
        """
        return

    def look(self) -> float | None:
        """Poll the server. Return the seconds until the next poll, or None for never.

        Called without the lock, in the refresh thread of all panels, while the panel is visible. The panel shows an
        `MlmgmtError`, and polls again after a few seconds.
        """
        return None

    @property
    def error(self) -> ErrorText | None:
        """The error that the panel shows."""
        return next(iter(self._errors.values()), None)

    @property
    def is_working(self) -> bool:
        """Whether work passed to `do` is still unfinished."""
        return self._working > 0

    def show(self) -> None:
        """Display the panel in a notebook, or its text elsewhere."""
        shell = get_ipython()
        is_live = shell is not None and hasattr(shell, "kernel")
        if not self._is_closed:
            self._prepare(is_live=is_live)
        if not is_live:
            Terminal(sys.stdout).write("\n".join([self.text(), *(self.error or ()), ""]))
            return
        with self.lock:
            if self._is_closed:
                self._picture_handle.display(self._picture(*self._content()), raw=True)
                return
            if self._root is None:
                self._make_root()
            self._is_displayed = True
            self._shown = self._content()
            self._picture_handle.display(self._picture(*self._shown), raw=True)
            view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
            self._widget_handle.display({_WIDGET: view, "text/plain": ""}, raw=True)
            keep_pictures(shell, self)
        self._refresh.follow(self._poll)

    def embed(self) -> Any:
        """Return the widget, to be shown in another panel. Only the other panel has a picture then."""
        self._prepare(is_live=True)
        with self.lock:
            self._is_embedded = True
            if self._root is None:
                self._make_root()
            self._is_displayed = True
        self._refresh.follow(self._poll)
        return self._root

    def _prepare(self, *, is_live: bool) -> None:
        try:
            with passive():
                self.prepare(is_live=is_live)
        except ServiceStoppedError as error:
            self._failed("poll", error)

    def close(self) -> None:
        """Remove the widget and keep the current picture. May be called again."""
        with self.lock:
            if self._is_closed:
                return
            self._is_closed = True
            if not self._is_displayed:
                return
            if not self._is_embedded:
                self._picture_handle.update(self._picture(*self._content()), raw=True)
                self._widget_handle.update({"text/plain": ""}, raw=True)
            _close(self._root)

    def changed(self) -> None:
        """Schedule a redraw after a change of the state. Changes in quick succession are drawn once."""
        with self.lock:
            if not self._is_displayed or self._is_closed or (self._stale_view and self._stale_picture):
                return
            self._stale_view = self._stale_picture = True
        self._drawing.follow(self._redraw)

    def look_now(self) -> None:
        """Call `look` in the refresh thread as soon as possible."""
        if self._is_displayed and not self._is_closed:
            self._refresh.follow(self._poll)

    def do(self, work: Callable[[], None], *, at_once: bool = False) -> None:
        """Run work in the worker thread of the panel, after earlier work. The panel shows its error.

        Requests of the work do not restart a stopped service. The panel shows a button for that.

        Args:
            work: the function to run. It must hold `lock` while it changes the state.
            at_once: do not wait for earlier work.
        """
        with self.lock:
            self._working += 1
            self._errors.pop("work", None)
        self.changed()
        (Worker() if at_once else self._worker).do(lambda: self._done(work))

    def fail(self, error: ErrorText | None) -> None:
        """Show an error in the panel, or clear it."""
        self._note("work", error)

    def _note(self, source: str, error: ErrorText | None) -> None:
        with self.lock:
            if error is None:
                self._errors.pop(source, None)
            else:
                self._errors[source] = error
        self.changed()

    def _done(self, work: Callable[[], None]) -> None:
        """Run work in the worker thread, and show its error."""
        try:
            with passive():
                work()
        except MlmgmtError as error:
            self._failed("work", error)
        except Exception as error:  # otherwise it would be lost
            log.exception("the work of a panel failed")
            self._note("work", ErrorText.of(error))
        finally:
            with self.lock:
                self._working -= 1
            self.changed()

    def _poll(self) -> float | None:
        """Call `look` in the refresh thread. Return the seconds until the next call, or None to stop."""
        if self._is_closed or self._views == 0:
            return None
        if (home := self._stopped) is not None:
            if local.find(home) is None:
                return _TROUBLE_SECONDS
            self.fail(None)  # it was started here or elsewhere, so that the error of earlier work no longer holds
        try:
            with passive():
                pause = self.look()
        except MlmgmtError as error:
            self._stopped = None
            self._failed("poll", error)
            return _TROUBLE_SECONDS
        self._stopped = None
        self._note("poll", None)
        return pause

    def _failed(self, source: str, error: MlmgmtError) -> None:
        """Show an error, and offer to start the service if it was stopped."""
        if isinstance(error, ServiceStoppedError):
            self._stopped = error.home
        self._note(source, ErrorText.of(error))
        if self._stopped is not None and source == "work":
            self.look_now()  # until it was started again

    def start_service(self) -> None:
        """Start the embedded service again if it was stopped."""
        if (home := self._stopped) is not None:
            self.do(lambda: self._start(home))

    def _start(self, home: Path) -> None:
        """Start the service in the worker thread."""
        local.ensure(home)
        self.look_now()

    def _redraw(self) -> float | None:
        """Draw the parts that are stale and due. Return the seconds until the rest is due."""
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
        """Draw the picture now, if it is stale."""
        with self.lock:
            if self._stale_picture and not self._is_closed:
                self._stale_picture = False
                self._draw_picture()

    def _draw_alert(self) -> None:
        self._alert.value = alert(self.error) if self.error else ""
        self._start_button.layout.display = "none" if self._stopped is None else ""
        self._start_button.disabled = self.is_working
        (self._root.remove_class if self._stopped is None else self._root.add_class)("mlmgmt-outdated")

    def _draw_picture(self) -> None:
        if self._is_embedded:
            return
        shown = self._content()
        if shown != self._shown:
            self._shown = shown
            self._picture_handle.update(self._picture(*shown), raw=True)

    def _content(self) -> tuple[str, str]:
        """Return the text and HTML of the picture, without the time at which it was drawn."""
        error = self.error
        text = "\n".join([self.text(), *(error or ())])
        return text, f"{alert(error) if error else ''}{still(self.html())}"

    def _picture(self, text: str, markup: str) -> dict[str, str]:
        """Return the static output that is saved with the notebook."""
        style = f"<style>{CSS}{'' if self._is_closed else visibility_css(self._id)}</style>"
        drawn = note(is_closed=self._is_closed)
        faint = f'<div style="color:var(--mlmgmt-faint)">{escape(drawn)}</div>'
        return bundle(f"{text}\n{drawn}", f'<div class="mlmgmt mlmgmt-picture-{self._id}">{style}{markup}{faint}</div>')

    def _make_root(self) -> None:
        import ipywidgets

        self._alert = ipywidgets.HTML()
        style = ipywidgets.HTML(f"<style>{CSS}</style>", layout=ipywidgets.Layout(display="none"))
        self._start_button = ipywidgets.Button(description="Start the service", icon="play")
        self._start_button.on_click(lambda _: self.start_service())
        # An initial count makes the frontend count the views.
        self._root = ipywidgets.VBox([style, self._alert, self._start_button, self.build()], _view_count=0)
        self._root.add_class("mlmgmt").add_class(f"mlmgmt-live-{self._id}")
        self._root.observe(self._counted, "_view_count")
        self._draw_alert()
        self.draw()

    def _counted(self, change: Any) -> None:
        self._views = change.new
        if change.new:
            self._refresh.follow(self._poll)

    def _ipython_display_(self) -> None:
        self.show()


def _close(widget: Any) -> None:
    """Close a widget and its children."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()
