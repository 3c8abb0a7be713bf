"""Settings of clusters: a TOML file with a table for each, named as its compute.

::

    [kubernetes]
    context = "team"                      # of the kubeconfig; the current one if omitted
    namespace = "models"
    registry = "registry.example.org/ml"  # images are pushed to it
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.compute_ids import DOCKER, LOCAL

__all__ = ["ClusterSettings", "ClusterSettingsError", "read_clusters"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Reach = Literal["auto", "cluster-ip", "node-port", "port-forward"]


class ClusterSettingsError(Exception):
    """The file is not valid; the message has the field and the fix."""


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Settings of one cluster.

    Attributes:
        kubeconfig: file with the address of the cluster and credentials; None for KUBECONFIG or `~/.kube/config`, or,
            in a pod, for its service account.
        context: context of that file; None for the current one.
        namespace: namespace of all objects; None for that of the context.
        registry: host, optionally with a path, that images are pushed to; None for the registry of the service.
        pull_registry: the same registry as the nodes name it, if they do otherwise.
        image_pull_secrets: Secrets of the namespace with logins for the registry.
        reach: how requests get to the pods. `auto` uses cluster addresses in a pod; elsewhere a node port, if one
            responds, or else a port-forward through the API server.
        node_address: host name or address at which node ports respond; found by trying if None.
        read_only_root: whether drivers may write to nothing but /tmp and their home.
        node_selector: labels of the nodes that pods may run on.
        tolerations: tolerations of the pods, as Kubernetes writes them.
        gpus: GPUs (`nvidia.com/gpu`) of each pod.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    registry: str | None = None
    pull_registry: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    reach: Reach = "auto"
    node_address: str | None = None
    read_only_root: bool = True
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    gpus: int = 0


resolve(ClusterSettings)


def read_clusters(path: Path) -> dict[str, ClusterSettings]:
    """Return the clusters of a file by name; none if it does not exist.

    Raises:
        ClusterSettingsError: it cannot be read, or is not valid.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ClusterSettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClusterSettingsError(f"{path} is not valid TOML: {error}.") from error
    return {name: _cluster(path, name, table) for name, table in tables.items()}


def _cluster(path: Path, name: str, table: object) -> ClusterSettings:
    if not _NAME.fullmatch(name) or name in {LOCAL, DOCKER}:
        raise ClusterSettingsError(
            f"{path}: {name!r} cannot name a cluster. Use a-z, 0-9 and '-', such as [kubernetes]."
        )
    try:
        return msgspec.convert(table, ClusterSettings)
    except msgspec.ValidationError as error:
        raise ClusterSettingsError(f"{path}: [{name}]: {error}.") from error
