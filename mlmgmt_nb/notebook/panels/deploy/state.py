"""State and actions of a `DeployPanel`, without display."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlmgmt_nb.client import Poller, Workspace
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.commands.verbs.drivers import CheckedDriver, check_driver
from mlmgmt_nb.contract import Model, ServiceResponse
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, ServiceStoppedError, UsageError
from mlmgmt_nb.notebook.display.html import ErrorText
from mlmgmt_nb.notebook.panels.deploy import form as deploy_form
from mlmgmt_nb.notebook.panels.deploy.code import magic_line, python_code
from mlmgmt_nb.notebook.panels.deploy.kernel import Kernel, Variable
from mlmgmt_nb.notebook.panels.operation.state import Progress

__all__ = ["STEPS", "DeployState", "Step"]

STEPS = ("model", "manifest", "image", "service")
"""The steps of a deployment, as `Workspace.deploy` names them."""

ModelGiven = Model | str | os.PathLike[str]
_NAMES = 50


class Step(NamedTuple):
    """A step of the deployment: its status (`waiting`, `running`, `done` or `failed`), and its operation if any."""

    name: str
    state: str = "waiting"
    seconds: float | None = None
    progress: Progress | None = None


class DeployState:
    """A form, and the deployment that it starts.

    Attributes are replaced, not mutated, so that drawing is safe at any time. `set` is quick; the other methods send
    requests or start processes.

    Args:
        workspace: the account.
        model: one or more models: ids or names of registered models, files, folders or URLs; or one object.
        kernel: the variables of the notebook.
        on_change: called, from any thread, when the deployment has progressed.
        clock: monotonic clock, in seconds.
        **fields: initial values of other fields; see `deploy_form.DEFAULTS`.

    Attributes:
        values: the typed values, by field.
        problems: the validation errors, by field.
        checked: the result of the driver check, in words.
        names: names of registered models, for completion.
        steps: the progress of the deployment; empty before it starts.
        is_deploying: whether the deployment is running.
        failure: the error that ended the deployment, or None.
        service: the resulting service, or None.
    """

    def __init__(
        self,
        workspace: Workspace,
        model: ModelGiven | Sequence[ModelGiven] | Any = None,
        *,
        kernel: Kernel | None = None,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        **fields: Any,
    ) -> None:
        unknown = sorted(set(fields) - set(deploy_form.DEFAULTS))
        if unknown:
            known = ", ".join(deploy_form.DEFAULTS)
            raise UsageError(f"the form has no field {unknown[0]!r}", field=unknown[0], fix=f"Use one of: {known}.")
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
        self.failure: ErrorText | None = None
        self.service: ServiceResponse | None = None
        requirements = fields.get("requirements")
        if isinstance(requirements, Sequence) and not isinstance(requirements, str):
            raise UsageError("requirements: the form needs a file", field="requirements", fix="Write them to a file.")
        self._kernel = kernel or Kernel()
        given = {name: self._typed(name, value) for name, value in fields.items() if value is not None}
        if model is not None:
            given["models"] = self._typed("model", model)
        self.values: deploy_form.Values = {
            **deploy_form.DEFAULTS,
            "compute_resource_id": workspace.compute,
            **given,
        }
        used = {workspace.compute, self.values["compute_resource_id"]}
        self._magic_compute = "local" if used == {"local"} else None  # otherwise the line names the compute
        self.problems: dict[str, str] = {}
        self.validate()

    def _typed(self, field: str, value: Any) -> Any:
        """Return a value as a user would type it: one item per line, models by id, objects by variable name.

        Raises:
            UsageError: the value is an object, and no variable of the notebook has it.
        """
        if isinstance(value, Model):
            return value.id or ""
        if isinstance(value, (bool, str, int, float)):
            return value if isinstance(value, bool) else str(value)
        if isinstance(value, os.PathLike):
            return str(os.fspath(value))
        if (named := self._kernel.variable_of(value)) is not None and field in {"model", "sample"}:
            return str(named)
        if isinstance(value, Sequence):
            return "\n".join(self._typed(field, one) for one in value)
        raise UsageError(f"{field}: the form needs a variable of the notebook", field=field, fix="Assign it to a name.")

    def set(self, field: str, value: Any) -> None:
        """Set the typed value of a field."""
        if field in deploy_form.DEFAULTS:
            is_box = isinstance(deploy_form.DEFAULTS[field], bool)
            self.values = {**self.values, field: bool(value) if is_box else str(value)}
            self.validate()

    def validate(self) -> None:
        """Validate the form."""
        self.problems = deploy_form.problems(self.values, self._registered.get, self._kernel)

    def unknown_models(self) -> list[str]:
        """Return the models whose registration has not been looked up."""
        models = deploy_form.lines(self.values["models"])
        return [model for model in models if not deploy_form.is_local(model) and model not in self._registered]

    def look_up_models(self) -> None:
        """Look up whether the models are registered that are neither local nor known yet."""
        for model in self.unknown_models():
            try:
                self._workspace.models.get(model)
            except NotFoundError:
                self._registered[model] = False
            else:
                self._registered[model] = True
        self.validate()

    def find_names(self) -> None:
        """Fetch the names of the newest registered models."""
        page = next(self._workspace.models.list(count=_NAMES).by_page())
        self.names = tuple(dict.fromkeys(model.name for model in page.value))

    def suggestions(self) -> dict[str, list[str]]:
        """Return suggestions by field: objects of the notebook, files of the working directory, registered models."""
        found, chosen = deploy_form.suggestions(Path.cwd()), deploy_form.object_in(self.values)
        return {
            **found,
            "models": [*self._kernel.models(), *found.get("models", ()), *self.names],
            "sample": self._kernel.samples(chosen),
            "method": self._kernel.methods(chosen),
        }

    def line(self) -> str:
        """Return the equivalent magic line, with keys in URLs masked."""
        given = deploy_form.arguments(self.values, self._magic_compute)
        models = deploy_form.lines(self.values["models"])
        registered = frozenset(model for model in models if not deploy_form.is_local(model))
        return deploy_form.masked(magic_line(given, registered, self._workspace.connect_arguments))

    def code(self) -> str:
        """Return the equivalent Python code, with keys in URLs masked."""
        written = python_code(self._arguments(), self._workspace.connect_arguments)
        return deploy_form.masked(written)

    def _arguments(self) -> dict[str, Any]:
        return deploy_form.arguments(self.values, self._workspace.compute)

    def check_driver(self) -> CheckedDriver:
        """Load the driver as the service would, and run it on the sample of its schema.

        Raises:
            UsageError: the driver is not valid.
        """
        self.checked = ""
        driver = self.values["driver"].strip()
        self._refuse_unreadable(driver)
        schema, *beside = [
            _local_path(source)
            for source in (
                self.values["schema"].strip(),
                *deploy_form.lines(self.values["models"]),
                *deploy_form.lines(self.values["dependencies"]),
            )
        ]
        present = [path for path in beside if path is not None and path.exists()]
        # Only the service can load a driver with remote files or extra packages.
        is_complete = len(present) == len(beside) and not self.values["requirements"] and not self.values["conda"]
        present += [schema] if schema is not None else []
        found = check_driver(Path(driver).expanduser(), present if is_complete else None, schema)
        why = "" if is_complete else "\nnot loaded: it needs files or packages that only the service has"
        self.checked = f"{found}{why}"
        return found

    def _refuse_unreadable(self, driver: str) -> None:
        """Raise UsageError for a driver that is missing, not valid, or not on this machine."""
        if not driver and "driver" not in self.problems:
            raise UsageError(
                "the form has no driver to check", field="driver", fix="Deploy: a fresh process checks the model first."
            )
        if "driver" in self.problems or is_url(driver):
            why = (
                self.problems.get("driver")
                or "Only the service reads a driver at a URL. Enter a local file, or deploy to check it."
            )
            raise UsageError("the driver cannot be checked here", field="driver", fix=why)

    def begin(self) -> None:
        """Mark the start of the deployment, which `deploy` then runs.

        Raises:
            UsageError: the form is not valid, or a deployment is running.
        """
        with self._lock:
            if self.is_deploying:
                raise UsageError("a deployment is already running", fix="Wait until it ends, or cancel it.")
            if self.problems:
                field, problem = next(iter(self.problems.items()))
                raise UsageError(f"{field.replace('_', ' ')}: not valid", field=field, fix=problem)
            self.is_deploying = True
            self.service, self.failure = None, None
            names = STEPS if deploy_form.lines(self.values["models"]) else STEPS[1:]
            self.steps = tuple(Step(name, "running" if name == names[0] else "waiting") for name in names)
            self._began = self._clock()

    def deploy(self) -> None:
        """Run the deployment that `begin` marked, and block until it ends. An error is stored in `failure`.

        Raises:
            ServiceStoppedError: the embedded service was stopped.
        """
        given = {
            name: self._kernel.value(value) if isinstance(value, Variable) else value
            for name, value in self._arguments().items()
        }
        try:
            self.service = self._workspace.deploy(
                **given, on_step=self._step_is_done, on_operation=self._operation_began
            )
        except MlmgmtError as error:
            self.failure = ErrorText.of(error)
            if isinstance(error, ServiceStoppedError):
                raise
        finally:
            self._poller = None
            self.steps = tuple(
                step._replace(state="failed", seconds=self._seconds()) if step.state == "running" else step
                for step in self.steps
            )
            self.is_deploying = False
            self._on_change()

    def cancel(self) -> None:
        """Cancel the running operation, which ends the deployment."""
        poller = self._poller
        if poller is None:
            raise UsageError(
                "no operation can be canceled now", fix="Cancel while an image is being built or a service is starting."
            )
        self._workspace.operations.cancel(poller.operation_id)

    def poll(self) -> None:
        """Read new log lines of the running operation."""
        for step in self.steps:
            if step.progress is not None and step.state == "running":
                step.progress.poll()

    def _operation_began(self, poller: Poller[Any]) -> None:
        self._poller = poller
        progress = Progress(poller, self._clock)
        self.steps = tuple(step._replace(progress=progress) if step.state == "running" else step for step in self.steps)
        poller.add_change_callback(lambda _: self._on_change())

    def _step_is_done(self, name: str, seconds: float) -> None:
        steps = list(self.steps)
        place = [step.name for step in steps].index(name)
        progress = steps[place].progress
        if progress is not None:
            progress.poll()  # reads its last lines
        self._poller = None
        steps[place] = steps[place]._replace(state="done", seconds=seconds)
        if place + 1 < len(steps):
            steps[place + 1] = steps[place + 1]._replace(state="running")
        self._began = self._clock()
        self.steps = tuple(steps)
        self._on_change()

    def _seconds(self) -> float:
        return self._clock() - self._began


def _local_path(source: str) -> Path | None:
    return Path(source).expanduser() if source and not is_url(source) else None
