"""Models: register, get and list them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mlmgmt_nb.client.bodies import checked, is_uuid
from mlmgmt_nb.client.http.files import as_source, is_url, mime_type_of
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.http.uploads import Progress, Uploaded, Uploader
from mlmgmt_nb.client.http.urls import content_of
from mlmgmt_nb.client.missing import not_found
from mlmgmt_nb.client.versions import (
    RECENT,
    archived_filter,
    decode_version,
    latest_of,
    latest_recent,
    set_archived,
)
from mlmgmt_nb.contract import OPERATIONS, Model
from mlmgmt_nb.contract.archiving import MODELS_LIST, ArchivableModel, Archived
from mlmgmt_nb.errors import NotFoundError, UsageError

__all__ = ["Models"]


class Models:
    """The registered models of the account."""

    def __init__(self, transport: Transport, uploader: Uploader) -> None:
        self._transport = transport
        self._uploader = uploader

    def register(
        self,
        path_or_url: str | os.PathLike[str],
        name: str | None = None,
        *,
        tags: Sequence[str] | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        unpack: bool | None = None,
        progress: Progress | None = None,
        new_version: bool = False,
        on_reuse: Callable[[Model], None] | None = None,
    ) -> Model:
        """Register a model. An existing name gets its next version, unless its latest version has the same content.

        Example:
            >>> ws.models.register("iris.pkl", "flowers", tags=["test"]).version
            1
            >>> ws.models.register("iris.pkl", "flowers").version
            1
            >>> ws.models.register("iris.pkl", "flowers", new_version=True).version
            2

        Args:
            path_or_url: a file or folder, which is uploaded (a folder as an archive that the build unpacks); or a URL
                that the service can read, which is only recorded.
            name: the model's name (default: the file's name without extension).
            tags: its tags.
            description: free text.
            mime_type: media type of the content (default: from the file name).
            unpack: whether the content is an archive that the build unpacks; a folder always is.
            progress: called with the number of bytes sent and the total.
            new_version: whether to make a version even if the latest version has the same content.
            on_reuse: called with the latest version if it is returned instead of a new one: its file has the same name
                and bytes, and no different tags, description or media type were given.

        Raises:
            UsageError: the path is not a file, folder or URL, is missing, empty or unreadable, or the name is empty.
                Nothing was sent.
            UploadError: the bytes could not be sent.
        """
        source = as_source(path_or_url, "path_or_url")
        name = _checked_name(source, name)
        if is_url(source):
            content = Uploaded(source, mime_type_of(urlsplit(source).path), unpack=False)
        else:
            content = self._uploader.upload(Path(source).expanduser(), field="path_or_url", progress=progress)
        body = _requested(name, content, tags, description, mime_type, unpack)
        latest = None if new_version or is_url(source) else self._latest(name)
        if latest is not None and _is_same(body, latest):
            if on_reuse is not None:
                on_reuse(latest)
            return latest
        return decode(self._transport.call("models_register", body=body), Model)

    def preview(
        self,
        path_or_url: str | os.PathLike[str],
        name: str | None = None,
        *,
        tags: Sequence[str] | None = None,
        description: str | None = None,
        new_version: bool = False,
    ) -> Model:
        """Return the model that `register` would return, without registering it: a new version has no id or version.

        Args:
            path_or_url: a file, folder or URL.
            name: the model's name (default: the file's name without extension).
            tags: its tags.
            description: free text.
            new_version: whether to make a version even if the latest version has the same content.

        Raises:
            UsageError: it is not a file, folder or URL, is missing, empty or unreadable, or the name is empty.
        """
        source = as_source(path_or_url, "path_or_url")
        name = _checked_name(source, name)
        if is_url(source):
            content = Uploaded(source, mime_type_of(urlsplit(source).path), unpack=False)
        else:
            content = self._uploader.preview(Path(source).expanduser(), field="path_or_url")
        model = _requested(name, content, tags, description)
        latest = None if new_version or is_url(source) else self._latest(name)
        return latest if latest is not None and _is_same(model, latest) else model

    def _latest(self, name: str) -> Model | None:
        """Return the latest version of a name."""
        return latest_recent(self.list(name=name, count=RECENT), name)

    def get(self, id_or_name: str) -> Model:
        """Return a model by its id, or the latest version of a name that is not archived.

        Args:
            id_or_name: its id or name.

        Raises:
            NotFoundError: it does not exist.
        """
        if is_uuid(id_or_name):
            try:
                return decode_version(self._transport.call("models_get", id=id_or_name), Model, ArchivableModel)
            except NotFoundError as error:
                raise not_found("model", id_or_name, error) from error
        latest = latest_of(self.list(name=id_or_name), id_or_name)
        if latest is None:
            archived = self.list(name=id_or_name, include_archived=True)
            raise not_found("model", id_or_name, among=self.list(), archived=archived)
        return latest

    def withdraw(self, id: str) -> None:  # noqa: A002 - the API's word
        """Withdraw a version that no manifest refers to, as a failed deployment does: lists omit it from then on.

        The API of 2017 does not have this; the embedded service does. Withdrawing again changes nothing.

        Args:
            id: id of the version.

        Raises:
            ConflictError: a manifest refers to it.
            NotFoundError: it does not exist, or the server cannot withdraw.
        """
        self._transport.send("POST", f"{OPERATIONS['models_get'].url('', id=id)}/withdraw")

    def archive(self, model: Model | str) -> Archived:
        """Archive a model: lists leave it out, unless they are asked for archived versions. Nothing is deleted.

        It can be read by its id and used as before, and services that use it can be updated and rolled back. The API of
        2017 does not have this; the embedded service does.

        Example:
            >>> model = ws.models.register("iris.pkl", "tulips")
            >>> print(ws.models.archive(model))
            model 'tulips' version 1 is archived. Lists omit archived versions; nothing is deleted.
            >>> ws.models.list(name="tulips").to_frame().empty
            True
            >>> print(ws.models.unarchive(model))
            model 'tulips' version 1 is in lists again.

        Args:
            model: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed, and the services that use one of them.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(model, archived=True)

    def unarchive(self, model: Model | str) -> Archived:
        """List an archived model again.

        Args:
            model: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(model, archived=False)

    def _set_archived(self, model: Model | str, *, archived: bool) -> Archived:
        return set_archived(
            self._transport, "model", model, lambda name: self.list(name=name, include_archived=True), archived=archived
        )

    def list(
        self,
        *,
        name: str | None = None,
        tag: str | None = None,
        include_archived: bool = False,
        count: int = PAGE_SIZE,
    ) -> Pager[Model]:
        """Return the models that match every filter given, newest first.

        Args:
            name: models of this name.
            tag: models with this tag.
            include_archived: whether to return archived versions too; then each has the property `archived`.
            count: maximum number of models per page.
        """
        query = {"name": name, "tag": tag, **archived_filter(include_archived=include_archived)}
        item, operation = (ArchivableModel, MODELS_LIST) if include_archived else (Model, "models_list")
        return Pager(self._transport, operation, item, query, count)


def _checked_name(source: str, name: str | None) -> str:
    name = default_name(source) if name is None else name
    if not name.strip():
        raise UsageError("name: the model's name is empty", field="name", fix="Give a name, such as `name='iris'`.")
    return name


def _requested(
    name: str,
    content: Uploaded,
    tags: Sequence[str] | None,
    description: str | None,
    mime_type: str | None = None,
    unpack: bool | None = None,
) -> Model:
    """Return a version to register."""
    tags = [tags] if isinstance(tags, str) else tags
    return checked(
        Model,
        name=name,
        url=content.url,
        mime_type=mime_type or content.mime_type,
        unpack=True if content.unpack else unpack,
        tags=None if tags is None else list(tags),
        description=description,
    )


def _is_same(asked: Model, latest: Model) -> bool:
    """Return whether a version has the content, file name and all other properties to be registered."""
    return content_of(asked.url) == content_of(latest.url) and all(
        wanted is None or wanted == has
        for wanted, has in (
            (asked.tags, latest.tags or []),
            (asked.description, latest.description),
            (asked.mime_type, latest.mime_type),
            (asked.unpack or None, latest.unpack),
        )
    )


def default_name(source: str) -> str:
    """Return the name of the file or folder without extension, from a path or URL."""
    path = PurePosixPath(unquote(urlsplit(source).path)) if is_url(source) else Path(source).expanduser().absolute()
    return path.name.removesuffix(".tar.gz").removesuffix(path.suffix) if path.suffix else path.name
