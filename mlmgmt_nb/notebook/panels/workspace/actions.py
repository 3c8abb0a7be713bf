"""Actions on the selected resource, such as opening a panel, and the code that reads the resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands.verbs.services import sample
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.panels.deploy.view import DeployPanel
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.scoring.view import ScoringPanel
from mlmgmt_nb.notebook.panels.scoring_test.view import ScoringTestPanel
from mlmgmt_nb.notebook.panels.service.view import ServicePanel

__all__ = ["ACTIONS", "Action", "act", "code_of"]

_REQUESTS, _CONCURRENCY = 200, 4


class Action(NamedTuple):
    """An action.

    Attributes:
        id: its id.
        title: its title.
        make: performs the action, and returns its panel or None.
        applies: returns whether the action is available for a resource.
    """

    id: str
    title: str
    make: Callable[[Workspace, Any], Panel | None]
    applies: Callable[[Any], bool] = lambda _: True


def _test(ws: Workspace, service: Any) -> Panel:
    case = sample(ws, service.id)
    if case is None:
        raise UsageError(
            f"service {service.name!r} has no sample to test with",
            field="cases",
            fix=f"Give cases: `%mlmgmt service test -n {service.name} --cases {{cases}}`.",
        )
    test = ws.services.scoring_test(service, [case], requests=_REQUESTS, concurrency=_CONCURRENCY)
    panel = ScoringTestPanel(test)
    panel.start()
    return panel


def _update_with(ws: Workspace, image: Any) -> Panel:
    """Return the panel of the newest service with the same manifest, with the image selected."""
    name = image.manifest.name if image.manifest is not None else None
    found = next(iter(ws.services.list(manifest_name=name, count=1)), None) if name else None
    if found is None:
        raise UsageError(
            f"no service runs an image of manifest {name!r}",
            field="image",
            fix=f"Create one: `%mlmgmt service create -n NAME --image-id {image.id}`.",
        )
    return ServicePanel(ws, found, tab="Deployments", image=image.id or "")


def _archiving(kind: str) -> tuple[Action, Action]:
    """Return the actions that archive and unarchive a version."""

    def archive(ws: Workspace, version: Any) -> None:
        getattr(ws, kind).archive(version)

    def unarchive(ws: Workspace, version: Any) -> None:
        getattr(ws, kind).unarchive(version)

    def is_archived(version: Any) -> bool:
        return bool(getattr(version, "archived", False))

    return (
        Action("archive", "Archive", archive, lambda version: not is_archived(version)),
        Action("unarchive", "Unarchive", unarchive, is_archived),
    )


ACTIONS: Mapping[str, tuple[Action, ...]] = {
    "models": (
        Action("deploy", "Deploy", lambda ws, model: DeployPanel(ws, model.id or "")),
        *_archiving("models"),
    ),
    "manifests": _archiving("manifests"),
    "images": (Action("update", "Update a service with this", _update_with), *_archiving("images")),
    "services": (
        Action("console", "Console", ServicePanel),
        Action("try", "Try", ScoringPanel),
        Action("log", "Log", lambda ws, service: ServicePanel(ws, service, tab="Log")),
        Action("test", "Test", _test),
        Action("delete", "Delete", lambda ws, service: ServicePanel(ws, service, tab="Delete")),
    ),
    "deployments": (
        Action("console", "Console", lambda ws, one: ServicePanel(ws, one.service_name or "", tab="Deployments")),
    ),
}
"""The actions by kind of resource."""


def act(ws: Workspace, kind: str, resource: Any, action: str) -> Panel | None:
    """Perform an action. Return its panel, which is not displayed yet; None if it has none.

    Raises:
        MlmgmtError: the action is not possible.
    """
    made = next((each.make for each in ACTIONS.get(kind, ()) if each.id == action), None)
    if made is None:
        raise UsageError(f"{action!r} is not an action of {kind}", field="action")
    return made(ws, resource)


def code_of(kind: str, resource: Any) -> str:
    """Return the line of Python that reads a resource."""
    return f'ws.{kind}.get("{resource.id}")'
