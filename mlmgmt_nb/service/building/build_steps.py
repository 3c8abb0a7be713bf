"""Build one image: fill the build context from models, driver and assets, then realize it for the compute."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, select

from mlmgmt_nb.archives.extraction import Limits
from mlmgmt_nb.contract import Manifest, Model
from mlmgmt_nb.contract.requirements import Option
from mlmgmt_nb.service.building.built_image import ImageBuild
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.context import Context
from mlmgmt_nb.service.building.docker.dockerfile import Recipe, labels
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.building.image_builders import ImageBuilders
from mlmgmt_nb.service.building.leftovers import partial_folder, sweep
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.preparation import lock_for_image, prepare_local
from mlmgmt_nb.service.compute_ids import LOCAL
from mlmgmt_nb.service.files.disk import flush
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.runtime_copies import RuntimeCopies
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store

__all__ = ["BuildSteps"]


class BuildSteps:
    """The steps of a build, which can be repeated after a crash.

    Args:
        images: builds images for computes that run containers.
        registries: returns the registry for the images of a compute, if any.
        indexes: returns the package indexes of the machine for these images.
        bases: base images, by type of runtime.
        limits: limits for unpacked archives.
        on_interpreter: called with the Python of an image for this machine, as soon as it is known.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        fetcher: Fetcher,
        environments: Environments,
        images: ImageBuilders,
        registries: Callable[[str], str | None],
        indexes: Callable[[], list[Option]],
        bases: Mapping[str, str],
        limits: Limits = Limits(),  # noqa: B008 - immutable
        on_interpreter: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._home = home
        self._fetcher = fetcher
        self._environments = environments
        self._images = images
        self._registries = registries
        self._indexes = indexes
        self._bases = bases
        self._limits = limits
        self._on_interpreter = on_interpreter
        self._runtimes = RuntimeCopies(home.next_runtime)

    def run(
        self, operation: Row[Any], output: Log, cancellation: Cancellation, check_claim: Callable[[], None]
    ) -> dict[str, str]:
        """Fill the build context and realize it for the image's compute; return the resulting columns.

        Args:
            operation: the claimed operation.
            output: the log of the build.
            cancellation: cancellation of the build.
            check_claim: cancels the build if another process has claimed the operation; called before the build ends.

        Raises:
            BuildError: the image cannot be built, or was cancelled.
        """
        image_id = operation.resource_id
        image, manifest, models = self._inputs(image_id)
        is_container = image.compute_id != LOCAL
        steps = 5 if is_container else 4
        final = self._home.images / image_id
        partial = partial_folder(self._home, image_id, operation.claimed_by)
        for leftover in (partial, final):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            output.line(f"[1/{steps}] models of manifest {manifest.name!r} version {manifest.version}")
            context = Context(partial, self._fetcher, output, cancellation, self._limits)
            context.add_models(models)
            output.line(f"[2/{steps}] driver and assets")
            context.add_assets(manifest)
            context.describe(operation.account, models)
            output.line(f"[3/{steps}] requirements")
            recipe = Recipe(
                base=self._bases[manifest.target_runtime.runtime_type],
                java=manifest.target_runtime.runtime_type == "SparkPython",
                labels=labels(operation.account, manifest, models),
            )
            if is_container:
                builder = self._images.choose(recipe.base, output)
                locked = lock_for_image(
                    context, manifest, recipe, self._environments, builder, self._indexes(), output, cancellation
                )
                recipe, requirements = locked.recipe, locked.requirements
            else:
                interpreter, requirements = prepare_local(context, manifest, self._environments, output, cancellation)
                self._on_interpreter(interpreter)
            output.line(f"[4/{steps}] build context")
            cancellation.check()
            context.finish(requirements, recipe, self._runtimes)
            if is_container:
                output.line(f"[5/{steps}] Docker image")
                built = builder.build(
                    ImageBuild(
                        context=partial,
                        recipe=recipe,
                        name=image.name,
                        version=image.version,
                        requested=locked.requested,
                        registry=self._registries(image.compute_id),
                        log=output,
                        cancellation=cancellation,
                    )
                )
            with contextlib.suppress(*PASSING):  # if the store is unavailable, no other process can claim it either
                check_claim()
            cancellation.check()
            flush(partial)
            partial.replace(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if is_container:
            return {"location": built.reference}
        return {"location": final.as_uri(), "interpreter": interpreter}

    def prepare_next(self) -> None:
        """Do what the next build would have to do in any case.

        Raises:
            OSError: the disk is full or cannot be used, as the next build would find.
        """
        self._runtimes.prepare()

    def remove_leftovers(self) -> None:
        """Remove the leftovers of builds that ended early."""
        sweep(self._store, self._home, self._environments, self._images)

    def _inputs(self, image_id: str) -> tuple[Row[Any], Manifest, Sequence[Model]]:
        images, manifests, links, models = schema.images, schema.manifests, schema.manifest_models, schema.models
        with self._store.reading() as db:
            image = db.execute(
                select(images, manifests.c.doc)
                .join(manifests, images.c.manifest_id == manifests.c.id)
                .where(images.c.id == image_id)
            ).one()
            manifest = msgspec.json.decode(image.doc, type=Manifest)
            rows = db.scalars(
                select(models.c.doc)
                .join(links, links.c.model_id == models.c.id)
                .where(links.c.manifest_id == manifest.id)
                .order_by(links.c.position)
            )
            return image, manifest, [msgspec.json.decode(row, type=Model) for row in rows]
