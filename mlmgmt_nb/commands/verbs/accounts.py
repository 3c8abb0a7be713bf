"""Commands: accounts (profiles of the configuration), computes and settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.config import SETTINGS
from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Settings, Text
from mlmgmt_nb.errors import NotFoundError, UsageError

__all__ = ["COMMANDS"]

_PROFILE = Flag("-n --name", "name of the profile", required=True, completes="profile")


@dataclass(frozen=True, kw_only=True)
class _AccountCreate(CommonArguments):
    """Arguments of `account create`."""

    name: str
    subscription: str | None
    resource_group: str | None
    account: str | None


@dataclass(frozen=True, kw_only=True)
class _AccountSet(CommonArguments):
    """Arguments of `account set`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class _EnvSet(CommonArguments):
    """Arguments of `env set`."""

    compute: str


@dataclass(frozen=True, kw_only=True)
class _ConfigSet(CommonArguments):
    """Arguments of `config set`."""

    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class _ConfigUnset(CommonArguments):
    """Arguments of `config unset`."""

    key: str


def _create(session: Session, arguments: _AccountCreate) -> object:
    if arguments.name in session.config.profiles() and arguments.name != "default":
        raise UsageError(
            f"profile {arguments.name!r} already exists",
            field="name",
            fix=f"`account set -n {arguments.name}` uses it; `config set` changes it.",
        )
    named = ("subscription", "resource_group", "account")
    given = {name: getattr(arguments, name) for name in ("home", "base_url", *named)}
    session.config.set(arguments.name, {key: value for key, value in given.items() if value is not None})
    session.config.use(arguments.name)
    return _all_settings(session, {})


def _list(session: Session, arguments: CommonArguments) -> object:
    used, _ = session.config.profile(arguments.profile)
    rows: list[dict[str, str | None]] = [
        {"name": name, "inUse": "*" if name == used else "", **{key: stored.get(key) for key in SETTINGS}}
        for name, stored in session.config.profiles().items()
    ]
    return Settings(tuple(rows))


def _use(session: Session, arguments: _AccountSet) -> object:
    session.config.use(arguments.name)
    return _all_settings(session, {})


def _show(session: Session, _: CommonArguments) -> object:
    workspace = session.workspace
    source = session.settings["base_url"].source if session.settings["base_url"].value else "the embedded service"
    rows: list[dict[str, str | None]] = [
        {"name": "account", "value": workspace.base_url.rpartition("/")[2], "source": source},
        {"name": "baseUrl", "value": workspace.base_url, "source": source},
        {"name": "profile", "value": session.settings["profile"].value, "source": session.settings["profile"].source},
    ]
    return Settings(tuple(rows))


def _all_settings(session: Session, given: dict[str, str | None]) -> Settings:
    found = session.config.settings(given)
    return Settings(tuple({"name": s.name, "value": s.value, "source": s.source} for s in found.values()))


def _config_show(session: Session, _: CommonArguments) -> object:
    rows = [{"name": s.name, "value": s.value, "source": s.source} for s in session.settings.values()]
    return Settings((*rows, {"name": "file", "value": str(session.config.path), "source": ""}))


def _config_set(session: Session, arguments: _ConfigSet) -> object:
    profile, _ = session.config.profile(arguments.profile)
    session.config.set(profile, {arguments.key.replace("-", "_"): arguments.value})
    return _all_settings(session, {})


def _config_unset(session: Session, arguments: _ConfigUnset) -> object:
    profile, _ = session.config.profile(arguments.profile)
    session.config.set(profile, {arguments.key.replace("-", "_"): None})
    return _all_settings(session, {})


def _computes(session: Session) -> dict[str, dict[str, str | None]]:
    """Return the known computes by id. Other servers do not list them; there, return those in use."""
    try:
        known = session.workspace.computes()
    except NotFoundError:
        used = {service.compute_resource.id for service in session.workspace.services.list()}
        known = [{"id": compute} for compute in used if compute]
    chosen = session.setting("compute") or "local"
    found: dict[str, dict[str, str | None]] = {chosen: {"id": chosen}}
    return found | {str(compute["id"]): compute for compute in known}


