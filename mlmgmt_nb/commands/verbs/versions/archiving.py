"""Commands that archive and unarchive models, manifests and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session

__all__ = ["ALL", "archiving_commands"]

ALL = Flag("--all", "include archived versions, with the column `archived`", "switch", api="include_archived")
"""Flag of `list` commands for resources that may be archived."""


@dataclass(frozen=True, kw_only=True)
class _Named(CommonArguments):
    """Arguments of `archive` and `unarchive`."""

    name: str


def archiving_commands(
    kind: str, names: str, resources: Callable[[Workspace], Any], example: str
) -> tuple[Command[Any], Command[Any]]:
    """Return the commands `archive` and `unarchive` of a kind of resources.

    Args:
        kind: `model`, `manifest` or `image`.
        names: names of the flag for the resource.
        resources: returns the resources of a workspace.
        example: the flag with an example value.
    """
    help_ = f"id of the {kind}, or a name for all its versions"
    named = Flag(names, help_, required=True, completes="image-name" if kind == "image" else kind)
    archived = Flag(names, help_, required=True, completes=f"archived-{kind}")
    which = f"{'an' if kind == 'image' else 'a'} {kind}"

    def archive(session: Session, arguments: _Named) -> object:
        return resources(session.workspace).archive(arguments.name)

    def unarchive(session: Session, arguments: _Named) -> object:
        return resources(session.workspace).unarchive(arguments.name)

    return (
        Command(
            (kind, "archive"),
            f"Hide {which} in lists; nothing is deleted",
            f"mlmgmt {kind} archive {example}",
            archive,
            (named,),
            arguments=_Named,
        ),
        Command(
            (kind, "unarchive"),
            f"Show {which} in lists again",
            f"mlmgmt {kind} unarchive {example}",
            unarchive,
            (archived,),
            arguments=_Named,
        ),
    )
