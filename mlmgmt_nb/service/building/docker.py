"""Docker images: built, pushed and fetched through the engine's API.

An image has two halves. The packages are installed in a container of the base image, whose result is kept under a name
made of everything that went into it: the same requirements are never installed twice, and passwords of package indexes
go through that container's standard input and so into no layer. Upon that the engine builds the runtime and the
application from the Dockerfile's second part, in seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mlmgmt_nb.service.building import dockerfile
from mlmgmt_nb.service.building.archives import add_bytes, add_tree, oci_archive
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.dockerfile import BUILD_FOLDER, Recipe
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.install import EPOCH
from mlmgmt_nb.service.engine import Engine, EngineError
from mlmgmt_nb.service.home import Home
from mlmgmt_nb.service.logs import Log

__all__ = ["BUILD_NAME", "BuiltImage", "DockerBuilder", "Python", "context_archive"]

BUILT = "docker.json"
"""File of a build context that says what was built of it."""
BUILD_NAME = "mlmgmt-build-"
"""Begins the names of the containers in which packages are installed; the id of the state folder, the place in it and
the session of the process follow."""
_REQUIREMENTS = "mlmgmt/requirements"
_EPOCH = "1980-01-01T00:00:00Z"
_LAST_LINES = 8
_CONFIG = frozenset(
    {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "Healthcheck", "Volumes"}
    | {"StopSignal", "Shell"}
)
"""What of an image's configuration is not about how it was built."""
_LOOK = (
    "import json, platform as p, sys; "
    "print(json.dumps({'version': '%d.%d' % sys.version_info[:2], 'machine': p.machine(), 'libc': p.libc_ver()[0]}))"
)


class Python(msgspec.Struct, frozen=True):
    """The Python of a base image."""

    version: str
    machine: str
    libc: str

    @property
    def platform(self) -> str:
        """Its platform in the words of `uv`."""
        machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(self.machine, self.machine)
        return f"{machine}-unknown-linux-{'gnu' if self.libc == 'glibc' else 'musl'}"


class BuiltImage(msgspec.Struct, frozen=True, rename="camel"):
    """What was built of a context.

    Attributes:
        reference: its name and version, with the registry if it was pushed to one.
        image_id: digest of its configuration, by which the engine knows it.
        digest: digest of its manifest in the registry.
        base: the base image.
    """

    reference: str
    image_id: str
    base: str
    digest: str | None = None

    @property
    def pull_reference(self) -> str | None:
        """Where exactly this image can be pulled from."""
        return f"{_repository(self.reference)[0]}@{self.digest}" if self.digest else None

    @classmethod
    def of(cls, context: Path) -> BuiltImage | None:
        """What was built of a context on an engine, if anything."""
        try:
            return msgspec.json.decode((context / BUILT).read_bytes(), type=cls)
        except FileNotFoundError:
            return None

    def note(self, context: Path) -> None:
        (context / BUILT).write_bytes(msgspec.json.format(msgspec.json.encode(self)))


