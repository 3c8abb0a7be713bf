"""The layers and the configuration of an image that is built without a Docker engine."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlmgmt_nb.service.building.built_image import ImageBuild
from mlmgmt_nb.service.building.docker.dockerfile import PACKAGES
from mlmgmt_nb.service.building.model_layout import MODELS_FOLDER
from mlmgmt_nb.service.building.oci.base import BaseImage, variables_of
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.layers import LayerWriter, writing_layer
from mlmgmt_nb.service.building.oci.media import Layer
from mlmgmt_nb.service.building.oci.relocation import relocate
from mlmgmt_nb.service.building.oci.sbom import SBOM, sbom
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE

__all__ = ["Assembly", "display_size"]

_CREATED = "1980-01-01T00:00:00Z"
_ENVIRONMENT = "mlmgmt/environment"
_RUNTIME = "mlmgmt/runtime"
_USER = 1000
_NAME = "mlmgmt"
_FORMAT = "2"
"""Version of the layers; changes when those of earlier releases must not be reused."""
_START_NANOSECONDS = 300 * 10**9


class Assembly:
    """An image that is being assembled.

    Args:
        image: the image to build.
        base: its base image.
        blobs: receives its layers.
    """

    def __init__(self, image: ImageBuild, base: BaseImage, blobs: BlobStore) -> None:
        self._image = image
        self._context = image.context
        self._base = base
        self._blobs = blobs
        self._same_python = base.python.version == f"{sys.version_info.major}.{sys.version_info.minor}"
        self._added: list[str] = []
        self.reused: list[str] = []
        self.layers = list(base.layers)

    def add(self, layer: Layer, what: str, *, is_known: bool) -> None:
        """Add a layer on top."""
        self._image.cancellation.check()
        self._image.log.line(f"layer of {what}: {display_size(layer.content.size)}{', reused' if is_known else ''}")
        self.layers.append(layer)
        self.reused += [what] if is_known else []
        self._added.append(what)

    @property
    def size(self) -> int:
        """Return the size of all layers in bytes, as stored."""
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

    def packages(self, environments: Environments) -> Layer:
        """Install the packages, and return their layer."""
        python = self._base.python
        with tempfile.TemporaryDirectory(dir=self._context, prefix=".environment-") as folder:
            root = Path(folder)
            library = root / "lib" / f"python{python.version}" / "site-packages"
            environments.install(
                library, self._image.requested, self._context, python, self._image.log, self._image.cancellation
            )
            relocate(library, root / "bin", f"/{_ENVIRONMENT}/bin/python3")
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
        """Yield the layers of the application. Models are a separate layer, which a new driver does not change."""
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
        self._image.cancellation.check()
        return True

    def _compile(self, folder: Path, destination: str) -> None:
        """Create byte code, if this Python creates the same byte code as the Python of the image."""
        if self._same_python:
            paths = ("-s", str(folder), "-p", destination)
            command = [sys.executable, "-B", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", *paths]
            # Some packages include modules for other versions of Python, which do not compile.
            with (
                subprocess.Popen(
                    [*command, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                ) as process,
                self._image.cancellation.ending(process),
            ):
                process.wait()

    def config(self) -> dict[str, Any]:
        """Return the configuration of the image."""
        base = self._base.config
        # The history needs an entry for each layer: tools count them.
        history = base.history or [{"created": _CREATED} for _ in self._base.layers]
        return {
            "architecture": base.architecture,
            "os": base.os,
            "created": _CREATED,
            "config": self._settings(),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": [*history, *({"created": _CREATED, "comment": what} for what in self._added)],
        }

    def _settings(self) -> dict[str, Any]:
        """Return the settings of containers of the image, the same as those in the Dockerfile."""
        given = self._base.config.settings
        variables = variables_of(self._base.config)
        variables["PATH"] = f"/{_ENVIRONMENT}/bin:{variables['PATH']}"
        variables |= {"PYTHONPATH": f"/{_RUNTIME}", "PYTHONUNBUFFERED": "1", "HOME": f"/home/{_NAME}"}
        program = self._image.program
        check = (
            {"Test": ["CMD", *program.health_check], "StartPeriod": _START_NANOSECONDS}
            if program.health_check
            else None
        )
        kept = {"StopSignal": given.stop_signal, "Volumes": given.volumes, "Healthcheck": check}
        return {
            **{name: value for name, value in kept.items() if value},
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "ExposedPorts": {**(given.exposed_ports or {}), f"{program.port}/tcp": {}},
            "Labels": {**(given.labels or {}), **self._image.recipe.labels},
            "Cmd": list(program.command),
            "User": f"{_USER}:{_USER}",
            "WorkingDir": "/app",
        }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((_FORMAT, *parts)).encode()).hexdigest()[:32]


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the identity that a file shares with all links to it; None for a broken link."""
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


def display_size(count: int) -> str:
    """Return a number of bytes for display."""
    return f"{count / 2**20:.1f} MiB"
