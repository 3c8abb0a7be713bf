"""The build context of an image: one folder with everything that it runs, the same for every kind of compute.

Dockerfile          for a Docker engine on any machine
requirements.txt    the exact packages, and environment.yml if conda packages are requested
packages/           the files that the requirements name, in a folder for each asset id
pylock.toml         the same packages with the URLs and hashes of their files, unless conda is involved
build/              the script that installs them in an image
app/                the working directory of the driver: driver, models, assets, schema, model_config_map.json,
                    azureml-models/NAME/VERSION/
runtime/            the scoring runtime, at the time of the build
"""

from __future__ import annotations

import compileall
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import mlmgmt_nb
from mlmgmt_nb.archives.extraction import Limits
from mlmgmt_nb.contract import Asset, Manifest, Model
from mlmgmt_nb.contract.requirements import PACKAGES
from mlmgmt_nb.service.building import install
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker import dockerfile
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.fetch import Fetcher, file_name, unpack
from mlmgmt_nb.service.building.model_layout import link_file, link_tree, model_path, version_folder
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.runtime_copies import RuntimeCopies

__all__ = ["SCHEMA_ASSET", "Context", "compile_runtime"]

SCHEMA_ASSET = "schema"
"""Id of the asset with the schema of the driver's inputs."""

_PACKAGE = Path(mlmgmt_nb.__file__).parent


def compile_runtime() -> None:
    """Create missing byte code of the scoring runtime; otherwise the first replica of each image would compile it."""
    compileall.compile_dir(_PACKAGE / "scoring", quiet=2)


class Context:
    """A build context that is being filled.

    Args:
        folder: an empty folder, hidden from others until it is complete.
        limits: limits for unpacked archives.
    """

    def __init__(
        self,
        folder: Path,
        fetcher: Fetcher,
        log: Log,
        cancellation: Cancellation,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self.folder = folder
        self.app = folder / "app"
        self._fetcher = fetcher
        self._log = log
        self._cancellation = cancellation
        self._limits = limits
        self._names: dict[str, str] = {}
        self.app.mkdir(parents=True)
        (folder / dockerfile.PACKAGES).mkdir()

    def add_models(self, models: Sequence[Model]) -> None:
        for model in models:
            self._add_model(model)

    def _add_model(self, model: Model) -> None:
        what, folder = f"model {model.name!r}", version_folder(self.app, model)
        if model.unpack:
            self._add(what, model.url, model.name, unpack_in=folder)
            link_tree(folder, self.app, what)
        else:
            link_file(folder, self.app / self._add(what, model.url, model.name))

    def add_assets(self, manifest: Manifest) -> None:
        """Add the assets, and record which of them are the driver and the schema.

        Raises:
            BuildError: an asset cannot be read, or two of them have the same file name.
        """
        roles: dict[str, str | None] = {"driver": None, "schema": None}
        for asset in manifest.assets:
            if PACKAGES.fullmatch(asset.id or ""):
                self._add_package_file(asset)
                continue
            is_driver = asset.id == manifest.driver_program
            name = self._add_asset(asset, unpack_in=self.app if asset.unpack and not is_driver else None)
            if is_driver:
                roles["driver"] = name
            elif asset.id == SCHEMA_ASSET:
                roles["schema"] = name
        self._write_json("mlmgmt-app.json", roles)

    def _add_package_file(self, asset: Asset) -> None:
        """Add a file that the requirements name, outside the application folder."""
        what = f"asset {asset.id!r}"
        if not asset.url:
            raise BuildError("BadUrl", f"{what}: the url is missing.")
        folder = self.folder / (asset.id or "")
        folder.mkdir(parents=True)
        target = folder / file_name(asset.url, "package")
        self._fetcher.fetch(asset.url, target, what, self._cancellation)
        if asset.unpack:
            archive = target.rename(self.folder / "archive")
            unpack(archive, folder, what, self._limits, self._cancellation)
            archive.unlink()

    def _add_asset(self, asset: Asset, *, unpack_in: Path | None) -> str:
        what = f"asset {asset.id!r}"
        if not asset.url:
            raise BuildError("BadUrl", f"{what}: the url is missing.")
        return self._add(what, asset.url, asset.id or "", unpack_in=unpack_in)

    def _add(self, what: str, url: str, fallback: str, *, unpack_in: Path | None = None) -> str:
        name = file_name(url, fallback)
        if name in self._names:
            raise BuildError(
                "SameName", f"{what} and {self._names[name]} are both the file {name!r}; rename one of them."
            )
        self._names[name] = what
        target = self.app / name
        if os.path.lexists(target):
            raise BuildError(
                "SameName", f"{what}: an archive that was unpacked earlier also contains {name!r}; rename one of them."
            )
        self._fetcher.fetch(url, target, what, self._cancellation)
        self._log.line(f"{what}: {name} ({target.stat().st_size} bytes)")
        if unpack_in is not None:
            archive = target.rename(self.folder / "archive")
            unpack(archive, unpack_in, what, self._limits, self._cancellation)
            archive.unlink()
        return name

    def add_file(self, url: str, what: str) -> Path:
        """Fetch a file that controls the build but is not part of the application."""
        target = self.folder / what
        self._fetcher.fetch(url, target, what, self._cancellation)
        return target

    def describe(self, account: str, models: Sequence[Model]) -> None:
        """Write `model_config_map.json`, which lists the models of a driver and its account."""
        subscription, group, name = account.split("/")
        described: dict[str, dict[str, Any]] = {}
        for model in sorted(models, key=lambda model: model.version or 0):  # the newest version of a name comes last
            path = model_path(self.app, version_folder(self.app, model))
            before = described.get(model.name, {"versions": {}})["versions"]
            versions = {**before, str(model.version): path}
            described[model.name] = {"id": model.id, "version": model.version, "path": path, "versions": versions}
        names = {"subscriptionId": subscription, "resourceGroupName": group, "accountName": name}
        self._write_json("model_config_map.json", {"accountContext": names, "models": described})

    def finish(self, requirements: str, recipe: dockerfile.Recipe, runtimes: RuntimeCopies) -> None:
        """Add the runtime, the requirements and the Dockerfile."""
        (self.folder / "requirements.txt").write_text(requirements)
        (self.folder / "Dockerfile").write_text(dockerfile.requirements(recipe) + dockerfile.application(recipe))
        (self.folder / "build").mkdir()
        shutil.copy2(Path(install.__file__), self.folder / "build")
        runtimes.move_to(self.folder / "runtime")

    def _write_json(self, name: str, content: object) -> None:
        path = self.app / name
        if os.path.lexists(path):
            raise BuildError("SameName", f"The file name {name!r} is reserved; rename the file.")
        path.write_bytes(msgspec.json.format(msgspec.json.encode(content)))
