"""Settings of clusters: a TOML file with a table for each cluster, named like its compute.

::

    [kubernetes]
    context = "team"                      # of the kubeconfig; the current one if omitted
    namespace = "models"
    registry = "registry.example.org/ml"  # images are pushed to it
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.safe_yaml import YamlError, read_yaml
from mlmgmt_nb.service.compute_ids import DOCKER, LOCAL

__all__ = [
    "ClusterSettings",
    "ClusterSettingsError",
    "fields_file",
    "find_names",
    "parse_clusters",
    "read_clusters",
    "unfit_settings",
]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TABLE = re.compile(r"^[ \t]*\[[ \t]*\"?([a-z0-9-]+)\"?[ \t]*[].]", re.MULTILINE)

Reach = Literal["auto", "cluster-ip", "node-port", "port-forward"]
Expose = Literal["front-door", "nodeport", "loadbalancer", "ingress"]


_BALANCED = ("ingress", "loadbalancer")
_NEEDED = {
    "host": _BALANCED,
    "tls": _BALANCED,
    "tls_secret": ("ingress",),
    "ingress_class": ("ingress",),
}
"""Settings that need one of some values of `expose`."""


class ClusterSettingsError(Exception):
    """The file is not valid; the message names the field and the fix.

    Attributes:
        clusters: the clusters that it concerns; empty if that is the whole file.
        setting: the setting to change, if it is one: of the cluster, or `name` for its name.
    """

    def __init__(self, message: str, clusters: Collection[str] = (), setting: str | None = None) -> None:
        super().__init__(message)
        self.clusters = clusters
        self.setting = setting


class _UnfitError(ValueError):
    """A setting does not fit another one. `setting` is the one to change."""

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Settings of one cluster.

    Attributes:
        kubeconfig: file with the address of the cluster and credentials; None for KUBECONFIG or `~/.kube/config`, or,
            in a pod, for its service account.
        context: context of that file; None for the current one.
        namespace: namespace of all objects; None for that of the context.
        registry: host, optionally with a path, that images are pushed to; None for the registry of the service.
        pull_registry: name of the registry on the nodes, if it differs there.
        image_pull_secrets: Secrets of the namespace with logins for the registry.
        reach: path of requests to the pods. `auto` uses cluster addresses in a pod; elsewhere a node port, if one
            responds, or else a port-forward through the API server.
        node_address: host name or address at which node ports respond; None to find one by trying.
        expose: target of scoring URLs: the front door of the service, or an address of the cluster itself.
        host: host name of scoring URLs with a load balancer or ingress, which needs one.
        tls: whether a load balancer or ingress serves TLS, with a certificate of its own.
        tls_secret: Secret of the namespace with the certificate for an ingress.
        ingress_class: class of an ingress; None for the default of the cluster.
        annotations: annotations of the objects that expose services, for their controller.
        read_only_root: whether drivers may write only to /tmp and their home.
        node_selector: labels of the nodes that pods may run on.
        tolerations: tolerations of the pods, as Kubernetes writes them.
        pod_fields: fields to add to the template of the pods: `metadata` and `spec`, as Kubernetes writes them.
        pod_fields_file: YAML file with these fields, in the folder of the settings or absolute.
        hpa: whether the cluster scales autoscaled services by the CPU that their pods use, instead of the service by
            their load.
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
    expose: Expose = "front-door"
    host: str | None = None
    tls: bool = False
    tls_secret: str | None = None
    ingress_class: str | None = None
    annotations: dict[str, str] = {}
    read_only_root: bool = True
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    pod_fields: dict[str, Any] = {}
    pod_fields_file: str | None = None
    hpa: bool = False
    gpus: int = 0

    def __post_init__(self) -> None:
        for field, values in _NEEDED.items():
            if getattr(self, field) and self.expose not in values:
                raise _UnfitError(f"{_kebab(field)} needs expose = {' or '.join(values)}", "expose")
        if self.annotations and self.expose == "front-door":
            raise _UnfitError("annotations need another value of expose than front-door", "expose")
        if self.expose == "ingress" and not self.host:
            raise _UnfitError("expose = ingress needs host, the host name of scoring URLs", "host")

    def unexposed(self) -> ClusterSettings:
        """Return these settings with scoring URLs at the front door of the service."""
        ways: dict[str, Any] = {"host": None, "tls": False, "tls_secret": None, "ingress_class": None}
        return msgspec.structs.replace(self, expose="front-door", annotations={}, **ways)

    @property
    def serves_tls(self) -> bool:
        """Return whether scoring URLs of the cluster begin with https."""
        return self.tls or self.tls_secret is not None


resolve(ClusterSettings)


def read_clusters(path: Path) -> dict[str, ClusterSettings]:
    """Return the clusters of a file by name; none if it does not exist.

    Raises:
        ClusterSettingsError: it cannot be read, or is not valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ClusterSettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ClusterSettingsError(f"{path} is not valid TOML: {error}.") from error
    return parse_clusters(text, path)


