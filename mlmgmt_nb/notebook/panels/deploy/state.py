"""What a `DeployPanel` knows and does, without any display."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlmgmt_nb.client import Poller, Workspace
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.commands.verbs.drivers import Checked, check_driver
from mlmgmt_nb.contract import Model, ServiceResponse
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, UsageError
from mlmgmt_nb.notebook.display.html import Trouble
from mlmgmt_nb.notebook.panels.deploy import form as deploy_form
from mlmgmt_nb.notebook.panels.deploy.code import magic_line, python_code
from mlmgmt_nb.notebook.panels.operation.state import Progress

__all__ = ["STEPS", "DeployState", "Step"]

STEPS = ("model", "manifest", "image", "service")
"""The steps of a deployment, by the names that `Workspace.deploy` has for them."""

ModelGiven = Model | str | os.PathLike[str]
_NAMES = 50


class Step(NamedTuple):
    """A step of the deployment: how far it is (`waits`, `goes on`, `done` or `failed`), and its operation if any."""

    name: str
    state: str = "waits"
    seconds: float | None = None
    progress: Progress | None = None


class DeployState:
    """A form, and the deployment that comes of it.

    What it shows is replaced, never changed in place, so that it may be drawn at any time. `set` is quick; the other
    methods ask the server or start processes.

    Args:
        workspace: the account.
        model: the model, or several: registered ones (with their ids or names), files, folders or URLs.
        on_change: called, from any thread, when the deployment has come further.
        clock: seconds, monotonic.
        **fields: what other fields begin with, see `deploy_form.DEFAULTS`.

    Attributes:
        values: what is typed, by field.
        problems: what is wrong with it, by field.
        checked: what the check of the driver gave, in words.
        names: names of registered models, for completion.
        steps: how far the deployment is; empty before it began.
        is_deploying: whether it goes on.
        failure: why it ended badly, or None.
        service: the service that was made, or None.
    """

    def __init__(
        self,
        workspace: Workspace,
        model: ModelGiven | Sequence[ModelGiven] | None = None,
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        **fields: Any,
    ) -> None:
        unknown = sorted(set(fields) - set(deploy_form.DEFAULTS))
        if unknown:
            known = ", ".join(deploy_form.DEFAULTS)
            raise UsageError(f"the form has no field {unknown[0]!r}", field=unknown[0], fix=f"It has {known}.")
        self._workspace = workspace
        self._on_change = on_change
        self._clock = clock
        self._registered: dict[str, bool] = {}
        self._lock = ForkLock()
        self._poller: Poller[Any] | None = None
        self._began = 0.0
        self.checked = ""
        self.names: tuple[str, ...] = ()
        self.steps: tuple[Step, ...] = ()
        self.is_deploying = False
        self.failure: Trouble | None = None
        self.service: ServiceResponse | None = None
        requirements = fields.get("requirements")
        if isinstance(requirements, Sequence) and not isinstance(requirements, str):
            raise UsageError("requirements: the form takes a file", field="requirements", fix="Write them into a file.")
        given = {name: _typed(value) for name, value in fields.items() if value is not None}
        if model is not None:
            given["models"] = _typed(model)
        self.values: deploy_form.Values = {**deploy_form.DEFAULTS, **given}
        self.problems: dict[str, str] = {}
        self.judge()

    def set(self, field: str, value: Any) -> None:
        """Take what was typed into a field."""
        if field in deploy_form.DEFAULTS:
            is_box = isinstance(deploy_form.DEFAULTS[field], bool)
            self.values = {**self.values, field: bool(value) if is_box else str(value)}
            self.judge()

    def judge(self) -> None:
        """Find out what is wrong with what is typed."""
        self.problems = deploy_form.problems(self.values, self._registered.get)

    def unknown_models(self) -> list[str]:
        """Return the models of which it is not known whether they are registered."""
        models = deploy_form.lines(self.values["models"])
        return [model for model in models if not deploy_form.is_local(model) and model not in self._registered]

    def look_up_models(self) -> None:
        """Asks whether the models that are no files are registered."""
        for model in self.unknown_models():
            try:
                self._workspace.models.get(model)
            except NotFoundError:
                self._registered[model] = False
            else:
                self._registered[model] = True
        self.judge()

    def find_names(self) -> None:
        """Asks for the names of registered models, the newest."""
        page = next(self._workspace.models.list(count=_NAMES).by_page())
        self.names = tuple(dict.fromkeys(model.name for model in page.value))

    def suggestions(self) -> dict[str, list[str]]:
        """Return what may be meant, by field: files of the folder that the kernel works in, and registered models."""
        found = deploy_form.suggestions(Path.cwd())
        return {**found, "models": [*found.get("models", ()), *self.names]}

    def line(self) -> str:
        """Return the line of the magic that does the same; without keys that are part of URLs."""
        given = deploy_form.arguments(self.values)
        models = deploy_form.lines(self.values["models"])
        registered = frozenset(model for model in models if not deploy_form.is_local(model))
        return deploy_form.masked(magic_line(given, registered, self._workspace.connect_arguments))

    def code(self) -> str:
        """Return the Python that does the same; without keys that are part of URLs."""
        written = python_code(deploy_form.arguments(self.values), self._workspace.connect_arguments)
        return deploy_form.masked(written)

    def check_driver(self) -> Checked:
        """Load the driver as the service would and tries it on the sample of its schema.

        Raises:
            UsageError: what is wrong with it.
        """
        self.checked = ""
        driver = self.values["driver"].strip()
        if "driver" in self.problems or is_url(driver):
            why = self.problems.get("driver") or "It is at a URL, which only the service reads."
            raise UsageError("the driver cannot be checked here", field="driver", fix=why)
        schema, *beside = [
            Path(source).expanduser() if source and not is_url(source) else None
            for source in (
                self.values["schema"].strip(),
                *deploy_form.lines(self.values["models"]),
                *deploy_form.lines(self.values["dependencies"]),
            )
        ]
        present = [path for path in beside if path is not None and path.exists()]
        # What lies elsewhere, or has packages of its own, can only be loaded by the service.
        is_complete = len(present) == len(beside) and not self.values["requirements"] and not self.values["conda"]
        present += [schema] if schema is not None else []
        found = check_driver(Path(driver).expanduser(), present if is_complete else None, schema)
        why = "" if is_complete else "\nonly the service can load it: not all that it needs is here"
        self.checked = f"{found}{why}"
        return found

    def begin(self) -> None:
        """Mark the beginning of the deployment, which `deploy` then does.

        Raises:
            UsageError: the form is not right, or a deployment goes on.
        """
        with self._lock:
            if self.is_deploying:
                raise UsageError("it is being deployed already", fix="Wait for its end, or cancel it.")
            if self.problems:
                field, problem = next(iter(self.problems.items()))
                raise UsageError(f"{field.replace('_', ' ')}: the form is not right", field=field, fix=problem)
            self.is_deploying = True
            self.service, self.failure = None, None
            self.steps = tuple(Step(name, "goes on" if name == STEPS[0] else "waits") for name in STEPS)
            self._began = self._clock()

    def deploy(self) -> None:
        """Do the deployment that `begin` began; it takes as long as that takes. How it ends is in `failure`."""
        given = deploy_form.arguments(self.values)
        try:
            self.service = self._workspace.deploy(
                **given, on_step=self._step_is_done, on_operation=self._operation_began
            )
        except MlmgmtError as error:
            self.failure = Trouble.of(error)
        finally:
            self._poller = None
            self.steps = tuple(
                step._replace(state="failed", seconds=self._seconds()) if step.state == "goes on" else step
                for step in self.steps
            )
            self.is_deploying = False
            self._on_change()

    def cancel(self) -> None:
        """Cancel the operation that goes on, and with it the deployment."""
        poller = self._poller
        if poller is None:
            raise UsageError("there is nothing to cancel now", fix="Builds and starts of services can be cancelled.")
        self._workspace.operations.cancel(poller.operation_id)

    def look(self) -> None:
        """Read what is new in the log of the operation that goes on."""
        for step in self.steps:
            if step.progress is not None and step.state == "goes on":
                step.progress.look()

    def _operation_began(self, poller: Poller[Any]) -> None:
        self._poller = poller
        progress = Progress(poller, self._clock)
        self.steps = tuple(step._replace(progress=progress) if step.state == "goes on" else step for step in self.steps)
        poller.add_change_callback(lambda _: self._on_change())

    def _step_is_done(self, name: str, seconds: float) -> None:
        place = STEPS.index(name)
        steps = list(self.steps)
        progress = steps[place].progress
        if progress is not None:
            progress.look()  # its last lines
        self._poller = None
        steps[place] = steps[place]._replace(state="done", seconds=seconds)
        if place + 1 < len(steps):
            steps[place + 1] = steps[place + 1]._replace(state="goes on")
        self._began = self._clock()
        self.steps = tuple(steps)
        self._on_change()

    def _seconds(self) -> float:
        return self._clock() - self._began


def _typed(value: Any) -> Any:
    """Return a value as one would type it: one a line where there are several, a model by its id."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_typed(one) for one in value)
    return (
        (value.id or "")
        if isinstance(value, Model)
        else str(os.fspath(value) if isinstance(value, os.PathLike) else value)
    )
