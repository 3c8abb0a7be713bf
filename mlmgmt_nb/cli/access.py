"""The flags of `mlmgmt serve` that say who may ask, and over what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import UsageError

__all__ = ["add_access", "read_access"]


def add_access(serve: argparse.ArgumentParser) -> None:
    """The flags."""
    access = serve.add_argument_group("as a shared server")
    access.add_argument(
        "--auth",
        choices=("local", "aad", "oidc"),
        default="local",
        help="tokens to accept: only that of the state folder (default), or besides it those of Azure AD (--tenant) or "
        "of another OpenID Connect provider (--issuer)",
    )
    access.add_argument("--tenant", metavar="ID", help="tenant of Azure AD whose tokens are accepted")
    access.add_argument("--authority", metavar="URL", help="authority of that tenant, for a sovereign cloud")
    access.add_argument("--issuer", metavar="URL", help="issuer of the tokens, for --auth oidc")
    access.add_argument("--audience", action="append", metavar="ID", help="whom tokens must be for; may be given again")
    access.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="ROLE=WHO[@ACCOUNT]",
        help="reader or contributor for an object id, application id, group id, app role or scope; may be given again "
        "(default: the app roles Reader and Contributor, and the scopes ModelManagement.Read and .ReadWrite)",
    )
    access.add_argument("--keys-pause", type=float, default=60.0, help=argparse.SUPPRESS)
    access.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate with its chain, PEM")
    access.add_argument("--tls-key", type=Path, metavar="FILE", help="key of the certificate, PEM, without a password")
    access.add_argument(
        "--allow-plain-http", action="store_true", help="listen beyond loopback without TLS, behind a proxy that has it"
    )
    access.add_argument(
        "--allow-shared-token",
        action="store_true",
        help="listen beyond loopback with no sign-in but the one token of the state folder",
    )


def read_access(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that say who may ask, and over what.

    Raises:
        UsageError: they do not go together, or would put a service without protection on a network.
    """
    from mlmgmt_nb.scoring.http.hosts import LOOPBACK
    from mlmgmt_nb.service.access.issuer_settings import AZURE_AUTHORITY, IssuerSettings
    from mlmgmt_nb.service.access.principals import parse_grant
    from mlmgmt_nb.service.settings import TlsSettings

    issuer = None
    needed = {"local": (), "aad": ("tenant", "audience"), "oidc": ("issuer", "audience")}[arguments.auth]
    for name in needed:
        if not getattr(arguments, name):
            raise UsageError(f"--auth {arguments.auth} needs --{name}", field=name, fix="See mlmgmt serve --help.")
    for name in ("tenant", "authority", "issuer", "audience", "grant"):
        fits = name in needed or (name == "grant" and needed) or (name == "authority" and arguments.auth == "aad")
        if getattr(arguments, name) and not fits:
            raise UsageError(f"--{name} does not go with --auth {arguments.auth}", field=name, fix="Give --auth too.")
    if needed:
        issuer = IssuerSettings(
            audience=tuple(arguments.audience),
            tenant=arguments.tenant,
            authority=arguments.authority or AZURE_AUTHORITY,
            issuer=arguments.issuer,
            pause=arguments.keys_pause,
        )
    try:
        grants = tuple(parse_grant(text) for text in arguments.grant)
    except ValueError as error:
        raise UsageError(f"--grant: {error}", field="grant") from None
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together", field="tls_key", fix="Give both.")
    tls = TlsSettings(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None
    if arguments.host not in LOOPBACK:
        _check_network(arguments, has_tls=tls is not None, has_auth=issuer is not None)
    return {"issuer": issuer, "grants": grants, "tls": tls}


def _check_network(arguments: argparse.Namespace, *, has_tls: bool, has_auth: bool) -> None:
    where = f"--host {arguments.host} lets other machines in"
    if not has_auth and not arguments.allow_shared_token:
        raise UsageError(
            f"{where}, and nobody would have to sign in",
            field="auth",
            fix="Give --auth aad --tenant T --audience A, or say --allow-shared-token: whoever has the token of the "
            "state folder may then do everything.",
        )
    if not has_tls and not arguments.allow_plain_http:
        raise UsageError(
            f"{where}, and tokens, keys and data would cross the network in the clear",
            field="tls_cert",
            fix="Give --tls-cert and --tls-key, or say --allow-plain-http where a proxy in front has TLS.",
        )
