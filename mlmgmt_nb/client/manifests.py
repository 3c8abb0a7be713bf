"""Manifests: register, get and list them, or create them from local files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from mlmgmt_nb.client.applications.application import DRIVER, Application
from mlmgmt_nb.client.bodies import checked, is_uuid
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.http.uploads import Uploader
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
from mlmgmt_nb.contract import OPERATIONS, Asset, Manifest, TargetRuntime
from mlmgmt_nb.contract.archiving import MANIFESTS_LIST, ArchivableManifest, Archived
from mlmgmt_nb.errors import NotFoundError

__all__ = ["Manifests"]


class Manifests:
    """The manifests of the account. Each combines models with a driver, files and a runtime."""

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
        """Register a manifest from files that the service can read. An existing name gets its next version.

        `create` uses local files.

        Args:
            name: its name.
            driver_program: id of the asset that is the driver.
            assets: its files.
            target_runtime: the runtime of the driver.
            model_ids: ids of its models.
            description: free text.
            model_type, webservice_type: as defined by the API.

        Raises:
            UsageError: a property exceeds a limit. Nothing was sent.
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
        new_version: bool = False,
        on_reuse: Callable[[Manifest], None] | None = None,
    ) -> Manifest:
        """Upload the files of an application, and register a manifest with them.

        An existing name gets its next version, unless its latest version has the same files, models and settings.

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
            new_version: whether to make a version even if the latest version is the same.
            on_reuse: called with the latest version when it is returned instead of a new one.

        Raises:
            UsageError: a file is missing, empty or cannot be read. Nothing was sent.
            UploadError: the bytes could not be sent.
            BadRequestError, NotFoundError: the service refused it, such as for a model that is not registered.
        """
        self.check(application)
        assets, target_runtime = application.upload(self._uploader, self._interpreter)
        latest = None if new_version else self._latest(name)
        if latest is not None and _is_same(latest, assets, target_runtime, model_ids, description):
            if on_reuse is not None:
                on_reuse(latest)
            return latest
        return self.register(
            name,
            driver_program=DRIVER,
            assets=assets,
            target_runtime=target_runtime,
            model_ids=model_ids,
            description=description,
        )

    def _latest(self, name: str) -> Manifest | None:
        """Return the latest version of a name."""
        return latest_recent(self.list(manifest_name=name, count=RECENT), name)

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
        """Return a manifest by its id, or the latest version of a name that is not archived.

        Args:
            id_or_name: its id or name.

        Raises:
            NotFoundError: it does not exist.
        """
        if not is_uuid(id_or_name) and (latest := latest_of(self.list(manifest_name=id_or_name), id_or_name)):
            return latest
        try:
            return decode_version(self._transport.call("manifests_get", id=id_or_name), Manifest, ArchivableManifest)
        except NotFoundError as error:
            archived = None if is_uuid(id_or_name) else self.list(manifest_name=id_or_name, include_archived=True)
            raise not_found("manifest", id_or_name, error, self.list(), archived) from error

    def withdraw(self, id: str) -> None:  # noqa: A002 - the API's word
        """Withdraw a version that no image was built from, as `Models.withdraw` does.

        Args:
            id: id of the version.

        Raises:
            ConflictError: an image was built from it.
            NotFoundError: it does not exist, or the server cannot withdraw.
        """
        self._transport.send("POST", f"{OPERATIONS['manifests_get'].url('', id=id)}/withdraw")

    def archive(self, manifest: Manifest | str) -> Archived:
        """Archive a manifest: lists leave it out, unless they are asked for archived versions. Nothing is deleted.

        It can be read by its id and used as before, and services that use it can be updated and rolled back. The API of
        2017 does not have this; the embedded service does.

        Args:
            manifest: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed, and the services that use one of them.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(manifest, archived=True)

    def unarchive(self, manifest: Manifest | str) -> Archived:
        """List an archived manifest again.

        Args:
            manifest: a version or its id; or a name, for all its versions.

        Returns:
            The versions that changed.

        Raises:
            NotFoundError: it does not exist.
            UsageError: the server cannot archive.
        """
        return self._set_archived(manifest, archived=False)

    def _set_archived(self, manifest: Manifest | str, *, archived: bool) -> Archived:
        return set_archived(
            self._transport,
            "manifest",
            manifest,
            lambda name: self.list(manifest_name=name, include_archived=True),
            archived=archived,
        )

    def list(
        self,
        *,
        model_id: str | None = None,
        manifest_name: str | None = None,
        include_archived: bool = False,
        count: int = PAGE_SIZE,
    ) -> Pager[Manifest]:
        """Return the manifests that match every filter given, newest first.

        Args:
            model_id: manifests with this model.
            manifest_name: manifests of this name.
            include_archived: whether to return archived versions too; then each has the property `archived`.
            count: maximum number of manifests per page.
        """
        names = {"modelId": model_id, "manifestName": manifest_name}
        query = {**names, **archived_filter(include_archived=include_archived)}
        item, operation = (ArchivableManifest, MANIFESTS_LIST) if include_archived else (Manifest, "manifests_list")
        return Pager(self._transport, operation, item, query, count)


def _is_same(
    latest: Manifest, assets: Sequence[Asset], runtime: TargetRuntime, model_ids: Sequence[str], description: str | None
) -> bool:
    """Return whether a version has the files, models and all other properties to be registered."""
    return (
        latest.driver_program == DRIVER
        and list(latest.model_ids or ()) == list(model_ids)
        and description in {None, latest.description}
        and _contents(latest.assets, latest.target_runtime) == _contents(assets, runtime)
    )


def _contents(assets: Sequence[Asset], runtime: TargetRuntime) -> object:
    properties = {name: content_of(value) for name, value in runtime.properties.items()}
    files = [msgspec.structs.replace(asset, url=content_of(asset.url or "")) for asset in assets]
    return runtime.runtime_type, properties, files
