"""Lineage from models to deployments: the ancestors and descendants of a resource, as a small graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mlmgmt_nb.client import Pager, Workspace
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.contract import Deployment, ServiceResponse
from mlmgmt_nb.errors import NotFoundError
from mlmgmt_nb.notebook.display.html import escape

__all__ = ["Lineage", "Node", "trace"]

STAGES = ("models", "manifests", "images", "services", "deployments")
MOST = 6
"""Maximum number of resources of each kind in a graph."""
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _TOP = 132, 28, 24, 8, 24
_LONGEST_TITLE = 18


class Node(NamedTuple):
    """A resource in the graph."""

    kind: str
    id: str
    title: str
    state: str


class Lineage:
    """A lineage graph: nodes by id, and edges.

    Args:
        center: id of the resource in focus.
    """

    def __init__(self, center: str) -> None:
        self.center = center
        self.nodes: dict[str, Node] = {}
        self.edges: set[tuple[str, str]] = set()
        self.crowded: set[str] = set()

    def add(self, kind: str, resource: Any, *, of: Any = None) -> bool:
        """Add a resource, and an edge to it from another resource. Return False if the graph has no room for it."""
        if resource.id not in self.nodes:
            if sum(node.kind == kind for node in self.nodes.values()) >= MOST:
                self.crowded.add(kind)
                return False
            self.nodes[resource.id] = Node(kind, resource.id, _title(resource), _state(resource))
        if of is not None and of.id in self.nodes:
            self.edges.add((of.id, resource.id))
        return True

    def text(self) -> str:
        """Return the graph as text, with one line per kind."""
        return "\n".join(f"{kind}: {', '.join(self._titles(kind)) or 'none'}" for kind in STAGES)

    def svg(self, *, interactive: bool = False) -> str:
        """Return the graph as an inline SVG.

        Args:
            interactive: whether its nodes are buttons, for a frontend that handles them.
        """
        places = self._places()
        width = len(STAGES) * (_WIDTH + _GAP_X) - _GAP_X
        height = max([y + _HEIGHT for _, y in places.values()], default=_TOP + _HEIGHT) + 4
        role = "group" if interactive else "img"
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mlmgmt-lineage" role="{role}"'
            f' aria-label="{escape("lineage: " + self.text().replace(chr(10), "; "))}"'
            f' viewBox="-2 0 {width + 4} {height}" width="{width + 4}" height="{height}"'
            ' style="max-width:100%;height:auto" font-size="12">'
        ]
        for place, kind in enumerate(STAGES):
            more = ", and more" if kind in self.crowded else ""
            x = place * (_WIDTH + _GAP_X)
            parts.append(f'<text x="{x}" y="14" fill="currentColor" opacity="0.7">{kind}{more}</text>')
        parts += [self._edge(places[start], places[end]) for start, end in sorted(self.edges)]
        parts += [self._node(node, *places[node.id], interactive=interactive) for node in self.nodes.values()]
        return "".join([*parts, "</svg>"])

    def _titles(self, kind: str) -> list[str]:
        titles = [
            node.title + f" [{node.state}]" * bool(node.state) for node in self.nodes.values() if node.kind == kind
        ]
        return [*titles, "more"] if kind in self.crowded else titles

    def _places(self) -> dict[str, tuple[int, int]]:
        """Return the position of each node. Kinds are columns, resources are rows."""
        rows = dict.fromkeys(STAGES, 0)
        places = {}
        for node in self.nodes.values():
            x = STAGES.index(node.kind) * (_WIDTH + _GAP_X)
            places[node.id] = (x, _TOP + rows[node.kind] * (_HEIGHT + _GAP_Y))
            rows[node.kind] += 1
        return places

    def _edge(self, start: tuple[int, int], end: tuple[int, int]) -> str:
        x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
        x2, y2 = end[0], end[1] + _HEIGHT // 2
        bend = _GAP_X // 2
        return (
            f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"'
            ' fill="none" stroke="currentColor" opacity="0.4"/>'
        )

    def _node(self, node: Node, x: int, y: int, *, interactive: bool) -> str:
        label = f"{node.kind[:-1]} {node.title}{', ' + node.state if node.state else ''}"
        button = ""
        if interactive:
            kind, id_, said = escape(node.kind), escape(node.id), escape(label)
            button = f' tabindex="0" role="button" data-kind="{kind}" data-id="{id_}" aria-label="{said}"'
        stroke = 2 if node.id == self.center else 1
        short = (
            node.title
            if len(node.title) <= _LONGEST_TITLE
            else node.title[: _LONGEST_TITLE - 1] + "\N{HORIZONTAL ELLIPSIS}"
        )
        mark = _MARKS.get(node.state, "")
        return (
            f'<g class="mlmgmt-node"{button}><title>{escape(label)}</title>'
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="currentColor" fill-opacity="0.06"'
            f' stroke="currentColor" stroke-width="{stroke}" stroke-opacity="{0.9 if stroke > 1 else 0.4}"/>'
            f'<text x="{x + 8}" y="{y + 18}" fill="currentColor">{mark}{escape(short)}</text></g>'
        )


_MARKS = {
    "Succeeded": "\N{CHECK MARK} ",
    "Active": "\N{CHECK MARK} ",
    "Failed": "\N{BALLOT X} ",
    "Serving": "\N{CHECK MARK} ",
    "Not serving": "\N{BALLOT X} ",
    "Running": "\N{HORIZONTAL ELLIPSIS} ",
    "Deploying": "\N{HORIZONTAL ELLIPSIS} ",
}
"""The mark beside the title of a node. The state is also a word in its label."""


def trace(ws: Workspace, kind: str, resource: Any) -> Lineage:
    """Read the graph around a resource, with a bounded number of requests."""
    if kind == "operations":
        return _of_operation(ws, resource)
    graph = Lineage(resource.id)
    _TRACES[kind](ws, graph, resource)
    return graph


def _of_operation(ws: Workspace, operation: Any) -> Lineage:
    made = (operation.resource_location or "").rstrip("/").rpartition("/")[2]
    kind, get = ("images", ws.images.get) if operation.operation_type == "Image" else ("services", ws.services.get)
    try:
        return trace(ws, kind, get(made)) if made else Lineage("")
    except NotFoundError:  # deleted meanwhile
        return Lineage("")


def _of_model(ws: Workspace, graph: Lineage, model: Any) -> None:
    graph.add("models", model)
    for manifest in _first(ws.manifests.list(model_id=model.id, count=MOST + 1)):
        if graph.add("manifests", manifest, of=model):
            _below_manifest(ws, graph, manifest)


def _of_manifest(ws: Workspace, graph: Lineage, manifest: Any) -> None:
    graph.add("manifests", manifest)
    _above_manifest(ws, graph, manifest)
    _below_manifest(ws, graph, manifest)


def _of_image(ws: Workspace, graph: Lineage, image: Any) -> None:
    _above_image(ws, graph, image)
    for service in _first(ws.services.list(image_id=image.id, count=MOST + 1)):
        _add_service(ws, graph, service)


def _of_service(ws: Workspace, graph: Lineage, service: Any) -> None:
    if service.image is not None:
        _above_image(ws, graph, service.image)
    _add_service(ws, graph, service)


def _of_deployment(ws: Workspace, graph: Lineage, deployment: Any) -> None:
    image = _found(ws.images.get, deployment.image_id)
    if image is not None:
        _above_image(ws, graph, image)
    service = ws.services.find(deployment.service_name) if deployment.service_name else None
    if service is None:  # the service was deleted, but its deployments remain
        graph.add("deployments", deployment, of=image)
        return
    graph.add("services", service, of=service.image)
    graph.add("deployments", deployment, of=service)


def _above_image(ws: Workspace, graph: Lineage, image: Any) -> None:
    if image.manifest is not None:
        graph.add("manifests", image.manifest)
        _above_manifest(ws, graph, image.manifest)
    graph.add("images", image, of=image.manifest)


def _above_manifest(ws: Workspace, graph: Lineage, manifest: Any) -> None:
    ids = manifest.model_ids or []
    for id in ids[:MOST]:  # noqa: A001 - the API's word
        model = _found(ws.models.get, id)
        if model is not None:
            graph.add("models", model)
            graph.add("manifests", manifest, of=model)
    if len(ids) > MOST:
        graph.crowded.add("models")


def _below_manifest(ws: Workspace, graph: Lineage, manifest: Any) -> None:
    for image in _first(ws.images.list(manifest_id=manifest.id, count=MOST + 1)):
        graph.add("images", image, of=manifest)
    for service in _first(ws.services.list(manifest_id=manifest.id, count=MOST + 1)):
        graph.add("images", service.image, of=manifest)
        _add_service(ws, graph, service)


def _add_service(ws: Workspace, graph: Lineage, service: Any) -> None:
    if graph.add("services", service, of=service.image):
        for deployment in _first(ws.deployments.list(service=service.id)):
            graph.add("deployments", deployment, of=service)


def _first(pager: Pager[Any]) -> Iterable[Any]:
    return next(pager.by_page()).value[: MOST + 1]


def _found(get: Callable[[str], Any], id: str | None) -> Any:  # noqa: A002
    try:
        return get(id) if id else None
    except NotFoundError:
        return None


_TRACES: Mapping[str, Callable[[Workspace, Lineage, Any], None]] = {
    "models": _of_model,
    "manifests": _of_manifest,
    "images": _of_image,
    "services": _of_service,
    "deployments": _of_deployment,
}


def _title(resource: Any) -> str:
    if isinstance(resource, Deployment):
        return f"{resource.created_at:%m-%d %H:%M:%S}" if resource.created_at else resource.id or ""
    version = getattr(resource, "version", None)
    return str(resource.name) if version is None else f"{resource.name} {version}"


def _state(resource: Any) -> str:
    if isinstance(resource, ServiceResponse):
        return condition(resource)
    for name in ("state", "creation_state", "status"):
        if state := getattr(resource, name, None):
            return str(state)
    return ""
