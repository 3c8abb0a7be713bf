"""`DeployPanel`: a form that deploys models as a running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.contract import ServiceCreateRequest, ServiceResponse
from mlmgmt_nb.errors import ServiceStoppedError
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.display.html import ErrorText, alert, escape, link, table
from mlmgmt_nb.notebook.panels import limits
from mlmgmt_nb.notebook.panels.deploy import form as deploy_form
from mlmgmt_nb.notebook.panels.deploy.kernel import Kernel
from mlmgmt_nb.notebook.panels.deploy.state import DeployState, ModelGiven, Step
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.worker import Worker

__all__ = ["DeployPanel"]

_LOOK_SECONDS = 0.25
_BADGES = {"waiting": "NotStarted", "running": "Running", "done": "Succeeded", "failed": "Failed"}


class DeployPanel(Panel):
    """A deployment form. It validates its fields, and shows the equivalent code and the progress of each step.

    Display it as the last expression of a cell. Nothing is sent before `Deploy` is pressed.

    Args:
        workspace: the account.
        model: one or more models: ids or names of registered models, files, folders or URLs; or one fitted object or
            function of the notebook, which needs no driver.
        **fields: initial values of other fields, named as in `Workspace.deploy`, such as `driver="score.py"`.

    Attributes:
        state: the state and actions of the panel.

    Raises:
        UsageError: the form has no such field.
    """

    def __init__(
        self, workspace: Workspace, model: ModelGiven | Sequence[ModelGiven] | Any = None, **fields: Any
    ) -> None:
        super().__init__()
        kernel = Kernel(_variables())
        self.state = DeployState(workspace, model, kernel=kernel, on_change=self._moved, clock=self._clock, **fields)
        self._deploying = Worker()
        self._frontend: Any = None
        self._typed_in = ""

    @property
    def service(self) -> ServiceResponse | None:
        """The resulting service; None before the deployment has succeeded."""
        return self.state.service

    def text(self) -> str:
        """Return the text for a terminal: the form, its problems, and the code or the steps."""
        state = self.state
        filled = [f"  {_label(field):<24}{value}" for field, value in self._filled()]
        wrong = [f"  {_label(field)}: {problem}" for field, problem in state.problems.items()]
        code = [] if state.problems else ["", state.line(), "", state.code()]
        parts = ["deploy", *filled, *(["fields to correct:", *wrong] if wrong else code)]
        for step in state.steps:
            parts.append(f"  {step.name:<10}{step.state}{_seconds(step)}")
            parts += [f"    {line}" for line in step.progress.text().splitlines()] if step.progress else []
        return "\n".join([*parts, *(state.failure or ())])

    def html(self) -> str:
        state = self.state
        filled = [(_label(field), value) for field, value in self._filled()]
        form = table(("field", "value"), filled, label="the form") if filled else ""
        code = "" if state.problems else f"<pre>{escape(state.line())}\n\n{escape(state.code())}</pre>"
        code = f"<details><summary>code</summary>{code}</details>" if code else ""
        wrong = "".join(f"<li>{escape(_label(field))}: {escape(text)}</li>" for field, text in self._problems().items())
        wrong = f"<div>Fields to correct:</div><ul>{wrong}</ul>" if wrong else ""
        failed = alert(state.failure) if state.failure else ""
        made = f"<div>{link(state.service.scoring_uri or '')}</div>" if state.service else ""
        return f"<b>deploy</b>{form}{wrong}{self._steps()}{failed}{made}{code}"

    def prepare(self, *, is_live: bool) -> None:
        if not is_live:
            self.state.look_up_models()

    def build(self) -> Any:
        self._frontend = frontend("deploy", self.shown(), self._on_message)
        self.do(self._begin)
        return self._frontend

    def draw(self) -> None:
        self._frontend.shown = self.shown()

    @passive()
    def look(self) -> float | None:
        self.state.poll()
        self.changed()
        return _LOOK_SECONDS if self.state.is_deploying else None

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend."""
        state = self.state
        is_right = not state.problems
        return {
            "values": {field: _shown(value) for field, value in state.values.items()},
            "typedIn": self._typed_in,
            "problems": state.problems,
            "limits": {field: _limit(path) for field, path in deploy_form.LIMITED.items()},
            "suggestions": state.suggestions(),
            "checked": state.checked,
            "working": self.is_working,
            "line": state.line() if is_right else "",
            "code": state.code() if is_right else "",
            "deploying": state.is_deploying,
            "steps": self._steps(),
            "failure": alert(state.failure) if state.failure else "",
            "service": self._made(),
        }

    def _filled(self) -> list[tuple[str, str]]:
        """Return the fields that differ from the defaults."""
        return [
            (field, str(_shown(value)).replace("\n", ", "))
            for field, value in self.state.values.items()
            if value != deploy_form.DEFAULTS[field]
        ]

    def _problems(self) -> dict[str, str]:
        """Return the problems, without those of empty fields before the user has typed anything."""
        filled = {field for field, _ in self._filled()}
        return {field: text for field, text in self.state.problems.items() if self._typed_in or field in filled}

    def _steps(self) -> str:
        """Return the steps as HTML, with their operations."""
        rows = []
        for step in self.state.steps:
            operation = step.progress.html() if step.progress else ""
            state = "" if operation else f"{badge(_BADGES[step.state])} "  # an operation has its own badge
            head = f"{state}<b>{step.name}</b> {step.state}{_seconds(step)}"
            rows.append(f'<li style="list-style:none;margin:4px 0">{head}{operation}</li>')
        return f'<ol aria-label="steps" style="padding:0">{"".join(rows)}</ol>' if rows else ""

    def _made(self) -> dict[str, str] | None:
        service = self.state.service
        if service is None:
            return None
        name = service.name or ""
        return {"name": name, "uri": service.scoring_uri or "", "panel": f"%mlmgmt service panel -n {name}"}

    def _begin(self) -> None:
        """Fetch data that the form needs from the server. Runs in the worker thread."""
        self.state.find_names()
        self.state.look_up_models()

    def _moved(self) -> None:
        self.changed()
        self.look_now()

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message of the frontend. Callbacks must return quickly, so long work is queued."""
        state, act = self.state, message.get("act")
        if act == "set":
            self._take(message)
        elif act == "check":
            self.do(lambda: (state.check_driver(), None)[1])
        elif act == "cancel":
            self.do(state.cancel)
        elif act == "deploy":
            self._take(message)
            self.do(self._deploy)

    def _take(self, message: dict[str, Any]) -> None:
        with self.lock:
            self._typed_in = str(message.get("view", ""))
            for field, value in message.get("values", {}).items():
                self.state.set(str(field), value)
        self.fail(None)
        if self.state.unknown_models():
            self.do(self.state.look_up_models)
        self.changed()

    def _deploy(self) -> None:
        """Start the deployment in another thread, so that the worker thread is free to cancel it.

        The second click of a double click does nothing: the form shows the deployment that the first one started.
        """
        if self.state.is_deploying:
            return
        self.state.begin()
        self._deploying.do(self._run)
        self._moved()

    def _run(self) -> None:
        try:
            with passive():
                self.state.deploy()
        except ServiceStoppedError as error:
            self._failed("work", error)
        except Exception as error:  # noqa: BLE001 - otherwise it would be lost
            self.fail(ErrorText.of(error))
        self._moved()


def _variables() -> Mapping[str, Any]:
    """Return the variables of the notebook; none outside of IPython."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return {} if shell is None else shell.user_ns


def _limit(path: str) -> dict[str, Any]:
    return {
        "attributes": limits.attributes(ServiceCreateRequest, path),
        "words": limits.words(ServiceCreateRequest, path),
        "pattern": limits.pattern(ServiceCreateRequest, path),
    }


def _shown(value: Any) -> Any:
    return deploy_form.masked(value) if isinstance(value, str) else value


def _label(field: str) -> str:
    return field.replace("_", " ")


def _seconds(step: Step) -> str:
    return "" if step.seconds is None else f", {step.seconds:.1f} s"
