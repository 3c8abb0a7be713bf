"""Images without a Docker engine: layers on top of a base image that was never run here.

An image has the layers of its base, one of packages, one of the scoring runtime, one of models, and one of the rest of
the application. Each has the same bytes for the same inputs. Packages are installed by `uv` for the Python of the base
image, into a virtual environment that refers to it by its path.
"""

from __future__ import annotations

import hashlib
import posixpath
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.service.building.built_image import BuiltImage, repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker.dockerfile import COMMAND, HEALTH_CHECK, PACKAGES, SCORING_PORT, Recipe
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.model_layout import MODELS_FOLDER
from mlmgmt_nb.service.building.oci.base import BaseImage, BaseImages
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.layers import LayerCache, LayerWriter, writing_layer
from mlmgmt_nb.service.building.oci.media import CONFIG, MANIFEST, Descriptor, Layer, Manifest, encode
from mlmgmt_nb.service.building.oci.registry import Repository
from mlmgmt_nb.service.building.oci.sbom import SBOM, sbom
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.building.packages.requirements import RequirementSet
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log

__all__ = ["DaemonlessBuilder"]

_CREATED = "1980-01-01T00:00:00Z"
_ENVIRONMENT = "mlmgmt/environment"
_RUNTIME = "mlmgmt/runtime"
_USER = 1000
_NAME = "mlmgmt"
_FORMAT = "1"
"""Version of the layers; changes when those of earlier releases must not be reused."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STALE_SECONDS = 24 * 3600.0
_START_NANOSECONDS = 300 * 10**9


class DaemonlessBuilder:
    """Builds images in this process.

    Args:
        home: the state folder.
        environments: installs packages.
        registry: host, optionally with a path, that images are pushed to; None to keep them in the state folder.
    """

    runs_commands = False
    """Whether commands can run in the image while it is built, as conda and package managers need."""

    def __init__(self, home: Home, environments: Environments, registry: str | None) -> None:
        self.blobs = BlobStore(home.blobs)
        self._home = home
        self._environments = environments
        self._registry = registry
        self._bases = BaseImages(self.blobs, home.oci / "bases")
        self._layers = LayerCache(self.blobs, home.oci / "layers")

    def python_of(self, base: str, log: Log, cancellation: Cancellation) -> Python:
        """Return the Python version of a base image; pull the image if necessary.

        Raises:
            BuildError: the image does not exist, or does not have Python 3.11 or newer.
        """
        return self._bases.get(base, log, cancellation).python

    def build(
        self,
        context: Path,
        recipe: Recipe,
        name: str,
        version: int,
        log: Log,
        cancellation: Cancellation,
        requested: RequirementSet,
    ) -> BuiltImage:
        """Build the image of a context, and push it if there is a registry.

        Args:
            context: the folder of the build context.
            recipe: the recipe of the image.
            name: name of the image.
            version: version of the image.
            log: log of the build.
            cancellation: cancellation of the build.
            requested: its packages, whose lock is in the context.

        Raises:
            BuildError: the image cannot be built or pushed.
        """
        base = self._bases.get(recipe.base, log, cancellation)
        if recipe.java and not base.has_java:
            message = f"The base image {base.name} has no java in its PATH. Use one that has it (--base-image-spark)"
            raise BuildError("NeedsEngine", f"{message}, or a Docker engine, which installs it.")
        assembly = _Assembly(context, recipe, base, self.blobs, log, cancellation)
        packages, is_known = self._layers.get(
            assembly.packages_key, lambda: assembly.packages(self._environments, requested)
        )
        assembly.add(packages, "packages", is_known=is_known)
        runtime, is_known = self._layers.get(assembly.runtime_key, assembly.runtime)
        assembly.add(runtime, "scoring runtime", is_known=is_known)
        for layer, what in assembly.application():
            assembly.add(layer, what, is_known=False)
        manifest = self.blobs.add_bytes(encode(assembly.manifest()), MANIFEST)
        reference = f"{self._registry or 'mlmgmt'}/{name}:{version}"
        built = BuiltImage(
            reference,
            assembly.config.digest,
            recipe.base,
            manifest=manifest.digest,
            size=assembly.size,
            reused=assembly.reused,
        )
        log.line(f"image {reference}: {manifest.digest}, {_size(assembly.size)} in {len(assembly.layers)} layers")
        if self._registry:
            self._push(reference, manifest, log, cancellation)
            built = msgspec.structs.replace(built, digest=manifest.digest)
        built.note(context)
        return built

    def _push(self, reference: str, manifest: Descriptor, log: Log, cancellation: Cancellation) -> None:
        began = time.monotonic()
        name, tag = repository_of(reference)
        repository = Repository(name)
        content = self.blobs.read(manifest)
        described = msgspec.json.decode(content, type=Manifest)
        contents = [described.config, *described.layers]
        sent = [each for each in contents if repository.push(each, self.blobs, cancellation)]
        repository.push_manifest(tag, content)
        size, seconds = _size(sum(each.size for each in sent)), time.monotonic() - began
        others = len(contents) - len(sent)
        log.line(f"pushed {size} to {repository.host} in {seconds:.2f} s; it has {others} of {len(contents)} parts")

    def sweep(self) -> None:
        """Remove parts of contents that a crash left behind."""
        for path in self._home.blobs.glob("partial-*"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)


class _Assembly:
    """An image that is being put together."""

    def __init__(
        self, context: Path, recipe: Recipe, base: BaseImage, blobs: BlobStore, log: Log, cancellation: Cancellation
    ) -> None:
        self._context = context
        self._recipe = recipe
        self._base = base
        self._blobs = blobs
        self._log = log
        self._cancellation = cancellation
        self._same_python = base.python.version == f"{sys.version_info.major}.{sys.version_info.minor}"
        self._added: list[str] = []
        self.reused: list[str] = []
        self.layers = list(base.layers)

    def add(self, layer: Layer, what: str, *, is_known: bool) -> None:
        """Put a layer on top."""
        self._cancellation.check()
        self._log.line(f"layer of {what}: {_size(layer.content.size)}{', reused' if is_known else ''}")
        self.layers.append(layer)
        self.reused += [what] if is_known else []
        self._added.append(what)

    @property
    def size(self) -> int:
        """Return the size of all layers in bytes, compressed."""
        return sum(layer.content.size for layer in self.layers)

    @property
    def packages_key(self) -> str:
        """Return a digest of everything that the layer of packages depends on."""
        files = sorted(path for path in (self._context / PACKAGES).rglob("*") if path.is_file())
        paths = [self._context / LOCK_FILE, *files]
        python = self._base.python
        facts = [python.version, python.platform, self._base.interpreter, sys.version if self._same_python else ""]
        return _digest("packages", *facts, *self._contents(paths))

    @property
    def runtime_key(self) -> str:
        """Return a digest of everything that the layer of the runtime depends on."""
        paths = sorted(path for path in (self._context / "runtime").rglob("*.py"))
        facts = [self._base.users, self._base.groups, sys.version if self._same_python else ""]
        return _digest("runtime", *facts, *self._contents(paths))

    def _contents(self, paths: list[Path]) -> Iterator[str]:
        for path in paths:
            with path.open("rb") as file:
                yield f"{path.relative_to(self._context)} {hashlib.file_digest(file, 'sha256').hexdigest()}"

    def packages(self, environments: Environments, requested: RequirementSet) -> Layer:
        """Install the packages, and return their layer."""
        python = self._base.python
        with tempfile.TemporaryDirectory(dir=self._context, prefix=".environment-") as folder:
            root = Path(folder)
            library = root / "lib" / f"python{python.version}" / "site-packages"
            environments.install(library, requested, self._context, python, self._log, self._cancellation)
            _move_scripts(library, root / "bin")
            for path in library.glob("*.dist-info/direct_url.json"):
                _forget(path)
            (library / ".lock").unlink(missing_ok=True)
            (root / "pyvenv.cfg").write_text(
                f"home = {posixpath.dirname(self._base.interpreter)}\ninclude-system-site-packages = true\n"
                f"version = {python.version}\n"
            )
            self._compile(root, f"/{_ENVIRONMENT}")

            def write(layer: LayerWriter) -> None:
                layer.folder("mlmgmt")
                layer.tree(root, _ENVIRONMENT, keep=self._keep)
                for name in ("python", "python3", f"python{python.version}"):
                    layer.link(f"{_ENVIRONMENT}/bin/{name}", self._base.interpreter)

            return self._written(write)

    def runtime(self) -> Layer:
        """Return the layer of the scoring runtime, and of the user that it runs as."""
        with tempfile.TemporaryDirectory(dir=self._context, prefix=".runtime-") as folder:
            root = Path(folder) / "runtime"
            shutil.copytree(self._context / "runtime", root, ignore=shutil.ignore_patterns("__pycache__"))
            self._compile(root, f"/{_RUNTIME}")

            def write(layer: LayerWriter) -> None:
                layer.folder("mlmgmt")
                layer.tree(root, _RUNTIME, keep=self._keep)
                layer.folder("home")
                layer.folder(f"home/{_NAME}", _USER)
                user = f"{_NAME}:x:{_USER}:{_USER}:{_NAME}:/home/{_NAME}:/usr/sbin/nologin\n"
                _add_id(layer, "etc/passwd", self._base.users, user)
                _add_id(layer, "etc/group", self._base.groups, f"{_NAME}:x:{_USER}:\n")

            return self._written(write)

    def application(self) -> Iterator[tuple[Layer, str]]:
        """Yield the layers of the application: models apart, so that a new driver does not send them again."""
        app = self._context / "app"
        models = {_identity(path) for path in (app / MODELS_FOLDER).rglob("*") if path.is_file()}

        def write_models(layer: LayerWriter) -> None:
            layer.tree(app, "app", _USER, lambda path: self._keep(path) and _identity(path) in models)

        def write_rest(layer: LayerWriter) -> None:
            layer.tree(app, "app", _USER, lambda path: self._keep(path) and _identity(path) not in models)
            layer.folder("mlmgmt")
            layer.text(f"mlmgmt/{SBOM}", sbom(self._context, self._base.name, self._base.digest))

        if models:
            yield self._written(write_models, is_compressed=False), "models"
        yield self._written(write_rest), "application"

    def _written(self, write: Callable[[LayerWriter], None], *, is_compressed: bool = True) -> Layer:
        made: list[Layer] = []
        with writing_layer(self._blobs, made, is_compressed=is_compressed) as layer:
            write(layer)
        return made[0]

    def _keep(self, _: Path) -> bool:
        self._cancellation.check()
        return True

    def _compile(self, folder: Path, destination: str) -> None:
        """Create byte code, if this Python creates the same as that of the image."""
        if self._same_python:
            paths = ("-s", str(folder), "-p", destination)
            command = [sys.executable, "-B", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", *paths]
            # Some packages include modules for other versions of Python, which do not compile.
            with (
                subprocess.Popen(
                    [*command, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                ) as process,
                self._cancellation.ending(process),
            ):
                process.wait()

    @property
    def config(self) -> Descriptor:
        """Store the configuration and return its descriptor."""
        described = self._base.config
        added = [{"created": _CREATED, "comment": what} for what in self._added]
        document = {
            "architecture": described["architecture"],
            "os": described.get("os", "linux"),
            "created": _CREATED,
            "config": self._settings(),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": [*described.get("history", []), *added],
        }
        return self._blobs.add_bytes(encode(document), CONFIG)

    def _settings(self) -> dict[str, Any]:
        """Return how containers of the image run, as the Dockerfile says it."""
        given = self._base.config.get("config") or {}
        variables = dict(each.partition("=")[::2] for each in given.get("Env") or [])
        variables["PATH"] = f"/{_ENVIRONMENT}/bin:{variables.get('PATH', _DEFAULT_PATH)}"
        variables |= {"PYTHONPATH": f"/{_RUNTIME}", "PYTHONUNBUFFERED": "1", "HOME": f"/home/{_NAME}"}
        check = {"Test": ["CMD", *HEALTH_CHECK], "StartPeriod": _START_NANOSECONDS}
        return {
            **{name: value for name, value in given.items() if name in {"StopSignal", "Volumes"}},
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "ExposedPorts": {**(given.get("ExposedPorts") or {}), f"{SCORING_PORT}/tcp": {}},
            "Labels": {**(given.get("Labels") or {}), **self._recipe.labels},
            "Cmd": [*COMMAND, "--host", "0.0.0.0", "--port", str(SCORING_PORT)],  # noqa: S104 - inside of a container
            "Healthcheck": check,
            "User": f"{_USER}:{_USER}",
            "WorkingDir": "/app",
        }

    def manifest(self) -> Manifest:
        """Return the manifest of the image."""
        return Manifest(self.config, [layer.content for layer in self.layers])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((_FORMAT, *parts)).encode()).hexdigest()[:32]


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a file and all links to it have in common; None for a link to nothing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _add_id(layer: LayerWriter, name: str, text: str, line: str) -> None:
    """Add a user or group unless the base image has one with its id."""
    if not any(each.split(":")[2:3] == [str(_USER)] for each in text.splitlines()):
        separator = "\n" if text and not text.endswith("\n") else ""
        layer.text(name, f"{text}{separator}{line}")


def _move_scripts(library: Path, target: Path) -> None:
    """Move the programs of packages to where the environment has them; they name its Python."""
    target.mkdir(parents=True, exist_ok=True)
    source = library / "bin"
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        content = path.read_bytes()
        if content.startswith(b"#!") and b"python" in content.partition(b"\n")[0]:
            content = f"#!/{_ENVIRONMENT}/bin/python3\n".encode() + content.partition(b"\n")[2]
        moved = target / path.name
        moved.write_bytes(content)
        moved.chmod(0o755)
    shutil.rmtree(source, ignore_errors=True)


def _forget(path: Path) -> None:
    """Remove a file of a package that has the path of this build, so that the same inputs give the same layer."""
    if b"file://" in path.read_bytes():
        path.unlink()
        record = path.with_name("RECORD")
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.unlink()  # first: it may be a link to a file of uv's cache
        record.write_text("".join(line for line in lines if f"/{path.name}," not in line), encoding="utf-8")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
