"""`ServicePanel`: the console of a service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.client.monitoring.log_lines import readable
from mlmgmt_nb.contract import Deployment, ServiceResponse, ServiceUpdateRequest
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.display.card import Card, badge, utc
from mlmgmt_nb.notebook.display.cards import service_card
from mlmgmt_nb.notebook.display.html import escape, log_lines, table
from mlmgmt_nb.notebook.panels import limits
from mlmgmt_nb.notebook.panels.change.view import ChangePanel
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.service.image_choice import ImageRelation
from mlmgmt_nb.notebook.panels.service.state import AUTOSCALER, ServiceState, key_in

__all__ = ["ServicePanel"]

_SHOWN_LINES, _SAVED_LINES = 100, 15
_HISTORY = ("image", "status", "from", "until", "change")
_OF_A_RUNNING_SERVICE = {"last operation", "scoring URL", "replicas"}
"""Rows of the card that a deleted service no longer has."""
_GROUPS = {
    ImageRelation.OWN: "Of this service",
    ImageRelation.MODEL: "With its models",
    ImageRelation.OTHER: "Of other services",
}
_NUMBERS = {"num_replicas": "num_replicas", **{name: f"auto_scaler.{name}" for name in AUTOSCALER}}


class ServicePanel(Panel):
    """Console of a service: its replicas, traffic, log, scale, deployments and keys, with their actions.

    Display it as the last expression of a cell. Keys are shown on request, and not saved.

    Args:
        workspace: the account.
        service: the service, its id or its name.
        tab: title of the first visible tab.
        image: id of the image that is initially selected in the tab `Deployments`.
        **options: see `Panel`.

    Attributes:
        state: the state and actions of the panel.

    Raises:
        NotFoundError: the service does not exist.
    """

    def __init__(
        self,
        workspace: Workspace,
        service: ServiceResponse | str,
        *,
        tab: str = "Traffic",
        image: str = "",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._first = {"tab": tab, "image": image}
        self.state = ServiceState(workspace, service, on_change=self.look_now, clock=self._clock)
        self._frontend: Any = None
        self._below: Any = None
        self._change: ChangePanel | None = None

    def text(self) -> str:
        """Return the text for a terminal: the service and its metrics."""
        state = self.state
        progress = state.progress.text() if state.progress else ""
        parts = [self._card().text(), *([state.note] if state.is_deleted else [state.versions, progress, state.note])]
        return "\n".join(part for part in parts if part)

    def html(self) -> str:
        state = self.state
        if state.is_deleted:
            return f'{self._card().html()}<div role="status">{escape(state.note)}</div>{self._log()}'
        notes = [text for text in (state.versions, state.note) if text]
        note = "".join(f'<div role="status">{escape(text)}</div>' for text in notes)
        progress = state.progress.html() if state.progress else ""
        history = table(
            _HISTORY,
            [tuple(row[column] for column in _HISTORY) for row in self._deployments()],
            label="deployments",
        )
        history = f"<details><summary>deployments</summary>{history}</details>"
        return f"{self._card().html()}{note}{progress}{state.traffic.html()}{history}{self._log()}"

    def _log(self) -> str:
        """Return the last lines of the log as HTML."""
        lines = [readable(line) for line in self.state.log.lines[-_SAVED_LINES:]]
        return f"<details><summary>log</summary>{log_lines(lines)}</details>" if lines else ""

    def _card(self) -> Card:
        card, state = service_card(self.state.service)._replace(state=self._condition()), self.state
        if state.is_deleted:
            return card._replace(rows=[row for row in card.rows if row[0] not in _OF_A_RUNNING_SERVICE])
        rows = [("ready", state.replicas()), *state.traffic.rows()]
        return card._replace(rows=card.rows + [row for row in rows if row[1]])

    def _condition(self) -> str:
        """Return the condition of the service. It depends on the ready replicas if known, not on the last operation."""
        if self.state.is_deleted:
            return "Deleted"
        metrics, now = self.state.traffic.latest, condition(self.state.service)
        if metrics is not None and now in {"Deploying", "Serving", "Not serving"} and metrics.ready:
            return "Serving"
        return now

    def _last_operation(self) -> str:
        """Return the state of the last operation, or "" if it equals the condition."""
        state = self.state.service.state or ""
        return "" if state == self._condition() or self.state.is_deleted else f"last operation: {state}"

    def prepare(self, *, is_live: bool) -> None:  # noqa: ARG002 - both a terminal and the first picture need it
        self.state.poll()

    def build(self) -> Any:
        import ipywidgets

        self._frontend = frontend("service", self.shown(), self._on_message)
        self._below = ipywidgets.VBox()
        return ipywidgets.VBox([self._frontend, self._below])

    def draw(self) -> None:
        self._frontend.shown = self.shown()

    def close(self) -> None:
        super().close()
        if self._change is not None:
            self._change.close()

    def _toggle_change(self) -> None:
        """Show the panel of the proposed change below this one, or hide it."""
        before = self._change
        after = ChangePanel(self.state.change()) if before is None else None
        widgets = [] if after is None else [after.embed()]
        with self.lock:
            self._change, self._below.children = after, widgets
        if before is not None:
            before.close()

    @passive()
    def look(self) -> float | None:
        pause = self.state.poll()
        self.changed()
        if self.state.is_deleted:
            self.close()
        return pause

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend, without keys.

        It contains all tabs, because the kernel may not receive clicks while a cell runs.
        """
        state, service = self.state, self.state.service
        return {
            "first": self._first,
            "name": state.name,
            "state": badge(self._condition()),
            "lastOperation": self._last_operation(),
            "replicas": "" if state.is_deleted else state.replicas(),
            "image": state.image_name(service.image.id) if service.image else "",
            "uri": service.scoring_uri or "",
            "versions": state.versions,
            "error": service.error.message if service.error else "",
            "candidate": state.candidate,
            "changeShown": self._change is not None,
            "progress": state.progress.html() if state.progress and not state.is_deleted else "",
            "note": state.note,
            "open": state.is_open,
            "working": self.is_working,
            "gone": state.is_deleted,
            "hasMetrics": state.has_metrics,
            "scale": {"auto": state.is_autoscaled, "values": self._scale()},
            "limits": {name: limits.attributes(ServiceUpdateRequest, path) for name, path in _NUMBERS.items()},
            "charts": state.traffic.html(),
            "totals": state.traffic.totals(),
            "request": state.log.request_id,
            "log": "\n".join(map(readable, state.log.lines[-_SHOWN_LINES:])),
            "deployments": self._deployments(),
            "serving": service.image.id if service.image else "",
            "images": self._images(),
        }

    def _images(self) -> list[dict[str, Any]]:
        """Return the images that the service could run, except for the current one."""
        choice, state = self.state.choice, self.state
        serving = choice.service.image.id if choice.service.image else None
        return [
            {
                "id": image.id,
                "label": state.image_name(image.id),
                "group": _GROUPS[choice.relation(image)],
                "foreign": choice.relation(image) is ImageRelation.OTHER,
                "differences": choice.differences(image),
            }
            for image in state.images
            if image.id != serving
        ]

    def _scale(self) -> dict[str, int | None]:
        scaler = self.state.service.auto_scaler
        values = {name: getattr(scaler, name) if scaler else None for name in AUTOSCALER}
        return {"num_replicas": self.state.service.num_replicas, **values}

    def _deployments(self) -> list[dict[str, Any]]:
        state = self.state
        serving = state.service.image.id if state.service.image else None
        newest = next((one.id for one in state.deployments if one.status == "Active"), None)
        return [
            {
                "id": one.id,
                "image": state.image_name(one.image_id),
                "status": one.status or "",
                "from": _time(one.created_at),
                "until": _time(one.expired_at),
                "change": one.summary or "",
                "current": one.id == newest,
                "back": _can_roll_back_to(one) and one.image_id != serving,
            }
            for one in state.deployments
        ]

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message of the frontend. Callbacks must return quickly, so the work is queued."""
        self.do(lambda: self._handle(message))

    def _handle(self, message: dict[str, Any]) -> None:
        """Perform the action of a message, in the worker thread."""
        state, act = self.state, str(message.get("act"))
        if act == "key":
            self._show_key(message)
            return
        actions: dict[str, Callable[[], None]] = {
            "change": self._toggle_change,
            "search": lambda: state.log.search(str(message["request"])),
            "scale": lambda: self._set_scale(message),
            "update": lambda: state.update(str(message["image"]), seen=str(message["seen"]), name=_name(message)),
            "rollback": lambda: state.roll_back(str(message["deployment"])),
            "cancel": state.cancel,
            "regenerate": lambda: state.regenerate(key_in(message), _name(message)),
            "delete": lambda: state.delete(_name(message)),
        }
        if act in actions:
            actions[act]()
        self.look_now()

    def _set_scale(self, message: dict[str, Any]) -> None:
        values = {name: _number(message["values"].get(name), name) for name in _NUMBERS}
        replicas = values.pop("num_replicas")
        if message["auto"]:
            self.state.autoscale(**values)
        else:
            self.state.scale(replicas, _name(message))

    def _show_key(self, message: dict[str, Any]) -> None:
        which = key_in(message)
        reply = {"which": which, "use": str(message["use"]), "view": message["view"]}
        self._frontend.send({**reply, "key": self.state.key(which)})


def _can_roll_back_to(deployment: Deployment) -> bool:
    """Return whether the deployment ran before. A deployment that failed to start would fail again."""
    return bool(deployment.image_id) and deployment.status in {"Active", "Expired"}


def _name(message: dict[str, Any]) -> str:
    """Return the typed service name that confirms an irreversible action."""
    return str(message.get("name") or "")


def _number(text: Any, name: str) -> int | None:
    """Parse a typed number; None if empty."""
    text = str("" if text is None else text).strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        wanted = limits.words(ServiceUpdateRequest, _NUMBERS[name])
        label = name.replace("_", " ")
        raise UsageError(f"{label}: {text!r} is not a whole number", field=name, fix=f"Enter {wanted}.") from error


def _time(moment: dt.datetime | None) -> str:
    return "" if moment is None else utc(moment)
