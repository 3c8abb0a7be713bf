"""Commands: images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import (
    APPLICATION,
    NEW_VERSION,
    PACKAGING,
    CommonArguments,
    DeployArguments,
    WaitingArguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.deploy import check_no_new_version, compute_of, flow, source_of
from mlmgmt_nb.commands.verbs.versions.archiving import ALL, archiving_commands
from mlmgmt_nb.errors import ConflictError, NotFoundError, UsageError

__all__ = ["COMMANDS"]

_PORT = 5001
"""The port of the scoring runtime in an image."""
_ID = Flag("-i --image-id", "id of the image", required=True, completes="image")


@dataclass(frozen=True, kw_only=True)
class _Create(DeployArguments, WaitingArguments):
    """Arguments of `image create`."""

    image_name: str
    manifest_id: str | None
    image_description: str | None
    image_type: str
    compute_resource_id: str | None


@dataclass(frozen=True, kw_only=True)
class _Show(CommonArguments):
    """Arguments of `image show`."""

    image_id: str


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `image list`."""

    manifest_id: str | None
    manifest_name: str | None
    all: bool


@dataclass(frozen=True, kw_only=True)
class _Export(CommonArguments):
    """Arguments of `image export`."""

    image_id: str
    context: str | None
    oci: str | None


@dataclass(frozen=True, kw_only=True)
class _Usage(CommonArguments):
    """Arguments of `image usage`."""

    image_id: str


@dataclass(frozen=True, kw_only=True)
class _Log(CommonArguments):
    """Arguments of `image log`."""

    image_id: str
    tail: int | None


def _create(session: Session, arguments: _Create) -> object:
    if arguments.manifest_id:
        check_no_new_version(arguments.new_version, "--manifest-id names a manifest that is registered")
    deploying = flow(
        session,
        arguments.image_name,
        compute=compute_of(session, arguments.compute_resource_id),
        description=arguments.image_description,
    )
    if arguments.manifest_id:
        return deploying.start_build(session.workspace.manifests.get(arguments.manifest_id))
    return deploying.start_build(source_of(session, arguments))


def _show(session: Session, arguments: _Show) -> object:
    return session.workspace.images.get(arguments.image_id)


def _list(session: Session, arguments: _List) -> object:
    return session.workspace.images.list(
        manifest_id=arguments.manifest_id, manifest_name=arguments.manifest_name, include_archived=arguments.all
    )


def _usage(session: Session, arguments: _Usage) -> object:
    image = session.workspace.images.get(arguments.image_id)
    lines = [
        f"image     {image.name} version {image.version} ({image.creation_state})",
        f"location  {image.image_location}",
    ]
    lines.append(f"service   {session.prog} service create -n {image.name} --image-id {image.id}")
    try:
        docker = session.workspace.images.docker(image)
    except (ConflictError, NotFoundError):  # no Docker image, or the server does not report it
        lines.append(f"context   {session.prog} image export -i {image.id} --context {image.name}")
        lines.append(f"build     docker build -t {image.name}:{image.version} {image.name}")
        return Text("\n".join([*lines, _run_by_hand(f"{image.name}:{image.version}")]))
    lines.append(f"digest    {docker.digest or docker.manifest or docker.image_id}")
    if docker.size is not None:
        lines.append(f"size      {docker.size / 2**20:.1f} MiB, reused layers: {', '.join(docker.reused) or 'none'}")
    archive = f"{session.prog} image export -i {image.id} --oci {image.name}.tar"
    lines.append(f"archive   {archive}")
    if docker.manifest and not docker.digest:
        lines.append(f"load      {archive} && docker load -i {image.name}.tar")
    if docker.digest:
        lines.append(f"pull      docker pull {docker.exact}")
    return Text("\n".join([*lines, _run_by_hand(docker.exact)]))


def _run_by_hand(reference: str) -> str:
    url = f"http://127.0.0.1:{_PORT}/score"
    return f"run       docker run --rm -p 127.0.0.1:{_PORT}:{_PORT} {reference}\nscore     POST {url} (no key required)"


def _export(session: Session, arguments: _Export) -> object:
    images = session.workspace.images
    if arguments.oci is not None and arguments.context is None:
        path = images.export_oci(arguments.image_id, arguments.oci)
        return Text(f"Image written to {path}. Load it with `docker load -i {path}`.")
    if arguments.context is None or arguments.oci is not None:
        raise UsageError(
            "give one of --context and --oci", field="context", fix="--context is for a folder, --oci for a file."
        )
    path = images.export_context(arguments.image_id, arguments.context)
    return Text(f"Build context written to {path}. Build it with `docker build {path}`.")


def _log(session: Session, arguments: _Log) -> object:
    return Text(session.workspace.images.build_log(arguments.image_id, tail=arguments.tail).text)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("image", "create"),
        "Build an image from a manifest, or from a driver and models",
        "mlmgmt image create -n iris --manifest-id iris",
        _create,
        (
            Flag("-n --image-name", "name of the image", required=True),
            Flag("--manifest-id", "id or name of its manifest", completes="manifest"),
            *APPLICATION,
            *PACKAGING,
            NEW_VERSION,
            Flag("--image-description", "free text"),
            Flag("--image-type", "kind of image", choices=("Docker",), default="Docker"),
            Flag("--compute-resource-id", "compute to build the image for", api="compute_resource_id"),
        ),
        ("images_create",),
        waits=True,
        arguments=_Create,
    ),
    Command(
        ("image", "show"), "Show an image", "mlmgmt image show -i ID", _show, (_ID,), ("images_get",), arguments=_Show
    ),
    Command(
        ("image", "list"),
        "List images, newest first",
        "mlmgmt image list --manifest-name iris",
        _list,
        (
            Flag("--manifest-id", "images of this manifest", completes="manifest-id"),
            Flag("--manifest-name", "images of manifests of this name", completes="manifest"),
            ALL,
        ),
        ("images_list",),
        arguments=_List,
    ),
    *archiving_commands("image", "-i --image-id -n --name", lambda ws: ws.images, "-n iris"),
    Command(
        ("image", "export"),
        "Export an image as a build context for `docker build` or as an OCI archive",
        "mlmgmt image export -i ID --oci iris.tar",
        _export,
        (
            _ID,
            Flag("--context", "folder to write the build context to", completes="path"),
            Flag("--oci", "OCI archive to write (only images built for compute docker)", completes="path"),
        ),
        arguments=_Export,
    ),
    Command(
        ("image", "usage"),
        "Show the details of an image and how to run it",
        "mlmgmt image usage -i ID",
        _usage,
        (_ID,),
        arguments=_Usage,
    ),
    Command(
        ("image", "log"),
        "Show the build log of an image",
        "mlmgmt image log -i ID --tail 20",
        _log,
        (_ID, Flag("--tail", "number of lines at the end (default: all)", "integer", metavar="LINES")),
        arguments=_Log,
    ),
)
