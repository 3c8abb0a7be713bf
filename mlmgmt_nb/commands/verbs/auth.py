"""Commands: signing in and out, your identity, and the audit log."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.auth.clouds import scope_of
from mlmgmt_nb.client.auth.identity import Identity, identity_of
from mlmgmt_nb.client.auth.signin import is_interactive
from mlmgmt_nb.client.http.credentials import AzureToken
from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import SIGN_IN, Session
from mlmgmt_nb.commands.values import Settings, Text
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]

_METHODS = ("service-principal", "device-code", "browser", "cli")


@dataclass(frozen=True, kw_only=True)
class _Login(CommonArguments):
    """Arguments of `login`."""

    device_code: bool
    browser: bool
    cli: bool
    service_principal: bool
    tenant: str | None
    client_id: str | None
    certificate: str | None
    authority: str | None
    scope: str | None
    token_cache: bool


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `audit list`."""

    principal: str | None
    resource: str | None
    action: str | None


def _login(session: Session, arguments: _Login) -> Settings:
    method = _method(arguments)
    given = {name: getattr(arguments, name) for name in ("tenant", "client_id", "certificate", "authority", "scope")}
    given |= {"sign_in": method, "token_cache": "yes" if arguments.token_cache else None}
    sign_in = session.sign_in(**given)
    scope = given["scope"] or session.setting("scope") or scope_of(sign_in.authority)
    credential = sign_in.credential(secret=_secret(sign_in.method, sign_in.certificate))
    token = AzureToken(credential, scope, f"the sign-in {sign_in.method!r}")
    rows = _rows(identity_of(token.token(), token.source))
    profile = session.setting("profile") or "default"
    session.config.set(profile, {name: value for name, value in given.items() if value is not None})
    session.signed_in(credential)
    return Settings((*rows, {"name": "profile", "value": profile}))


def _method(arguments: _Login) -> str | None:
    """Return the sign-in method that the flags name, or None.

    Raises:
        UsageError: they name several methods.
    """
    chosen = [method for method in _METHODS if getattr(arguments, method.replace("-", "_"))]
    if len(chosen) > 1:
        raise UsageError(
            f"--{chosen[0]} and --{chosen[1]} cannot be combined", field=chosen[1], fix="Give only one of them."
        )
    return chosen[0] if chosen else None


def _secret(method: str, certificate: str | None) -> str | None:
    """Return the secret of a service principal, typed at a hidden prompt; None if not needed or in the environment.

    It has no flag: command arguments appear in the history, the notebook or the list of processes.
    """
    if method != "service-principal" or certificate is not None or os.environ.get("AZURE_CLIENT_SECRET"):
        return None
    if not is_interactive():
        raise UsageError(
            "the secret of the service principal is missing, and this session cannot prompt for it",
            field="AZURE_CLIENT_SECRET",
            fix="Set the environment variable AZURE_CLIENT_SECRET, or give --certificate.",
        )
    return getpass.getpass("Secret of the service principal: ")


def _logout(session: Session, _: CommonArguments) -> Text:
    profile = session.setting("profile") or "default"
    session.signed_in(None)
    session.config.set(profile, dict.fromkeys((*SIGN_IN, "scope")))
    return Text(f"signed out of profile {profile!r}; issued tokens remain valid until they expire")


def _whoami(session: Session, _: CommonArguments) -> Settings:
    workspace = session.workspace
    rows = _rows(workspace.whoami())
    return Settings((*rows, {"name": "account", "value": workspace.base_url.rpartition("/")[2]}))


def _rows(identity: Identity) -> list[dict[str, str | None]]:
    expires = f"{identity.expires_on:%Y-%m-%d %H:%M} UTC" if identity.expires_on else None
    rows: dict[str, str | None] = {
        "name": identity.name,
        "id": identity.id,
        "role": identity.role,
        "tenant": identity.tenant,
        "audience": identity.audience,
        "expires": expires,
        "signed in by": identity.source,
    }
    return [{"name": name, "value": value} for name, value in rows.items() if value]


def _audit(session: Session, arguments: _List) -> object:
    return session.workspace.audit.list(
        principal_id=arguments.principal, resource_id=arguments.resource, action=arguments.action
    )


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("login",),
        "Sign in with Azure AD, and save the sign-in method in the current profile",
        "mlmgmt login --device-code --tenant contoso.example",
        _login,
        (
            Flag("--device-code", "sign in with a code that you enter on a web page, on any machine", "switch"),
            Flag("--browser", "sign in with the browser of this machine", "switch"),
            Flag("--cli", "use the account of `az login`", "switch"),
            Flag("--service-principal", "sign in as an application (secret: prompt or AZURE_CLIENT_SECRET)", "switch"),
            Flag("-t --tenant", "id or domain of the tenant"),
            Flag("-u --client-id", "id of the application"),
            Flag("--certificate", "file with the certificate and key of the application", completes="path"),
            Flag("--authority", "authority of a sovereign cloud, such as https://login.microsoftonline.us"),
            Flag("--scope", "scope to request tokens for, such as api://mlmgmt/.default"),
            Flag("--token-cache", "keep tokens in the encrypted cache of azure-identity", "switch"),
        ),
        arguments=_Login,
    ),
    Command(
        ("logout",),
        "Remove the sign-in method from the current profile",
        "mlmgmt logout",
        _logout,
        arguments=CommonArguments,
    ),
    Command(("whoami",), "Show your identity and role", "mlmgmt whoami", _whoami, arguments=CommonArguments),
    Command(
        ("audit", "list"),
        "List the audit log of the account, newest first",
        "mlmgmt audit list --action services_delete",
        _audit,
        (
            Flag("--principal", "id of the user or application"),
            Flag("--resource", "id of the resource"),
            Flag("--action", "name of the action, such as models_register"),
        ),
        arguments=_List,
    ),
)
