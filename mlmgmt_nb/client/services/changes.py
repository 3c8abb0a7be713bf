"""Changes of services: the differences between deployments and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.changes.contents import Contents, of_image, service_settings
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.missing import no_image
from mlmgmt_nb.client.services.lookup import ServiceLookup
from mlmgmt_nb.contract import OPERATIONS, Deployment, Image, Model, ServiceResponse
from mlmgmt_nb.contract.contents import ImageContents
from mlmgmt_nb.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.client.changes.difference import Difference

__all__ = ["Runnable", "ServiceChanges"]

Runnable = ServiceResponse | Deployment | Image | str
"""A service, a deployment or an image; or the id of one, or the name of a service."""


class ServiceChanges(ServiceLookup):
    """Compare what services run."""

    def diff(self, old: Runnable, new: Runnable | None = None) -> Difference:
        """Return the differences between two services, deployments or images.

        Model versions with their metadata, the driver and other files as unified diffs, locked packages, Python, the
        schema with its consequences for callers, and the settings of services are compared.

        Example:
            >>> difference = ws.services.diff("iris", ws.services.get("iris").image)
            >>> bool(difference), str(difference).splitlines()[1]
            (False, 'no differences')

        Args:
            old: a service, a deployment or an image, its id, or the name of a service.
            new: the other one. If None, `old` is a service, and the result is its last change: from the previous
                deployment to the current one.

        Raises:
            UsageError: the server does not have this extension, or the service had only one deployment.
            NotFoundError: one of them does not exist.
            ConflictError: an image is not built, or its files were removed.
        """
        from mlmgmt_nb.client.changes.difference import compare  # not needed to deploy

        if new is None:
            return compare(self.contents(self._deployment_before(old)), self.contents(old))
        return compare(self.contents(old), self.contents(new))

    def contents(self, of: Runnable) -> Contents:
        """Return the contents that `diff` compares.

        Args:
            of: a service, a deployment or an image, its id, or the name of a service.

        Raises:
            UsageError: the server does not have this extension.
            NotFoundError: it does not exist.
            ConflictError: the image is not built, or its files were removed.
        """
        found = self._found(of) if isinstance(of, str) else of
        if isinstance(found, Deployment):
            found = self._image(found.image_id or "")
        if isinstance(found, ServiceResponse):
            assert found.image is not None
            return of_image(found.image, self._contents(found.image), found.models or (), service_settings(found))
        return of_image(found, self._contents(found), self._models(found))

    def _found(self, id_or_name: str) -> ServiceResponse | Deployment | Image:
        if is_uuid(id_or_name):
            answer = self._transport.call("images_get", id=id_or_name, accept={404})
            if answer.status_code != 404:
                return decode(answer, Image)
            answer = self._transport.call("deployments_get", id=id_or_name, accept={404})
            if answer.status_code != 404:
                return decode(answer, Deployment)
        return self.get(id_or_name)

    def _image(self, image_id: str) -> Image:
        try:
            return decode(self._transport.call("images_get", id=image_id), Image)
        except NotFoundError as error:
            raise no_image(self._transport, image_id, error) from error

    def _contents(self, image: Image) -> ImageContents:
        answer = self._transport.send(
            "GET", f"{OPERATIONS['images_get'].url('', id=image.id or '')}/contents", accept={404, 405}
        )
        if answer.status_code in {404, 405}:
            raise UsageError(
                "diff: this server does not report the contents of images",
                field="diff",
                fix="Only the embedded service of mlmgmt-nb compares images; update it if it is one.",
            )
        return decode(answer, ImageContents)

    def _models(self, image: Image) -> Sequence[Model]:
        ids = (image.manifest.model_ids or ()) if image.manifest else ()
        return [decode(self._transport.call("models_get", id=one), Model) for one in ids]

    def _deployment_before(self, service: Runnable) -> Deployment:
        if isinstance(service, (Deployment, Image)):
            raise UsageError("new: it is missing", field="new", fix="Give the other deployment or image.")
        query = {"serviceId": self.id_of(service)}
        answer = self._transport.call("deployments_list", query=query)
        served = [one for one in decode(answer, list[Deployment]) if one.status in {"Active", "Expired"}]
        if len(served) < 2:
            raise UsageError(
                f"service {served[0].service_name if served else service!r} has had one deployment only",
                field="new",
                fix="Give an image, a deployment or another service to compare it with.",
            )
        return served[1]
