"""The workspace: one account of the Model Management API, and how to connect to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.workspace.connection import connect

if TYPE_CHECKING:
    from mlmgmt_nb.client.workspace.workspace import Workspace

__all__ = ["Workspace", "connect"]


def __getattr__(name: str) -> Any:
    if name == "Workspace":
        from mlmgmt_nb.client.workspace.workspace import Workspace

        return Workspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