class DockerBuilder:
    """Builds images on an engine.

    Args:
        home: the state folder; others may use the same engine.
        registry: where images are pushed to: a host, with a path if need be; None to keep them on the engine.
        pip_config: a `pip.conf` that the installation of packages uses; it may have passwords.
    """

    def __init__(self, engine: Engine, home: Home, registry: str | None, pip_config: Path | None) -> None:
        self._engine = engine
        self._home = home
        self._prefix = f"{BUILD_NAME}{home.identity()}-"
        self._session = uuid.uuid4().hex[:12]
        self._registry = registry
        self._pip_config = pip_config
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._pythons: dict[str, Python] = {}

    def python_of(self, base: str, log: Log) -> Python:
        """The Python of a base image, which is pulled if it is not there.

        Raises:
            BuildError: there is no such image, or no Python of 3.11 or newer in it.
        """
        with self._asking():
            image_id = self._image_id(base)
            if image_id is None:
                self.pull(base, log)
                image_id = self._image_id(base)
            if image_id not in self._pythons:
                self._pythons[image_id or ""] = self._look(base)
        return self._pythons[image_id or ""]

    def _look(self, base: str) -> Python:
        api = self._engine.api
        try:
            container = api.create_container(base, ["python3", "-c", _LOOK], entrypoint=[], name=self._build_name())
            try:
                api.start(container)
                api.wait(container, timeout=60)
                found = msgspec.json.decode(api.logs(container, stderr=False), type=Python)
            finally:
                self._engine.remove(container["Id"])
        except (EngineError, _api_error(), msgspec.DecodeError) as error:
            raise BuildError("BadBaseImage", f"The base image {base} has no python3 that runs: {error}") from error
        if tuple(map(int, found.version.split("."))) < (3, 11):
            message = f"The base image {base} has Python {found.version}; the scoring runtime needs 3.11 or newer."
            raise BuildError("BadBaseImage", message)
        return found

    def build(
        self, context: Path, recipe: Recipe, name: str, version: int, log: Log, cancellation: Cancellation
    ) -> BuiltImage:
        """Builds the image of a context, and pushes it if there is a registry.

        Raises:
            BuildError: it cannot be built or pushed; the message has the step and its last lines.
        """
        with self._asking():
            installed = self._requirements(context, recipe, log, cancellation)
            image_id = self._application(context, recipe, installed, log, cancellation)
            reference = f"{self._registry or 'mlmgmt'}/{name}:{version}"
            image_id = self._settle(image_id, reference)
            built = BuiltImage(reference, image_id, recipe.base)
            log.line(f"image {reference}: {image_id}")
            if self._registry:
                digest = self._push(reference, log, cancellation)
                built = msgspec.structs.replace(built, digest=digest)
            built.note(context)
        return built

    # --- packages ------------------------------------------------------------------------------------------------

    def _requirements(self, context: Path, recipe: Recipe, log: Log, cancellation: Cancellation) -> str:
        """The name of the image that has the packages; made now unless there is one made of the same."""
        parts = [(self._image_id(recipe.base) or "").encode(), " ".join(recipe.install).encode()]
        parts += [(context / name).read_bytes() for name in recipe.inputs]
        key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            cancellation.check()
            if self._image_id(f"{_REQUIREMENTS}:{key}"):
                log.line("using the packages that were installed for the same requirements before")
            else:
                self._install(context, recipe, key, log, cancellation)
        return f"{_REQUIREMENTS}:{key}"

    def _install(self, context: Path, recipe: Recipe, key: str, log: Log, cancellation: Cancellation) -> None:
        api = self._engine.api
        base = recipe.base
        if recipe.conda:
            base = self._build(dockerfile.with_conda(recipe), [], log, cancellation)
        secret = self._pip_config.read_bytes() if self._pip_config else b""
        container = api.create_container(
            base,
            [*recipe.install, *(["--pip-config"] if secret else [])],
            entrypoint=[],
            user="root",
            stdin_open=True,
            name=self._build_name(),
        )["Id"]
        try:
            api.put_archive(container, "/", _inputs_archive(context, recipe))
            attached = self._engine.attach(container)
            with contextlib.closing(attached), cancellation.calling(lambda: self._engine.remove(container)):
                api.start(container)
                attached.send(secret)
                attached.end_input()
                tail = _Tail(log)
                for _, data in attached.frames():
                    tail.hear(data)
                code = api.wait(container)["StatusCode"]
            if code != 0:
                raise BuildError("RequirementsFailed", f"The requirements cannot be installed: {tail.why()}")
            api.commit(container, repository=_REQUIREMENTS, tag=key)
        finally:
            self._engine.remove(container)
            cancellation.check()

    # --- the application -----------------------------------------------------------------------------------------

    def _application(self, context: Path, recipe: Recipe, installed: str, log: Log, cancellation: Cancellation) -> str:
        text = f"FROM {installed}\n" + dockerfile.application(recipe, "layer/runtime /", "layer/app /")
        # Folders that are in the archive keep its times; those that the engine makes do not.
        layers = [(context / "runtime", "layer/runtime/mlmgmt/runtime"), (context / "app", "layer/app/app")]
        return self._build(text, layers, log, cancellation)

    def _build(self, text: str, trees: Sequence[tuple[Path, str]], log: Log, cancellation: Cancellation) -> str:
        """Has the engine build a Dockerfile; gives the id of the image."""
        from docker.types import CancellableStream

        api = self._engine.api
        with _spooled() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                add_bytes(archive, "Dockerfile", text.encode())
                made: set[str] = set()
                for path, name in trees:
                    _add_parents(archive, name, made)
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
            image_id, error, tail = "", "", _Tail(log)
            try:
                with cancellation.calling(CancellableStream(response, response).close):
                    for event in _events(response):
                        image_id = event.get("aux", {}).get("ID", image_id)
                        error = event.get("error", error)
                        tail.hear(event.get("stream", "").encode())
            finally:
                cancellation.check()  # first of all, when the stream broke because of it
        if error or not image_id:
            raise BuildError("BuildFailed", f"The image cannot be built: {tail.why()}: {error or 'no image came out'}")
        return image_id

    def _settle(self, image_id: str, reference: str) -> str:
        """Names the image; where the engine lets us, under a configuration that does not tell when it was built."""
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
        # The engine has all layers, so they need not be in the archive. Engines that want them say so.
        manifest = [
            {"Config": "config.json", "RepoTags": [reference], "Layers": [f"{n}.tar" for n in range(len(layers))]}
        ]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            add_bytes(archive, "config.json", json.dumps(config, sort_keys=True).encode())
            add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
        repository, tag = _repository(reference)
        with contextlib.suppress(_api_error()):
            for _ in api.load_image(buffer.getvalue(), quiet=True):
                pass
        settled = self._image_id(reference)
        if settled is None or api.inspect_image(settled)["RootFS"]["Layers"] != layers:
            api.tag(image_id, repository, tag, force=True)
            return image_id
        return settled

    # --- registries ----------------------------------------------------------------------------------------------

    def _push(self, reference: str, log: Log, cancellation: Cancellation) -> str:
        """Pushes an image; gives the digest of its manifest."""
        log.line(f"pushing {reference}")
        api = self._engine.api
        api.reload_config()
        repository, tag = _repository(reference)
        digest = error = ""
        told: set[str] = set()
        for event in api.push(repository, tag, stream=True, decode=True):
            cancellation.check()
            digest = (event.get("aux") or {}).get("Digest", digest)
            error = event.get("error", error)
            line = f"{event.get('id', '')} {event.get('status', '')}".strip()
            if "progressDetail" not in event or not event["progressDetail"]:
                _tell(line, told, log)
        if error or not digest:
            raise BuildError("PushFailed", f"{reference} cannot be pushed: {error or 'the registry gave no digest'}")
        return digest

    def pull(self, reference: str, log: Log) -> None:
        """Pulls an image, with the credentials of Docker's configuration.

        Raises:
            BuildError: it cannot be had.
        """
        log.line(f"pulling {reference}")
        api = self._engine.api
        told: set[str] = set()
        repository, tag = _repository(reference)
        try:
            api.reload_config()
            for event in api.pull(repository, tag, stream=True, decode=True):
                if error := event.get("error"):
                    raise BuildError("PullFailed", f"The image {reference} cannot be pulled: {error}")
                if not event.get("progressDetail"):
                    _tell(f"{event.get('id', '')} {event.get('status', '')}".strip(), told, log)
        except _api_error() as error:
            raise BuildError(
                "PullFailed", f"The image {reference} cannot be pulled: {error.explanation or error}"
            ) from error

    def ensure(self, built: BuiltImage, log: Log) -> str:
        """The id of a built image on the engine; it is pulled by its digest when it is not there.

        Raises:
            BuildError: it is neither here nor in a registry.
        """
        with self._asking():
            if self._image_id(built.image_id):
                return built.image_id
            exact = built.pull_reference
            if exact is None:
                raise BuildError(
                    "ImageGone",
                    f"The image {built.reference} ({built.image_id}) is not on the Docker engine any more, and was not "
                    "pushed to a registry; build it again (image create) and update the service.",
                )
            self.pull(exact, log)
            found = self._image_id(exact)
            if found is None:
                raise BuildError("ImageGone", f"The image {exact} was pulled, but is not on the engine.")
            return found

    def export(self, built: BuiltImage, target: BinaryIO, folder: Path, log: Log) -> str:
        """Writes an image as an OCI archive; gives the digest of its manifest.

        Args:
            folder: an empty folder for what is unpacked meanwhile.
        """
        image_id = self.ensure(built, log)
        with self._engine.asking():
            return oci_archive(self._engine.api.get_image(image_id), target, folder, built.reference)

    def sweep(self) -> None:
        """Removes the containers of builds that a crash interrupted.

        Raises:
            EngineError: the engine cannot be asked.
        """
        with self._engine.asking():
            for container in self._engine.api.containers(all=True, filters={"name": f"^/{self._prefix}"}):
                if not any(self._is_at_work(name) for name in container["Names"]):
                    self._engine.remove(container["Id"])

    def _is_at_work(self, name: str) -> bool:
        """Whether the process lives that gave a container its name: this one, or the one that has its place now."""
        place, session, _ = name.removeprefix(f"/{self._prefix}").split("-", 2)
        return session == self._session or self._home.is_taken(int(place))

    def _build_name(self) -> str:
        return f"{self._prefix}{self._home.place}-{self._session}-{uuid.uuid4().hex[:12]}"

    def _image_id(self, name: str) -> str | None:
        import docker.errors

        try:
            return str(self._engine.api.inspect_image(name)["Id"])
        except docker.errors.NotFound:
            return None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Turns what goes wrong at the engine into BuildError."""
        try:
            with self._engine.asking():
                yield
        except EngineError as error:
            raise BuildError(error.code, error.message) from error


class _Tail:
    """Passes output on to a log, line by line, and remembers the step and the last lines."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._step = ""
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def hear(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._log.line(text)
            if text.startswith(("--> ", "Step ")):
                self._step = text.removeprefix("--> ")
                self._lines.clear()
            elif text and not text.startswith(("step failed: ", " ---> ")):
                self._lines.append(text)

    def why(self) -> str:
        return " | ".join([f"step {self._step!r} failed", *self._lines] if self._step else self._lines)


def context_archive(context: Path, target: BinaryIO) -> None:
    """Writes a build context as a tar archive, the same bytes each time."""
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path in sorted(context.iterdir()):
            if path.name != BUILT:
                add_tree(archive, path, path.name)


def _inputs_archive(context: Path, recipe: Recipe) -> bytes:
    buffer = io.BytesIO()
    folder = BUILD_FOLDER.strip("/")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add_parents(archive, f"{folder}/x", set())
        for name in recipe.inputs:
            add_tree(archive, context / name, f"{folder}/{Path(name).name}")
    return buffer.getvalue()


def _add_parents(archive: tarfile.TarFile, name: str, made: set[str]) -> None:
    """Adds the folders above a name, but those that were added before."""
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder not in made:
            made.add(folder)
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, EPOCH
            archive.addfile(entry)


def _repository(reference: str) -> tuple[str, str]:
    """`host:5000/name:3` -> `host:5000/name`, `3`; `name@sha256:...` -> `name`, `sha256:...`."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


def _tell(line: str, told: set[str], log: Log) -> None:
    """Logs a line of a transfer, once."""
    if line and line not in told:
        told.add(line)
        log.line(line)


def _events(response: Any) -> Iterator[dict[str, Any]]:
    """The JSON objects that the engine streams."""
    decoder, pending = json.JSONDecoder(), ""
    for chunk in response.iter_content(chunk_size=None):
        pending += chunk.decode(errors="replace")
        while pending := pending.lstrip():
            try:
                found, end = decoder.raw_decode(pending)
            except ValueError:  # not whole yet
                break
            pending = pending[end:]
            yield found


def _check(response: Any) -> None:
    import docker.errors
    import requests

    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        raise docker.errors.create_api_error_from_http_exception(error) from error


def _api_error() -> Any:
    import docker.errors

    return docker.errors.APIError


def _spooled() -> Any:
    """A file for a build context, which may be large."""
    import tempfile

    return tempfile.TemporaryFile()
