"""Images without a Docker engine: layers on top of a base image, which is not run.

An image has the layers of its base, and one each for packages, the scoring runtime, models, and the rest of the
application. Each has the same bytes for the same inputs. Packages are installed by `uv` for the Python of the base
image, into a virtual environment that refers to it by its path.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import msgspec

from mlmgmt_nb.service.building.built_image import BuiltImage, ImageBuild, repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.assembly import Assembly, display_size
from mlmgmt_nb.service.building.oci.base import BaseImage, BaseImages, is_path
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.layers import LayerCache
from mlmgmt_nb.service.building.oci.media import CONFIG, MANIFEST, Descriptor, Layer, Manifest, encode
from mlmgmt_nb.service.building.oci.registry import Repository
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log

__all__ = ["DaemonlessBuilder"]

_STALE_SECONDS = 24 * 3600.0


class DaemonlessBuilder:
    """Builds images in this process.

    Args:
        home: the state folder.
        environments: installs packages.
    """

    runs_commands = False
    """Whether commands can run in the image while it is built, as conda and package managers need."""

    def __init__(self, home: Home, environments: Environments) -> None:
        self.blobs = BlobStore(home.blobs)
        self._home = home
        self._environments = environments
        self._bases = BaseImages(self.blobs, home.oci / "bases")
        self._layers = LayerCache(self.blobs, home.oci / "layers")
        self._bases_of_builds: WeakKeyDictionary[Cancellation, BaseImage] = WeakKeyDictionary()
        self._pushed_to: dict[str, str] = {}

    def python_of(self, base: str, log: Log, cancellation: Cancellation) -> Python:
        """Return the Python version of a base image; pull the image if necessary.

        Raises:
            BuildError: the image does not exist, or does not have Python 3.11 or newer.
        """
        return self._base(base, log, cancellation).python

    def _base(self, name: str, log: Log, cancellation: Cancellation) -> BaseImage:
        """Return the base image of a build. It is resolved once per build, so that all steps use the same image."""
        found = self._bases_of_builds.get(cancellation)
        if found is None or found.name != name:
            found = self._bases_of_builds[cancellation] = self._bases.get(name, log, cancellation)
        return found

    def build(self, image: ImageBuild) -> BuiltImage:
        """Build an image, and push it if there is a registry.

        Raises:
            BuildError: the image cannot be built or pushed.
        """
        recipe, log = image.recipe, image.log
        base = self._base(recipe.base, log, image.cancellation)
        if recipe.java and not base.has_java:
            message = f"The base image {base.name} has no java in its PATH. Use one that has it (--base-image-spark)"
            raise BuildError("NeedsEngine", f"{message}, or a Docker engine, which installs it.")
        assembly = Assembly(image, base, self.blobs)
        packages, is_known = self._layers.get(assembly.packages_key, lambda: assembly.packages(self._environments))
        assembly.add(packages, "packages", is_known=is_known)
        runtime, is_known = self._layers.get(assembly.runtime_key, assembly.runtime)
        assembly.add(runtime, "scoring runtime", is_known=is_known)
        for layer, what in assembly.application():
            assembly.add(layer, what, is_known=False)
        config = self.blobs.add_bytes(encode(assembly.config()), CONFIG)
        contents = [layer.content for layer in assembly.layers]
        manifest = self.blobs.add_bytes(encode(Manifest(config, contents)), MANIFEST)
        reference = image.reference
        built = BuiltImage(
            reference,
            config.digest,
            recipe.base,
            manifest=manifest.digest,
            size=assembly.size,
            reused=assembly.reused,
        )
        log.line(
            f"image {reference}: {manifest.digest}, {display_size(assembly.size)} in {len(assembly.layers)} layers"
        )
        if image.registry:
            known = {} if is_path(base.name) else dict.fromkeys(map(_digest, base.layers), repository_of(base.name)[0])
            self._push(reference, manifest, [config, *contents], image, known)
            built = msgspec.structs.replace(built, digest=manifest.digest)
        built.note(image.context)
        return built

    def _push(
        self,
        reference: str,
        manifest: Descriptor,
        contents: list[Descriptor],
        image: ImageBuild,
        known: Mapping[str, str],
    ) -> None:
        """Push an image. Contents that another repository of the registry has are mounted, not sent.

        Args:
            known: repositories of contents of the base image, by digest.
        """
        began = time.monotonic()
        name, tag = repository_of(reference)
        repository = Repository(name)
        others = {**known, **self._pushed_to}
        sent = list[Descriptor]()
        for number, each in enumerate(contents, start=1):
            part = f"part {number} of {len(contents)}, {display_size(each.size)}"
            image.log.line(f"[mlmgmt] image: pushing to {repository.host}, {part}")
            if repository.push(each, self.blobs, image.cancellation, others.get(each.digest)):
                sent.append(each)
        self._pushed_to |= dict.fromkeys((each.digest for each in contents), name)
        repository.push_manifest(tag, self.blobs.read(manifest))
        size, seconds = display_size(sum(each.size for each in sent)), time.monotonic() - began
        there = len(contents) - len(sent)
        image.log.line(
            f"pushed {size} to {repository.host} in {seconds:.2f} s; it has {there} of {len(contents)} parts"
        )

    def sweep(self) -> None:
        """Remove incomplete files and folders that a crash left behind."""
        for path in self._home.oci.glob("*/partial-*"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _digest(layer: Layer) -> str:
    return layer.content.digest
