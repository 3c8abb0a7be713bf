"""Sign in with Azure AD: the credential of azure-identity that provides the tokens, and its settings.

Nothing here is loaded before a token is needed. Tokens and secrets are kept in memory; they are on disk only in the
cache of azure-identity itself, and only if that was requested.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from mlmgmt_nb.client.auth.az_cache import AzCache
from mlmgmt_nb.client.auth.clouds import CLOUDS, authority_host, scope_of
from mlmgmt_nb.client.http.credentials import AzureToken, Credential, StaticToken, TokenCredential
from mlmgmt_nb.errors import SignInError, UsageError
from mlmgmt_nb.terminal import printable

__all__ = ["Method", "SignIn", "credential_for", "is_interactive"]

Method = Literal["default", "cli", "device-code", "browser", "service-principal"]
"""How to sign in; `default` tries the available credentials in the order of azure-identity, and asks a person last."""


def is_interactive() -> bool:
    """Return whether a person can be prompted to sign in: at a terminal, or in a notebook."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    if running is not None and hasattr(running, "kernel"):
        # Runs without a person, such as those of nbclient and papermill, do not allow input.
        return bool(getattr(running.kernel, "_allow_stdin", False))
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True)
class SignIn:
    """How to sign in.

    Example:
        >>> SignIn("device-code", tenant="contoso.onmicrosoft.com").method
        'device-code'
        >>> SignIn("service-principal")
        Traceback (most recent call last):
        ...
        mlmgmt_nb.errors.UsageError: tenant is missing: a service principal signs in at its tenant as its application
        Give --tenant and --client-id.

    Attributes:
        method: see `Method`.
        tenant: id or domain of the tenant (default: that of the account).
        client_id: the application to sign in as.
        certificate: file with its certificate and key (PEM or PKCS 12), instead of a secret.
        authority: host or URL of the authority, for a sovereign cloud (default: AZURE_AUTHORITY_HOST).
        persistent: whether azure-identity may keep its tokens, encrypted, for the next process.
    """

    method: Method = "default"
    tenant: str | None = None
    client_id: str | None = None
    certificate: str | None = None
    authority: str | None = None
    persistent: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(
                f"sign_in is {self.method!r}", field="sign_in", fix=f"Give one of {', '.join(get_args(Method))}."
            )
        if self.method == "service-principal" and not (self.tenant and self.client_id):
            missing = "client_id" if self.tenant else "tenant"
            raise UsageError(
                f"{missing} is missing: a service principal signs in at its tenant as its application",
                field=missing,
                fix="Give --tenant and --client-id.",
            )
        if self.certificate is not None and not Path(self.certificate).expanduser().is_file():
            raise UsageError(
                f"certificate: file not found: {self.certificate}", field="certificate", fix="Give the path of a file."
            )

    def credential(
        self, *, secret: str | None = None, prompt: Callable[[str], None] | None = None, may_ask: bool | None = None
    ) -> TokenCredential:
        """Return the credential.

        Args:
            secret: secret of the service principal (default: AZURE_CLIENT_SECRET).
            prompt: called with the text that asks a person to open a page and enter a code.
            may_ask: whether to ask a person (default: `is_interactive()`).

        Raises:
            SignInError: a required setting, file or package is missing.
        """
        import azure.identity as identity

        may_ask = is_interactive() if may_ask is None else may_ask
        prompt = prompt or _printed
        common: dict[str, Any] = {**self._authority(), **self._cache()}
        person = self._application() | common
        if self.method == "cli":
            of_az = identity.AzureCliCredential(tenant_id=self.tenant or "")
            return identity.ChainedTokenCredential(of_az, AzCache(self.tenant))
        if self.method == "device-code":
            return identity.DeviceCodeCredential(prompt_callback=_asking(prompt), **person)
        if self.method == "browser":
            return identity.InteractiveBrowserCredential(**person)
        if self.method == "service-principal":
            return self._service_principal(secret, common)
        chain: list[Any] = [
            identity.DefaultAzureCredential(
                exclude_interactive_browser_credential=True, **_default_tenants(self.tenant), **self._authority()
            ),
            AzCache(self.tenant),
        ]
        if may_ask:
            chain.append(identity.DeviceCodeCredential(prompt_callback=_asking(prompt), **person))
        return identity.ChainedTokenCredential(*chain)

    def _application(self) -> dict[str, Any]:
        """Return the application and its tenant, as far as they are given."""
        named = {"client_id": self.client_id, "tenant_id": self.tenant}
        return {name: value for name, value in named.items() if value}

    def _service_principal(self, secret: str | None, common: dict[str, Any]) -> TokenCredential:
        import azure.identity as identity

        assert self.tenant
        assert self.client_id
        if self.certificate is not None:
            path = str(Path(self.certificate).expanduser())
            password = os.environ.get("AZURE_CLIENT_CERTIFICATE_PASSWORD")
            try:
                return identity.CertificateCredential(self.tenant, self.client_id, path, password=password, **common)
            except ValueError as error:
                raise SignInError(
                    f"certificate {self.certificate} cannot be used: {error}",
                    fix="It must hold the certificate and its private key, as PEM or PKCS 12.",
                ) from None
        secret = secret or os.environ.get("AZURE_CLIENT_SECRET")
        if not secret:
            raise SignInError(
                "the secret of the service principal is missing",
                fix="Set AZURE_CLIENT_SECRET, or sign in with `login --service-principal`, which asks for it.",
            )
        return identity.ClientSecretCredential(self.tenant, self.client_id, secret, **common)

    def _authority(self) -> dict[str, Any]:
        if not self.authority:
            return {}
        host = authority_host(self.authority)
        # Azure vouches for its own authorities only; any other authority is named by the user, who trusts it.
        return {"authority": self.authority} | ({} if host in CLOUDS else {"disable_instance_discovery": True})

    def _cache(self) -> dict[str, Any]:
        if not self.persistent:
            return {}
        from azure.identity import TokenCachePersistenceOptions

        return {"cache_persistence_options": TokenCachePersistenceOptions(name="mlmgmt-nb")}


