"""The images that a service could run: its own first, and how each differs from the one that it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from mlmgmt_nb.contract import Image, ServiceResponse

__all__ = ["ImageChoice", "Kinship"]


class Kinship(IntEnum):
    """How near an image is to a service, the nearest first."""

    OWN = 0
    """It ran under the name of the service, or is built from a version of its manifest."""
    MODEL = 1
    """It has one of the service's models, in any version."""
    OTHER = 2
    """It has nothing in common with the service."""


@dataclass(frozen=True)
class ImageChoice:
    """What a service could run instead.

    Attributes:
        service: the service.
        ran: ids of images that ran under its name.
        models: versions of its models by their ids, in words.
    """

    service: ServiceResponse
    ran: Collection[str | None] = ()
    models: Mapping[str | None, str] = field(default_factory=dict)

    def kinship(self, image: Image) -> Kinship:
        """How near an image is to the service."""
        manifest = self.service.manifest
        is_same_manifest = image.manifest is not None and manifest is not None and image.manifest.name == manifest.name
        if image.id in self.ran or is_same_manifest:
            return Kinship.OWN
        ids = (image.manifest.model_ids or ()) if image.manifest else ()
        return Kinship.MODEL if not self.models.keys().isdisjoint(ids) else Kinship.OTHER

    def own_first(self, images: Iterable[Image]) -> list[Image]:
        """Return the images, own ones before those with its models and these before others; each kind as it came."""
        return sorted(images, key=self.kinship)

    def differences(self, image: Image) -> list[tuple[str, str, str]]:
        """Return what changes with an image: rows of label, what the service has now, and what it would have."""
        now, then = self._facts(self.service.image), self._facts(image)
        return [(label, now[label], then[label]) for label in then if now[label] != then[label]]

    def _facts(self, image: Image | None) -> dict[str, str]:
        """Return what tells one image from another, in words."""
        manifest = image.manifest if image else None
        runtime = manifest.target_runtime if manifest else None
        return {
            "image": _versioned(image),
            "manifest": _versioned(manifest),
            "models": ", ".join(self.models.get(one, one) for one in manifest.model_ids or ()) if manifest else "",
            "driver": manifest.driver_program if manifest else "",
            "files": ", ".join(str(asset.id) for asset in manifest.assets) if manifest else "",
            "runtime": runtime.runtime_type if runtime else "",
            "description": (image.description if image else None) or "",
        }


def _versioned(item: Any) -> str:
    return "" if item is None else f"{item.name} version {item.version}"
