"""Commands: manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlmgmt_nb.commands.flags import APPLICATION, NEW_VERSION, PACKAGING, CommonArguments, DeployArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.deploy import flow, source_of
from mlmgmt_nb.commands.verbs.versions.archiving import ALL, archiving_commands

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Create(DeployArguments, CommonArguments):
    """Arguments of `manifest create`."""

    manifest_name: str | None
    manifest_description: str | None


@dataclass(frozen=True, kw_only=True)
class _Show(CommonArguments):
    """Arguments of `manifest show`."""

    manifest_id: str


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `manifest list`."""

    manifest_name: str | None
    model_id: str | None
    all: bool


def _create(session: Session, arguments: _Create) -> object:
    default = Path(arguments.driver).stem if isinstance(arguments.driver, str) else None
    name = arguments.manifest_name or default or ""
    deploying = flow(session, name, compute=None, description=arguments.manifest_description)
    return deploying.manifest(source_of(session, arguments))


def _show(session: Session, arguments: _Show) -> object:
    return session.workspace.manifests.get(arguments.manifest_id)


def _list(session: Session, arguments: _List) -> object:
    return session.workspace.manifests.list(
        model_id=arguments.model_id, manifest_name=arguments.manifest_name, include_archived=arguments.all
    )


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("manifest", "create"),
        "Register a manifest: a driver with its models, files and runtime",
        "mlmgmt manifest create --manifest-name iris -f score.py -r python -i iris",
        _create,
        (
            Flag("-n --manifest-name", "name of the manifest (default: name of the driver)"),
            *APPLICATION,
            *PACKAGING,
            NEW_VERSION,
            Flag("--manifest-description", "free text"),
        ),
        ("manifests_register",),
        arguments=_Create,
    ),
    Command(
        ("manifest", "show"),
        "Show a manifest by id, or the latest version by name",
        "mlmgmt manifest show -i iris",
        _show,
        (Flag("-i --manifest-id", "id or name of the manifest", required=True, completes="manifest"),),
        ("manifests_get",),
        arguments=_Show,
    ),
    Command(
        ("manifest", "list"),
        "List manifests, newest first",
        "mlmgmt manifest list -n iris",
        _list,
        (
            Flag("-n --manifest-name", "only manifests with this name", completes="manifest"),
            Flag("-m --model-id", "only manifests with this model", completes="model-id"),
            ALL,
        ),
        ("manifests_list",),
        arguments=_List,
    ),
    *archiving_commands("manifest", "-i --manifest-id -n --name", lambda ws: ws.manifests, "-n iris"),
)