def _env_list(session: Session, _: CommonArguments) -> object:
    chosen = session.setting("compute")
    rows = [
        {"id": name, "inUse": "*" if name == chosen else "", "state": found.get("state"), "reason": found.get("reason")}
        for name, found in sorted(_computes(session).items())
    ]
    return Settings(tuple(rows))


def _env_show(session: Session, _: CommonArguments) -> object:
    setting = session.settings["compute"]
    services = list(session.workspace.services.list(compute_resource_id=setting.value))
    found = _computes(session)[setting.value or "local"]
    row = {
        "id": setting.value,
        "source": setting.source,
        "state": found.get("state"),
        "reason": found.get("reason"),
        "services": ", ".join(s.name or "" for s in services),
    }
    return Settings((row,))


def _env_use(session: Session, compute: str) -> Text:
    if compute == "docker" and (reason := _computes(session).get(compute, {}).get("reason")):
        raise UsageError(f"compute 'docker' cannot be used: {reason}", field="compute", fix="`env local` uses `local`.")
    profile, _ = session.config.profile()
    session.config.set(profile, {"compute": compute})
    return Text(f"images are built for and services run on {compute!r} (profile {profile!r})")


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("account", "create"),
        "Create a profile for an embedded service (--home) or a remote account (--base-url), and switch to it",
        "mlmgmt account create -n team --base-url https://models.example/api/.../accounts/team",
        _create,
        (
            _PROFILE,
            Flag("-s --subscription", "subscription of the account"),
            Flag("-g --resource-group", "resource group of the account"),
            Flag("--account", "name of the account"),
        ),
        arguments=_AccountCreate,
    ),
    Command(("account", "list"), "List the profiles", "mlmgmt account list", _list, arguments=CommonArguments),
    Command(
        ("account", "set"),
        "Switch to a profile",
        "mlmgmt account set -n team",
        _use,
        (_PROFILE,),
        arguments=_AccountSet,
    ),
    Command(("account", "show"), "Show the current account", "mlmgmt account show", _show, arguments=CommonArguments),
    Command(("env", "list"), "List the known computes", "mlmgmt env list", _env_list, arguments=CommonArguments),
    Command(("env", "show"), "Show the current compute", "mlmgmt env show", _env_show, arguments=CommonArguments),
    Command(
        ("env", "set"),
        "Switch to a compute",
        "mlmgmt env set -i local",
        lambda session, arguments: _env_use(session, arguments.compute),
        (Flag("-i -n --name --compute", "id of the compute", required=True),),
        arguments=_EnvSet,
    ),
    Command(
        ("env", "local"),
        "Switch to the local compute",
        "mlmgmt env local",
        lambda session, _: _env_use(session, "local"),
        arguments=CommonArguments,
    ),
    Command(
        ("env", "docker"),
        "Switch to the service's Docker engine",
        "mlmgmt env docker",
        lambda session, _: _env_use(session, "docker"),
        arguments=CommonArguments,
    ),
    Command(
        ("env", "cluster"),
        "Switch to the compute named `cluster`",
        "mlmgmt env cluster",
        lambda session, _: _env_use(session, "cluster"),
        arguments=CommonArguments,
    ),
    Command(
        ("config", "show"),
        "Show every setting and its source",
        "mlmgmt config show",
        _config_show,
        arguments=CommonArguments,
    ),
    Command(
        ("config", "set"),
        "Set a value in the current profile",
        "mlmgmt config set output json",
        _config_set,
        (
            Flag("key", "name of the setting", required=True, completes="setting"),
            Flag("value", "value of the setting", required=True),
        ),
        arguments=_ConfigSet,
    ),
    Command(
        ("config", "unset"),
        "Remove a setting from the current profile",
        "mlmgmt config unset output",
        _config_unset,
        (Flag("key", "name of the setting", required=True, completes="setting"),),
        arguments=_ConfigUnset,
    ),
)
