"""Commands: images."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.client import Poller
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.manifests import APPLICATION, make_manifest
from mlmgmt_nb.commands.verbs.packages import PACKAGING
from mlmgmt_nb.contract import Image
from mlmgmt_nb.errors import ConflictError, NotFoundError, UsageError

__all__ = ["COMMANDS", "build"]

_PORT = 5001
"""Where the scoring runtime of an image listens."""
_ID = Flag("-i --image-id", "id of the image", required=True, completes="image")


def build(
    session: Session, arguments: Any, name: str, manifest_id: str | None, description: str | None
) -> Poller[Image]:
    """Start the build of an image from a manifest, which is made first when there is none."""
    workspace = session.workspace
    manifest = manifest_id and workspace.manifests.get(manifest_id)
    compute = arguments.compute_resource_id or session.setting("compute") or "local"
    workspace.services.check_server(compute_resource_id=compute)
    manifest = manifest or make_manifest(session, arguments, name, description, compute)
    return workspace.images.create(name, manifest, compute_resource_id=compute, description=description)


def _create(session: Session, arguments: Any) -> Any:
    return build(session, arguments, arguments.image_name, arguments.manifest_id, arguments.image_description)


def _show(session: Session, arguments: Any) -> Any:
    return session.workspace.images.get(arguments.image_id)


def _list(session: Session, arguments: Any) -> Any:
    return session.workspace.images.list(manifest_id=arguments.manifest_id, manifest_name=arguments.manifest_name)


def _usage(session: Session, arguments: Any) -> Any:
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
    lines.append(f"digest    {docker.digest or docker.image_id}")
    lines.append(f"archive   {session.prog} image export -i {image.id} --oci {image.name}.tar")
    if docker.digest:
        lines.append(f"pull      docker pull {docker.exact}")
    return Text("\n".join([*lines, _run_by_hand(docker.exact)]))


def _run_by_hand(reference: str) -> str:
    url = f"http://127.0.0.1:{_PORT}/score"
    return f"run       docker run --rm -p 127.0.0.1:{_PORT}:{_PORT} {reference}\nscore     POST {url} (no key required)"


def _export(session: Session, arguments: Any) -> Any:
    images = session.workspace.images
    if (arguments.context is None) == (arguments.oci is None):
        raise UsageError(
            "give one of --context and --oci", field="context", fix="--context is for a folder, --oci for a file."
        )
    if arguments.oci is not None:
        path = images.export_oci(arguments.image_id, arguments.oci)
        return Text(f"Image written to {path}. Load it with `docker load -i {path}`.")
    path = images.export_context(arguments.image_id, arguments.context)
    return Text(f"Build context written to {path}. Build it with `docker build {path}`.")


def _log(session: Session, arguments: Any) -> Any:
    return Text(session.workspace.images.build_log(arguments.image_id, tail=arguments.tail).text)


COMMANDS = (
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
            Flag("--image-description", "free text"),
            Flag("--image-type", "kind of image", choices=("Docker",), default="Docker"),
            Flag("--compute-resource-id", "compute to build the image for"),
        ),
        ("images_create",),
        waits=True,
    ),
    Command(
        ("image", "show"),
        "Show an image",
        "mlmgmt image show -i ID",
        _show,
        (_ID,),
        ("images_get",),
    ),
    Command(
        ("image", "list"),
        "List images, newest first",
        "mlmgmt image list --manifest-name iris",
        _list,
        (
            Flag("--manifest-id", "images of this manifest", completes="manifest-id"),
            Flag("--manifest-name", "images of manifests of this name", completes="manifest"),
        ),
        ("images_list",),
    ),
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
    ),
    Command(
        ("image", "usage"), "Show the details of an image and how to run it", "mlmgmt image usage -i ID", _usage, (_ID,)
    ),
    Command(
        ("image", "log"),
        "Show the build log of an image",
        "mlmgmt image log -i ID --tail 20",
        _log,
        (_ID, Flag("--tail", "number of lines at the end (default: all)", "integer", metavar="LINES")),
    ),
)
