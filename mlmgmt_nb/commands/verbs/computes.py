"""Commands: computes and their aliases. The commands call computes environments, as in 2017."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.ignored_flags import (
    INSTALL,
    RESOURCE_GROUP,
    SETUP,
    ResourceGroupArguments,
    SetupArguments,
    report_ignored,
)
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Settings, Text
from mlmgmt_nb.errors import NotFoundError, UsageError

__all__ = ["COMMANDS", "switch_to"]

_NAME = Flag("-i -n --name --cluster-name --compute", "id or alias of the compute", required=True)
_NAME_BESIDE_INSTALL = Flag("-n --name --cluster-name --compute", "id or alias of the compute", required=True)
"""The flag for commands whose `-i` is `--install`, as in 2017."""


@dataclass(frozen=True, kw_only=True)
class _Show(ResourceGroupArguments, CommonArguments):
    """Arguments of `env show`."""

    compute: str | None


@dataclass(frozen=True, kw_only=True)
class _Named(ResourceGroupArguments, CommonArguments):
    """Arguments of `env set` and `env delete`."""

    compute: str


@dataclass(frozen=True, kw_only=True)
class _Alias(CommonArguments):
    """Arguments of `env alias`."""

    name: str
    compute: str | None
    remove: bool


@dataclass(frozen=True, kw_only=True)
class _Setup(SetupArguments, CommonArguments):
    """Arguments of `env setup`."""

    name: str
    cluster: bool


@dataclass(frozen=True, kw_only=True)
class _Credentials(_Named):
    """Arguments of `env get-credentials`."""

    install: bool


def _known(session: Session) -> dict[str, dict[str, str | None]] | None:
    """Return the computes of the service and their aliases, by id; None if the server does not list them."""
    try:
        return {str(compute["id"]): compute for compute in session.workspace.computes()}
    except NotFoundError:
        return None


def _computes(session: Session) -> dict[str, dict[str, str | None]]:
    """Return the computes by id, including the chosen one. If the server does not list them, return those in use."""
    known = _known(session)
    if known is None:
        used = {service.compute_resource.id for service in session.workspace.services.list()}
        known = {compute: {"id": compute} for compute in used if compute}
    chosen = session.setting("compute") or "local"
    known.setdefault(chosen, {"id": chosen})
    return known


def _list(session: Session, _: CommonArguments) -> object:
    chosen = session.setting("compute")
    rows = [
        {
            "id": name,
            "inUse": "*" if name == chosen else "",
            "state": found.get("state"),
            "reason": found.get("reason"),
            "aliasOf": found.get("aliasOf"),
        }
        for name, found in sorted(_computes(session).items())
    ]
    return Settings(tuple(rows))


def _show(session: Session, arguments: _Show) -> object:
    report_ignored(session, arguments, (RESOURCE_GROUP,))
    setting = session.settings["compute"]
    name = arguments.compute or setting.value or "local"
    if arguments.compute is not None:
        _check(session, name)
    services = list(session.workspace.services.list(compute_resource_id=name))
    found = _computes(session).get(name, {})
    row = {
        "id": name,
        "source": setting.source if name == setting.value else "",
        "state": found.get("state"),
        "reason": found.get("reason"),
        "aliasOf": found.get("aliasOf"),
        "services": ", ".join(s.name or "" for s in services),
    }
    return Settings((row,))


def _check(session: Session, compute: str) -> None:
    """Raise UsageError for a compute that is unknown or not available. Every service has `local`."""
    known = None if compute == "local" else _known(session)
    if known is None:
        return
    if compute not in known:
        raise UsageError(
            f"compute {compute!r} is not known to this service",
            field="compute",
            fix=f"Use one of {', '.join(sorted(known))}; `env alias {compute} COMPUTE` gives one of them this name.",
        )
    if reason := known[compute].get("reason"):
        raise UsageError(
            f"compute {compute!r} cannot be used: {reason}", field="compute", fix="`env local` uses `local`."
        )


def switch_to(session: Session, compute: str) -> Text:
    """Set the compute of the current profile, if the compute is available."""
    _check(session, compute)
    profile, _ = session.config.profile()
    session.config.set(profile, {"compute": compute})
    return Text(f"images and services use compute {compute!r} (profile {profile!r})")


def _set(session: Session, arguments: _Named) -> Text:
    report_ignored(session, arguments, (RESOURCE_GROUP,))
    return switch_to(session, arguments.compute)


def _alias(session: Session, arguments: _Alias) -> Text:
    name = arguments.name
    if arguments.remove:
        return _delete_alias(session, name)
    if arguments.compute is None:
        raise UsageError("the compute is missing", field="compute", fix=f"Use `env alias {name} local`, or `--remove`.")
    session.workspace.set_compute_alias(name, arguments.compute)
    return Text(f"{name!r} is another name of compute {arguments.compute!r}")


def _delete_alias(session: Session, name: str) -> Text:
    removed = session.workspace.remove_compute_alias(name)
    return Text(f"alias {name!r} is removed" if removed else f"alias {name!r} does not exist")


def _setup(session: Session, arguments: _Setup) -> Text:
    report_ignored(session, arguments, SETUP)
    known = session.workspace.computes()
    compute = _preferred_cluster(known, arguments.name) if arguments.cluster else "local"
    if compute != arguments.name:
        session.workspace.set_compute_alias(arguments.name, compute)
    why = "" if compute != "local" or not arguments.cluster else " (no cluster and no compute docker is available)"
    use = f"`{session.prog} env set -n {arguments.name}` switches to it"
    return Text(f"environment {arguments.name!r} is compute {compute!r}{why}; {use}")


def _preferred_cluster(known: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the first of these that is ready: the compute with this name, a cluster, `docker`; otherwise `local`."""
    ready = sorted(str(each["id"]) for each in known if each["state"] == "ready" and not each.get("aliasOf"))
    clusters = [compute for compute in ready if compute not in {"local", "docker"}]
    return next((each for each in [name, *clusters, "docker"] if each in ready), "local")


