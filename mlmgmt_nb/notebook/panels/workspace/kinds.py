"""The kinds of resources in a workspace: their columns, their API filters, and the functions that read them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.paging import Page
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.contract import OPERATIONS
from mlmgmt_nb.contract.operations import Parameter
from mlmgmt_nb.errors import ApiError, NotFoundError

__all__ = ["ARCHIVED", "FIRST_FILTERS", "KINDS", "Column", "Kind", "ago", "matching", "shown"]

_PAGING = frozenset({"count", "$skipToken"})
_SHOWN_OPERATIONS = 50
FIRST_FILTERS = frozenset({"name", "tag", "manifestName", "serviceName", "serviceId", "modelName"})
"""Filters that are always visible; the others are collapsed."""
ARCHIVED = Parameter("archived", "Archived ones too.", Literal["shown"])
"""A filter with a single choice. It is not part of the API of 2017."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_OLD_SECONDS = 60 * 86400


Read = Callable[[Workspace, Mapping[str, str], int, str | None], Page[Any]]
"""Reads a page, given the filters by API name, the number of items, and the continuation token."""


class Column(NamedTuple):
    """A column of a list: its property, its title, a function that returns its value, and whether it is a state."""

    id: str
    title: str
    value: Callable[[Any], Any]
    is_state: bool = False


class Kind(NamedTuple):
    """A kind of resources.

    Attributes:
        id: its name in the API's paths.
        columns: the columns of its list.
        filters: the filters of the API.
        page: reads a page of its list.
        begin: the command that creates the first item.
    """

    id: str
    columns: tuple[Column, ...]
    filters: tuple[Parameter, ...]
    page: Read
    begin: str

    @property
    def title(self) -> str:
        return self.id.capitalize()


def shown(value: Any) -> str:
    """Return the value of a column as text."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return f"{(value if value.tzinfo else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def ago(value: dt.datetime, now: dt.datetime) -> str:
    """Return a time relative to now, such as `5 min ago`; the date if it is more than 60 days ago."""
    value = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    seconds = int((now - value).total_seconds())
    if seconds >= _OLD_SECONDS:
        return f"{value.astimezone(dt.UTC):%Y-%m-%d}"
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), (0, ""))
    return f"{seconds // size} {unit} ago" if size else "just now"


def matching(kind: Kind, item: Any, search: str) -> Column | None:
    """Return the first column whose text contains the search text, ignoring case."""
    wanted = search.casefold()
    return next((column for column in kind.columns if wanted in shown(column.value(item)).casefold()), None)


def _column(id: str, title: str | None = None, *, is_state: bool = False) -> Column:  # noqa: A002
    return Column(id, title or id.replace("_", " "), lambda item: getattr(item, id), is_state)


def _filters(operation_id: str) -> tuple[Parameter, ...]:
    return tuple(parameter for parameter in OPERATIONS[operation_id].query if parameter.name not in _PAGING)


def _named(filters: Mapping[str, str]) -> dict[str, Any]:
    """Return the filters by their parameter names in the client."""
    return {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in filters.items()}


def _pages(kind: str) -> Read:
    """Return a function that reads pages of a kind that the API lists in pages."""

    def read(ws: Workspace, filters: Mapping[str, str], count: int, token: str | None) -> Page[Any]:
        named = _named(filters)
        if named.pop(ARCHIVED.name, None) is not None:
            named["include_archived"] = True
        page: Page[Any] = next(getattr(ws, kind).list(count=count, **named).by_page(token))
        return page

    return read


def _deployments(ws: Workspace, filters: Mapping[str, str], _: int, token: str | None) -> Page[Any]:
    """Read all deployments. The API does not list them in pages."""
    return next(ws.deployments.list(service=filters.get("serviceId")).by_page(token))


def _operations(ws: Workspace, _: Mapping[str, str], count: int, token: str | None) -> Page[Any]:
    """Read the operations of the account, or of this session if the server cannot list them, as in the API of 2017."""
    try:
        return next(ws.operations.list(count=count).by_page(token))
    except ApiError as error:
        if error.status_code not in (404, 405):
            raise
        return Page(list(_known(ws, ws.operations.known[:_SHOWN_OPERATIONS])), None)


def _known(ws: Workspace, ids: Iterable[str]) -> Iterable[Any]:
    for id in ids:  # noqa: A001 - the API's word
        try:
            yield ws.operations.get(id)
        except NotFoundError:  # servers keep operations for a limited time
            continue


_NAME, _VERSION, _ID = _column("name"), _column("version"), _column("id")
_ARCHIVED = Column("archived", "archived", lambda item: "archived" if getattr(item, "archived", False) else None)
_CREATED = _column("created_at", "created (UTC)")
_TIME = _column("created_time", "created (UTC)")
_DESCRIPTION = _column("description")
_MANIFEST = Column(
    "manifest", "manifest", lambda item: item.manifest and f"{item.manifest.name} {item.manifest.version}"
)
_IMAGE = Column("image", "image", lambda item: item.image and f"{item.image.name} {item.image.version}")
_STATE = _column("state", is_state=True)
_CONDITION = Column("condition", "state", condition, is_state=True)
_LAST_OPERATION = Column("state", "last operation", lambda item: item.state)

KINDS: Mapping[str, Kind] = {
    kind.id: kind
    for kind in (
        Kind(
            "models",
            (_NAME, _VERSION, _ARCHIVED, _column("tags"), _CREATED, _DESCRIPTION, _ID),
            (*_filters("models_list"), ARCHIVED),
            _pages("models"),
            "%mlmgmt model register -m FILE -n NAME",
        ),
        Kind(
            "manifests",
            (_NAME, _VERSION, _ARCHIVED, _column("driver_program", "driver"), _TIME, _DESCRIPTION, _ID),
            (*_filters("manifests_list"), ARCHIVED),
            _pages("manifests"),
            "%mlmgmt manifest create --manifest-name NAME -f score.py",
        ),
        Kind(
            "images",
            (_NAME, _VERSION, _ARCHIVED, _column("creation_state", "state", is_state=True), _MANIFEST, _TIME, _ID),
            (*_filters("images_list"), ARCHIVED),
            _pages("images"),
            "%mlmgmt image create -n NAME -f score.py -m FILE",
        ),
        Kind(
            "services",
            (
                _NAME,
                _CONDITION,
                _LAST_OPERATION,
                _column("num_replicas", "replicas"),
                _IMAGE,
                _column("updated_at", "updated (UTC)"),
                _ID,
            ),
            _filters("services_list"),
            _pages("services"),
            "%mlmgmt service form",
        ),
        Kind(
            "deployments",
            (
                _column("service_name", "service"),
                _column("status", is_state=True),
                _column("image_id", "image"),
                _CREATED,
                _column("expired_at", "expired (UTC)"),
                _ID,
            ),
            _filters("deployments_list"),
            _deployments,
            "%mlmgmt service form",
        ),
        Kind(
            "operations",
            (
                _column("operation_type", "kind"),
                _STATE,
                _TIME,
                _column("end_time", "ended (UTC)"),
                Column("error", "error", lambda item: item.error and item.error.message),
                _ID,
            ),
            (),
            _operations,
            "%mlmgmt service form",
        ),
    )
}
"""The kinds by id, in the order in which users create them."""