def parse_clusters(text: str, path: Path) -> dict[str, ClusterSettings]:
    """Return the clusters in the text of a file by name.

    Args:
        path: the file, which may have another text now.

    Raises:
        ClusterSettingsError: the text is not valid.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClusterSettingsError(f"{path} is not valid TOML: {error}.") from error
    found = {name: _cluster(path, name, table) for name, table in tables.items()}
    places: dict[tuple[str | None, ...], str] = {}
    for name, settings in found.items():
        place = settings.kubeconfig, settings.context, settings.namespace
        if (other := places.setdefault(place, name)) != name:
            # Each compute would remove the services of the other one as leftovers of a crash.
            raise ClusterSettingsError(
                f"{path}: [{other}] and [{name}] are the same namespace of the same cluster. Use another namespace.",
                (other, name),
                "namespace",
            )
    return found


def find_names(path: Path) -> list[str]:
    """Return the names of clusters in a file that may be damaged, as far as they can be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [name for name in dict.fromkeys(_TABLE.findall(text)) if _is_name(name)]


def unfit_settings(expose: str) -> list[str]:
    """Return the settings that a value of `expose` excludes, as the file calls them."""
    unfit = [_kebab(field) for field, values in _NEEDED.items() if expose not in values]
    return [*unfit, *(["annotations"] if expose == "front-door" else [])]


def _kebab(field: str) -> str:
    return field.replace("_", "-")


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in {LOCAL, DOCKER}


def _cluster(path: Path, name: str, table: object) -> ClusterSettings:
    if not _is_name(name):
        message = f"{path}: {name!r} cannot name a cluster. Use a-z, 0-9 and '-', such as [kubernetes]."
        raise ClusterSettingsError(message, (name,), "name")
    try:
        settings = msgspec.convert(table, ClusterSettings)
    except msgspec.ValidationError as error:
        setting = error.__cause__.setting if isinstance(error.__cause__, _UnfitError) else None
        raise ClusterSettingsError(f"{path}: [{name}]: {error}.", (name,), setting) from error
    if settings.pod_fields_file is None:
        return settings
    if settings.pod_fields:
        raise ClusterSettingsError(f"{path}: [{name}]: pod-fields and pod-fields-file exclude each other.")
    return msgspec.structs.replace(settings, pod_fields=_read_fields(fields_file(path, settings.pod_fields_file)))


def fields_file(path: Path, given: str) -> Path:
    """Return the path of the file with fields of pods.

    Args:
        path: the file of the settings.
        given: the path in the settings.
    """
    return path.parent / Path(given).expanduser()


def _read_fields(path: Path) -> dict[str, Any]:
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
        return msgspec.convert(found or {}, dict[str, Any])
    except OSError as error:
        raise ClusterSettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, YamlError, msgspec.ValidationError) as error:
        raise ClusterSettingsError(f"{path} has no fields of pods: {error}.") from error
