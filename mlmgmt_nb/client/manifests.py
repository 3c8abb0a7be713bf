"""Manifests: register, get, list; and made from files of the notebook's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlmgmt_nb.client.applications.application import DRIVER, Application
from mlmgmt_nb.client.bodies import checked, is_uuid, not_found
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.http.uploads import Uploader
from mlmgmt_nb.contract import Asset, Manifest, TargetRuntime
from mlmgmt_nb.errors import NotFoundError

__all__ = ["Manifests"]


class Manifests:
    """The manifests of the account: which models run with which driver, files and runtime."""

    def __init__(self, transport: Transport, uploader: Uploader, interpreter: str | None = None) -> None:
        self._transport = transport
        self._uploader = uploader
        self._interpreter = interpreter

    def register(
        self,
        name: str,
        *,
        driver_program: str,
        assets: Sequence[Asset],
        target_runtime: TargetRuntime,
        model_ids: Sequence[str] = (),
        description: str | None = None,
        model_type: Literal["Registered"] | None = "Registered",
        webservice_type: Literal["Realtime"] | None = "Realtime",
    ) -> Manifest:
        """Register a manifest of files that the service can read. A name in use gets its next version.

        `create` makes one from local files.

        Args:
            name: its name.
            driver_program: id of the asset that is the driver.
            assets: its files.
            target_runtime: what the driver runs on.
            model_ids: ids of its models.
            description: free text.
            model_type, webservice_type: as the API has them.

        Raises:
            UsageError: a property breaks a limit. Nothing was sent.
            BadRequestError, NotFoundError: the service refused it, such as for a model that is not registered.
        """
        body = checked(
            Manifest,
            name=name,
            driver_program=driver_program,
            assets=list(assets),
            target_runtime=target_runtime,
            model_ids=list(model_ids),
            description=description,
            model_type=model_type,
            webservice_type=webservice_type,
        )
        return decode(self._transport.call("manifests_register", body=body), Manifest)

    def create(
        self,
        name: str,
        application: Application,
        *,
        model_ids: Sequence[str] = (),
        description: str | None = None,
    ) -> Manifest:
        """Upload the files of an application, and register a manifest of them.

        Example:
            >>> model = ws.models.get("iris")
            >>> manifest = ws.manifests.create("by-hand", Application(driver="score.py"), model_ids=[model.id])
            >>> manifest.version, manifest.model_ids == [model.id]
            (1, True)

        Args:
            name: its name.
            application: the driver and what it needs.
            model_ids: ids of its models.
            description: free text.

        Raises:
            UsageError: a file is missing, empty or cannot be read. Nothing was sent.
            UploadError: the bytes could not be sent.
            BadRequestError, NotFoundError: the service refused it, such as for a model that is not registered.
        """
        self.check(application)
        assets, target_runtime = application.upload(self._uploader, self._interpreter)
        return self.register(
            name,
            driver_program=DRIVER,
            assets=assets,
            target_runtime=target_runtime,
            model_ids=model_ids,
            description=description,
        )

    def check(self, application: Application, compute: str | None = None) -> None:
        """Check an application before anything is sent, as far as possible.

        Args:
            application: the driver and what it needs.
            compute: the compute that its image is built for, if that is known.

        Raises:
            UsageError: something is wrong; see `Application.check`.
        """
        application.check(compute, is_here=self._interpreter is not None)

    def get(self, id_or_name: str) -> Manifest:
        """Return a manifest by its id, or the latest version of a name.

        Args:
            id_or_name: its id or name.

        Raises:
            NotFoundError: it does not exist.
        """
        if not is_uuid(id_or_name):
            versions = [manifest for manifest in self.list(manifest_name=id_or_name) if manifest.name == id_or_name]
            if versions:
                return max(versions, key=lambda manifest: manifest.version or 0)
        try:
            return decode(self._transport.call("manifests_get", id=id_or_name), Manifest)
        except NotFoundError as error:
            raise not_found("manifest", id_or_name, error) from error

    def list(
        self, *, model_id: str | None = None, manifest_name: str | None = None, count: int = PAGE_SIZE
    ) -> Pager[Manifest]:
        """Return the manifests that match every filter given, newest first.

        Args:
            model_id: manifests with this model.
            manifest_name: manifests of this name.
            count: maximum number of manifests per page.
        """
        query = {"modelId": model_id, "manifestName": manifest_name}
        return Pager(self._transport, "manifests_list", Manifest, query, count)