def credential_for(
    url: str,
    *,
    token: str | None = None,
    credential: TokenCredential | None = None,
    sign_in: SignIn | None = None,
    scope: str | None = None,
) -> Credential:
    """Return the credential for a remote server: the one given, else MLMGMT_TOKEN, else Azure AD.

    Requests to a server on this machine have no token if none is given.

    Raises:
        UsageError: several credentials are given, or a token of Azure AD would be sent unencrypted over a network.
    """
    given = [
        name
        for name, value in (("token", token), ("credential", credential), ("sign_in", sign_in))
        if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined", field=given[0], fix="Give one of them.")
    if token is not None:
        return StaticToken(token, "the argument `token`")
    if not given and (found := os.environ.get("MLMGMT_TOKEN")):
        return StaticToken(found, "MLMGMT_TOKEN")
    parts = urlsplit(url)
    here = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if not given and here:
        return StaticToken(None, "nowhere (no token was given)")
    if parts.scheme != "https" and not here:
        raise UsageError(
            f"base_url: a token of Azure AD is not sent to {parts.hostname} over plain http",
            field="base_url",
            fix="Use https, or give the server's own token as `token` or in MLMGMT_TOKEN.",
        )
    if credential is not None:
        return AzureToken(credential, scope or scope_of(None))
    chosen = sign_in or SignIn()
    return AzureToken(chosen.credential, scope or scope_of(chosen.authority), f"the sign-in {chosen.method!r}")


def _default_tenants(tenant: str | None) -> dict[str, Any]:
    names = ("interactive_browser_tenant_id", "shared_cache_tenant_id", "workload_identity_tenant_id")
    return dict.fromkeys(names, tenant) if tenant else {}


def _asking(prompt: Callable[[str], None]) -> Callable[[str, str, Any], None]:
    return lambda uri, code, _: prompt(f"To sign in, open {uri} in a browser and enter the code {code}.")


def _printed(text: str) -> None:
    print(printable(text), flush=True)  # noqa: T201 - it is for the person at the terminal or notebook
