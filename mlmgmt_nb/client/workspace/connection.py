"""Connect to an account: of the user's embedded service, or of another server."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from mlmgmt_nb import local
from mlmgmt_nb.client.http.passive import is_passive
from mlmgmt_nb.client.workspace.account_url import AccountName
from mlmgmt_nb.errors import UsageError

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from mlmgmt_nb.client.auth.signin import SignIn
    from mlmgmt_nb.client.http.credentials import TokenCredential
    from mlmgmt_nb.client.http.transport import Location, Timeout
    from mlmgmt_nb.client.workspace.workspace import Workspace

__all__ = ["connect"]


def connect(
    *,
    home: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    subscription: str | None = None,
    resource_group: str | None = None,
    account: str | None = None,
    token: str | None = None,
    credential: TokenCredential | None = None,
    sign_in: SignIn | None = None,
    scope: str | None = None,
    compute: str | None = None,
    timeout: float | Timeout = (3.05, 30.0),
    adapter: BaseAdapter | None = None,
) -> Workspace:
    """Connect to the account of `base_url`, or to the embedded service of the user, which is started if necessary.

    Arguments take precedence over the environment: MLMGMT_BASE_URL, MLMGMT_SUBSCRIPTION, MLMGMT_RESOURCE_GROUP,
    MLMGMT_ACCOUNT, MLMGMT_SCOPE, MLMGMT_TOKEN, MLMGMT_COMPUTE and MLMGMT_HOME. `home` alone always means the embedded
    service of that folder, which contains its token. For another server, give a token, or sign in with Azure AD: as the
    service principal of the environment, as the identity of the machine or workload, with `az login`, or interactively.
    Sign-in happens with the first request.

    Example:
        >>> with connect(account="team") as team:
        ...     team.base_url.rpartition("/api/")[2]
        'subscriptions/local/resourceGroups/local/accounts/team'

    Args:
        home: state folder of the embedded service.
        base_url: URL of an account, which ends in `/accounts/NAME`; or of a server, with the next three arguments.
        subscription, resource_group, account: the account, at the embedded service or instead of that in `base_url`.
        token: bearer token for `base_url`.
        credential: credential of azure-identity, or any object with its `get_token`, instead of a token.
        sign_in: how to sign in with Azure AD, instead of a token.
        scope: scope of Azure AD tokens: `api://.../.default` of the server (default: the management API of Azure).
        compute: default compute to build images for and run services on: `local`, or `docker` for containers of a
            Docker engine.
        timeout: seconds to connect, and to wait for each part of a response; a single number sets both.
        adapter: transport adapter of `requests`, instead of the connection pool of the client.

    Raises:
        UsageError: the arguments cannot be combined, or the URL is not that of an account.
        LocalServiceError: the embedded service did not start.
    """
    used_compute = compute or os.environ.get("MLMGMT_COMPUTE") or "local"
    timeout = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if home is None:
        base_url = base_url or os.environ.get("MLMGMT_BASE_URL")
    elif base_url is not None:
        raise UsageError("home and base_url cannot be combined", field="home", fix="Give one of them.")
    named = AccountName(
        subscription or os.environ.get("MLMGMT_SUBSCRIPTION"),
        resource_group or os.environ.get("MLMGMT_RESOURCE_GROUP"),
        account or os.environ.get("MLMGMT_ACCOUNT"),
    )
    if base_url is None:
        given = {"token": token, "credential": credential, "sign_in": sign_in}
        if unfit := next((name for name, value in given.items() if value is not None), None):
            raise UsageError(
                "a token or credential requires a base_url",
                field=unfit,
                fix="Give base_url or set MLMGMT_BASE_URL; the embedded service needs no token from you.",
            )
        relocate = partial(_embedded, local.state_folder(home), named)
        location = relocate()
    else:
        relocate = None
        _import_client()
        from mlmgmt_nb.client.auth.signin import credential_for
        from mlmgmt_nb.client.http.transport import Location

        url = named.url(base_url)
        scope = scope or os.environ.get("MLMGMT_SCOPE")
        location = Location(url, credential_for(url, token=token, credential=credential, sign_in=sign_in, scope=scope))
    from mlmgmt_nb.client.http.transport import Transport
    from mlmgmt_nb.client.workspace.workspace import Workspace

    return Workspace(
        Transport(location, timeout=timeout, relocate=relocate, adapter=adapter),
        interpreter=sys.executable if relocate else None,
        arguments=named.arguments(home=home, base_url=base_url, compute=compute),
        compute=used_compute,
    )


def _embedded(home: str | os.PathLike[str], account: AccountName) -> Location:
    endpoint = local.resume(home) if is_passive() else local.ensure(home, meanwhile=_import_client)
    _import_client()
    from mlmgmt_nb.client.http.credentials import TokenFile
    from mlmgmt_nb.client.http.transport import Location

    return Location(account.url(endpoint.base_url), TokenFile(endpoint.token_file), endpoint.certificate)


def _import_client() -> None:
    """Import the rest of the client, unless it is imported already."""
    import mlmgmt_nb.client.workspace.workspace  # noqa: F401
