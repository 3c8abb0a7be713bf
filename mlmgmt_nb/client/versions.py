"""Versions of models, manifests and images: the latest of a name, and archived ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import requests

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.http.paging import Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.missing import check_supported, not_found
from mlmgmt_nb.contract import Image, Manifest, Model
from mlmgmt_nb.contract.archiving import ARCHIVING, Archived
from mlmgmt_nb.errors import NotFoundError

__all__ = ["RECENT", "archived_filter", "decode_version", "latest_of", "latest_recent", "set_archived"]

Version = TypeVar("Version", Model, Manifest)
Archivable = TypeVar("Archivable", bound=Any)

RECENT = 20
"""Length of a first page that certainly contains the latest version, because the newest come first."""


def latest_recent(versions: Pager[Version], name: str) -> Version | None:
    """Return the latest version of a name on the first page, without requesting other pages."""
    return latest_of(next(versions.by_page()).value, name)


def latest_of(versions: Iterable[Version], name: str) -> Version | None:
    """Return the latest version of a name; None if there is none. A server's filter may also find similar names."""
    found = (version for version in versions if version.name == name)
    return max(found, key=lambda version: version.version or 0, default=None)


def archived_filter(*, include_archived: bool) -> dict[str, str | None]:
    """Return the part of a query that omits archived versions, or nothing. Servers without the extension ignore it."""
    return {"archived": None if include_archived else "false"}


def decode_version(response: requests.Response, type_: type[Version], archivable: type[Any]) -> Version:
    """Return a version as its type of the contract; an archived one as the type with that property."""
    found: Any = decode(response, archivable)
    return found if found.archived else decode(response, type_)


def set_archived(
    transport: Transport,
    kind: str,
    given: Model | Manifest | Image | str,
    versions: Callable[[str | None], Pager[Any]],
    *,
    archived: bool,
) -> Archived:
    """Archive one version or all versions of a name, or list them again.

    Args:
        transport: sends the requests.
        kind: `model`, `manifest` or `image`.
        given: a version or its id; or a name, for all its versions.
        versions: returns the versions of a name, newest first, including archived ones; those of all names for None.
            Versions of other names are ignored.
        archived: whether to archive them.

    Raises:
        UsageError: the server cannot archive.
        NotFoundError: the version or name does not exist.
    """
    fix = f"Its lists always have all {kind}s; filter them by name or tag." if kind == "model" else "Filter its lists."
    check_supported(transport, ARCHIVING, "archive", f"archives of {kind}s", fix)
    id_or_name = given if isinstance(given, str) else given.id or ""
    query = {}
    version_id = id_or_name
    if not is_uuid(id_or_name):
        found = next((version for version in versions(id_or_name) if version.name == id_or_name), None)
        if found is None:
            raise not_found(kind, id_or_name, among=versions(None))
        version_id, query = found.id, {"versions": "all"}
    path = f"/{kind}s/{version_id}/{'archive' if archived else 'unarchive'}"
    try:
        return decode(transport.send("POST", path, query=query), Archived)
    except NotFoundError as error:
        raise not_found(kind, version_id, error) from error
