"""Images: create, get, list, and the log of their build."""

from __future__ import annotations

from mlmgmt_nb.client.answers import decode
from mlmgmt_nb.client.bodies import checked, not_found
from mlmgmt_nb.client.logs import LogPart, build_log_url, read_log
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.transport import Transport
from mlmgmt_nb.contract import Image, ImageRequest, Manifest
from mlmgmt_nb.errors import NotFoundError

__all__ = ["Images"]


class Images:
    """The images of the account."""

    def __init__(self, transport: Transport, operations: Operations) -> None:
        self._transport = transport
        self._operations = operations

    def create(
        self,
        name: str,
        manifest: Manifest | str,
        *,
        compute_resource_id: str = "local",
        description: str | None = None,
    ) -> Poller[Image]:
        """Starts the build of an image. A name in use gets its next version.

        Args:
            name: its name: 3 to 32 of a-z, 0-9, `-` and `.`.
            manifest: the manifest, or its id.
            compute_resource_id: compute to build it for.
            description: free text.

        Raises:
            UsageError: a property breaks a limit. Nothing was sent.
        """
        body = checked(
            ImageRequest,
            name=name,
            manifest_id=manifest.id if isinstance(manifest, Manifest) else manifest,
            compute_resource_id=compute_resource_id,
            image_type="Docker",
            description=description,
        )
        return self._operations.started(self._transport.call("images_create", body=body), self.get)

    def get(self, id: str) -> Image:  # noqa: A002 - the API's word
        """An image by its id.

        Raises:
            NotFoundError: there is none.
        """
        try:
            return decode(self._transport.call("images_get", id=id), Image)
        except NotFoundError as error:
            raise not_found("image", id, error) from error

    def list(
        self, *, manifest_id: str | None = None, manifest_name: str | None = None, count: int = PAGE_SIZE
    ) -> Pager[Image]:
        """The images that match every filter given, newest first.

        Args:
            manifest_id: images of this manifest.
            manifest_name: images of manifests of this name.
            count: most images in one page.
        """
        query = {"manifestId": manifest_id, "manifestName": manifest_name}
        return Pager(self._transport, "images_list", Image, query, count)

    def build_log(self, image: Image | str, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """The log of an image's build.

        Args:
            image: the image, or its id.
            offset: byte where to start: the `next_offset` of an earlier part.
            tail: only so many lines at the end.
        """
        image = image if isinstance(image, Image) else self.get(image)
        return read_log(self._transport, build_log_url(self._transport.base_url, image), offset=offset, tail=tail)
