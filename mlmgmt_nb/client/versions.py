"""The latest version of a name, of models and manifests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from mlmgmt_nb.client.http.paging import Pager
from mlmgmt_nb.contract import Manifest, Model

__all__ = ["RECENT", "latest_of", "latest_recent"]

Version = TypeVar("Version", Model, Manifest)

RECENT = 20
"""Length of a first page that is certain to have the latest version: the newest come first."""


def latest_recent(versions: Pager[Version], name: str) -> Version | None:
    """Return the latest version of a name on the first page, without asking for others."""
    return latest_of(next(versions.by_page()).value, name)


def latest_of(versions: Iterable[Version], name: str) -> Version | None:
    """Return the latest version of a name; None if there is none. A server's filter may also find similar names."""
    found = (version for version in versions if version.name == name)
    return max(found, key=lambda version: version.version or 0, default=None)
