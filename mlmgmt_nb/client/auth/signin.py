"""Sign in with Azure AD: the credential of azure-identity that provides the tokens, and its settings.

Nothing of this is loaded before a token is needed. Tokens and secrets are kept in memory; on disk only in the cache of
azure-identity itself, and only where that was asked for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from mlmgmt_nb.client.http.credentials import AzureToken, Credential, StaticToken, TokenCredential
from mlmgmt_nb.errors import SignInError, UsageError
from mlmgmt_nb.terminal import printable

__all__ = ["AzCache", "Method", "SignIn", "credential_for", "is_interactive", "scope_of"]

Method = Literal["default", "cli", "device-code", "browser", "service-principal"]
"""How to sign in; `default` tries what is there, as azure-identity orders it, and asks a person last."""

_CLOUDS: Mapping[str, str] = {
    "login.microsoftonline.com": "https://management.azure.com/.default",
    "login.microsoftonline.us": "https://management.usgovcloudapi.net/.default",
    "login.chinacloudapi.cn": "https://management.chinacloudapi.cn/.default",
}
"""The authority of each Azure cloud, and the scope of its management API.
https://learn.microsoft.com/azure/developer/python/sdk/authentication/overview has the authorities.
"""
_AZ_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
"""The application that `az` signs in as."""
_OLDER_RESOURCE = {"https://management.core.windows.net": "https://management.azure.com"}
"""The name of 2017 for the management API, and the one of today; tokens for one are good for the other."""


def scope_of(authority: str | None) -> str:
    """Return the default scope of tokens: the management API of the authority's cloud."""
    host = urlsplit(_with_scheme(authority or os.environ.get("AZURE_AUTHORITY_HOST") or "")).hostname or ""
    return _CLOUDS.get(host, _CLOUDS["login.microsoftonline.com"])


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
        tenant: id or domain of the tenant; that of the account when None.
        client_id: the application to sign in as.
        certificate: file with its certificate and key, PEM or PKCS 12, instead of a secret.
        authority: host or URL of the authority, for a sovereign cloud; AZURE_AUTHORITY_HOST when None.
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
            secret: of the service principal; AZURE_CLIENT_SECRET when None.
            prompt: called with the text that asks a person to open a page and enter a code.
            may_ask: whether a person may be asked; `is_interactive()` when None.

        Raises:
            SignInError: a required setting, file or package is missing.
        """
        import azure.identity as identity

        may_ask = is_interactive() if may_ask is None else may_ask
        prompt = prompt or _printed
        common: dict[str, Any] = {**self._authority(), **self._cache()}
        person: dict[str, Any] = {"client_id": self.client_id, "tenant_id": self.tenant}
        person = {name: value for name, value in person.items() if value} | common
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
        host = urlsplit(_with_scheme(self.authority)).hostname
        # Azure vouches for its own authorities only; any other authority is named by the user, who trusts it.
        return {"authority": self.authority} | ({} if host in _CLOUDS else {"disable_instance_discovery": True})

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


class AzCache:
    """The tokens that `az` keeps in `~/.azure`, read without `az`: its present cache, and the `accessTokens.json` of
    2017. Nothing is written. A `TokenCredential` of azure-core.

    Args:
        tenant: the tenant of the tokens; any if None.
        folder: where they are; AZURE_CONFIG_DIR or `~/.azure` when None.
        clock: seconds since the epoch.
    """

    def __init__(
        self, tenant: str | None = None, folder: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._tenant = tenant
        self._folder = folder or Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
        self._clock = clock

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """Return a token for the scopes.

        Raises:
            CredentialUnavailableError: no token is valid or can be renewed.
        """
        from azure.identity import CredentialUnavailableError

        found = self._older(scopes[0]) or self._present(scopes)
        if found is None:
            raise CredentialUnavailableError(message=f"{self._folder} has no valid token of `az`.")
        return found

    def _older(self, scope: str) -> Any:
        from azure.core.credentials import AccessToken

        resource = scope.removesuffix("/.default").rstrip("/")
        for entry in self._entries("accessTokens.json", list):
            if not isinstance(entry, dict) or not self._is_for(entry, resource):
                continue
            expires = _expiry(str(entry.get("expiresOn")))
            if expires > self._clock() + 60:
                return AccessToken(str(entry["accessToken"]), int(expires))
            if entry.get("refreshToken"):
                renewed = self._renewed(entry, scope)
                if renewed is not None:
                    return renewed
        return None

    def _is_for(self, entry: Mapping[str, Any], resource: str) -> bool:
        given = str(entry.get("resource", "")).rstrip("/")
        tenant = str(entry.get("_authority", "")).rstrip("/").rpartition("/")[2]
        return _OLDER_RESOURCE.get(given, given) == resource and self._tenant in {None, tenant}

    def _renewed(self, entry: Mapping[str, Any], scope: str) -> Any:
        import msal

        application = msal.PublicClientApplication(
            str(entry.get("_clientId") or _AZ_CLIENT), authority=str(entry["_authority"]), **_discovery(entry)
        )
        return _token(application.acquire_token_by_refresh_token(str(entry["refreshToken"]), [scope]), self._clock())

    def _present(self, scopes: tuple[str, ...]) -> Any:
        text = self._text("msal_token_cache.json")
        if text is None:
            return None
        import msal

        cache = msal.SerializableTokenCache()
        try:
            cache.deserialize(text)
        except ValueError:
            return None
        return self._kept(cache, scopes) or self._refreshed(cache, scopes)

    def _kept(self, cache: Any, scopes: tuple[str, ...]) -> Any:
        """Return a cached token that is still valid."""
        from azure.core.credentials import AccessToken

        for entry in list(cache.search(cache.CredentialType.ACCESS_TOKEN, target=list(scopes))):
            expires = int(entry.get("expires_on") or 0)
            if self._tenant in {None, entry.get("realm")} and expires > self._clock() + 60:
                return AccessToken(str(entry["secret"]), expires)
        return None

    def _refreshed(self, cache: Any, scopes: tuple[str, ...]) -> Any:
        """Return a new token by way of the cache's refresh tokens. It is kept in memory only: the file is `az`'s."""
        import msal

        for account in list(cache.search(cache.CredentialType.ACCOUNT)):
            tenant = str(account.get("realm"))
            if self._tenant not in {None, tenant}:
                continue
            authority = f"https://{account['environment']}/{tenant}"
            application = msal.PublicClientApplication(
                _AZ_CLIENT, authority=authority, token_cache=cache, **_discovery({"_authority": authority})
            )
            for known in application.get_accounts(account.get("username")):
                found = _token(application.acquire_token_silent(list(scopes), known), self._clock())
                if found is not None:
                    return found
        return None

    def _entries(self, name: str, kind: type) -> Any:
        text = self._text(name)
        try:
            entries = json.loads(text) if text else kind()
        except ValueError:
            return kind()
        return entries if isinstance(entries, kind) else kind()

    def _text(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None


def _token(answer: Mapping[str, Any] | None, now: float) -> Any:
    from azure.core.credentials import AccessToken

    if not answer or "access_token" not in answer:
        return None
    return AccessToken(str(answer["access_token"]), int(now + int(answer["expires_in"])))


def _discovery(entry: Mapping[str, Any]) -> dict[str, Any]:
    host = urlsplit(str(entry["_authority"])).hostname
    return {} if host in _CLOUDS else {"instance_discovery": False}


def _expiry(text: str) -> float:
    """Return when a token of 2017 expires; `az` wrote local time without a zone then."""
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ"):
        try:
            parsed = time.strptime(text, form)
        except ValueError:
            continue
        if not form.endswith("Z"):
            return time.mktime(parsed)
        import calendar

        return float(calendar.timegm(parsed))
    return 0.0


def _default_tenants(tenant: str | None) -> dict[str, Any]:
    names = ("interactive_browser_tenant_id", "shared_cache_tenant_id", "workload_identity_tenant_id")
    return dict.fromkeys(names, tenant) if tenant else {}


def _asking(prompt: Callable[[str], None]) -> Callable[[str, str, Any], None]:
    return lambda uri, code, _: prompt(f"To sign in, open {uri} in a browser and enter the code {code}.")


def _printed(text: str) -> None:
    print(printable(text), flush=True)  # noqa: T201 - it is for the person at the terminal or notebook


def _with_scheme(host: str) -> str:
    return host if "://" in host else f"https://{host}"
