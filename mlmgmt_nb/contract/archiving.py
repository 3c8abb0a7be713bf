"""Archived versions of models, manifests and images: an extension of the embedded service that hides them in lists.

The lists of the API of 2017 remain complete; `archived` in their query is an additional filter. Responses have the
property `archived`.
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
        archived: whether it is archived, and so hidden in lists.
    """

    archived: Annotated[bool, Meta(description="Whether it is archived.")] = False


class ArchivableManifest(Manifest, frozen=True, kw_only=True):
    """A manifest, which may be archived.

    Attributes:
        archived: whether it is archived, and so hidden in lists.
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
    """Return a list operation of the contract, with items that may be archived."""
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
    """The result of archiving or unarchiving.

    Attributes:
        kind: `model`, `manifest` or `image`.
        archived: whether the versions are now archived.
        versions: the versions that changed, newest first. The others already were in the requested state.
        services: names of services that run one of the requested versions, or could return to one that they ran. They
            are not affected.
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