def _delete(session: Session, arguments: _Named) -> Text:
    report_ignored(session, arguments, (RESOURCE_GROUP,))
    return _delete_alias(session, arguments.compute)


def _credentials(session: Session, arguments: _Credentials) -> Text:
    report_ignored(session, arguments, (RESOURCE_GROUP, INSTALL))
    _check(session, arguments.compute)
    return Text(
        f"compute {arguments.compute!r} has no credentials of its own; "
        f"`{session.prog} service keys -n NAME` shows those of a service"
    )


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("env", "list"),
        "List the known computes and their aliases",
        "mlmgmt env list",
        _list,
        arguments=CommonArguments,
    ),
    Command(
        ("env", "show"),
        "Show a compute (default: the current one)",
        "mlmgmt env show",
        _show,
        (Flag("-i -n --name --cluster-name --compute", "id or alias of the compute"), RESOURCE_GROUP),
        arguments=_Show,
    ),
    Command(
        ("env", "set"),
        "Switch to a compute",
        "mlmgmt env set -i local",
        _set,
        (_NAME, RESOURCE_GROUP),
        arguments=_Named,
    ),
    Command(
        ("env", "local"),
        "Switch to the local compute",
        "mlmgmt env local",
        lambda session, _: switch_to(session, "local"),
        arguments=CommonArguments,
    ),
    Command(
        ("env", "docker"),
        "Switch to the service's Docker engine",
        "mlmgmt env docker",
        lambda session, _: switch_to(session, "docker"),
        arguments=CommonArguments,
    ),
    Command(
        ("env", "cluster"),
        "Switch to the compute or alias named `cluster`",
        "mlmgmt env cluster",
        lambda session, _: switch_to(session, "cluster"),
        arguments=CommonArguments,
    ),
    Command(
        ("env", "alias"),
        "Give a compute another name, such as that of a cluster in resource ids of 2017",
        "mlmgmt env alias mycluster docker",
        _alias,
        (
            Flag("name", "the other name, or a whole resource id", required=True),
            Flag("compute", "id of the compute"),
            Flag("--remove", "remove the alias", "switch"),
        ),
        arguments=_Alias,
    ),
    Command(
        ("env", "setup"),
        "Make an alias of a compute, as environments of 2017 were set up",
        "mlmgmt env setup -n myenv -g group -l eastus2 --cluster",
        _setup,
        (
            Flag("-n --cluster-name --name", "name of the environment", required=True),
            Flag("-c --cluster", "prefer a Kubernetes cluster, or else compute docker, to compute local", "switch"),
            *SETUP,
        ),
        arguments=_Setup,
    ),
    Command(
        ("env", "delete"),
        "Remove an alias",
        "mlmgmt env delete -n myenv",
        _delete,
        (_NAME, RESOURCE_GROUP),
        arguments=_Named,
    ),
    Command(
        ("env", "get-credentials"),
        "Show where the credentials of services are",
        "mlmgmt env get-credentials -n myenv",
        _credentials,
        (_NAME_BESIDE_INSTALL, RESOURCE_GROUP, INSTALL),
        arguments=_Credentials,
    ),
)
