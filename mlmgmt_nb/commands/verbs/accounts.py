"""Commands: accounts (profiles of the configuration) and settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.workspace.account_url import check_base_url
from mlmgmt_nb.commands.config import SETTINGS
from mlmgmt_nb.commands.flags import OUTPUTS, CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag, nearest
from mlmgmt_nb.commands.ignored_flags import RESOURCE_GROUP, SKU, ResourceGroupArguments, SkuArguments, report_ignored
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Settings
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]

_PROFILE = Flag("-n --name", "name of the profile", required=True, completes="profile")


@dataclass(frozen=True, kw_only=True)
class _AccountCreate(SkuArguments, CommonArguments):
    """Arguments of `account create`."""

    name: str
    subscription: str | None
    resource_group: str | None
    account: str | None


@dataclass(frozen=True, kw_only=True)
class _AccountList(CommonArguments):
    """Arguments of `account list`."""

    resource_group: str | None


@dataclass(frozen=True, kw_only=True)
class _AccountSet(ResourceGroupArguments, CommonArguments):
    """Arguments of `account set`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class _AccountShow(ResourceGroupArguments, CommonArguments):
    """Arguments of `account show`."""

    name: str | None


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
    report_ignored(session, arguments, SKU)
    if arguments.base_url is not None:
        check_base_url(arguments.base_url)
    session.config.set(arguments.name, {key: value for key, value in given.items() if value is not None})
    session.config.use(arguments.name)
    return _all_settings(session, {})


def _list(session: Session, arguments: _AccountList) -> object:
    used, _ = session.config.profile(arguments.profile)
    rows: list[dict[str, str | None]] = [
        {"name": name, "inUse": "*" if name == used else "", **{key: stored.get(key) for key in SETTINGS}}
        for name, stored in session.config.profiles().items()
        if arguments.resource_group in {None, stored.get("resource_group")}
    ]
    return Settings(tuple(rows))


def _use(session: Session, arguments: _AccountSet) -> object:
    report_ignored(session, arguments, (RESOURCE_GROUP,))
    session.config.use(arguments.name)
    return _all_settings(session, {})


def _show(session: Session, arguments: _AccountShow) -> object:
    report_ignored(session, arguments, (RESOURCE_GROUP,))
    if arguments.name is not None:
        stored = session.config.settings({}, arguments.name)
        return Settings(tuple({"name": s.name, "value": s.value, "source": s.source} for s in stored.values()))
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
    key = arguments.key.replace("-", "_")
    if key == "output" and arguments.value not in OUTPUTS:
        raise UsageError(
            f"output: {arguments.value!r} is not valid.{nearest(arguments.value, OUTPUTS)}",
            field="output",
            fix=f"Use one of {', '.join(OUTPUTS)}.",
        )
    if key == "base_url":
        check_base_url(arguments.value)
    session.config.set(profile, {key: arguments.value})
    return _all_settings(session, {})


def _config_unset(session: Session, arguments: _ConfigUnset) -> object:
    profile, _ = session.config.profile(arguments.profile)
    session.config.set(profile, {arguments.key.replace("-", "_"): None})
    return _all_settings(session, {})


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
            *SKU,
        ),
        arguments=_AccountCreate,
    ),
    Command(
        ("account", "list"),
        "List the profiles",
        "mlmgmt account list",
        _list,
        (Flag("-g --resource-group", "only profiles with this resource group"),),
        arguments=_AccountList,
    ),
    Command(
        ("account", "set"),
        "Switch to a profile",
        "mlmgmt account set -n team",
        _use,
        (_PROFILE, RESOURCE_GROUP),
        arguments=_AccountSet,
    ),
    Command(
        ("account", "show"),
        "Show the current account, or the settings of a profile",
        "mlmgmt account show",
        _show,
        (Flag("-n --name", "name of the profile", completes="profile"), RESOURCE_GROUP),
        arguments=_AccountShow,
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
