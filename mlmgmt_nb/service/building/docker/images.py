"""Images on a Docker engine, and their transfer from and to registries."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlmgmt_nb.service.building.archives import add_bytes, archive_of_blobs, oci_archive
from mlmgmt_nb.service.building.built_image import BuiltImage, repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker.output import TransferProgress
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.files.logs import Log

__all__ = ["EngineImages", "api_error"]

_EPOCH = "1980-01-01T00:00:00Z"
_CONFIG = frozenset(
    {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "Healthcheck", "Volumes"}
    | {"StopSignal", "Shell"}
)
"""Keys of an image configuration that do not depend on how the image was built."""


class EngineImages:
    """The images of an engine.

    Args:
        engine: the engine.
        blobs: contents of images that were built without an engine.
    """

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine = engine
        self._blobs = blobs

    def id_of(self, name: str) -> str | None:
        """Return the id of an image by its name or id; None if it is not on the engine."""
        import docker.errors

        try:
            return str(self._engine.api.inspect_image(name)["Id"])
        except docker.errors.NotFound:
            return None

    def pull(self, reference: str, log: Log) -> None:
        """Pull an image, with the credentials in Docker's configuration.

        Raises:
            BuildError: the image cannot be pulled.
        """
        log.line(f"pulling {reference}")
        api = self._engine.api
        logged: set[str] = set()
        repository, tag = repository_of(reference)
        progress = TransferProgress("pulled", log)
        try:
            api.reload_config()
            for event in api.pull(repository, tag, stream=True, decode=True):
                if error := event.get("error"):
                    raise BuildError("PullFailed", f"The image {reference} cannot be pulled: {error}")
                progress.take(event)
                if not event.get("progressDetail"):
                    _log_once(f"{event.get('id', '')} {event.get('status', '')}".strip(), logged, log)
        except api_error() as error:
            raise BuildError(
                "PullFailed", f"The image {reference} cannot be pulled: {error.explanation or error}"
            ) from error

    def push(self, reference: str, log: Log, cancellation: Cancellation) -> str:
        """Push an image; return the digest of its manifest.

        Raises:
            BuildError: it cannot be pushed.
        """
        log.line(f"pushing {reference}")
        api = self._engine.api
        api.reload_config()
        repository, tag = repository_of(reference)
        digest = error = ""
        logged: set[str] = set()
        progress = TransferProgress("pushed", log)
        for event in api.push(repository, tag, stream=True, decode=True):
            cancellation.check()
            progress.take(event)
            digest = (event.get("aux") or {}).get("Digest", digest)
            error = event.get("error", error)
            line = f"{event.get('id', '')} {event.get('status', '')}".strip()
            if "progressDetail" not in event or not event["progressDetail"]:
                _log_once(line, logged, log)
        if error or not digest:
            raise BuildError(
                "PushFailed", f"{reference} cannot be pushed: {error or 'the registry returned no digest'}"
            )
        return digest

    def ensure(self, built: BuiltImage, log: Log) -> str:
        """Return the id of a built image on the engine; pull it by its digest if necessary.

        Raises:
            BuildError: the image is neither on the engine nor in a registry.
        """
        with self.build_errors():
            if self.id_of(built.image_id):
                return built.image_id
            exact = built.pull_reference
            if exact is None and built.manifest is not None:
                return self._load(built, built.manifest, log)
            if exact is None:
                raise BuildError(
                    "ImageGone",
                    f"The image {built.reference} ({built.image_id}) is no longer on the Docker engine, and was not "
                    "pushed to a registry; create the image again (mlmgmt image create) and update the service.",
                )
            self.pull(exact, log)
            found = self.id_of(exact)
            if found is None:
                raise BuildError("ImageGone", f"The image {exact} was pulled, but is not on the engine.")
            return found

    def _load(self, built: BuiltImage, manifest: str, log: Log) -> str:
        """Send an image that was built without an engine to the engine; return its id there."""
        log.line(f"loading {built.reference} into the Docker engine")
        with tempfile.TemporaryFile(dir=self._blobs.folder) as file:
            archive_of_blobs(self._blobs, manifest, file, built.reference)
            file.seek(0)
            for event in self._engine.api.load_image(file):
                if error := event.get("error"):
                    raise BuildError("LoadFailed", f"The engine cannot load {built.reference}: {error}")
        found = self.id_of(built.image_id) or self.id_of(built.reference)
        if found is None:
            raise BuildError("LoadFailed", f"The engine loaded {built.reference}, and does not have it.")
        return found

    def export(self, built: BuiltImage, target: BinaryIO, folder: Path, log: Log) -> str:
        """Write an image as an OCI archive; return the digest of its manifest.

        Args:
            folder: an empty folder for temporary files.
        """
        if built.manifest is not None:
            return archive_of_blobs(self._blobs, built.manifest, target, built.reference)
        image_id = self.ensure(built, log)
        with self._engine.engine_errors():
            return oci_archive(self._engine.api.get_image(image_id), target, folder, built.reference)

    def finalize(self, image_id: str, reference: str) -> str:
        """Tag the image and return its id; if the engine allows it, remove the build time from its configuration."""
        api = self._engine.api
        seen = api.inspect_image(image_id)
        layers = seen["RootFS"]["Layers"]
        config = {
            "architecture": seen["Architecture"],
            "os": seen["Os"],
            "created": _EPOCH,
            "config": {name: seen["Config"][name] for name in sorted(_CONFIG) if seen["Config"].get(name)},
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": [{"created": _EPOCH, "created_by": "mlmgmt-nb"} for _ in layers],
        }
        # The engine has all layers, so the archive does not need them. Engines that do need them report it.
        manifest = [
            {"Config": "config.json", "RepoTags": [reference], "Layers": [f"{n}.tar" for n in range(len(layers))]}
        ]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            add_bytes(archive, "config.json", json.dumps(config, sort_keys=True).encode())
            add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
        repository, tag = repository_of(reference)
        with contextlib.suppress(api_error()):
            for _ in api.load_image(buffer.getvalue(), quiet=True):
                pass
        settled = self.id_of(reference)
        if settled is None or api.inspect_image(settled)["RootFS"]["Layers"] != layers:
            api.tag(image_id, repository, tag, force=True)
            return image_id
        return settled

    @contextlib.contextmanager
    def build_errors(self) -> Iterator[None]:
        """Turn errors of the engine into BuildError."""
        try:
            with self._engine.engine_errors():
                yield
        except EngineError as error:
            raise BuildError(error.code, error.message) from error


def _log_once(line: str, logged: set[str], log: Log) -> None:
    """Log a line of a transfer unless it was logged before."""
    if line and line not in logged:
        logged.add(line)
        log.line(line)


def api_error() -> Any:
    """Return the engine's exception type, whose package is imported when needed."""
    import docker.errors

    return docker.errors.APIError
