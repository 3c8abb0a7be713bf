"""Commands: models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import NEW_VERSION, CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.deploy import check_no_new_version
from mlmgmt_nb.commands.verbs.versions.archiving import ALL, archiving_commands
from mlmgmt_nb.errors import NotFoundError

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Register(CommonArguments):
    """Arguments of `model register`."""

    model: str
    name: str | None
    tag: Sequence[str]
    description: str | None
    mime_type: str | None
    unpack: bool | None
    if_exists: str
    new_version: bool


@dataclass(frozen=True, kw_only=True)
class _Show(CommonArguments):
    """Arguments of `model show`."""

    model: str
    tag: str | None


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `model list`."""

    tag: str | None
    name: str | None
    all: bool


def _register(session: Session, arguments: _Register) -> object:
    if arguments.if_exists == "reuse":
        check_no_new_version(arguments.new_version, "--if-exists reuse uses the latest version")
    models = session.workspace.models
    if arguments.if_exists == "reuse" and arguments.name:
        try:
            return models.get(arguments.name)
        except NotFoundError:
            pass  # the first version with this name
    return models.register(
        arguments.model,
        arguments.name,
        tags=arguments.tag or None,
        description=arguments.description,
        mime_type=arguments.mime_type,
        unpack=arguments.unpack,
        progress=session.uploading(arguments.model),
        new_version=arguments.new_version,
        on_reuse=lambda model: session.tell(
            f"model {model.name!r} version {model.version} has the same content, so no new version was created"
        ),
    )


def _show(session: Session, arguments: _Show) -> object:
    models = session.workspace.models
    if arguments.tag is None:
        return models.get(arguments.model)
    tagged = [model for model in models.list(tag=arguments.tag) if arguments.model in (model.id, model.name)]
    if not tagged:
        raise NotFoundError(
            f"no model {arguments.model!r} has the tag {arguments.tag!r}",
            status_code=404,
            code="NotFound",
            fix="`model list --tag` lists the models with a tag.",
        )
    return max(tagged, key=lambda model: model.version or 0)


def _list(session: Session, arguments: _List) -> object:
    return session.workspace.models.list(name=arguments.name, tag=arguments.tag, include_archived=arguments.all)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("model", "register"),
        "Register a model: upload a file or folder, or reference a URL",
        "mlmgmt model register --model model.pkl --name iris --tag prod",
        _register,
        (
            Flag(
                "-m --model",
                "file, folder or URL of the model",
                required=True,
                completes="path",
                metavar="PATH",
                api="path_or_url",
            ),
            Flag("-n --name", "name of the model (default: name of the file)", api="name"),
            Flag("-t --tag", "tag (repeatable)", "many", api="tags"),
            Flag("-d --description", "free text", api="description"),
            Flag("--mime-type", "media type of the content (default: from the file name)", api="mime_type"),
            Flag("--unpack", "unpack the model as an archive during the build", "yes-no", api="unpack"),
            Flag(
                "--if-exists",
                "if the name exists: register new content, or use the latest version unchanged",
                choices=("update", "reuse"),
                default="update",
            ),
            NEW_VERSION,
        ),
        ("models_register",),
        arguments=_Register,
    ),
    Command(
        ("model", "show"),
        "Show a model by id, or the latest version by name",
        "mlmgmt model show -m iris",
        _show,
        (
            Flag("-m --model", "id or name of the model", required=True, completes="model"),
            Flag("-t --tag", "only the latest version with this tag"),
        ),
        ("models_get",),
        arguments=_Show,
    ),
    Command(
        ("model", "list"),
        "List models, newest first",
        "mlmgmt model list --tag prod",
        _list,
        (
            Flag("-t --tag", "only models with this tag"),
            Flag("-n --name", "only models with this name", completes="model"),
            ALL,
        ),
        ("models_list",),
        arguments=_List,
    ),
    *archiving_commands("model", "-m --model -n --name", lambda ws: ws.models, "-n iris"),
)
