"""`KeysPanel`: the keys of a service, shown but not saved."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands.values import masked
from mlmgmt_nb.contract import AuthKeys
from mlmgmt_nb.notebook.display.card import Card
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.service.state import ServiceState, key_in

__all__ = ["KeysPanel"]


class KeysPanel(Panel):
    """The keys of a service, to reveal, copy or regenerate. The saved picture has only masked keys.

    Args:
        workspace: the account.
        service: id or name of the service.
        **options: see `Panel`.
    """

    def __init__(self, workspace: Workspace, service: str, **options: Any) -> None:
        super().__init__(**options)
        self._workspace = workspace
        self.state = ServiceState(workspace, service)
        self._card = self._masked(workspace.services.keys(self.state.service))
        self._frontend: Any = None

    def text(self) -> str:
        return self._card.text()

    def html(self) -> str:
        return self._card.html()

    def build(self) -> Any:
        self._frontend = frontend("keys", self.shown(), lambda message: self.do(lambda: self._handle(message)))
        return self._frontend

    def draw(self) -> None:
        self._frontend.shown = self.shown()

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend, without keys."""
        return {"name": self.state.name, "note": self.state.note}

    def _masked(self, keys: AuthKeys) -> Card:
        rows = [("primary", masked(keys.primary_key or "")), ("secondary", masked(keys.secondary_key or ""))]
        return Card("keys of", self.state.name, None, list(rows))

    def _handle(self, message: dict[str, Any]) -> None:
        """Perform the action of a message, in the worker thread."""
        which = key_in(message)
        if message.get("act") == "key":
            reply = {"which": which, "use": str(message["use"]), "view": message["view"]}
            self._frontend.send({**reply, "key": self.state.key(which)})
        elif message.get("act") == "regenerate":
            self.state.regenerate(which, str(message.get("name") or ""))
            keys = self._workspace.services.keys(self.state.service)
            with self.lock:
                self._card = self._masked(keys)
