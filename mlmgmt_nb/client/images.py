"""Images: create, get, list, and the log of their build."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

import requests

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract_tar
from mlmgmt_nb.client.bodies import checked
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.missing import no_image
from mlmgmt_nb.client.monitoring.logs import LogPart, build_log_url, read_log
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.versions import archived_filter, set_archived
from mlmgmt_nb.contract import OPERATIONS, Image, ImageRequest, Manifest
from mlmgmt_nb.contract.archiving import IMAGES_LIST, Archived
from mlmgmt_nb.contract.extensions import ArchivableImage, DetailedImage, DockerImage
from mlmgmt_nb.errors import NotFoundError, TransportError, UsageError

__all__ = ["DetailedImage", "DockerImage", "Images"]

_CHUNK_BYTES = 2**20
_EXPORT_SECONDS = 900.0
_NEW_PLACE = "Give another path."


class Images:
    """The images of the account.

    Args:
        compute: the default compute to build them for.
    """

    def __init__(self, transport: Transport, operations: Operations, compute: str = "local") -> None:
        self._transport = transport
        self._operations = operations
        self._compute = compute

    def create(
        self,
        name: str,
        manifest: Manifest | str,
        *,
        compute_resource_id: str | None = None,
        description: str | None = None,
    ) -> Poller[Image]:
        """Start the build of an image. A name in use gets its next version.

        Example:
            >>> manifest = ws.manifests.get("iris")
            >>> image = ws.images.create("iris-again", manifest).result(timeout=60)
            >>> image.name, image.version, image.creation_state
            ('iris-again', 1, 'Succeeded')

        Args:
            name: its name: 3 to 32 of a-z, 0-9, `-` and `.`.
            manifest: the manifest, or its id.
            compute_resource_id: compute to build it for (default: that of the workspace).
            description: free text.

        Raises:
            UsageError: a property exceeds a limit. Nothing was sent.
        """
        body = checked(
            ImageRequest,
            name=name,
            manifest_id=manifest.id if isinstance(manifest, Manifest) else manifest,
            compute_resource_id=compute_resource_id or self._compute,
            image_type="Docker",
            description=description,
        )
        return self._operations.started(self._transport.call("images_create", body=body), self.get)

    def get(self, id: str) -> DetailedImage:  # noqa: A002 - the API's word
        """Return an image by its id, with the digest, size and reused layers of its Docker image (`docker`).

        Raises:
            NotFoundError: it does not exist.
        """
        try:
            return decode(self._transport.call("images_get", id=id), DetailedImage)
        except NotFoundError as error:
            raise no_image(self._transport, id, error) from error

    def withdraw(self, id: str) -> None:  # noqa: A002 - the API's word
        """Withdraw an image that no service runs or is about to run, as `Models.withdraw` does.

        Args:
            id: id of the image.

        Raises:
            ConflictError: a service runs it, or it is being built.
            NotFoundError: it does not exist, or the server cannot withdraw.
        """
        self._transport.send("POST", f"{self._path(id)}/withdraw")

    def archive(self, image: Image | str) -> Archived:
        """Archive an image: lists leave it out, unless they are asked for archived versions. Nothing is deleted.

        It can be read by its id and used as before, and services that use it can be updated and rolled back. The API of
        2017 does not have this; the embedded service does.

        Args:
            image: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed, and the services that use one of them.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(image, archived=True)

    def unarchive(self, image: Image | str) -> Archived:
        """List an archived image again.

        Args:
            image: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(image, archived=False)

    def _set_archived(self, image: Image | str, *, archived: bool) -> Archived:
        return set_archived(
            self._transport, "image", image, lambda _: self.list(include_archived=True), archived=archived
        )

    def list(
        self,
        *,
        manifest_id: str | None = None,
        manifest_name: str | None = None,
        include_archived: bool = False,
        count: int = PAGE_SIZE,
    ) -> Pager[Image]:
        """Return the images that match every filter given, newest first.

        Args:
            manifest_id: images of this manifest.
            manifest_name: images of manifests of this name.
            include_archived: whether to return archived images too; then each has the property `archived`.
            count: maximum number of images per page.
        """
        names = {"manifestId": manifest_id, "manifestName": manifest_name}
        query = {**names, **archived_filter(include_archived=include_archived)}
        item, operation = (ArchivableImage, IMAGES_LIST) if include_archived else (Image, "images_list")
        return Pager(self._transport, operation, item, query, count)

    def build_log(self, image: Image | str, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of an image's build.

        Args:
            image: the image, or its id.
            offset: byte to start at: the `next_offset` of an earlier part.
            tail: number of lines at the end.
        """
        image = image if isinstance(image, Image) else self.get(image)
        return read_log(self._transport, build_log_url(self._transport.base_url, image), offset=offset, tail=tail)

    def docker(self, image: Image | str) -> DockerImage:
        """Return the Docker image that was built.

        Raises:
            ConflictError: it was not built for compute docker.
        """
        return decode(self._transport.send("GET", f"{self._path(image)}/docker"), DockerImage)

    def export_context(self, image: Image | str, folder: str | os.PathLike[str]) -> Path:
        """Write the build context of an image into a folder, from which `docker build` builds the image.

        Args:
            image: the image, or its id.
            folder: the folder to create; an existing folder must be empty.

        Returns:
            The folder.

        Raises:
            UsageError: the folder cannot be written to, or is not empty.
        """
        target = Path(folder).expanduser()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"context: {target} exists and is not an empty folder", field="context", fix=_NEW_PLACE)
        with tempfile.TemporaryFile() as file:
            self._download(f"{self._path(image)}/context", file)
            file.seek(0)
            try:
                target.mkdir(parents=True, exist_ok=True)
                extract_tar(file, target, Limits.of_disk(target))
            except ArchiveError as error:
                raise UsageError(
                    f"context: the archive of the server {error}", field="context", fix="Export it again."
                ) from error
            except OSError as error:
                raise UsageError(
                    f"context: {target} cannot be written: {error}", field="context", fix=_NEW_PLACE
                ) from error
        return target

    def export_oci(self, image: Image | str, file: str | os.PathLike[str]) -> Path:
        """Write a Docker image as an OCI archive, which `docker load`, `podman load` and others take.

        Args:
            image: the image, or its id.
            file: the file to create; an existing file is not overwritten.

        Returns:
            The file.

        Raises:
            UsageError: the file already exists, or cannot be written.
            ConflictError: it was not built for compute docker, or the engine no longer has it.
        """
        target = Path(file).expanduser()
        if target.exists():
            raise UsageError(f"oci: {target} already exists", field="oci", fix=_NEW_PLACE)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as sink:
                self._download(f"{self._path(image)}/oci", sink)
            partial.replace(target)
        except OSError as error:
            raise UsageError(f"oci: {target} cannot be written: {error}", field="oci", fix=_NEW_PLACE) from error
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _path(self, image: Image | str) -> str:
        return OPERATIONS["images_get"].url("", id=image if isinstance(image, str) else image.id or "")

    def _download(self, url: str, target: IO[bytes]) -> None:
        """Download a URL to a file; the service may take long to prepare it."""
        with self._transport.send("GET", url, timeout=(3.05, _EXPORT_SECONDS), stream=True) as answer:
            try:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    target.write(chunk)
            except requests.RequestException as error:
                raise TransportError(
                    f"the export was interrupted: {error}", fix="Try again.", method="GET", url=url
                ) from error
