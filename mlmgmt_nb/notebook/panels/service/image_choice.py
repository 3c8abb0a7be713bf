"""The images that a service could run, its own first, and their differences from the current image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from mlmgmt_nb.contract import Image, Manifest, ServiceResponse
from mlmgmt_nb.notebook.display.cards import versioned

__all__ = ["ImageChoice", "ImageRelation"]


class ImageRelation(IntEnum):
    """The relation of an image to a service, closest first."""

    OWN = 0
    """It ran as this service, or was built from a version of its manifest."""
    MODEL = 1
    """It has a model of the service, in any version."""
    OTHER = 2
    """It has neither the manifest nor a model of the service."""


@dataclass(frozen=True)
class ImageChoice:
    """The images that a service could run instead.

    Attributes:
        service: the service.
        ran: ids of images that ran as this service.
        models: names and versions of its models, by id.
    """

    service: ServiceResponse
    ran: Collection[str | None] = ()
    models: Mapping[str | None, str] = field(default_factory=dict)

    def relation(self, image: Image) -> ImageRelation:
        """Return the relation of an image to the service."""
        manifest = self.service.manifest
        is_same_manifest = image.manifest is not None and manifest is not None and image.manifest.name == manifest.name
        if image.id in self.ran or is_same_manifest:
            return ImageRelation.OWN
        has_model = not self.models.keys().isdisjoint(_model_ids(image.manifest))
        return ImageRelation.MODEL if has_model else ImageRelation.OTHER

    def sort_images(self, images: Iterable[Image]) -> list[Image]:
        """Sort images by their relation to the service; the sort is stable."""
        return sorted(images, key=self.relation)

    def differences(self, image: Image) -> list[tuple[str, str, str]]:
        """Return the differences of an image: rows of a label, the current value, and the new value."""
        now, then = self._distinctions(self.service.image), self._distinctions(image)
        return [(label, now[label], then[label]) for label in then if now[label] != then[label]]

    def _distinctions(self, image: Image | None) -> dict[str, str]:
        """Return the properties that distinguish an image, as text."""
        manifest = image.manifest if image else None
        runtime = manifest.target_runtime if manifest else None
        return {
            "image": _shown(image),
            "manifest": _shown(manifest),
            "models": ", ".join(self.models.get(one, "another model") for one in _model_ids(manifest)),
            "driver": manifest.driver_program if manifest else "",
            "files": ", ".join(str(asset.id) for asset in manifest.assets) if manifest else "",
            "runtime": runtime.runtime_type if runtime else "",
            "description": (image.description if image else None) or "",
        }


def _model_ids(manifest: Manifest | None) -> Collection[str]:
    return (manifest.model_ids or ()) if manifest else ()


def _shown(item: Any) -> str:
    return "" if item is None else versioned(item)
