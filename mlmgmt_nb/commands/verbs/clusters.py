"""The command `env kubernetes`: configure a cluster of the embedded service, and switch to it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlmgmt_nb import local
from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.computes import switch_to
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]

_FILE = "clusters.toml"
_FIXES = {
    "name": "Give --name with a-z, 0-9 and '-', such as `-n staging`.",
    "namespace": "Give each cluster a --namespace of its own.",
    "host": "Give --host, the host name of scoring URLs.",
    "expose": "Give --expose with a value that allows this setting.",
}
"""What to do about a setting, by its name, which is also that of the argument."""


@dataclass(frozen=True, kw_only=True)
class _Cluster(CommonArguments):
    """Arguments of `env kubernetes`."""

    name: str
    kubeconfig: str | None
    context: str | None
    namespace: str | None
    registry: str | None
    pull_registry: str | None
    reach: str | None
    expose: str | None
    host: str | None
    tls_secret: str | None
    hpa: bool | None


def _use_cluster(session: Session, arguments: _Cluster) -> Text:
    given = {
        "kubeconfig": arguments.kubeconfig and str(Path(arguments.kubeconfig).expanduser().absolute()),
        "context": arguments.context,
        "namespace": arguments.namespace,
        "registry": arguments.registry,
        "pull-registry": arguments.pull_registry,
        "reach": arguments.reach,
        "expose": arguments.expose,
        "host": arguments.host,
        "tls-secret": arguments.tls_secret,
        "hpa": arguments.hpa,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen or not _is_known(session, arguments.name):
        _configure(session, arguments.name, chosen)
    return switch_to(session, arguments.name)


def _is_known(session: Session, name: str) -> bool:
    return any(each["id"] == name for each in session.workspace.computes())


def _configure(session: Session, name: str, chosen: dict[str, str | bool]) -> None:
    """Write settings of a cluster to the clusters file of the embedded service, which reloads it."""
    import tomlkit  # only needed to write the file
    from tomlkit.exceptions import ParseError

    from mlmgmt_nb.service.cluster_settings import ClusterSettingsError, parse_clusters, unfit_settings

    if session.setting("base_url") is not None:
        raise UsageError(
            "the clusters of a service on another machine are configured there",
            field="name",
            fix="Its operator gives `mlmgmt serve` a file of clusters (--clusters); `env set -i NAME` uses one.",
        )
    path = local.state_folder(session.setting("home")) / _FILE
    beside = path.with_name(f".{_FILE}.{os.getpid()}")
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        table: Any = document.setdefault(name, tomlkit.table())
        for unfit in unfit_settings(str(chosen["expose"])) if "expose" in chosen else ():
            table.pop(unfit, None)
        table.update(chosen)
        text = tomlkit.dumps(document)
        parse_clusters(text, path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the service may not have run yet
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except ClusterSettingsError as error:
        setting = error.setting if name in error.clusters else None
        fix = _FIXES.get(setting or "", "Correct that file.")
        raise UsageError(f"nothing is changed: {error}", field=setting or "name", fix=fix) from error
    except OSError as error:
        fix = f"Check who may read that file and write to {path.parent}."
        raise UsageError(f"{path} cannot be changed: {error}", field="name", fix=fix) from error
    except (ParseError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} cannot be changed: {error}", field="name", fix="Correct that file.") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("env", "kubernetes"),
        "Switch to a Kubernetes cluster, and configure it if there are flags",
        "mlmgmt env kubernetes --context team --namespace models --registry registry.example.org/ml",
        _use_cluster,
        (
            Flag("-n --name", "name of the compute", default="kubernetes"),
            Flag("--kubeconfig", "file with the address and credentials", completes="path", metavar="FILE"),
            Flag("--context", "context of that file (default: the current one)"),
            Flag("--namespace", "namespace of the services (default: that of the context)"),
            Flag("--registry", "registry host, optionally with a path, that images are pushed to"),
            Flag("--pull-registry", "registry as the nodes address it, if that differs"),
            Flag(
                "--reach",
                "way in which requests reach pods",
                choices=("auto", "cluster-ip", "node-port", "port-forward"),
            ),
            Flag(
                "--expose",
                "target of scoring URLs (default: the front door of the service)",
                choices=("front-door", "nodeport", "loadbalancer", "ingress"),
            ),
            Flag("--host", "host name of scoring URLs with a load balancer or ingress"),
            Flag("--tls-secret", "Secret with the certificate for an ingress"),
            Flag("--hpa", "leave autoscaled services to the autoscaler of the cluster", "yes-no"),
        ),
        arguments=_Cluster,
    ),
)
