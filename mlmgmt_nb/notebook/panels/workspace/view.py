"""`WorkspacePanel`: a browser for the resources of an account."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.notebook.display.html import ErrorText
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.workspace.actions import act
from mlmgmt_nb.notebook.panels.workspace.lineage import trace
from mlmgmt_nb.notebook.panels.workspace.reading import read, survey
from mlmgmt_nb.notebook.panels.workspace.state import WorkspaceState

__all__ = ["WorkspacePanel"]

_REFRESH_SECONDS = 3.0
_FIRST_PAGE_SECONDS = 1.0
"""Maximum seconds that a cell waits for the first page, so that the saved notebook contains it."""


class WorkspacePanel(Panel):
    """Models, manifests, images, services, deployments and operations of an account, in tabs.

    The lists are read page by page with the filters of the API, and refreshed while they are visible. `selected` is
    the selected resource. Its actions open other panels below.

    Args:
        ws: the workspace (default: the result of `connect()`).
        **options: see `Panel`.
    """

    def __init__(self, ws: Workspace | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._ws = ws or connect()
        self._first_page = threading.Event()
        self._frontend: Any = None
        self._below: Any = None
        self._opened: Panel | None = None
        self.state = WorkspaceState()

    @property
    def selected(self) -> Any:
        """The selected resource: a `Model`, `Manifest`, `Image`, `ServiceResponse`, ... or None."""
        with self.lock:
            return self.state.selected

    def prepare(self, *, is_live: bool) -> None:
        if is_live:
            self.do(self._read)
            self.do(self._count)
            self._first_page.wait(_FIRST_PAGE_SECONDS)
            return
        try:
            self._read()
        except MlmgmtError as error:
            self.fail(ErrorText.of(error))

    def text(self) -> str:
        return f"{self._ws.base_url}\n{self.state.text()}"

    def html(self) -> str:
        return self.state.html()

    def build(self) -> Any:
        self._frontend = frontend("workspace", self.state.shown(is_working=True), self._on_message)
        import ipywidgets

        self._below = ipywidgets.VBox([])
        return ipywidgets.VBox([self._frontend, self._below])

    def draw(self) -> None:
        self._frontend.shown = self.state.shown(is_working=self.is_working)

    @passive()
    def look(self) -> float | None:
        """Refresh the page. A search is not repeated automatically: it may take many requests."""
        with self.lock:
            request = self.state.request()
            if self.is_working or request.search or not self._first_page.is_set():
                return _REFRESH_SECONDS
        part = read(self._ws, request)
        with self.lock:
            self.state.accept(request, part)
        self.changed()
        return _REFRESH_SECONDS

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message of the frontend."""
        state, value = self.state, str(message.get("value", ""))
        steps: dict[Any, Callable[[], Any]] = {
            "tab": lambda: state.choose(value),
            "filter": lambda: state.filter(str(message.get("name", "")), value),
            "search": lambda: state.search(value),
            "sort": lambda: state.sort(value),
            "page": lambda: state.go_to(value),
            "column": lambda: state.toggle(value),
            "act": lambda: self.do(lambda: self._act(value)),
            "close": lambda: self.do(lambda: self._open(None)),
            "next": lambda: state.turn_pages(1),
            "previous": lambda: state.turn_pages(-1),
            "refresh": state.refresh,
            "select": lambda: state.select(value),
            "follow": lambda: self.do(lambda: self._follow(str(message.get("kind", "")), value)),
        }
        step = steps.get(message.get("do"))
        if step is None:
            return
        with self.lock:
            step()
            state.answered += 1
            if state.is_stale:
                self.do(self._read)
                self.do(self._count)
            if state.selected is not None and (state.lineage is None or step == state.refresh):
                self.do(self._trace)
        self.changed()

    def _read(self) -> None:
        """Read the current page, in the worker thread."""
        with self.lock:
            request = self.state.request()
            if not self.state.is_stale:
                return
        try:
            part = read(self._ws, request, lambda: self.state.request() != request)
            with self.lock:
                self.state.accept(request, part)
        finally:
            self._first_page.set()

    def _count(self) -> None:
        """Count the items of the list, in the worker thread."""
        with self.lock:
            request = self.state.request()
            if not self.state.is_uncounted:
                return
        found = survey(self._ws, request, lambda: self.state.request()[:3] != request[:3])
        with self.lock:
            self.state.accept_survey(request, found)

    def _act(self, action: str) -> None:
        """Perform an action on the selected resource: open its panel, or show the changed resource."""
        with self.lock:
            kind, resource = self.state.selected_kind, self.state.selected
        panel = act(self._ws, kind, resource, action)
        if panel is not None:
            self._open(panel)
            return
        self._follow(kind, resource.id)
        with self.lock:
            self.state.refresh()
        self._read()
        self._count()

    def _open(self, panel: Panel | None) -> None:
        """Show a panel below this one, in place of the previous panel."""
        before, self._opened = self._opened, panel
        widgets = [] if panel is None else [panel.embed()]
        with self.lock:
            self._below.children = widgets
            self.state.opened = panel is not None
        if before is not None:
            before.close()

    def _trace(self) -> None:
        with self.lock:
            kind, resource = self.state.selected_kind, self.state.selected
        lineage = trace(self._ws, kind, resource)
        with self.lock:
            if self.state.selected.id == resource.id:
                self.state.lineage = lineage

    def _follow(self, kind: str, id: str) -> None:  # noqa: A002 - the API's word
        """Select a resource of the graph, even if it is not in the list."""
        resources = {
            "models": self._ws.models,
            "manifests": self._ws.manifests,
            "images": self._ws.images,
            "services": self._ws.services,
            "deployments": self._ws.deployments,
        }
        if kind not in resources:
            return
        found: Any = resources[kind].get(id)  # type: ignore[attr-defined]
        with self.lock:
            self.state.take(kind, found)
        self._trace()
