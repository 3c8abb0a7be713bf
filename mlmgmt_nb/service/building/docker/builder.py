"""Docker images, built through the engine's API.

An image has two halves. Packages are installed in a container of the base image, and the result is kept under a name
derived from all of its inputs, so that later builds with the same requirements reuse it. Passwords of package indexes
go through the standard input of that container, so that no layer contains them. On top of the packages, the engine
builds the runtime and the application from the second part of the Dockerfile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.contract.requirements import Option
from mlmgmt_nb.service.building.archives import add_bytes, add_tree
from mlmgmt_nb.service.building.built_image import BuiltImage, ImageBuild
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker import dockerfile
from mlmgmt_nb.service.building.docker.archives import add_parents, inputs_archive, spooled
from mlmgmt_nb.service.building.docker.dockerfile import PACKAGES, Recipe
from mlmgmt_nb.service.building.docker.images import EngineImages, api_error
from mlmgmt_nb.service.building.docker.output import BuildOutput, events
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.machine_indexes import PipConfigError, options_of_pip, options_of_uv
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.building.packages.requirements import netrc
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log

__all__ = ["BUILD_NAME", "DockerBuilder"]

BUILD_NAME = "mlmgmt-build-"
"""Prefix of the names of containers that install packages, followed by the id of the state folder, the place of the
process in it and the session of the process.
"""
_REQUIREMENTS = "mlmgmt/requirements"
_LOOK = (
    "import json, platform as p, sys; "
    "print(json.dumps({'version': '%d.%d' % sys.version_info[:2], 'machine': p.machine(), 'libc': p.libc_ver()[0]}))"
)


class DockerBuilder:
    """Builds images on an engine.

    Args:
        images: the images of the engine.
        home: the state folder; other services may use the same engine.
        pip_config: a `pip.conf` for the installation of packages; it may contain passwords.
    """

    runs_commands = True

    def __init__(self, engine: Engine, images: EngineImages, home: Home, pip_config: Path | None) -> None:
        self._engine = engine
        self._images = images
        self._home = home
        self._prefix = f"{BUILD_NAME}{home.identity()}-"
        self._session = uuid.uuid4().hex[:12]
        self._pip_config = pip_config
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._pythons: dict[str, Python] = {}

    def python_of(self, base: str, log: Log, cancellation: Cancellation) -> Python:
        """Return the Python version of a base image; pull the image if necessary.

        Raises:
            BuildError: the image does not exist, or does not have Python 3.11 or newer.
        """
        with self._images.build_errors():
            cancellation.check()
            image_id = self._images.id_of(base)
            if image_id is None:
                self._images.pull(base, log)
                image_id = self._images.id_of(base)
            if image_id not in self._pythons:
                self._pythons[image_id or ""] = self._inspect(base)
        return self._pythons[image_id or ""]

    def _inspect(self, base: str) -> Python:
        api = self._engine.api
        try:
            container = api.create_container(base, ["python3", "-c", _LOOK], entrypoint=[], name=self._build_name())
            try:
                api.start(container)
                api.wait(container, timeout=60)
                found = msgspec.json.decode(api.logs(container, stderr=False), type=Python)
            finally:
                self._engine.remove(container["Id"])
        except (EngineError, api_error(), msgspec.DecodeError) as error:
            raise BuildError("BadBaseImage", f"The base image {base} has no python3 that runs: {error}") from error
        if tuple(map(int, found.version.split("."))) < (3, 11):
            message = f"The base image {base} has Python {found.version}; the scoring runtime needs 3.11 or newer."
            raise BuildError("BadBaseImage", message)
        return found

    def build(self, image: ImageBuild) -> BuiltImage:
        """Build an image, and push it if there is a registry.

        Raises:
            BuildError: the image cannot be built or pushed; the message has the step and its last lines.
        """
        context, recipe, log, cancellation = image.context, image.recipe, image.log, image.cancellation
        with self._images.build_errors():
            installed = self._requirements(context, recipe, image.requested.logins, log, cancellation)
            image_id = self._application(context, recipe, installed, log, cancellation)
            reference = image.reference
            image_id = self._images.finalize(image_id, reference)
            built = BuiltImage(reference, image_id, recipe.base)
            log.line(f"image {reference}: {image_id}")
            if image.registry:
                digest = self._images.push(reference, log, cancellation)
                built = msgspec.structs.replace(built, digest=digest)
            built.note(context)
        return built

    # --- packages ------------------------------------------------------------------------------------------------

    def _requirements(
        self,
        context: Path,
        recipe: Recipe,
        logins: Mapping[str, tuple[str, str]],
        log: Log,
        cancellation: Cancellation,
    ) -> str:
        """Return the name of the image with the packages; create it unless one with the same inputs exists."""
        parts = [(self._images.id_of(recipe.base) or "").encode(), " ".join(recipe.install).encode()]
        parts += [(context / name).read_bytes() for name in recipe.inputs]
        files = sorted(path for path in (context / PACKAGES).rglob("*") if path.is_file())
        parts += [part for path in files for part in (str(path.relative_to(context)).encode(), path.read_bytes())]
        key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            cancellation.check()
            if self._images.id_of(f"{_REQUIREMENTS}:{key}"):
                log.line("using the packages installed earlier for the same requirements")
            else:
                self._install(context, recipe, key, logins, log, cancellation)
        return f"{_REQUIREMENTS}:{key}"

    def indexes(self) -> list[Option]:
        """Return the package indexes for images: those of the configuration file of pip, or else those of `uv`.

        Raises:
            BuildError: the file cannot be read.
        """
        if self._pip_config is None:
            return options_of_uv(os.environ)
        try:
            return options_of_pip(self._pip_text())
        except PipConfigError as error:
            raise BuildError("BadPipConfig", f"--pip-config: {self._pip_config}: {error}.") from error

    def _pip_text(self) -> str:
        assert self._pip_config is not None
        try:
            return self._pip_config.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise BuildError("BadPipConfig", f"--pip-config: {self._pip_config}: {reason}.") from error

    def _secrets(self, logins: Mapping[str, tuple[str, str]]) -> bytes:
        """Return the standard input for the installation of packages."""
        found = {"pip.conf": self._pip_text()} if self._pip_config else {}
        if logins:
            found["netrc"] = netrc(logins)
        return json.dumps(found).encode() if found else b""

    def _install(
        self,
        context: Path,
        recipe: Recipe,
        key: str,
        logins: Mapping[str, tuple[str, str]],
        log: Log,
        cancellation: Cancellation,
    ) -> None:
        api = self._engine.api
        base = recipe.base
        if recipe.conda:
            base = self._build(dockerfile.with_conda(recipe), [], log, cancellation)
        secrets = self._secrets(logins)
        container = api.create_container(
            base,
            [*recipe.install, *(["--secrets"] if secrets else [])],
            entrypoint=[],
            user="root",
            stdin_open=True,
            name=self._build_name(),
        )["Id"]
        try:
            api.put_archive(container, "/", inputs_archive(context, recipe))
            attached = self._engine.attach(container)
            with contextlib.closing(attached), cancellation.calling(lambda: self._engine.remove(container)):
                api.start(container)
                attached.send(secrets)
                attached.end_input()
                tail = BuildOutput(log)
                for _, data in attached.frames():
                    tail.feed(data)
                code = api.wait(container)["StatusCode"]
            if code != 0:
                raise BuildError("RequirementsFailed", f"The requirements cannot be installed: {tail.failure_reason()}")
            api.commit(container, repository=_REQUIREMENTS, tag=key)
        finally:
            self._engine.remove(container)
            cancellation.check()

    # --- the application -----------------------------------------------------------------------------------------

    def _application(self, context: Path, recipe: Recipe, installed: str, log: Log, cancellation: Cancellation) -> str:
        text = f"FROM {installed}\n" + dockerfile.application(recipe, "layer/runtime /", "layer/app /")
        # Folders in the archive keep their times; those that the engine creates do not.
        layers = [(context / "runtime", "layer/runtime/mlmgmt/runtime"), (context / "app", "layer/app/app")]
        return self._build(text, layers, log, cancellation)

    def _build(self, text: str, trees: Sequence[tuple[Path, str]], log: Log, cancellation: Cancellation) -> str:
        """Build a Dockerfile on the engine; return the id of the image."""
        from docker.types import CancellableStream

        api = self._engine.api
        with spooled() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                add_bytes(archive, "Dockerfile", text.encode())
                made: set[str] = set()
                for path, name in trees:
                    add_parents(archive, name, made)
                    add_tree(archive, path, name)
            file.seek(0)
            cancellation.check()
            response = api.post(
                f"{api.base_url}/v{api.api_version}/build",
                params={"rm": True, "forcerm": True},
                data=file,
                headers={"Content-Type": "application/tar"},
                stream=True,
                timeout=None,
            )
            _check(response)
            image_id, error, tail = "", "", BuildOutput(log)
            try:
                with cancellation.calling(CancellableStream(response, response).close):
                    for event in events(response):
                        image_id = event.get("aux", {}).get("ID", image_id)
                        error = event.get("error", error)
                        tail.feed(event.get("stream", "").encode())
            finally:
                cancellation.check()  # first, in case the cancellation broke the stream
        if error or not image_id:
            raise BuildError(
                "BuildFailed",
                f"The image cannot be built: {tail.failure_reason()}: {error or 'the engine returned no image'}",
            )
        return image_id

    def sweep(self) -> None:
        """Remove the containers of builds that a crash interrupted.

        Raises:
            EngineError: the engine does not respond.
        """
        with self._engine.engine_errors():
            for container in self._engine.api.containers(all=True, filters={"name": f"^/{self._prefix}"}):
                if not any(self._is_owner_alive(name) for name in container["Names"]):
                    self._engine.remove(container["Id"])

    def _is_owner_alive(self, name: str) -> bool:
        """Return whether the process that named a container may be alive: this process, or one that holds its place."""
        place, session, _ = name.removeprefix(f"/{self._prefix}").split("-", 2)
        return session == self._session or self._home.is_taken(int(place))

    def _build_name(self) -> str:
        return f"{self._prefix}{self._home.place}-{self._session}-{uuid.uuid4().hex[:12]}"


def _check(response: Any) -> None:
    import docker.errors
    import requests

    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        raise docker.errors.create_api_error_from_http_exception(error) from error
