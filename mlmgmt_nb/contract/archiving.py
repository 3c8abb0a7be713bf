"""Archived versions of models, manifests and images: the extension of the embedded service that hides them in lists.

The lists of the API of 2017 stay complete; `archived` in their query is a further filter. An archived version has the
property `archived` in responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlmgmt_nb.contract.extensions import ArchivableImage
from mlmgmt_nb.contract.operations import OPERATIONS, Answer, Operation, Parameter
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import Manifest, Model
from mlmgmt_nb.short_repr import ShortRepr

__all__ = [
    "ARCHIVING",
    "IMAGES_LIST",
    "MANIFESTS_LIST",
    "MODELS_LIST",
    "QUERIES",
    "ArchivableManifest",
    "ArchivableModel",
    "Archived",
    "VersionName",
]

ARCHIVING = "archiving"
"""Name of the extension, in the list that `GET .../extensions` returns."""

_SHOWN = 5
_FILTER = Parameter("archived", "`false` omits archived versions, `true` omits all others.", Literal["true", "false"])

QUERIES: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    dict.fromkeys(("models_list", "manifests_list", "images_list"), (_FILTER,))
)
"""Parameters of extensions in the query of operations of the contract, by id."""


class ArchivableModel(Model, frozen=True, kw_only=True):
    """A model, which may be archived.

    Attributes:
        archived: whether lists leave it out.
    """

    archived: Annotated[bool, Meta(description="Whether it is archived.")] = False


class ArchivableManifest(Manifest, frozen=True, kw_only=True):
    """A manifest, which may be archived.

    Attributes:
        archived: whether lists leave it out.
    """

    archived: Annotated[bool, Meta(description="Whether it is archived.")] = False


class _ModelPage(msgspec.Struct, rename="camel"):
    value: list[ArchivableModel] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class _ManifestPage(msgspec.Struct, rename="camel"):
    value: list[ArchivableManifest] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class _ImagePage(msgspec.Struct, rename="camel"):
    value: list[ArchivableImage] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


def _list(id_: str, page: type[msgspec.Struct]) -> Operation:
    """Return a list of the contract whose items may be archived."""
    return msgspec.structs.replace(OPERATIONS[id_], answers={200: Answer("A page.", page)})


MODELS_LIST = _list("models_list", _ModelPage)
MANIFESTS_LIST = _list("manifests_list", _ManifestPage)
IMAGES_LIST = _list("images_list", _ImagePage)


class VersionName(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The id, name and version of a model, manifest or image."""

    id: str
    name: str
    version: int


class Archived(ShortRepr, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was archived, or is listed again.

    Attributes:
        kind: `model`, `manifest` or `image`.
        archived: whether lists leave the versions out now.
        versions: those that changed, newest first; the others were as requested before.
        services: names of services that run one of the versions named in the request, or did and could go back to it.
            They keep it.
    """

    kind: Literal["model", "manifest", "image"]
    archived: bool
    versions: list[VersionName] = []
    services: list[str] = []

    def __str__(self) -> str:
        if not self.versions:
            return f"Nothing changed: the {self.kind} is {'already' if self.archived else 'not'} archived."
        name, count = self.versions[0].name, len(self.versions)
        if count > 1:
            what = f"{self.kind} {name!r}, {count} versions, are"
        else:
            what = f"{self.kind} {name!r} version {self.versions[0].version} is"
        if not self.archived:
            return f"{what} in lists again."
        rest = f" and {len(self.services) - _SHOWN} more" if len(self.services) > _SHOWN else ""
        used = f" Services that still use it: {', '.join(self.services[:_SHOWN])}{rest}." if self.services else ""
        return f"{what} archived. Lists omit archived versions; nothing is deleted.{used}"


resolve(Archived, _ModelPage, _ManifestPage, _ImagePage)
resolve(ArchivableModel)
resolve(ArchivableManifest)
