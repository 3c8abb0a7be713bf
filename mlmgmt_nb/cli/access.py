"""The flags of `mlmgmt serve` for authentication, authorization and TLS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import UsageError

__all__ = ["add_access", "add_sign_in", "read_access", "sign_in_flags"]

_SIGN_IN_FLAGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "local": ((), ()),
    "aad": (("tenant", "audience"), ("authority", "grant")),
    "oidc": (("issuer", "audience"), ("grant",)),
}
"""Flags that each --auth needs, and flags that it also allows."""


def add_access(serve: argparse.ArgumentParser) -> None:
    """Add the flags."""
    access = add_sign_in(serve)
    access.add_argument("--keys-pause", type=float, default=60.0, help=argparse.SUPPRESS)
    access.add_argument("--tls-cert", type=Path, metavar="FILE", help="TLS certificate with its chain, PEM")
    access.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="private key of the certificate, PEM, without a password"
    )
    access.add_argument(
        "--allow-plain-http",
        action="store_true",
        help="allow a non-loopback --host without TLS, behind a proxy that terminates TLS",
    )
    access.add_argument(
        "--allow-shared-token",
        action="store_true",
        help="allow a non-loopback --host where the token of the state folder is the only sign-in",
    )


def sign_in_flags(arguments: argparse.Namespace) -> list[str]:
    """Return the given sign-in flags as command-line words; an empty list without sign-in.

    Raises:
        UsageError: the flags conflict.
    """
    _check_sign_in(arguments)
    words = ["--auth", arguments.auth] if arguments.auth != "local" else []
    for name in ("tenant", "authority", "issuer", "audience", "grant"):
        given = getattr(arguments, name) or []
        words += [word for value in ([given] if isinstance(given, str) else given) for word in (f"--{name}", value)]
    return words


def add_sign_in(parser: argparse.ArgumentParser) -> Any:
    """Add the flags for authentication and authorization. Return their group."""
    access = parser.add_argument_group("as a shared server")
    access.add_argument(
        "--auth",
        choices=("local", "aad", "oidc"),
        default="local",
        help="accepted tokens: only the token of the state folder (default), or also those of Azure AD (--tenant) "
        "or of another OpenID Connect provider (--issuer)",
    )
    access.add_argument("--tenant", metavar="ID", help="Azure AD tenant whose tokens are accepted")
    access.add_argument("--authority", metavar="URL", help="authority of the tenant, for a sovereign cloud")
    access.add_argument("--issuer", metavar="URL", help="issuer of the tokens, for --auth oidc")
    access.add_argument("--audience", action="append", metavar="ID", help="audience that tokens must name; repeatable")
    access.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="ROLE=WHO[@ACCOUNT]",
        help="reader or contributor for an object id, application id, group id, app role or scope; repeatable "
        "(default: the app roles Reader and Contributor, and the scopes ModelManagement.Read and .ReadWrite)",
    )
    return access


def read_access(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings for authentication, authorization and TLS.

    Raises:
        UsageError: the flags conflict, or would expose an unprotected service to a network.
    """
    from mlmgmt_nb.scoring.http.access.hosts import LOOPBACK
    from mlmgmt_nb.service.access.issuer_settings import AZURE_AUTHORITY, IssuerSettings
    from mlmgmt_nb.service.access.principals import parse_grant
    from mlmgmt_nb.service.settings import TlsSettings

    issuer = None
    _check_sign_in(arguments)
    if arguments.auth != "local":
        issuer = IssuerSettings(
            audience=tuple(arguments.audience),
            tenant=arguments.tenant,
            authority=arguments.authority or AZURE_AUTHORITY,
            issuer=arguments.issuer,
            pause=arguments.keys_pause,
        )
    grants = tuple(parse_grant(text) for text in arguments.grant)
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise UsageError("--tls-cert and --tls-key must be given together", field="tls_key", fix="Give both.")
    tls = TlsSettings(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None
    if arguments.host not in LOOPBACK:
        _check_network(arguments, has_tls=tls is not None, has_auth=issuer is not None)
    return {"issuer": issuer, "grants": grants, "tls": tls}


def _check_sign_in(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the flags for sign-in conflict."""
    from mlmgmt_nb.service.access.principals import parse_grant

    needed, optional = _SIGN_IN_FLAGS[arguments.auth]
    for name in needed:
        if not getattr(arguments, name):
            raise UsageError(f"--auth {arguments.auth} needs --{name}", field=name, fix="See mlmgmt serve --help.")
    for name in ("tenant", "authority", "issuer", "audience", "grant"):
        if getattr(arguments, name) and name not in {*needed, *optional}:
            raise UsageError(
                f"--{name} cannot be combined with --auth {arguments.auth}", field=name, fix="Set --auth to match."
            )
    try:
        for text in arguments.grant:
            parse_grant(text)
    except ValueError as error:
        raise UsageError(f"--grant: {error}", field="grant") from None


def _check_network(arguments: argparse.Namespace, *, has_tls: bool, has_auth: bool) -> None:
    where = f"--host {arguments.host} exposes the service to other machines"
    if not has_auth and not arguments.allow_shared_token:
        raise UsageError(
            f"{where} without requiring sign-in",
            field="auth",
            fix="Use --auth aad --tenant T --audience A, or accept the risk with --allow-shared-token: anyone with the "
            "token of the state folder then has full access.",
        )
    if not has_tls and not arguments.allow_plain_http:
        raise UsageError(
            f"{where} without TLS: tokens, keys and data would be sent in the clear",
            field="tls_cert",
            fix="Use --tls-cert and --tls-key, or --allow-plain-http if a proxy in front terminates TLS.",
        )
