"""`mlmgmt export kubernetes` and `export image`: run this service as a workload of a cluster."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlmgmt_nb import __version__, local
from mlmgmt_nb.cli.access import add_sign_in, sign_in_flags
from mlmgmt_nb.cli.arguments import add_command, add_home
from mlmgmt_nb.errors import LocalServiceError, UsageError

__all__ = ["add_export"]

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?")
"""An RFC 1035 label, as required for Service names, short enough for the suffixes of related objects."""
_QUANTITY = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti|Pi|M|G|T|P)")


def add_export(commands: Any) -> None:
    """Add the commands and their flags."""
    export = add_command(
        commands, "export", "write manifests, or build the image, to run this service in a Kubernetes cluster"
    )
    kinds = export.add_subparsers(required=True, title="commands", metavar="COMMAND", help="kind of export")
    _add_manifests(kinds)
    _add_image(kinds)


def _add_manifests(kinds: Any) -> None:
    manifests = add_command(kinds, "kubernetes", "write manifests for kubectl apply")
    manifests.add_argument("--image", required=True, metavar="IMAGE", help="image of the service (mlmgmt export image)")
    manifests.add_argument(
        "--registry", required=True, help="registry host, optionally with a path, that images of models are pushed to"
    )
    manifests.add_argument("--name", type=_name, default="mlmgmt", help="name of the objects (default: %(default)s)")
    manifests.add_argument(
        "--namespace", type=_name, default="mlmgmt", help="namespace of all objects (default: %(default)s)"
    )
    manifests.add_argument("--url", help="origin at which clients reach it (default: its name in the cluster)")
    manifests.add_argument("--registry-secret", metavar="SECRET", help="Secret with the login for the registry")
    manifests.add_argument(
        "--database-secret",
        metavar="SECRET",
        help="Secret with url and password of a PostgreSQL database (default: SQLite in the volume)",
    )
    manifests.add_argument(
        "--tls-secret",
        metavar="SECRET",
        help="Secret with tls.crt and tls.key (default: plain HTTP, behind a proxy that terminates TLS)",
    )
    manifests.add_argument(
        "--storage",
        type=_storage,
        default="20Gi",
        help="size of the volume, or none for a folder of the pod (default: %(default)s)",
    )
    manifests.add_argument(
        "--expose",
        choices=("front-door", "nodeport", "loadbalancer", "ingress"),
        default="front-door",
        help="target of scoring URLs (default: %(default)s)",
    )
    manifests.add_argument("--host", help="host name of scoring URLs with a load balancer or ingress")
    manifests.add_argument("--base-image", metavar="IMAGE", help="base image for images of models")
    add_sign_in(manifests)
    manifests.add_argument("-f", "--file", type=Path, metavar="FILE", help="file to write (default: standard output)")
    manifests.set_defaults(run=_manifests)


def _add_image(kinds: Any) -> None:
    image = add_command(kinds, "image", "build an image of the service without an engine, and push it")
    image.add_argument(
        "reference", metavar="IMAGE", help=f"repository to push to; without a tag, that of this version ({__version__})"
    )
    image.add_argument("--base-image", metavar="IMAGE", help="base image (default: a slim image with this Python)")
    add_home(image)
    image.set_defaults(run=_image)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name: 1 to 50 characters a-z, 0-9 and -, with a letter first and no - at the end"
        )
    return text


def _storage(text: str) -> str:
    if text != "none" and not _QUANTITY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 20Gi, or none")
    return text


def _manifests(arguments: argparse.Namespace) -> int:
    import yaml

    from mlmgmt_nb.service.cluster_settings import ClusterSettings
    from mlmgmt_nb.service.in_cluster.manifests import OwnSettings, build_manifests

    try:
        cluster = ClusterSettings(expose=arguments.expose, host=arguments.host)
    except ValueError as error:
        raise UsageError(f"--expose {arguments.expose}: {error}", field="expose") from None
    settings = OwnSettings(
        name=arguments.name,
        namespace=arguments.namespace,
        image=arguments.image,
        url=arguments.url,
        registry=arguments.registry,
        registry_secret=arguments.registry_secret,
        database_secret=arguments.database_secret,
        tls_secret=arguments.tls_secret,
        storage=None if arguments.storage == "none" else arguments.storage,
        sign_in=tuple(sign_in_flags(arguments)),
        more=("--base-image", arguments.base_image) if arguments.base_image else (),
        cluster=cluster,
    )
    text = yaml.safe_dump_all(build_manifests(settings), sort_keys=False)
    if arguments.file is None:
        sys.stdout.write(text)
        return 0
    try:
        arguments.file.write_text(text, encoding="utf-8")
    except OSError as error:
        fix = "Create its folder, or give another path."
        raise UsageError(f"--file: {arguments.file}: {error.strerror}", field="file", fix=fix) from error
    return 0


def _image(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.building.built_image import repository_of
    from mlmgmt_nb.service.building.errors import BuildError
    from mlmgmt_nb.service.files.home import Home
    from mlmgmt_nb.service.files.logs import Log
    from mlmgmt_nb.service.in_cluster.own_image import build_own_image

    name, tag = repository_of(arguments.reference)
    has_tag = arguments.reference != name
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "log")
        try:
            home = Home(local.state_folder(arguments.home))
            built = build_own_image(f"{name}:{tag if has_tag else __version__}", arguments.base_image, home, log)
        except BuildError as error:
            raise LocalServiceError(error.message) from error
    print(built.pull_reference)
    return 0
