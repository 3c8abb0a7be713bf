"""Errors for a missing resource, with the most similar existing name, and for an unsupported extension."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract import Image
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, UsageError

__all__ = ["check_supported", "known_image", "no_image", "not_found", "similar_name"]


def not_found(
    kind: str,
    id_or_name: str,
    answer: NotFoundError | None = None,
    among: Pager[Any] | None = None,
    archived: Pager[Any] | None = None,
) -> NotFoundError:
    """Return the error for a resource that does not exist.

    Args:
        kind: `model`, `manifest`, `image` or `service`.
        id_or_name: its id or name; the name of an image only with `among`.
        answer: the server's error for the id.
        among: resources of this kind: a similar name on the first page is suggested.
        archived: versions of the name, with archived ones: if there is one, the error says so.
    """
    if archived is not None and _has(id_or_name, archived):
        return NotFoundError(
            f"all versions of {kind} {id_or_name!r} are archived",
            status_code=404,
            code="NotFound",
            fix=f"Give the id of one, or list them again: `ws.{kind}s.unarchive({id_or_name!r})`.",
        )
    is_id = is_uuid(id_or_name) or (kind == "image" and among is None)
    similar = None if is_id or among is None else similar_name(id_or_name, among)
    return NotFoundError(
        f"no {kind} has the {'id' if is_id else 'name'} {id_or_name!r}",
        status_code=404,
        fix=(f"Did you mean {similar!r}? " if similar else "") + f"`ws.{kind}s.list()` lists the existing {kind}s.",
        **_request_of(answer),
    )


def no_image(transport: Transport, image_id: str, answer: NotFoundError) -> NotFoundError:
    """Return the error for an image that does not exist, with the newest image of a similar name.

    Args:
        transport: lists the images.
        image_id: the id, or a name that was given instead.
        answer: the error of the server.
    """
    error = not_found("image", image_id, answer)
    images = [] if is_uuid(image_id) else _first_page(Pager(transport, "images_list", Image, {}, PAGE_SIZE))
    name = _closest(image_id, images)
    if name is not None:
        newest = next(image for image in images if image.name == name)
        error.fix = f"Did you mean {newest.id!r}, the newest image of the name {name!r}? {error.fix}"
    return error


@contextmanager
def known_image(transport: Transport, image_id: str | None) -> Iterator[None]:
    """Explain the error of a request in the block that names an image that does not exist.

    Raises:
        NotFoundError: the image, or something else in the request, does not exist.
    """
    try:
        yield
    except NotFoundError as error:
        if image_id is None or not error.message.startswith("$.imageId"):
            raise
        raise no_image(transport, image_id, error) from error


def _request_of(answer: NotFoundError | None) -> dict[str, Any]:
    """Return the code and the request of the server's error, if there is one."""
    if answer is None:
        return {"code": "NotFound"}
    return {"code": answer.code, "method": answer.method, "url": answer.url, "request_id": answer.request_id}


def check_supported(transport: Transport, extension: str, field: str, what: str, fix: str) -> None:
    """Check that the server supports an extension of the API.

    Args:
        transport: sends the request.
        extension: its name in `GET .../extensions`.
        field, fix: field and fix of the error.
        what: its purpose, in words.

    Raises:
        UsageError: the server does not.
    """
    try:
        supported = transport.send("GET", "/extensions").json()["value"]
    except NotFoundError:
        supported = ()
    if extension not in supported:
        raise UsageError(f"{field}: this server does not support {what}", field=field, fix=fix)


def _has(name: str, among: Pager[Any]) -> bool:
    return any(resource.name == name for resource in _first_page(among))


def similar_name(name: str, among: Pager[Any]) -> str | None:
    """Return the most similar name on the first page, or None."""
    return _closest(name, _first_page(among))


def _first_page(among: Pager[Any]) -> Sequence[Any]:
    try:
        return next(among.by_page()).value
    except MlmgmtError:
        return ()  # a hint is not worth another error


def _closest(name: str, resources: Sequence[Any]) -> str | None:
    names = {resource.name for resource in resources if resource.name}
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1)), None)
